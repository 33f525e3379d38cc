"""Contrastive search: of the likeliest tokens, the one that repeats least of what the text says.

Su et al. 2022 (https://arxiv.org/abs/2202.06417), section 3.2: ``(1 - alpha) * probability - alpha
* (greatest cosine of the token's last vector with those before it)``. A token's vector is known
once it has been read; so each text is followed in as many rows as there are candidates, all but
one of which are given up at the next step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.generation.decode import Record, Seen, likeliest
from regard.generation.rows import Row
from regard.generation.rules import apply
from regard.generation.stopping import reason


@dataclass(eq=False)
class _Text:
    """One text: the vectors of its tokens, (tokens, width), and its candidates' probabilities."""

    vectors: Tensor
    candidates: Tensor | None = None


class Contrastive:
    """Follows the candidates of each prompt, which are neighbouring rows.

    Args:
        candidates: How many tokens are tried.
        alpha: What repetition weighs, from 0 to 1.
    """

    shared = True

    def __init__(self, candidates: int, alpha: float) -> None:
        self.copies = candidates
        self.alpha = alpha
        self.texts: dict[int, _Text] = {}

    def advance(
        self, rows: list[Row], seen: Seen, record: Record | None
    ) -> tuple[Tensor, list[int] | None]:
        """Keep the best candidate of each text, and try those that may come after it."""
        chosen = self._chosen(rows, seen)
        origin = [place for place in chosen for _ in range(self.copies)]
        for row, place in zip(rows, origin, strict=True):
            row.ids = [*rows[place].ids] if row is not rows[place] else row.ids
            if len(row.ids) > row.prompt:
                row.ended = reason(row, row.plan.stops)
        texts, plan = [rows[place] for place in chosen], rows[0].plan
        scores = apply(plan.rules, seen.logits[chosen], texts, plan.padding)
        if record is not None:
            record.scores.append(([row.number for row in texts], scores))
        likeliest(scores, texts, after_rules=bool(plan.rules))
        best = scores.softmax(-1).topk(self.copies)
        for row, probabilities in zip(texts, best.values, strict=True):
            self.texts[row.number // self.copies].candidates = probabilities
        tokens = best.indices.flatten()
        for row, token in zip(rows, cast("list[int]", tokens.tolist()), strict=True):
            if not row.ended:
                row.ids.append(token)
        return tokens, origin

    def results(self, rows: Sequence[Row]) -> list[Row]:
        """Return one row for each text."""
        first = (row for row in rows if row.number % self.copies == 0)
        return sorted(first, key=lambda row: row.number)

    def _chosen(self, rows: Sequence[Row], seen: Seen) -> list[int]:
        """Return the place of the row that each text goes on with."""
        heads = range(0, len(rows), self.copies)
        if rows[0].number // self.copies not in self.texts:
            packed = F.normalize(seen.hidden.float(), dim=-1)
            start = 0
            for number, length in zip(seen.layout.order, seen.layout.lengths, strict=True):
                part = packed[start : start + length]
                self.texts[rows[heads[number]].number // self.copies] = _Text(part)
                start += length
            return [*heads]
        vectors = self._last(rows, seen)
        return [head + self._best(rows[head], vectors[head : head + self.copies]) for head in heads]

    def _last(self, rows: Sequence[Row], seen: Seen) -> Tensor:
        """Return the direction of the last vector of each row."""
        last = seen.hidden[seen.layout.offsets[1:].long() - 1][seen.layout.rows]
        return F.normalize(last.float(), dim=-1)

    def _best(self, row: Row, vectors: Tensor) -> int:
        """Return which candidate of a text is the best, and remember its vector."""
        text = self.texts[row.number // self.copies]
        repeated = (vectors @ text.vectors.t()).amax(1)
        likely = torch.zeros_like(repeated) if text.candidates is None else text.candidates
        best = int(((1 - self.alpha) * likely - self.alpha * repeated).argmax())
        text.vectors = torch.cat([text.vectors, vectors[best : best + 1]])
        return best
