"""`Pattern`: who attends to whom within a sequence."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Pattern:
    """Who may attend to whom within a sequence, and how scores are scaled.

    Where there are more keys than queries, the queries are the last of the sequence.

    Attributes:
        causal: Whether a token sees only itself and what comes before it.
        window: How many tokens away it sees at most: 0 is only itself. None sees all.
        scale: Factor of the scores; None is ``head_dim ** -0.5``.
    """

    causal: bool = False
    window: int | None = None
    scale: float | None = None

    def allowed(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "queries keys"]:
        """Return True where the query of a row may attend to the key of a column."""
        query_places = torch.arange(keys - queries, keys, device=device)
        return self.reaches(query_places[:, None] - torch.arange(keys, device=device))

    def reaches(self, distance: Int[Tensor, "*pairs"]) -> Bool[Tensor, "*pairs"]:
        """Return True where a query may attend to the key that is `distance` tokens before it."""
        allowed = distance >= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        return allowed if self.window is None else allowed & (distance.abs() <= self.window)

    def limits(self, keys: int) -> bool:
        """Whether the window hides anything among so many keys."""
        return self.window is not None and self.window < keys - 1

    def hides(self, queries: int, keys: int) -> bool:
        """Whether anything is hidden from so many queries at the end of so many keys."""
        return self.limits(keys) or (self.causal and queries > 1)


ALL = Pattern()
