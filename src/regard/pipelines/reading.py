"""`Reader`: texts of any length as windows that a model can take, with nothing cut away."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from tokenizers import Encoding

from regard.text.tokenizer import Tokenizer

#: Windows share a quarter of their tokens unless told otherwise: no token is far from both sides.
SHARED = 4
#: Characters of a text that a message shows.
SHOWN = 50


@dataclass(frozen=True)
class Window:
    """What a model reads at once.

    Attributes:
        ids: Token ids, special tokens included.
        segments: For each 0, or 1 if it is of the second text.
        start: The first token of the text that it shows; of a pair, of the one that windows part.
        end: The token after the last.
        first: Where in `ids` the token `start` stands.
    """

    ids: list[int]
    segments: list[int]
    start: int
    end: int
    first: int


@dataclass(frozen=True)
class Cut:
    """A text and its windows.

    Attributes:
        encoding: The whole text without special tokens; of a pair, the one that windows part.
        windows: In order; each but the first begins where the one before it ends, or before.
    """

    encoding: Encoding
    windows: tuple[Window, ...]

    def owners(self) -> list[tuple[int, int]]:
        """Return for each token that windows show, in order, its window and its place there.

        A token that two windows share is read where it stands further from the edge, since a model
        knows it best there (Devlin et al. 2019, the published code for SQuAD).
        """
        found: list[tuple[int, int]] = []
        done = self.windows[0].start if self.windows else 0
        for number, window in enumerate(self.windows):
            end = window.end
            if number + 1 < len(self.windows):
                end = (self.windows[number + 1].start + window.end + 1) // 2
            found += [(number, window.first + t - window.start) for t in range(done, end)]
            done = end
        return found


@dataclass(frozen=True)
class Product(Cut):
    """A text with each of several others.

    Attributes:
        encoding: That text.
        windows: Those of all parts.
        parts: It with each other text.
    """

    parts: tuple[Cut, ...]


@dataclass(frozen=True)
class Frame:
    """The special tokens that a tokenizer puts around a text or a pair, as (id, segment).

    Attributes:
        before: Those before the first text.
        between: Those between two texts, or after the only one.
        after: Those after the second text.
        segments: Segment of the tokens of the first text and of the second.
    """

    before: tuple[tuple[int, int], ...]
    between: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]
    segments: tuple[int, int]

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, pair: bool) -> Self:
        """Return the frame of a text, or of a pair."""
        # The frame is not readable from Rust, but a short text shows it.
        (probe,) = tokenizer.encode_batch(["a"], ["a"] if pair else None)
        parts: list[list[tuple[int, int]]] = [[], [], []]
        segments, begun, owners = [0, 0], 0, probe.sequence_ids
        for token, segment, owner in zip(probe.ids, probe.type_ids, owners, strict=True):
            if owner is not None:
                segments[owner], begun = segment, owner + 1
            else:
                parts[begun].append((token, segment))
        before, between, after = map(tuple, parts)
        return cls(before, between, after, (segments[0], segments[1]))

    @property
    def size(self) -> int:
        """How many special tokens there are."""
        return len(self.before) + len(self.between) + len(self.after)

    def around(
        self, first: Sequence[int], second: Sequence[int] = ()
    ) -> tuple[list[int], list[int]]:
        """Return ids and segments of a text, or of a pair."""
        told = itertools.chain(
            self.before,
            zip(first, itertools.repeat(self.segments[0])),
            self.between,
            zip(second, itertools.repeat(self.segments[1])),
            self.after,
        )
        ids, segments = zip(*told, strict=True)
        return [*ids], [*segments]


class Reader:
    """Turns texts into windows of at most `max_length` tokens, special ones included.

    Args:
        tokenizer: The tokenizer.
        max_length: Tokens of a window at most.
        stride: Tokens that neighbouring windows share; a quarter of a window by default.

    Raises:
        ValueError: Windows would have no room for new tokens.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, stride: int | None = None) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self.single, self.pair = (Frame.of(tokenizer, pair=pair) for pair in (False, True))
        room = max_length - self.single.size
        self.stride = max(room, 0) // SHARED if stride is None else stride
        if not 0 <= self.stride < room:
            raise ValueError(
                f"windows of max_length={max_length} have room for {room} tokens of text, of which "
                f"stride={self.stride} are shared; wanted a stride from 0 to {room - 1}"
            )

    def texts(self, texts: Sequence[str], *, offsets: bool = False) -> list[Cut]:
        """Return each text's windows; `offsets` are needed to get back from tokens to text."""
        encodings = self.tokenizer.encode_batch(texts, special=False, offsets=offsets)
        room = self.max_length - self.single.size
        first = len(self.single.before)
        return [Cut(each, tuple(self._single(each.ids, first, room))) for each in encodings]

    def pairs(
        self, pairs: Sequence[tuple[str, str]], *, offsets: bool = False
    ) -> list[Cut | ValueError]:
        """Return windows that have the whole first text, and of the second what there is room for.

        Where a first text leaves too little room for the second, an error that says so stands in
        their place.
        """
        firsts = self.tokenizer.encode_batch([a for a, _ in pairs], special=False, offsets=False)
        seconds = self.tokenizer.encode_batch([b for _, b in pairs], special=False, offsets=offsets)
        return [
            self._pair(a, b, text=text)
            for (text, _), a, b in zip(pairs, firsts, seconds, strict=True)
        ]

    def products(
        self,
        firsts: Sequence[str],
        seconds: Sequence[str],
        *,
        part_first: bool = False,
        offsets: bool = False,
    ) -> list[Product | ValueError]:
        """Return each first text with each second text, or why a first text has no windows.

        Args:
            firsts: Texts.
            seconds: Texts.
            part_first: Whether windows part the first texts and have the whole second, or the other
                way around.
            offsets: Whether they are needed of the texts that windows part.
        """
        encode = self.tokenizer.encode_batch
        ones = encode(firsts, special=False, offsets=offsets and part_first)
        others = [*encode(seconds, special=False, offsets=offsets and not part_first)]
        return [
            self._product(text, one, [*zip(seconds, others, strict=True)], part_first)
            for text, one in zip(firsts, ones, strict=True)
        ]

    def _product(
        self, text: str, one: Encoding, others: Sequence[tuple[str, Encoding]], part_first: bool
    ) -> Product | ValueError:
        parts = list[Cut]()
        for beside, other in others:
            whole = beside if part_first else text
            part = self._pair(one, other, text=whole, part_first=part_first)
            if isinstance(part, ValueError):
                return part
            parts.append(part)
        windows = itertools.chain.from_iterable(part.windows for part in parts)
        return Product(one, tuple(windows), tuple(parts))

    def _single(self, ids: list[int], first: int, room: int) -> Iterator[Window]:
        for start, end in spans(len(ids), room, self.stride):
            yield Window(*self.single.around(ids[start:end]), start, end, first)

    def _pair(
        self, first: Encoding, second: Encoding, *, text: str, part_first: bool = False
    ) -> Cut | ValueError:
        """Return the windows of a pair; `text` is the one that all of them have whole."""
        whole, parted = (second, first) if part_first else (first, second)
        room = self.max_length - self.pair.size - len(whole)
        if room < min(len(parted), self.max_length // SHARED):
            return ValueError(
                f"{shortened(text)} has {len(whole)} tokens, which leaves room for {max(room, 0)} "
                f"of the text beside it, in windows of {self.max_length}; make it shorter"
            )
        ids, beside, windows = parted.ids, whole.ids, list[Window]()
        before = len(self.pair.before)
        if not part_first:
            before += len(beside) + len(self.pair.between)
        for start, end in spans(len(ids), room, min(self.stride, max(room // 2, 0))):
            pair = (ids[start:end], beside) if part_first else (beside, ids[start:end])
            windows.append(Window(*self.pair.around(*pair), start, end, before))
        return Cut(parted, tuple(windows))


def shortened(text: str) -> str:
    """Return the beginning of a text in quotes, for messages."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def spans(count: int, room: int, shared: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of windows over `count` tokens, each of at most `room`.

    Neighbours share `shared` tokens; the last ones share more, so that it is as long as the others
    and its tokens have as much around them.
    """
    if count <= room:
        yield 0, count
        return
    step = room - shared
    for start in range(0, count - room, step):
        yield start, start + room
    yield count - room, count
