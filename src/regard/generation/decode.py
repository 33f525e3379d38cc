"""The one loop: read the last tokens, score what may come next, choose, stop, go on.

Rows that have ended leave the batch, and rows may join it between two steps. How tokens are chosen
is the business of a `Search`; the loop knows the model, the cache and who is still there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Protocol, cast

import torch
from torch import Tensor

from regard.attention.cache import Cache
from regard.batch import Layout, TokenBatch
from regard.generation.rows import Row
from regard.generation.rules import apply
from regard.generation.sampling import draw
from regard.generation.stopping import reason
from regard.models.generative import Generative

#: Reads a token of each row into a cache; returns the last vectors, and in single precision the
#: scores of what comes next. Both last until the next step.
Step = Callable[[TokenBatch, Cache], tuple[Tensor, Tensor]]


@dataclass(eq=False)
class Record:
    """The scores of each step, where a caller asked for them: rows' numbers, and their scores."""

    logits: list[tuple[list[int], Tensor]] = field(default_factory=list[tuple[list[int], Tensor]])
    scores: list[tuple[list[int], Tensor]] = field(default_factory=list[tuple[list[int], Tensor]])


@dataclass(frozen=True, eq=False)
class Seen:
    """What the model made of the tokens that were read last.

    Attributes:
        logits: (rows, vocabulary) scores of what comes after the last token of each row.
        hidden: (tokens, width) the last vectors of all these tokens, packed.
        layout: How they lie; of a prompt that several rows continue there is one.
    """

    logits: Tensor
    hidden: Tensor
    layout: Layout


class Search(Protocol):
    """How texts go on."""

    @property
    def copies(self) -> int:
        """Rows that are followed for each prompt."""
        ...

    @property
    def shared(self) -> bool:
        """Whether these read one source."""
        ...

    def advance(
        self, rows: list[Row], seen: Seen, record: Record | None
    ) -> tuple[Tensor, list[int] | None]:
        """Append a token to each row, or put others in their places, and say which have ended.

        Returns:
            (rows,) the tokens, and which row each now continues; None: itself.
        """
        ...

    def results(self, rows: Sequence[Row]) -> list[Row]:
        """Return the texts that are wanted, when all `rows` have ended."""
        ...


@dataclass(eq=False)
class Tokens:
    """Greedy decoding and sampling: each row by itself.

    Attributes:
        copies: Rows that are drawn for each prompt.
    """

    copies: int = 1
    shared: bool = False

    def advance(
        self, rows: list[Row], seen: Seen, record: Record | None
    ) -> tuple[Tensor, list[int] | None]:
        """Take the best token of each row, or draw it."""
        groups = _alike(rows)
        if len(groups) == 1:
            tokens = self.choose(rows, seen.logits, record)
        else:
            tokens = torch.empty(len(rows), dtype=torch.int64, device=seen.logits.device)
            for places in groups:
                own = [rows[place] for place in places]
                tokens[places] = self.choose(own, seen.logits[places], record)
        for row, token in zip(rows, cast("list[int]", tokens.tolist()), strict=True):
            self.extend(row, token)
        return tokens, None

    def choose(self, rows: list[Row], logits: Tensor, record: Record | None) -> Tensor:
        """Return the next token of rows that have the same rules, (rows,)."""
        plan = rows[0].plan
        scores = apply(plan.rules, logits, rows, plan.padding)
        if record is not None:
            record.scores.append(([row.number for row in rows], scores))
        best = likeliest(scores, rows, after_rules=bool(plan.rules))
        return self.draw(rows, scores) if plan.sample else best

    def draw(self, rows: list[Row], scores: Tensor) -> Tensor:
        """Return a token for each row by the softmax of its scores, (rows,)."""
        return draw(scores, rows)

    def extend(self, row: Row, token: int) -> None:
        """Let a row go on with a token, and note whether it has ended."""
        row.ids.append(token)
        row.ended = reason(row, row.plan.stops)

    def results(self, rows: Sequence[Row]) -> list[Row]:
        """Return all rows, in the order of the output."""
        return sorted(rows, key=lambda row: row.number)


class Decoding:
    """Texts that are being decoded.

    Args:
        model: Reads and scores.
        cache: What has been read; the caller's, or new.
        search: Chooses the tokens.
        keep: Whether to keep what was read; else all is read again for each token.
        record: Where to note the scores.
        step: What reads a token of each row, in place of the model itself.
    """

    def __init__(
        self,
        model: Generative,
        cache: Cache,
        search: Search,
        *,
        keep: bool = True,
        record: Record | None = None,
        step: Step | None = None,
    ) -> None:
        self.model, self.cache, self.search = model, cache, search
        self.keep, self.record = keep, record
        self._read_one = step or self._read_by_model
        self.rows: list[Row] = []
        self.next: Tensor | None = None

    def admit(self, prompts: Sequence[Row]) -> list[Row]:
        """Read prompts, each in as many rows as the search follows; return rows that have ended.

        What the cache has of their beginnings is not read again.
        """
        first, copies = len(self.rows), self.search.copies
        heads = prompts[::copies]
        if copies > 1 and first:
            raise ValueError("prompts of several rows each can only join an empty batch")
        for slot, row in enumerate(heads, first):
            self._reuse(slot, row.ids)
        known = [*self.cache.lengths[first:], *([0] * len(heads))]
        unread = [row.ids[known[place] :] for place, row in enumerate(heads)]
        seen = self._read(unread, first)
        if copies > 1:
            self.cache.expand(copies, share=self.search.shared)
            seen = replace(seen, logits=seen.logits.repeat_interleave(copies, 0))
        return self._choose([*prompts], seen)

    def step(self) -> list[Row]:
        """Give each row its next token; return the rows that have ended with it."""
        rows, self.rows = self.rows, []
        if not self.keep:
            self._forget(len(rows))
            return self._choose(rows, self._read([row.ids for row in rows], 0))
        device = self.model.device
        layout = self.cache.layout([1] * len(rows), device=device)
        hidden, logits = self._read_one(TokenBatch(layout, self.next), self.cache)
        return self._choose(rows, Seen(logits, hidden, layout))

    def run(self) -> Iterator[list[Row]]:
        """Step until no row is left, and yield after each the rows that have ended."""
        while self.rows:
            yield self.step()

    def _read_by_model(self, batch: TokenBatch, cache: Cache) -> tuple[Tensor, Tensor]:
        hidden = self.model.read(batch, cache)
        return hidden, self.model.score(hidden).float()

    def _read(self, texts: Sequence[Sequence[int]], first: int) -> Seen:
        """Read texts into slots from `first` on, and score what comes after each."""
        hidden, layout = read_texts(self.model, self.cache, texts, first)
        last = hidden[layout.offsets[1:].long() - 1][layout.rows]
        return Seen(self.model.score(last).float(), hidden, layout)

    def _choose(self, rows: list[Row], seen: Seen) -> list[Row]:
        """Let the search give `rows`, which come after those that are there, a token each."""
        if self.record is not None:
            self.record.logits.append(([row.number for row in rows], seen.logits))
        tokens, origin = self.search.advance(rows, seen, self.record)
        if origin is not None and self.keep:
            self.cache.select(origin)
        if self.rows and self.next is not None:
            tokens = torch.cat([self.next, tokens])
        self.rows, self.next = [*self.rows, *rows], tokens
        return self.retire()

    def retire(self) -> list[Row]:
        """Take the rows that have ended out of the batch, whose slots stay side by side."""
        ended = [row for row in self.rows if row.ended]
        if not ended or self.next is None:
            return ended
        for slot, row in enumerate(self.rows):
            if row.ended and self.keep:
                self.cache.note(slot, row.ids)
        count = len(self.rows) - len(ended)
        gaps = [slot for slot in range(count) if self.rows[slot].ended]
        late = [slot for slot in range(count, len(self.rows)) if not self.rows[slot].ended]
        order = [*range(len(self.rows))]
        for gap, slot in zip(gaps, late, strict=True):
            order[gap], order[slot] = slot, gap
        if gaps:
            self.cache.exchange(gaps, late)
        self.rows = [self.rows[slot] for slot in order[:count]]
        self.next = self.next[order[:count]]
        return ended

    def _reuse(self, slot: int, ids: Sequence[int]) -> None:
        """Keep of a slot what `ids` begin with; at least one token is left to read."""
        known = self.cache.tokens[slot] if slot < len(self.cache.tokens) else []
        same = 0
        for one, other in zip(known, ids[:-1], strict=False):
            if one != other:
                break
            same += 1
        if slot < len(self.cache.lengths):
            self.cache.crop(slot, same)
            self.cache.note(slot, ids)  # nothing else is sure, should this run be interrupted

    def _forget(self, count: int) -> None:
        """Empty the cache of what rows have been read; sources stay."""
        self.cache.lengths = [0] * count


def read_texts(
    model: Generative, cache: Cache, texts: Sequence[Sequence[int]], first: int = 0
) -> tuple[Tensor, Layout]:
    """Read what comes next of sequences in slots from `first` on; return vectors and layout."""
    layout = cache.layout([len(ids) for ids in texts], first, model.device)
    flat = [token for row in layout.order for token in texts[row]]
    ids = torch.tensor(flat, device=model.device)
    return model.read(TokenBatch(layout, ids), cache), layout


def likeliest(scores: Tensor, rows: Sequence[Row], *, after_rules: bool) -> Tensor:
    """Return the place of each row's best score, (rows,); of equal ones the first.

    Raises:
        ValueError: The best score of a row is no number, or forbidden.
    """
    best = _places(scores)
    values = cast("list[float]", scores.gather(1, best[:, None])[:, 0].tolist())
    for row, value in zip(rows, values, strict=True):
        if not isfinite(value):
            raise ValueError(_said(row, value, after_rules))
    return best


def _places(scores: Tensor) -> Tensor:
    """Return where each row's best score is, or its first NaN.

    On a processor torch looks at one score after the other, NumPy at many at once: a tenth of the
    time, which in torch was most of what a step took beside the model.
    """
    if scores.device.type != "cpu":
        return scores.argmax(-1)
    return torch.from_numpy(scores.detach().numpy().argmax(-1))  # pyright: ignore[reportUnknownMemberType] - torch leaves it partly untyped


def _said(row: Row, value: float, after_rules: bool) -> str:
    """Return what is wrong with a row whose best score is not finite."""
    if value == -float("inf") and after_rules:
        return (
            f"row {row.number}: the rules leave no token that could follow after "
            f"{len(row.ids)} tokens"
        )
    return (
        f"row {row.number}: the model's best score after {len(row.ids)} tokens is {value}, no "
        "number; look for damaged weights, or an overflow of half precision, or pass "
        "remove_invalid_values=True"
    )


def _alike(rows: Sequence[Row]) -> list[list[int]]:
    """Return the places of rows whose tokens are chosen in the same way, together."""
    first = rows[0].plan
    if all(row.plan is first for row in rows):
        return [[*range(len(rows))]]
    groups: dict[object, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.plan.way, []).append(place)
    return [*groups.values()]
