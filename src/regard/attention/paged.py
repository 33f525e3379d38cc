"""`PagedCache`: what a decoder has read, in pages, so that memory follows tokens.

Slots that are as long as the longest sequence are mostly empty where lengths differ. Here the
places of a layer are cut into pages of one size, and a sequence has as many as it needs, wherever
they lie (Kwon et al. 2023, "PagedAttention", section 4.1). Flash attention reads them there; other
kernels gather them first, which on a processor costs more than slots do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import torch
from jaxtyping import Int
from torch import Tensor

from regard.attention.cache import Cache, KeyValues, Places, moved, past_of
from regard.attention.varlen import PAGE
from regard.batch import Layout, Past
from regard.crossing import Scope, Stored
from regard.places import Block, Paged


@dataclass(frozen=True, eq=False)
class PagedPast(Past):
    """What a cache in pages holds of the sequences of a layout.

    Attributes:
        table: (sequences, pages) int32, the pages of each; any page after those that it needs.
    """

    table: Int[Tensor, "sequences pages"]


class PagedKeyValues(KeyValues):
    """The keys and values of one layer, (pages, places, heads, head_dim).

    Under a window they stay all: it is attention's pattern that lets no token see further.

    Args:
        limited: Whether a layer has a window.
    """

    def __init__(self, *, limited: bool) -> None:
        super().__init__()
        self.limited = limited

    def append(self, key: Tensor, value: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Scope]:
        """Keep what a forward made of its tokens; return what these tokens attend to."""
        keys, values = self.write(key, value, layout)
        if not any(past_of(layout).lengths):
            return key, value, layout
        return keys, values, self.scope(layout)

    def places(self, layout: Layout) -> Places:
        """Return the page and the place in it of each token."""
        return layout.once("page places", lambda: (None, self._pages(layout)))

    def scope(self, layout: Layout) -> Stored:
        """Return what the tokens of `layout` attend to, once they are written."""
        return layout.once(("pages", self.limited), lambda: self._stored(layout))

    def _pages(self, layout: Layout) -> tuple[Tensor, Tensor]:
        table, positions = _paged_past(layout).table, layout.positions
        row = torch.arange(len(table), device=table.device)
        if not layout.one_each:
            row = row.repeat_interleave(layout.offsets.diff(), output_size=layout.tokens)
        return table[row, positions // self.capacity], positions % self.capacity

    def _stored(self, layout: Layout) -> Stored:
        """Return which pages the tokens of `layout` see, and how much of them."""
        past, blocks, first = _paged_past(layout), list[Block](), 0
        # From the device alone: a graph that was captured does this again for other tokens.
        ends = layout.offsets[1:].long() - 1
        used = torch.where(layout.offsets.diff() > 0, layout.positions[ends] + 1, 0).int()
        for group, bias in zip(layout.groups, layout.bias or repeat(None), strict=False):
            members = slice(first, first + group.count)
            first += group.count
            length = max(before + group.length for before in past.lengths[members])
            places = torch.arange(length, device=used.device)
            distance = None
            if group.length > 1 or self.limited:
                distance = group.view(layout.positions)[:, :, None] - places
            keys = Paged(
                rows=past.table[members, : -(-length // self.capacity)],
                length=length,
                mask=places < used[members, None],
                distance=distance,
                used=used[members],
            )
            blocks.append(Block(group, keys, bias))
        return Stored(layout, tuple(blocks))


class PagedCache(Cache):
    """What a decoder has read, of several sequences, in pages.

    Its sequences lie side by side from slot 0 on. Those after the ones that are laid out are over:
    they are kept, for a text that begins alike, until their pages are wanted.

    Args:
        windows: For each layer how many tokens back it sees, or None for all.
        size: Tokens of a page.

    Attributes:
        tables: The pages of each sequence.
        pages: How many pages there are; page 0 is no sequence's.
    """

    def __init__(self, windows: Sequence[int | None], size: int = PAGE) -> None:
        if size < 1:
            raise ValueError(f"a page needs room for at least 1 token; found {size}")
        super().__init__(windows, size)
        self.layers = tuple(PagedKeyValues(limited=window is not None) for window in windows)
        self.tables: list[list[int]] = []
        self.pages = 1
        self._free: list[int] = []
        self._known: tuple[object, Tensor | None] = (None, None)

    def layout(
        self, lengths: Sequence[int], first: int = 0, device: torch.device | str | None = None
    ) -> Layout:
        """Lay out the next `lengths` tokens of sequences from slot `first` on, and make room."""
        slots = range(first, first + len(lengths))
        self.lengths += [0] * (slots.stop - len(self.lengths))
        self.tables += [[] for _ in range(len(self.lengths) - len(self.tables))]
        past = self.lengths[first : slots.stop]
        self._fit([p + n for p, n in zip(past, lengths, strict=True)], slots)
        layout = Layout.after(lengths, past, slots, device)
        before = past_of(layout)
        table = self._table(before.slots, device)
        return replace(layout, past=PagedPast(before.lengths, before.slots, table))

    def select(self, rows: Sequence[int]) -> None:
        """Give each slot what slot `rows[slot]` holds; sources stay where they are."""
        old, taken = self.tables, set[int]()
        self.lengths = [self.lengths[row] for row in rows]
        copies = [row for number, row in enumerate(rows) if row in rows[:number]]
        for row in {*range(len(old))} - {*rows}:
            self._free += old[row]
        fresh = iter(self._take(sum(len(old[row]) for row in copies)))
        self.tables, into, from_ = [], list[int](), list[int]()
        for row in rows:
            pages = old[row]
            if row in taken:
                pages = [next(fresh) for _ in pages]
                into, from_ = into + pages, from_ + old[row]
            taken.add(row)
            self.tables.append(pages)
        for layer in self.layers if into else ():
            layer.copy(into, from_, self.capacity)

    def move(self, into: Sequence[int], rows: Sequence[int]) -> None:
        """Let slots `into` hold what slots `rows`, the same ones, held."""
        self.tables = moved(self.tables, into, rows)

    def _fit(self, lengths: Sequence[int], slots: range) -> None:
        """Give each slot the pages for so many tokens, and no more."""
        counts = [-(-length // self.capacity) for length in lengths]
        for slot, count in zip(slots, counts, strict=True):
            self._free += self.tables[slot][count:]
            del self.tables[slot][count:]
        missing = [n - len(self.tables[s]) for s, n in zip(slots, counts, strict=True)]
        over = len(self.tables)
        while len(self._free) < sum(missing) and over > slots.stop:
            over -= 1
            self._forget(over)
        fresh = self._take(sum(missing))
        for slot, count in zip(slots, missing, strict=True):
            self.tables[slot] += [fresh.pop() for _ in range(count)]

    def _take(self, count: int) -> list[int]:
        """Return so many pages that are nobody's, of new ones if need be."""
        if count > len(self._free):
            # By a half at least, so that a token costs the same however long texts become.
            more = max(count - len(self._free), self.pages // 2)
            self._free += range(self.pages, self.pages + more)
            self.pages += more
        for layer in self.layers:
            layer.resize(self.pages, self.capacity)
        kept = len(self._free) - count
        taken, self._free = self._free[kept:], self._free[:kept]
        return taken

    def _forget(self, slot: int) -> None:
        """Let go of a sequence that is over."""
        self._free += self.tables[slot]
        self.tables[slot], self.lengths[slot] = [], 0
        if slot < len(self.tokens):
            self.tokens[slot] = []

    def _table(self, slots: Sequence[int], device: torch.device | str | None) -> Tensor:
        """Return the pages of sequences; most steps of a decoding find it as it was."""
        rows = [tuple(self.tables[slot]) for slot in slots]
        key = rows, device, torch.is_inference_mode_enabled()
        known, table = self._known
        if table is None or known != key:
            width = max((len(row) for row in rows), default=0)
            filled = [[*row, *([0] * (width - len(row)))] for row in rows]
            table = torch.tensor(filled, dtype=torch.int32, device=device).view(len(rows), width)
            self._known = key, table
        return table


def _paged_past(layout: Layout) -> PagedPast:
    past = past_of(layout)
    if not isinstance(past, PagedPast):
        raise ValueError("a cache in pages takes the layouts that it has made itself")
    return past
