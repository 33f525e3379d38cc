"""`Crossing`: sequences of one layout that attend to those of another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, islice
from typing import Self

import torch
from torch import Tensor

from regard.batch import Layout
from regard.places import Block, Group, Scattered, Shared, Slots


@dataclass(frozen=True, eq=False)
class Crossing(Shared):
    """Each sequence of one layout attends to the same row's sequence of another.

    Attributes:
        queries: Where the sequences that attend lie (a target).
        keys: Where those that are attended to lie (its source).
        blocks: One for each group of `queries`.
    """

    queries: Layout
    keys: Layout
    blocks: tuple[Block, ...]

    @classmethod
    def between(cls, queries: Layout, keys: Layout) -> Self:
        """Pair the rows of two layouts.

        Raises:
            ValueError: They have different numbers of rows, or a row has queries and no keys.
        """
        if len(queries.lengths) != len(keys.lengths):
            raise ValueError(
                f"{len(queries.lengths)} sequences cannot attend to {len(keys.lengths)}; a batch "
                "needs one source for each target"
            )
        packed = {row: number for number, row in enumerate(keys.order)}
        starts = [0, *accumulate(keys.lengths)]
        rows, blocks = iter(queries.order), list[Block]()
        for group in queries.groups:
            numbers = [packed[row] for row in islice(rows, group.count)]
            empty = [number for number in numbers if group.length and not keys.lengths[number]]
            if empty:
                row = keys.order[empty[0]]
                raise ValueError(f"sequence {row} has no tokens to attend to in its source")
            side_by_side = numbers == [*range(numbers[0], numbers[0] + len(numbers))]
            lengths = [keys.lengths[number] for number in numbers]
            if side_by_side and len({*lengths}) == 1:
                blocks.append(Block(group, Group(starts[numbers[0]], group.count, lengths[0])))
                continue
            ends = [starts[number] + keys.lengths[number] for number in numbers]
            blocks.append(Block(group, _scattered(ends, lengths, keys.offsets.device)))
        return cls(queries, keys, tuple(blocks))

    @property
    def by_distance(self) -> bool:
        """Whether how far apart tokens are is seen from how far apart they lie."""
        return self.queries.gapless and self.keys.gapless

    def key_positions(self, block: Block) -> Tensor:
        """Return the positions of the keys of a block, (count, keys)."""
        return block.keys.view(self.keys.positions)

    @cached_property
    def realigned(self) -> tuple[Tensor, Tensor] | None:
        """Where the keys lie in the order of the queries' sequences, and where each then starts.

        (key_tokens,) and (sequences + 1,) int32; None when they lie in that order already.
        """
        if self.keys.order == self.queries.order:
            return None
        packed = {row: number for number, row in enumerate(self.keys.order)}
        numbers = [packed[row] for row in self.queries.order]
        starts = [0, *accumulate(self.keys.lengths)]
        index = chain.from_iterable(range(starts[n], starts[n + 1]) for n in numbers)
        device = self.keys.offsets.device
        lengths = [self.keys.lengths[number] for number in numbers]
        offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return torch.tensor([*index], device=device), offsets


@dataclass(frozen=True, eq=False)
class Stored(Shared):
    """Each sequence of a layout attends to what a cache holds for it.

    Attributes:
        queries: Where the sequences that attend lie.
        blocks: Their keys lie in slots.
    """

    queries: Layout
    blocks: tuple[Block, ...]

    @property
    def by_distance(self) -> bool:
        """Whether how far apart tokens are is seen from how far apart they lie."""
        return all(isinstance(b.keys, Slots) and b.keys.mask is None for b in self.blocks)

    def key_positions(self, block: Block) -> Tensor:
        """Return the positions of the keys of a block, (1, keys)."""
        return torch.arange(block.keys.length, device=self.queries.positions.device)[None]


#: What attends to what: sequences to themselves, to those of another layout, or to a cache's.
Scope = Layout | Crossing | Stored


def _scattered(ends: Sequence[int], lengths: Sequence[int], device: torch.device) -> Scattered:
    back = torch.arange(-max(lengths), 0, device=device)
    index = torch.tensor(ends, device=device)[:, None] + back
    mask = -back <= torch.tensor(lengths, device=device)[:, None]
    return Scattered(index.clamp(min=0), mask)
