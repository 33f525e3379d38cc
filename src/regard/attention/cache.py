"""Caches: the keys and values of tokens that a decoder has read, kept so as not to read them again.

A cache belongs to the caller, who passes it in; a forward appends to it. It has a slot for each
sequence. Slots are as long as the longest sequence and grow by doubling, so that a step writes its
tokens and moves no others. A layer that sees a window keeps no more than that, in a ring (Jiang et
al. 2023, section 2). What was read is kept in a store, (slots, capacity, heads, head_dim), whose
heads lie one after the other in memory: attention reads along a head, and needed twice the time
across them. No gradient flows through what is kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, repeat
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from regard.batch import Layout, Past
from regard.crossing import Scope, Stored
from regard.places import Block, Group, Slots

_Value = TypeVar("_Value")
#: Which tokens are kept, None for all, and where in a store.
Places = tuple[Tensor | None, tuple[Tensor | slice, Tensor | int]]

#: Places of a slot at first.
SMALLEST = 32


class KeyValues:
    """The keys and values of one layer.

    Args:
        window: How many tokens back the layer sees, or None for all.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.slots = self.capacity = 0
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def append(
        self,
        key: Float[Tensor, "tokens heads head_dim"],
        value: Float[Tensor, "tokens heads head_dim"],
        layout: Layout,
    ) -> tuple[Tensor, Tensor, Scope]:
        """Keep what a forward made of its tokens; return what these tokens attend to."""
        past = past_of(layout)
        if not any(past.lengths):
            self.write(key, value, layout)
            return key, value, layout
        if self.window is not None and not layout.one_each:
            joined = layout.once(("joined", self.window, self.capacity), lambda: self._join(layout))
            keys, values = (
                torch.cat([old.flatten(0, 1), new])[joined[0]]
                for old, new in ((self.key, key), (self.value, value))
                if old is not None
            )
            self.write(key, value, layout)
            return keys, values, joined[1]
        keys, values = self.write(key, value, layout)
        return keys, values, self.scope(layout)

    def write(self, key: Tensor, value: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Put tokens in their places; return the whole stores."""
        tokens, places = self.places(layout)
        if self.key is None or self.value is None:
            self.key, self.value = (self._empty(each) for each in (key, value))
        if tokens is not None:
            key, value = key[tokens], value[tokens]
        self.key[places], self.value[places] = key.detach(), value.detach()
        return self.key, self.value

    def places(self, layout: Layout) -> Places:
        """Return which tokens are kept, None for all, and where: their slots and places."""
        return layout.once(("places", self.window), lambda: _places(layout, self.window))

    def scope(self, layout: Layout) -> Stored:
        """Return what the tokens of `layout` attend to, once they are written."""
        return layout.once(("scope", self.window), lambda: _stored(layout, self.window))

    def resize(self, slots: int, capacity: int) -> None:
        """Make room for so many sequences of so many tokens."""
        if self.window is not None:
            capacity = min(capacity, self.window + 1)
        if (self.slots, self.capacity) == (slots, capacity):
            return
        self.slots, self.capacity = slots, capacity
        if self.key is not None and self.value is not None:
            self.key, self.value = self._moved(self.key), self._moved(self.value)

    def copy(self, into: Sequence[int], rows: Sequence[int], length: int) -> None:
        """Give slots `into` what slots `rows` hold, of which `length` places count."""
        if self.key is None or self.value is None:
            return
        target, source = (torch.tensor(each, device=self.key.device) for each in (into, rows))
        for each in (self.key, self.value):
            slots = each[:, :length]
            slots[target] = slots[source]

    def _empty(self, like: Tensor) -> Tensor:
        # Zeros, for what no token was written to is read too, and counts 0 times.
        heads, size = like.shape[-2:]
        return like.new_zeros(self.slots, heads, self.capacity, size).transpose(1, 2)

    def _moved(self, old: Tensor) -> Tensor:
        new = self._empty(old)
        slots, places = min(old.shape[0], self.slots), min(old.shape[1], self.capacity)
        new[:slots, :places] = old[:slots, :places]
        return new

    def _join(self, layout: Layout) -> tuple[Tensor, Stored]:
        """Return where the keys of several tokens lie, in the store and then behind it."""
        past, size = past_of(layout), self.capacity
        longest = max(layout.lengths)
        device = layout.positions.device
        place = torch.arange(size, device=device)
        before = torch.tensor(past.lengths, device=device)[:, None]
        # The last token at each place of the ring; below zero where there is none.
        window = size if self.window is None else self.window + 1
        old = before - 1 - (before - 1 - place) % window
        fresh = torch.arange(longest, device=device).expand(len(before), -1)
        there = torch.cat([old >= 0, fresh < layout.offsets.diff()[:, None]], 1)
        positions = torch.cat([old, before + fresh], 1)
        slots = torch.tensor(past.slots, device=device)[:, None]
        behind = self.slots * size + layout.offsets[:-1, None] + fresh
        index = torch.cat([slots * size + place, behind], 1).where(there, 0)
        blocks, first, width = list[Block](), 0, size + longest
        for group in layout.groups:
            rows = slice(first, first + group.count)
            queries = group.view(layout.positions)
            distance = queries[:, :, None] - positions[rows, None]
            slots_ = Slots(rows=rows, length=width, mask=there[rows], distance=distance)
            blocks.append(Block(group, slots_))
            first += group.count
        return index, Stored(layout, tuple(blocks))


class Cache:
    """What a decoder has read, of several sequences.

    Args:
        windows: For each layer how many tokens back it sees, or None for all.
        capacity: Places of a slot at first, and their number is a multiple of it.
        grows: Whether it gets longer slots when these are full; else that is an error.

    Attributes:
        layers: The keys and values of each layer.
        memory: Those of a source, if the decoder attends to one.
        lengths: How many tokens of each sequence have been read.
        tokens: Which these are, as far as the caller has said so.
        shared: How many neighbouring sequences attend to one source.
    """

    def __init__(
        self, windows: Sequence[int | None], capacity: int = SMALLEST, *, grows: bool = True
    ) -> None:
        self.layers = tuple(KeyValues(window) for window in windows)
        self.memory: tuple[KeyValues, ...] = ()
        self.sources: list[int] = []
        self.lengths: list[int] = []
        self.tokens: list[list[int]] = []
        self.capacity, self.grows, self.shared = capacity, grows, 1
        self._step = capacity

    def layout(
        self, lengths: Sequence[int], first: int = 0, device: torch.device | str | None = None
    ) -> Layout:
        """Lay out the next `lengths` tokens of the sequences from slot `first` on, and make room.

        Raises:
            ValueError: A cache of a fixed size has no room for them.
        """
        slots = range(first, first + len(lengths))
        self.lengths += [0] * (slots.stop - len(self.lengths))
        past = self.lengths[first : slots.stop]
        wanted = max((p + n for p, n in zip(past, lengths, strict=True)), default=0)
        if wanted > self.capacity:
            if not self.grows:
                raise ValueError(
                    f"a sequence has {wanted} tokens, and the cache was made for {self.capacity}; "
                    "give it a larger capacity"
                )
            self.capacity = max(-(-wanted // self._step) * self._step, 2 * self.capacity)
        for layer in self.layers:
            layer.resize(len(self.lengths), self.capacity)
        return Layout.after(lengths, past, slots, device)

    def advance(self, layout: Layout) -> None:
        """Count the tokens of `layout` as read, when all layers have them."""
        past = past_of(layout)
        for slot, before, length in zip(past.slots, past.lengths, layout.lengths, strict=True):
            self.lengths[slot] = before + length

    def scope(self, layout: Layout) -> Scope:
        """Return what the tokens of `layout` attend to in a layer that sees all."""
        if not any(past_of(layout).lengths):
            return layout
        whole = [layer for layer in self.layers if layer.window is None]
        return whole[0].scope(layout)

    def remember(
        self, projected: Iterable[tuple[Tensor, Tensor]], layout: Layout, first: int = 0
    ) -> None:
        """Keep the keys and values that each layer makes of the sources, which lie as `layout`.

        They are those of the sequences from slot `first` on, which begin anew.

        Raises:
            ValueError: A source has no tokens.
        """
        if 0 in layout.lengths:
            row = layout.order[layout.lengths.index(0)]
            raise ValueError(f"sequence {row} has no tokens to attend to in its source")
        of_row = dict(zip(layout.order, layout.lengths, strict=True))
        self.sources = [*self.sources[:first], *(of_row[row] for row in range(len(of_row)))]
        self.lengths = [*self.lengths[:first], *([0] * (len(self.lengths) - first))]
        self.tokens = self.tokens[:first]
        count, longest = len(of_row), max(self.sources)
        placed = replace(layout, past=Past((0,) * count, tuple(first + n for n in layout.order)))
        memory = self.memory if first else tuple(KeyValues() for _ in self.layers)
        for store, (key, value) in zip(memory, projected, strict=True):
            store.resize(max(first + count, store.slots), max(longest, store.capacity))
            store.write(key, value, placed)
        self.memory = memory

    def remembered(self, number: int, layout: Layout) -> "Remembered | None":
        """Return what the tokens of `layout` attend to of their source in layer `number`."""
        if not self.memory:
            return None
        store = self.memory[number]
        if store.key is None or store.value is None:
            raise ValueError("the source was never written into this cache")
        return Remembered(store.key, store.value, layout.once("memory", lambda: self._seen(layout)))

    def _seen(self, layout: Layout) -> Stored:
        """Return where the sources of the tokens of `layout` lie."""
        groups, slots = layout.groups, past_of(layout).slots
        sources = [slot // self.shared for slot in slots]
        if self.shared > 1 and layout.one_each:
            # Sequences that share a source are as many queries to it.
            groups = (Group(0, len(slots) // self.shared, self.shared),)
            sources = sources[:: self.shared]
        starts = [0, *accumulate(group.count for group in groups)]
        device = layout.positions.device
        blocks: list[Block] = []
        for group, start in zip(groups, starts, strict=False):
            rows = sources[start : start + group.count]
            lengths = [self.sources[row] for row in rows]
            blocks.append(Block(group, _slots(rows, lengths, device)))
        return Stored(layout, tuple(blocks))

    def select(self, rows: Sequence[int]) -> None:
        """Give each slot what slot `rows[slot]` holds; sources stay where they are."""
        self.lengths = [self.lengths[row] for row in rows]
        moved = [(slot, row) for slot, row in enumerate(rows) if slot != row]
        longest = max(self.lengths, default=0)
        for layer in self.layers:
            layer.resize(max(layer.slots, len(rows)), self.capacity)
            if moved:
                layer.copy([slot for slot, _ in moved], [row for _, row in moved], longest)

    def expand(self, count: int, *, share: bool) -> None:
        """Repeat each sequence `count` times; whether such copies then `share` their source."""
        self.select([row for row in range(len(self.lengths)) for _ in range(count)])
        if share:
            self.shared = count
            return
        rows = [row for row in range(len(self.sources)) for _ in range(count)]
        self.sources = [self.sources[row] for row in rows]
        for store in self.memory:
            store.resize(len(rows), store.capacity)
            store.copy([*range(len(rows))], rows, store.capacity)

    def exchange(self, some: Sequence[int], others: Sequence[int]) -> None:
        """Let two equally long lists of slots change places, sources included."""
        into, rows = [*some, *others], [*others, *some]
        self.move(into, rows)
        self.lengths = moved(self.lengths, into, rows)
        self.tokens += [[] for _ in range(len(self.lengths) - len(self.tokens))]
        self.tokens = moved(self.tokens, into, rows)
        if self.memory:
            into, rows = (
                [slot // self.shared for slot in slots[:: self.shared]] for slots in (into, rows)
            )
            for store in self.memory:
                store.copy(into, rows, store.capacity)
            self.sources = moved(self.sources, into, rows)

    def move(self, into: Sequence[int], rows: Sequence[int]) -> None:
        """Let slots `into` hold what slots `rows`, the same ones, held."""
        longest = max(self.lengths[row] for row in rows)
        for layer in self.layers:
            layer.copy(into, rows, longest)

    def note(self, slot: int, tokens: Sequence[int]) -> None:
        """Say which tokens a slot has, so that a text which begins alike can go on from there."""
        self.tokens += [[] for _ in range(slot + 1 - len(self.tokens))]
        self.tokens[slot] = [*tokens[: self.lengths[slot]]]

    def crop(self, slot: int, length: int) -> None:
        """Forget all but the first `length` tokens of a sequence, or all of them.

        All where a window has moved on: what it had left behind is not there to return to.
        """
        windows = [layer.window for layer in self.layers if layer.window is not None]
        before = self.lengths[slot]
        if length < before and any(before > window + 1 for window in windows):
            length = 0
        self.lengths[slot] = min(length, before)


@dataclass(frozen=True, eq=False)
class Remembered:
    """What one layer of a decoder attends to of a source.

    Attributes:
        key: (slots, capacity, heads, head_dim) the store of keys.
        value: That of values.
        scope: Where in them each sequence's source lies.
    """

    key: Tensor
    value: Tensor
    scope: Stored


def past_of(layout: Layout) -> Past:
    """Return what a cache holds of the sequences of a layout; an error if none has made it."""
    if layout.past is None:
        raise ValueError("a cache takes the layouts that it has made itself: cache.layout(lengths)")
    return layout.past


def _places(layout: Layout, window: int | None) -> Places:
    past = past_of(layout)
    device, place = layout.positions.device, layout.positions
    first, count = past.slots[0] if past.slots else 0, len(past.slots)
    side_by_side = past.slots == tuple(range(first, first + count))
    if layout.one_each and len({*past.lengths}) == 1 and side_by_side:
        one = past.lengths[0] if window is None else past.lengths[0] % (window + 1)
        return None, (slice(first, first + count), one)
    slot = torch.tensor(past.slots, device=device)
    if not layout.one_each:
        lengths = layout.offsets.diff()
        slot = slot.repeat_interleave(lengths, output_size=layout.tokens)
        if not layout.gapless:  # a source, whose places are not its positions
            starts = layout.offsets[:-1].repeat_interleave(lengths, output_size=layout.tokens)
            place = torch.arange(layout.tokens, device=device) - starts
    if window is None:
        return None, (slot, place)
    tokens = None
    if max(layout.lengths) > window + 1:
        ends = torch.tensor(past.lengths, device=device) + layout.offsets.diff()
        ends = ends.repeat_interleave(layout.offsets.diff(), output_size=layout.tokens)
        tokens = (place >= ends - window - 1).nonzero()[:, 0]
        slot, place = slot[tokens], place[tokens]
    return tokens, (slot, place % (window + 1))


def _stored(layout: Layout, window: int | None) -> Stored:
    """Return where the tokens of `layout`, and those before them, lie in a layer's store."""
    past, blocks, first = past_of(layout), list[Block](), 0
    biases = repeat(None) if layout.bias is None else layout.bias
    for group, bias in zip(layout.groups, biases, strict=False):
        members = slice(first, first + group.count)
        lengths = [before + group.length for before in past.lengths[members]]
        if window is not None:
            lengths = [min(length, window + 1) for length in lengths]
        device = layout.positions.device
        slots = _slots(past.slots[members], lengths, device)
        if group.length > 1:  # several tokens: no window here, see `append`
            places = torch.arange(slots.length, device=device)
            queries = group.view(layout.positions)
            slots = replace(slots, distance=queries[:, :, None] - places)
        blocks.append(Block(group, slots, bias))
        first += group.count
    return Stored(layout, tuple(blocks))


def _slots(rows: Sequence[int], lengths: Sequence[int], device: torch.device) -> Slots:
    """Return the slots `rows`, of each of which so many places count."""
    longest, mask = max(lengths), None
    if min(lengths) < longest:
        mask = torch.arange(longest, device=device) < torch.tensor(lengths, device=device)[:, None]
    in_order = all(row == rows[0] + number for number, row in enumerate(rows))
    where = slice(rows[0], rows[0] + len(rows)) if in_order else torch.tensor(rows, device=device)
    return Slots(rows=where, length=longest, mask=mask, counts=tuple(lengths))


def moved(values: Sequence[_Value], into: Sequence[int], rows: Sequence[int]) -> list[_Value]:
    """Return `values` with those at `rows` put at `into`."""
    changed = [*values]
    for target, row in zip(into, rows, strict=True):
        changed[target] = values[row]
    return changed
