"""Rules: what is done to the scores of the next token before one is chosen.

A rule is a frozen value that maps scores, (rows, vocabulary), and the texts so far to new scores. A
token that may not come gets minus infinity. Each text is seen as if it were alone: padding never
counts.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.generation.rows import Row, Texts

Rule = Callable[[Tensor, Texts], Tensor]
FORBIDDEN = -math.inf


@dataclass(frozen=True)
class Bias:
    """Adds to the score of the last token of a run, where the text ends with the rest of it.

    Attributes:
        runs: Tokens, and what is added.
    """

    runs: tuple[tuple[tuple[int, ...], float], ...]

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        bias = torch.zeros_like(scores)
        for ids, value in self.runs:
            start = [*ids[:-1]]
            fits = [not start or row.ids[-len(start) :] == start for row in texts.rows]
            if any(fits):
                bias[torch.tensor(fits, device=scores.device), ids[-1]] += value
        return scores + bias


@dataclass(frozen=True)
class RepetitionPenalty:
    """Makes tokens that the text has less likely (Keskar et al. 2019, section 4.1)."""

    penalty: float

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return _penalised(scores, [row.ids for row in texts.rows], self.penalty)


@dataclass(frozen=True)
class SourcePenalty:
    """Makes tokens that the source has more likely: the inverse of `RepetitionPenalty`."""

    penalty: float

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return _penalised(scores, [row.source for row in texts.rows], 1 / self.penalty)


@dataclass(frozen=True)
class NoRepeat:
    """Forbids a run of `size` tokens that the text has already (Paulus et al. 2018, 2.5)."""

    size: int

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return _forbid(scores, (_follow(row.ids, row.ids, self.size) for row in texts.rows))


@dataclass(frozen=True)
class NoCopy:
    """Forbids a run of `size` tokens that the source has."""

    size: int

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return _forbid(scores, (_follow(row.ids, row.source, self.size) for row in texts.rows))


@dataclass(frozen=True)
class NotBefore:
    """Forbids tokens in texts of less than `length`, or while less than `new` are new."""

    tokens: tuple[int, ...]
    length: int = 0
    new: int = 0

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        early = [
            len(row.ids) < self.length or len(row.ids) - row.prompt < self.new for row in texts.rows
        ]
        return _forbid(scores, (self.tokens if each else () for each in early))


@dataclass(frozen=True)
class NotFirst:
    """Forbids tokens at the start of a continuation.

    Attributes:
        tokens: Which.
        forced: Whether the token after a prompt of one is given, so that it starts after that.
    """

    tokens: tuple[int, ...]
    forced: bool = False

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        starts = [row.prompt + (self.forced and row.prompt == 1) for row in texts.rows]
        first = (len(row.ids) == start for row, start in zip(texts.rows, starts, strict=True))
        return _forbid(scores, (self.tokens if each else () for each in first))


@dataclass(frozen=True)
class Never:
    """Forbids tokens."""

    tokens: tuple[int, ...]

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return _forbid(scores, (self.tokens for _ in texts.rows))


@dataclass(frozen=True, eq=False)
class Allowed:
    """Leaves the tokens that a function of row number and text so far names, and no others."""

    function: Callable[[int, Tensor], Iterable[int]]
    copies: int = 1

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        kept = torch.full_like(scores, FORBIDDEN)
        for place, row in enumerate(texts.rows):
            ids = torch.tensor(row.ids, device=scores.device)
            tokens = [*self.function(row.number // self.copies, ids)]
            if not tokens:
                raise ValueError(
                    f"prefix_allowed_tokens_fn allows no token after row {row.number}, "
                    f"{len(row.ids)} tokens long; let it allow the end token"
                )
            kept[place, tokens] = scores[place, tokens]
        return kept


@dataclass(frozen=True)
class Forced:
    """Leaves only given tokens, at one place of the text.

    Attributes:
        tokens: Which.
        length: How long the text is before them; None is one less than it may be.
    """

    tokens: tuple[int, ...]
    length: int | None = None

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        here = [
            len(row.ids) == (row.limit - 1 if self.length is None else self.length)
            for row in texts.rows
        ]
        if not any(here):
            return scores
        only = torch.full_like(scores, FORBIDDEN)
        only[:, [*self.tokens]] = 0.0
        return torch.where(torch.tensor(here, device=scores.device)[:, None], only, scores)


@dataclass(frozen=True)
class Decay:
    """Raises the end token's score, exponentially from `start` new tokens on."""

    start: int
    factor: float
    tokens: tuple[int, ...]

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        late = [max(len(row.ids) - row.prompt - self.start, 0) for row in texts.rows]
        growth = torch.tensor([self.factor**n - 1 for n in late], device=scores.device)[:, None]
        ends = scores[:, [*self.tokens]]
        raised = scores.clone()
        raised[:, [*self.tokens]] = torch.where(ends.isfinite(), ends + ends.abs() * growth, ends)
        return raised


@dataclass(frozen=True)
class Finite:
    """Replaces what is no number by 0, and infinities by the largest numbers."""

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return scores.nan_to_num(0.0)


@dataclass(frozen=True)
class Normalised:
    """Makes scores log-probabilities."""

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        return scores.log_softmax(-1)


@dataclass(frozen=True, eq=False)
class Custom:
    """A caller's own: takes (rows, length) ids, padded on the left, and scores."""

    function: Callable[[Tensor, Tensor], object]

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        changed = self.function(texts.padded, scores)
        if not isinstance(changed, Tensor) or changed.shape != scores.shape:
            found = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise TypeError(
                f"a logits_processor must return scores of shape {tuple(scores.shape)}; "
                f"found {found}"
            )
        return changed


def _penalised(scores: Tensor, ids: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Return scores of the tokens `ids` of each row divided, or multiplied below zero."""
    there = torch.zeros_like(scores, dtype=torch.bool)
    place = [row for row, each in enumerate(ids) for _ in each]
    there[place, [token for each in ids for token in each]] = True
    return torch.where(there, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def _forbid(scores: Tensor, tokens: Iterable[Sequence[int]]) -> Tensor:
    """Return scores in which each row's own tokens may not come."""
    each = [*tokens]
    place = [row for row, ids in enumerate(each) for _ in ids]
    if not place:
        return scores
    forbidden = scores.clone()
    forbidden[place, [token for ids in each for token in ids]] = FORBIDDEN
    return forbidden


def _follow(text: Sequence[int], known: Sequence[int], size: int) -> list[int]:
    """Return what follows in `known` wherever the last size - 1 tokens of `text` stand there."""
    last = [*text[len(text) - size + 1 :]] if len(text) + 1 >= size else None
    if last is None:
        return []
    ends = range(size - 1, len(known))
    return [known[end] for end in ends if [*known[end - size + 1 : end]] == last]


def check_tokens(name: str, tokens: Iterable[int], vocabulary: int) -> None:
    """Raise `ValueError` for a token that is none of the vocabulary."""
    for token in tokens:
        if not 0 <= token < vocabulary:
            raise ValueError(f"{name} has token {token}, which is outside 0 to {vocabulary - 1}")


def apply(rules: Sequence[Rule], scores: Tensor, rows: Sequence[Row], padding: int) -> Tensor:
    """Return scores of `rows` after all rules, in their order."""
    if rules:
        texts = Texts(rows, scores.device, padding)
        for rule in rules:
            scores = rule(scores, texts)
    return scores
