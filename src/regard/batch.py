"""`Layout` and `TokenBatch`: sequences laid end to end, with no padding between them.

A padded batch spends its time on padding. Here the tokens of all sequences lie in one row,
``(tokens, ...)``, the longest sequence first, so that sequences of equal length are neighbours and
attention can take each such group in one call. Padding exists only where tensors enter and leave.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, repeat
from typing import Self, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.padded import as_mask, broadcast_rows, check_inputs
from regard.places import Block, Group, Shared


@dataclass(frozen=True, eq=False)
class Past:
    """What a cache holds of the sequences of a layout, each in packed order; on the host.

    Attributes:
        lengths: Tokens before those of the layout.
        slots: Where in the cache the sequence lies.
    """

    lengths: tuple[int, ...]
    slots: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Layout(Shared):
    """Where each sequence lies in a packed batch, and how to get back to the caller's rows.

    Attributes:
        lengths: Tokens of each sequence, in packed order (longest first); on the host.
        order: The caller's row of each sequence, in packed order; on the host.
        columns: Width of the caller's padded rows.
        groups: Runs of sequences of equal length.
        offsets: (sequences + 1,) int32, where each sequence starts, and the end.
        positions: (tokens,) number of columns since the sequence's own first token.
        index: (tokens,) place of each token in the caller's flattened (rows, columns), or None when
            packing is nothing but a reshape.
        bias: For each group (count or 1, heads, length, length), added to the scores of attention;
            None: none.
        gapless: Whether the positions of every sequence are 0, 1, 2, ...: there is no hole in the
            mask, and the caller gave no others.
        past: The tokens that come before these, if a cache holds some.
    """

    lengths: tuple[int, ...]
    order: tuple[int, ...]
    columns: int
    groups: tuple[Group, ...]
    offsets: Int[Tensor, " sequences_and_end"]
    positions: Int[Tensor, " tokens"]
    index: Int[Tensor, " tokens"] | None
    bias: tuple[Tensor, ...] | None = None
    gapless: bool = True
    past: Past | None = None

    @classmethod
    def from_mask(cls, mask: Bool[Tensor, "rows columns"]) -> Self:
        """Lay out the true places of `mask`; rows may start late, end early or have holes.

        Positions count from a row's first token, so padding on the left changes nothing, and
        tokens after a hole keep the positions that they have without it.
        """
        counts = cast("list[int]", mask.sum(1).tolist())
        if all(count == mask.shape[1] for count in counts):
            return cls.from_lengths(counts, mask.device)
        order = _longest_first(counts)
        row, column = mask[list(order)].nonzero(as_tuple=True)
        lengths = tuple(counts[i] for i in order)
        offsets = _offsets(lengths, mask.device)
        first = column[offsets[:-1].clamp(max=len(column) - 1)] if len(column) else column
        positions = column - first[row]
        index = torch.tensor(order, device=mask.device)[row] * mask.shape[1] + column
        groups = _groups(lengths)
        gapless = not bool((positions.diff() > 1).any())
        return cls(
            lengths, order, mask.shape[1], groups, offsets, positions, index, gapless=gapless
        )

    @classmethod
    def from_lengths(cls, lengths: Sequence[int], device: torch.device | str | None = None) -> Self:
        """Lay out rows that start at column 0 and are as wide as the longest of `lengths`."""
        order = _longest_first(lengths)
        columns = max(lengths, default=0)
        ordered = tuple(lengths[i] for i in order)
        offsets = _offsets(ordered, device)
        count = torch.tensor(ordered, device=device)
        start = offsets[:-1].repeat_interleave(count, output_size=sum(ordered))
        positions = torch.arange(sum(ordered), device=device) - start
        index = None
        if any(length != columns for length in ordered):
            row = torch.tensor(order, device=device).repeat_interleave(count)
            index = row * columns + positions
        return cls(ordered, order, columns, _groups(ordered), offsets, positions, index)

    @classmethod
    def after(
        cls,
        lengths: Sequence[int],
        past: Sequence[int],
        slots: Sequence[int],
        device: torch.device | str | None = None,
    ) -> Self:
        """Lay out the next `lengths` tokens of rows of which a cache has `past` in `slots`."""
        if all(length == 1 for length in lengths):
            return cls._one_token_each(Past(tuple(past), tuple(slots)), device)
        layout = cls.from_lengths(lengths, device)
        before = Past(
            tuple(past[row] for row in layout.order), tuple(slots[row] for row in layout.order)
        )
        starts = torch.tensor(before.lengths, device=device)
        starts = starts.repeat_interleave(layout.offsets.diff(), output_size=layout.tokens)
        return replace(layout, positions=layout.positions + starts, past=before)

    @classmethod
    def _one_token_each(cls, past: Past, device: torch.device | str | None) -> Self:
        """Return what `after` does for one token per row: this is made for every new token."""
        count = len(past.lengths)
        return cls(
            (1,) * count,
            tuple(range(count)),
            min(count, 1),
            (Group(0, count, 1),) if count else (),
            torch.arange(count + 1, dtype=torch.int32, device=device),
            torch.tensor(past.lengths, dtype=torch.int64, device=device),
            None,
            past=past,
        )

    @property
    def reach(self) -> int:
        """Positions that the longest row takes, those of its past included."""
        if self.past is None or not self.lengths:
            return self.columns
        return max(p + n for p, n in zip(self.past.lengths, self.lengths, strict=True))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What attends to what when each sequence attends to itself: each group to itself."""
        biases = repeat(None) if self.bias is None else self.bias
        return tuple(Block(g, g, bias) for g, bias in zip(self.groups, biases, strict=False))

    @property
    def queries(self) -> Self:
        """The layout of what attends: as a scope of attention, a layout is both sides."""
        return self

    @property
    def keys(self) -> Self:
        """The layout of what is attended to."""
        return self

    @property
    def by_distance(self) -> bool:
        """Whether how far apart tokens are is seen from how far apart they lie."""
        return self.gapless

    def key_positions(self, block: Block) -> Int[Tensor, "count keys"]:
        """Return the positions of the keys of a block."""
        return block.keys.view(self.positions)

    @property
    def tokens(self) -> int:
        """How many tokens the batch holds."""
        return sum(self.lengths)

    @property
    def one_each(self) -> bool:
        """Whether every sequence has one token, as when texts are decoded."""
        return all(length == 1 for length in self.lengths)

    @property
    def rows(self) -> Int[Tensor, " rows"]:
        """Packed number of each of the caller's sequences: the inverse of `order`."""
        return torch.tensor(self.order, dtype=torch.int64, device=self.offsets.device).argsort()

    def places(self) -> Int[Tensor, " tokens"]:
        """Return the place of each token in the caller's flattened (rows, columns)."""
        if self.index is not None:
            return self.index
        return torch.arange(self.tokens, device=self.offsets.device)

    def pack(self, padded: Tensor) -> Tensor:
        """Return (rows, columns, ...) as (tokens, ...)."""
        flat = padded.flatten(0, 1)
        return flat if self.index is None else flat.index_select(0, self.index)

    def pad(self, packed: Tensor, value: float = 0.0) -> Tensor:
        """Return (tokens, ...) as (rows, columns, ...), with `value` where there is no token."""
        rows = len(self.lengths)
        if self.index is None:
            return packed.reshape(rows, self.columns, *packed.shape[1:])
        flat = packed.new_full((rows * self.columns, *packed.shape[1:]), value)
        padded = flat.index_copy_(0, self.index, packed)
        return padded.view(rows, self.columns, *packed.shape[1:])

    def reduce(self, packed: Tensor, reduction: Callable[[Tensor], Tensor]) -> Tensor:
        """Return one vector per sequence, in the caller's order.

        `reduction` maps (count, length, ...) to (count, ...) and is called once per group. With
        no padding in sight a mean is ``lambda x: x.mean(1)``, the first token
        ``lambda x: x[:, 0]``.

        Raises:
            ValueError: A sequence has no tokens, so there is nothing to reduce.
        """
        if 0 in self.lengths:
            row = self.order[self.lengths.index(0)]
            raise ValueError(
                f"sequence {row} has no tokens (its attention_mask is 0 everywhere), so it has no "
                "first token and no mean; leave it out of the batch"
            )
        parts = [reduction(group.view(packed)) for group in self.groups]
        reduced = parts[0] if len(parts) == 1 else torch.cat(parts)
        return reduced if self.index is None else reduced[self.rows]

    def where(self, token: int) -> str:
        """Return ``row 2, column 5`` for a packed token number, for messages."""
        flat = token if self.index is None else int(self.index[token])
        return f"row {flat // self.columns}, column {flat % self.columns}"


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """The tokens of a batch, packed, and their `Layout`.

    Attributes:
        layout: Where the sequences lie.
        ids: (tokens,) token ids, or None when `embeds` is given.
        segments: (tokens,) 0 for the first text and 1 for the second, or None for all 0.
        positions: (tokens,) positions that replace the layout's own, or None.
        embeds: (tokens, width) vectors in place of `ids`, or None.
    """

    layout: Layout
    ids: Int[Tensor, " tokens"] | None
    segments: Int[Tensor, " tokens"] | None = None
    positions: Int[Tensor, " tokens"] | None = None
    embeds: Tensor | None = None

    @classmethod
    def from_padded(
        cls,
        input_ids: Tensor | None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Self:
        """Pack the usual padded tensors, each (batch, length), embeddings (batch, length, width).

        Raises:
            TypeError: Ids that are not integers.
            ValueError: Tensors whose shapes do not fit, or a mask of other values than 0 and 1.
        """
        shape, device = check_inputs(input_ids, inputs_embeds)
        if attention_mask is None:
            layout = Layout.from_lengths([shape[1]] * shape[0], device)
        else:
            layout = Layout.from_mask(as_mask(attention_mask, shape))

        def pack(name: str, padded: Tensor | None) -> Tensor | None:
            if padded is None:
                return None
            return layout.pack(broadcast_rows(name, padded, shape))

        positions = pack("position_ids", position_ids)
        if positions is not None:  # rotary positions are read where only the layout is known
            layout = replace(layout, positions=positions, gapless=False)
        return cls(
            layout,
            None if input_ids is None else layout.pack(input_ids).long(),
            pack("token_type_ids", token_type_ids),
            positions,
            None if inputs_embeds is None else layout.pack(inputs_embeds),
        )

    @classmethod
    def from_sequences(
        cls,
        sequences: Sequence[Sequence[int]],
        segments: Sequence[Sequence[int]] | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """Pack lists of token ids, without ever building the padded tensor."""
        layout = Layout.from_lengths([len(sequence) for sequence in sequences], device)

        def pack(rows: Sequence[Sequence[int]]) -> Tensor:
            flat = [*chain.from_iterable(rows[i] for i in layout.order)]
            return torch.tensor(flat, dtype=torch.int64, device=device)

        return cls(layout, pack(sequences), None if segments is None else pack(segments))


def _longest_first(lengths: Sequence[int]) -> tuple[int, ...]:
    # Rows of equal length keep their order, so a batch without padding packs by a reshape.
    return tuple(sorted(range(len(lengths)), key=lambda row: -lengths[row]))


def _offsets(lengths: Sequence[int], device: torch.device | str | None) -> Tensor:
    return torch.tensor([0, *lengths], device=device).cumsum(0, dtype=torch.int32)


def _groups(lengths: Sequence[int]) -> tuple[Group, ...]:
    groups: list[Group] = []
    start = 0
    for length, members in groupby(lengths):
        count = len([*members])
        groups.append(Group(start, count, length))
        start += count * length
    return tuple(groups)
