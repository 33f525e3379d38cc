"""Where sequences lie in a packed tensor, or in a cache's store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class Shared:
    """A frozen value that remembers what was computed from it: all layers share a forward's."""

    def once(self, key: Any, make: Callable[[], _Value]) -> _Value:
        """Return what `make` gave when it was first called for `key`."""
        key = key, torch.is_inference_mode_enabled()  # its tensors are of no use to training
        # No field: who copies a value with other tensors (FSDP does) copies none of this.
        known = vars(self).setdefault("_known", {})
        if key not in known:
            known[key] = make()
        return known[key]


@dataclass(frozen=True)
class Group:
    """Neighbouring sequences of equal length: `count` of `length` tokens, the first at `start`."""

    start: int
    count: int
    length: int

    def view(self, packed: Tensor) -> Tensor:
        """Return this group's part of (tokens, ...) as (count, length, ...), without a copy."""
        part = packed[self.start : self.start + self.count * self.length]
        return part.view(self.count, self.length, *packed.shape[1:])


@dataclass(frozen=True, eq=False)
class Scattered:
    """Sequences that do not lie side by side, or are not equally long.

    Attributes:
        index: (count, longest) place of each token. Each sequence ends at the last column, so that
            the ends of queries and keys meet; any place stands in the columns before its start.
        mask: (count, longest) True where there is a token.
    """

    index: Int[Tensor, "count longest"]
    mask: Bool[Tensor, "count longest"]

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return self.index.shape[1]

    def view(self, packed: Tensor) -> Tensor:
        """Return these sequences' part of (tokens, ...) as (count, longest, ...), a copy."""
        return packed[self.index]


@dataclass(frozen=True, eq=False, kw_only=True)
class Slots(Shared):
    """Sequences that each have a slot in a store, (slots, capacity, ...), and begin where it does.

    Attributes:
        rows: (count,) slot of each sequence, or the slots as a slice.
        length: Places of a slot that are looked at.
        mask: (count, length) True where there is a token; None: everywhere.
        distance: (count, queries, length) place of the query minus place of the key in the
            sequence, where some queries see less than others; None: all see all that is there.
        counts: How many tokens of each sequence are there, if they lie in the first places; on the
            host. Empty where they lie in others.
    """

    rows: slice | Int[Tensor, " count"]
    length: int
    mask: Bool[Tensor, "count length"] | None = None
    distance: Int[Tensor, "count queries length"] | None = None
    counts: tuple[int, ...] = ()

    @property
    def consecutive(self) -> bool:
        """Whether the tokens of each sequence lie one after the other."""
        return bool(self.counts)

    def pages(
        self, device: torch.device
    ) -> tuple[Int[Tensor, "count pages"], Int[Tensor, " count"]]:
        """Return in which pages of the store each sequence lies, and its tokens, in int32."""
        rows = self.rows
        if isinstance(rows, slice):
            rows = torch.arange(rows.start, rows.stop, device=device)
        return rows.int()[:, None], torch.tensor(self.counts, dtype=torch.int32, device=device)

    def view(self, packed: Tensor) -> Tensor:
        """Return these sequences' part of a store as (count, length, ...)."""
        return packed[self.rows, : self.length]


@dataclass(frozen=True, eq=False, kw_only=True)
class Paged(Slots):
    """Sequences whose tokens lie in pages of a store, (pages, places, ...).

    Attributes:
        rows: (count, pages) the pages of each sequence; any page where it has no more.
        used: (count,) int32, how many tokens of each sequence are there.
    """

    rows: Int[Tensor, "count pages"]
    used: Int[Tensor, " count"]

    @property
    def consecutive(self) -> bool:
        """Whether the tokens of each sequence lie one after the other: in its pages they do."""
        return True

    def pages(
        self, device: torch.device
    ) -> tuple[Int[Tensor, "count pages"], Int[Tensor, " count"]]:
        """Return in which pages of the store each sequence lies, and its tokens, in int32."""
        return self.rows, self.used

    def view(self, packed: Tensor) -> Tensor:
        """Return these sequences' part of a store as (count, length, ...), a copy."""
        return packed[self.rows].flatten(1, 2)[:, : self.length]


@dataclass(frozen=True, eq=False)
class Block:
    """What one call of attention takes: sequences with equally many queries, and their keys.

    Attributes:
        queries: Where the queries lie.
        keys: Where the keys of the same sequences lie, in the same order.
        bias: (count or 1, heads, queries, keys) added to the scaled scores, or None.
    """

    queries: Group
    keys: Group | Scattered | Slots
    bias: Tensor | None = None
