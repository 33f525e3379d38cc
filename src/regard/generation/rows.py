"""`Row`: one text that grows; `Texts`: the rows of one step, as rules see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from regard.generation.plan import Plan


@dataclass(eq=False)
class Row:
    """One text while it is decoded.

    Attributes:
        number: Which of the output's rows it is.
        ids: Prompt and continuation.
        prompt: How many of them are the prompt.
        limit: How many there may be.
        plan: The rules and stops that hold for it.
        source: The source's tokens, of an encoder-decoder.
        generator: What its random numbers come from; None is torch's own.
        score: Log-probability of the continuation, in a beam search.
        ended: Why it ended, or an empty text while it goes on.
        guessed: Tokens that were guessed, in speculative decoding.
        accepted: How many of them the model agreed to.
    """

    number: int
    ids: list[int]
    prompt: int
    limit: int
    plan: "Plan"
    source: Sequence[int] = ()
    generator: torch.Generator | None = None
    score: float = 0.0
    ended: str = ""
    guessed: int = 0
    accepted: int = 0

    @property
    def new(self) -> list[int]:
        """The continuation."""
        return self.ids[self.prompt :]


@dataclass(frozen=True, eq=False)
class Texts:
    """The rows that are scored together.

    Attributes:
        rows: In the order of the scores.
        device: Where the scores are.
        padding: What fills `padded`.
    """

    rows: Sequence[Row]
    device: torch.device
    padding: int = 0

    @cached_property
    def padded(self) -> Int[Tensor, "rows longest"]:
        """The texts so far, with padding on the left."""
        longest = max(len(row.ids) for row in self.rows)
        filled = [[self.padding] * (longest - len(row.ids)) + row.ids for row in self.rows]
        return torch.tensor(filled, device=self.device)
