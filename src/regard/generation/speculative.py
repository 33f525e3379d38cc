"""Speculative decoding: several tokens are guessed and then read at once.

The model scores all of them in one forward, which takes hardly longer than that of one token, and
keeps those that it would have written itself: greedy texts are the same, and drawn ones have the
same distribution (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, section 2.3 and
appendix A.1). Guesses come from the text itself or from a smaller model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Protocol

import torch
from torch import Tensor

from regard.attention.cache import Cache
from regard.attention.rewind import Mark
from regard.batch import TokenBatch
from regard.generation.decode import Decoding, Record, Seen, Tokens, read_texts
from regard.generation.rows import Row
from regard.generation.rules import apply
from regard.generation.sampling import draw
from regard.models.generative import Generative


@dataclass(eq=False)
class Guess:
    """Tokens that may come next.

    Attributes:
        tokens: They.
        drawn_from: For each the probabilities, (vocabulary,), it was drawn by; none where it was
            not drawn.
    """

    tokens: list[int] = field(default_factory=list[int])
    drawn_from: list[Tensor] = field(default_factory=list[Tensor])


class Guesser(Protocol):
    """Where guesses come from."""

    def guess(self, rows: Sequence[Row], most: int) -> list[Guess]:
        """Return what may come next in each text, at most so many tokens."""
        ...


@dataclass(frozen=True)
class Lookup:
    """Guesses that a text goes on as it, or its source, did after the same tokens (Saxena 2023).

    Attributes:
        count: How many tokens are guessed.
        size: How many last tokens are looked for; fewer where so many are not found.
        vocabulary: Tokens that the model has: a source may have more.
    """

    count: int
    size: int
    vocabulary: int

    def guess(self, rows: Sequence[Row], most: int) -> list[Guess]:
        """Return what may come next in each text."""
        return [Guess(self._after(row, min(self.count, most))) for row in rows]

    def _after(self, row: Row, count: int) -> list[int]:
        known = [*row.source, *row.ids]
        for size in range(min(self.size, len(row.ids)), 0, -1):
            last = known[-size:]
            for end in range(len(known) - 1, size - 1, -1):
                if known[end - size : end] == last:
                    found = known[end : end + count]
                    return [*takewhile(lambda token: token < self.vocabulary, found)]
        return []


class Assistant:
    """Guesses what a smaller model would write, by the same rules.

    Args:
        model: The smaller model, of the same vocabulary.
        count: How many tokens are guessed.
        confidence: Guessing ends after a token of less than this probability.
        adapts: Whether two tokens more are guessed after guesses that all were right, and one less
            after others.
    """

    def __init__(
        self, model: Generative, count: int, confidence: float, *, adapts: bool = False
    ) -> None:
        self.model, self.cache = model, model.new_cache()
        self.count, self.confidence, self.adapts = count, confidence, adapts
        self._rows: list[Row] = []  # those of the slots
        self._told: list[Guess] = []  # what was guessed of them, and
        self._before: list[int] = []  # how many of their guesses had been right
        self._mark: Mark | None = None

    def remember(self, source: TokenBatch, copies: int) -> None:
        """Read sources, each of `copies` texts."""
        self.model.remember(source, self.cache)
        self.cache.expand(copies, share=False)

    def guess(self, rows: Sequence[Row], most: int) -> list[Guess]:
        """Return what may come next in each text."""
        self._go_back()
        self._adapt()
        self._take_places(rows)
        context, hard = self.model.context()
        room = context - max(len(row.ids) for row in rows) if hard else most
        bounds = (self.count, most, room, Mark.room(self.cache) or most)
        if min(bounds) < 1:
            return [Guess() for _ in rows]
        guesses = self._write([replace(row, ids=[*row.ids]) for row in rows], min(bounds))
        for slot, (row, guess) in enumerate(zip(rows, guesses, strict=True)):
            self.cache.note(slot, row.ids + guess.tokens)
        self._told, self._before = guesses, [row.accepted for row in rows]
        return guesses

    def _adapt(self) -> None:
        """Guess more, or less, by what came true of the last guesses."""
        if not (self.adapts and any(guess.tokens for guess in self._told)):
            return
        told = zip(self._rows, self._told, self._before, strict=True)
        right = all(row.accepted - before == len(guess.tokens) for row, guess, before in told)
        self.count = self.count + 2 if right else max(self.count - 1, 1)
        self._told = []

    def _write(self, rows: Sequence[Row], count: int) -> list[Guess]:
        """Let the model go on with copies of the rows."""
        guesses = [Guess() for _ in rows]
        open_ = [True] * len(rows)
        texts = [row.ids[self.cache.lengths[slot] :] for slot, row in enumerate(rows)]
        for step in range(count):
            hidden, layout = read_texts(self.model, self.cache, texts)
            if not step:
                self._mark = Mark(self.cache, len(rows), count)
            last = hidden[layout.offsets[1:].long() - 1][layout.rows]
            scores = self.model.score(last).float()
            for place, (row, guess) in enumerate(zip(rows, guesses, strict=True)):
                # Rows that have enough go on with anything, so that all slots stay side by side.
                one = scores[place : place + 1]
                open_[place] = open_[place] and self._extend(row, guess, one)
                texts[place] = row.ids[-1:]
            if not any(open_):
                break
        return guesses

    def _extend(self, row: Row, guess: Guess, scores: Tensor) -> bool:
        """Guess one token more; return whether another may follow."""
        if len(row.ids) >= row.limit - 1:  # the last token is the model's own in any case
            return False
        plan = row.plan
        scores = apply(plan.rules, scores, [row], plan.padding)
        if not scores.amax().isfinite():
            return False
        probabilities = scores.softmax(-1)[0]
        token = int(draw(scores, [row])) if plan.sample else int(scores.argmax())
        if plan.sample:
            guess.drawn_from.append(probabilities)
        guess.tokens.append(token)
        row.ids.append(token)
        return token not in plan.ends and float(probabilities[token]) >= self.confidence

    def _go_back(self) -> None:
        """Forget guesses that did not come true."""
        if self._mark is None:
            return
        lengths: list[int] = []
        for slot, row in enumerate(self._rows):
            known = self.cache.tokens[slot] if slot < len(self.cache.tokens) else []
            pairs = zip(known, row.ids[:-1], strict=False)
            wrong = (place for place, (one, other) in enumerate(pairs) if one != other)
            lengths.append(next(wrong, min(len(known), len(row.ids) - 1)))
        self._mark.rewind(lengths)
        for slot, row in enumerate(self._rows):
            self.cache.note(slot, row.ids)

    def _take_places(self, rows: Sequence[Row]) -> None:
        """Let row n lie in slot n; others have left."""
        self._rows = self._rows or [*rows]
        self.cache.lengths += [0] * (len(self._rows) - len(self.cache.lengths))
        for slot, row in enumerate(rows):
            other = next(n for n, one in enumerate(self._rows) if one is row)
            if other != slot:
                self.cache.exchange([slot], [other])
                self._rows[slot], self._rows[other] = row, self._rows[slot]
        del self._rows[len(rows) :]


class Checked(Tokens):
    """Greedy decoding and sampling where the next token may have been guessed."""

    def __init__(self, copies: int = 1) -> None:
        super().__init__(copies)
        self.guessed: dict[int, tuple[int, Tensor]] = {}

    def draw(self, rows: list[Row], scores: Tensor) -> Tensor:
        """Return a token for each row: the guessed one as often as is right.

        A guess that was not drawn is right as often as the draw itself is equal to it.
        """
        tokens: list[Tensor] = []
        for place, row in enumerate(rows):
            own, guess = scores[place : place + 1], self.guessed.get(id(row))
            tokens.append(draw(own, [row]) if guess is None else settle(row, own, *guess))
        return torch.cat(tokens)


def settle(row: Row, scores: Tensor, guess: int, drawn_from: Tensor) -> Tensor:
    """Return a token, (1,), that is distributed as `scores`, (1, vocabulary), say.

    `guess` was drawn by the probabilities `drawn_from`, (vocabulary,), and is kept as often as it
    can be: Leviathan et al. 2023, section 2.3.
    """
    wanted, offered = scores.double().softmax(-1)[0], drawn_from.double()
    where = wanted.device if row.generator is None else row.generator.device
    number = torch.rand((), generator=row.generator, device=where, dtype=torch.float64)
    if float(number) * float(offered[guess]) < float(wanted[guess]):
        return torch.tensor([guess], device=scores.device)
    missing = (wanted - offered).clamp(min=0)
    # Nothing is missing where both are equal but for rounding.
    rest = missing if bool(missing.any()) else wanted
    return draw(rest.log()[None], [row])


class Speculation(Decoding):
    """Texts that are decoded by guesses.

    Args:
        model: Reads and scores.
        cache: What has been read.
        search: Chooses the tokens.
        guesser: Where guesses come from.
        record: Where to note the scores.
    """

    def __init__(
        self,
        model: Generative,
        cache: Cache,
        search: Checked,
        guesser: Guesser,
        record: Record | None = None,
    ) -> None:
        super().__init__(model, cache, search, record=record)
        self.checked, self.guesser = search, guesser

    def step(self) -> list[Row]:
        """Give each row its next token, or several; return the rows that have ended."""
        room = Mark.room(self.cache)
        left = max(row.limit - len(row.ids) for row in self.rows) - 1
        guesses = self.guesser.guess(self.rows, left if room is None else min(left, room - 1))
        for row, guess in zip(self.rows, guesses, strict=True):
            del guess.tokens[max(row.limit - len(row.ids) - 1, 0) :]
        longest = max(len(guess.tokens) for guess in guesses)
        if not longest:
            return super().step()
        rows, self.rows = self.rows, []
        texts = [[row.ids[-1], *guess.tokens] for row, guess in zip(rows, guesses, strict=True)]
        mark = Mark(self.cache, len(rows), longest + 1)
        hidden, layout = read_texts(self.model, self.cache, texts)
        self._check(rows, guesses, Seen(self.model.score(hidden).float(), hidden, layout))
        mark.rewind([len(row.ids) - 1 for row in rows])
        self.rows = rows
        self.next = torch.tensor([row.ids[-1] for row in rows], device=self.model.device)
        return self.retire()

    def _check(self, rows: list[Row], guesses: Sequence[Guess], seen: Seen) -> None:
        """Append to each row the guesses that are right, and one token more."""
        first = seen.layout.offsets[:-1].long()[seen.layout.rows]
        going, place = [*range(len(rows))], 0
        while going:
            some = [rows[number] for number in going]
            logits = seen.logits[first[going] + place]
            if self.record is not None:
                self.record.logits.append(([row.number for row in some], logits))
            self.checked.guessed = {
                id(rows[n]): (guesses[n].tokens[place], guesses[n].drawn_from[place])
                for n in going
                if place < len(guesses[n].tokens) and guesses[n].drawn_from
            }
            self.checked.advance(some, replace(seen, logits=logits), self.record)
            self.checked.guessed = {}
            right = [n for n in going if guesses[n].tokens[place : place + 1] == rows[n].ids[-1:]]
            for number in going:
                rows[number].guessed += place < len(guesses[number].tokens)
                rows[number].accepted += number in right
            going, place = [n for n in right if not rows[n].ended], place + 1
