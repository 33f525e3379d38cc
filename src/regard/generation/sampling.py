"""Which tokens are drawn from, as rules; and the draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.generation.rows import Row, Texts
from regard.generation.rules import FORBIDDEN


@dataclass(frozen=True)
class Temperature:
    """Divides the scores: above 1 makes what is unlikely likelier."""

    temperature: float

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return scores / self.temperature


@dataclass(frozen=True)
class TopK:
    """Keeps the `count` best tokens (Fan et al. 2018, section 5.1), and what is as good."""

    count: int
    least: int = 1

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return scores.masked_fill(scores < _nth(scores, max(self.count, self.least)), FORBIDDEN)


@dataclass(frozen=True)
class TopP:
    """Keeps the fewest tokens whose probability is `mass` (Holtzman et al. 2020, section 3.1)."""

    mass: float
    least: int = 1

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        ascending, order = scores.sort(dim=-1)
        drop = ascending.softmax(-1).cumsum(-1) <= 1 - self.mass
        drop[:, -self.least :] = False
        return scores.masked_fill(drop.scatter(1, order, drop), FORBIDDEN)


@dataclass(frozen=True)
class MinP:
    """Keeps tokens with `part` of the best one's probability (Nguyen et al. 2024, section 3)."""

    part: float
    least: int = 1

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        probabilities = scores.softmax(-1)
        low = probabilities < self.part * probabilities.amax(-1, keepdim=True)
        best = probabilities.topk(min(self.least, scores.shape[-1])).indices
        return scores.masked_fill(low.scatter(1, best, False), FORBIDDEN)


@dataclass(frozen=True)
class Typical:
    """Keeps what is nearest to the expected surprise (Meister et al. 2023, section 3)."""

    mass: float
    least: int = 1

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        surprise = -scores.log_softmax(-1)
        expected = (surprise * scores.softmax(-1)).nansum(-1, keepdim=True)
        nearest, order = (surprise - expected).abs().sort(dim=-1)
        mass = scores.gather(1, order).softmax(-1).cumsum(-1)
        last = (mass < self.mass).sum(1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        drop = nearest > nearest.gather(1, last)
        drop[:, : self.least] = False
        return scores.masked_fill(drop.scatter(1, order, drop), FORBIDDEN)


@dataclass(frozen=True)
class Epsilon:
    """Keeps tokens of at least this probability (Hewitt et al. 2022, section 3.3)."""

    bound: float
    least: int = 1

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        low = (scores.softmax(-1) < self.bound) & (scores < _nth(scores, self.least))
        return scores.masked_fill(low, FORBIDDEN)


@dataclass(frozen=True)
class Eta:
    """Keeps tokens of a probability that sinks with the entropy (Hewitt et al. 2022, 3.4)."""

    bound: float
    least: int = 1

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        probabilities, logs = scores.softmax(-1), scores.log_softmax(-1)
        entropy = -(probabilities * logs.clamp(min=torch.finfo(scores.dtype).min)).sum(-1)
        bound = (self.bound**0.5 * (-entropy).exp()).clamp(max=self.bound)[:, None]
        low = (probabilities < bound) & (scores < _nth(scores, self.least))
        return scores.masked_fill(low, FORBIDDEN)


def draw(scores: Tensor, rows: Sequence[Row]) -> Tensor:
    """Return one token for each row, (rows,), drawn by the softmax of its scores.

    One number in [0, 1) is drawn per row, from the row's own generator, whatever the vocabulary;
    so a row gets the same tokens in any batch.
    """
    sums = scores.double().softmax(-1).cumsum(-1)
    # In (0, 1]: the first sum that reaches it ends with a token of some probability.
    wanted = (1 - _numbers(rows, scores.device)) * sums[:, -1:]
    return torch.searchsorted(sums, wanted)[:, 0]


def _numbers(rows: Sequence[Row], device: torch.device) -> Tensor:
    generators = {id(row.generator): row.generator for row in rows}
    if len(generators) == 1:
        one = rows[0].generator
        where = device if one is None else one.device
        drawn = torch.rand(len(rows), 1, generator=one, device=where, dtype=torch.float64)
        return drawn.to(device)
    drawn_each: list[Tensor] = []
    for row in rows:
        where = device if row.generator is None else row.generator.device
        number = torch.rand(1, generator=row.generator, device=where, dtype=torch.float64)
        drawn_each.append(number.to(device))
    return torch.stack(drawn_each)


def _nth(scores: Tensor, count: int) -> Tensor:
    """Return the `count`-th best score of each row, (rows, 1)."""
    return scores.topk(min(count, scores.shape[-1])).values[:, -1:]
