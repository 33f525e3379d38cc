"""Packing and padding are inverse, whatever the lengths."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.batch import Layout, TokenBatch

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=8)
MASKS = st.integers(1, 6).flatmap(
    lambda columns: st.lists(
        st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=1, max_size=6
    )
)


def grid(rows, columns):
    """Return distinct numbers, so that a misplaced token shows."""
    return torch.arange(1.0, rows * columns + 1).view(rows, columns, 1).repeat(1, 1, 2)


@given(MASKS)
def test_pad_of_pack_gives_back_what_the_mask_covers(rows):
    mask = torch.tensor(rows)
    layout = Layout.from_mask(mask)
    padded = grid(*mask.shape)
    packed = layout.pack(padded)
    assert packed.shape == (int(mask.sum()), 2)
    assert torch.equal(layout.pad(packed, -7.0), torch.where(mask[..., None], padded, -7.0))
    assert torch.equal(layout.pack(layout.pad(packed)), packed)


@given(LENGTHS)
def test_pack_of_pad_is_the_identity(lengths):
    layout = Layout.from_lengths(lengths)
    packed = torch.arange(float(sum(lengths)))[:, None]
    padded = layout.pad(packed, -1.0)
    assert padded.shape == (len(lengths), max(lengths), 1)
    assert torch.equal(layout.pack(padded), packed)
    assert [int((row >= 0).sum()) for row in padded] == lengths


@given(LENGTHS)
def test_a_mask_and_its_lengths_give_the_same_layout(lengths):
    columns = max(lengths)
    mask = torch.arange(columns) < torch.tensor(lengths)[:, None]
    one, other = Layout.from_lengths(lengths), Layout.from_mask(mask)
    assert (one.lengths, one.order, one.columns) == (other.lengths, other.order, other.columns)
    assert one.groups == other.groups
    for name in ("offsets", "positions"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.rows, other.rows)


@given(LENGTHS)
def test_groups_cover_every_sequence_once_longest_first(lengths):
    layout = Layout.from_lengths(lengths)
    covered = [group.length for group in layout.groups for _ in range(group.count)]
    assert covered == sorted(lengths, reverse=True) == [*layout.lengths]
    assert sorted(layout.order) == [*range(len(lengths))]
    assert layout.offsets.tolist()[-1] == layout.tokens == sum(lengths)
    for group in layout.groups:
        place = layout.offsets.tolist().index(group.start)
        assert layout.lengths[place : place + group.count] == (group.length,) * group.count


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_reduce_gives_one_vector_per_row_of_the_caller(lengths):
    layout = Layout.from_lengths(lengths)
    padded = grid(len(lengths), max(lengths))
    packed = layout.pack(padded)
    assert torch.equal(layout.reduce(packed, lambda x: x[:, 0]), padded[:, 0])
    means = layout.reduce(packed, lambda x: x.mean(1))
    expected = torch.stack([row[:n].mean(0) for row, n in zip(padded, lengths, strict=True)])
    assert torch.allclose(means, expected)


def test_reduce_names_the_row_without_tokens():
    layout = Layout.from_lengths([2, 0, 3])
    with pytest.raises(ValueError, match="sequence 1 has no tokens"):
        layout.reduce(torch.zeros(5, 2), lambda x: x.mean(1))


def test_positions_count_from_the_first_token_and_keep_holes():
    mask = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 1]]).bool()
    layout = Layout.from_mask(mask)
    assert layout.pad(layout.positions, -1.0).tolist() == [[-1, -1, 0, 1], [0, -1, 2, 3]]
    assert not layout.gapless


@pytest.mark.parametrize("rows", [[[0, 0, 1], [1, 1, 1]], [[0, 1, 0], [0, 0, 0], [1, 0, 0]], [[0]]])
def test_padding_on_either_side_makes_no_gaps(rows):
    assert Layout.from_mask(torch.tensor(rows).bool()).gapless


def test_where_names_the_callers_row_and_column():
    layout = Layout.from_mask(torch.tensor([[0, 1, 0], [1, 1, 1]]).bool())
    assert [layout.where(token) for token in (0, 3)] == ["row 1, column 0", "row 0, column 1"]
    assert Layout.from_lengths([2, 2]).where(3) == "row 1, column 1"


@given(LENGTHS)
def test_sequences_and_padded_tensors_give_the_same_batch(lengths):
    sequences = [[10 * row + i for i in range(n)] for row, n in enumerate(lengths)]
    columns = max(lengths)
    padded = torch.tensor([each + [0] * (columns - len(each)) for each in sequences])
    padded = padded.view(len(lengths), columns).long()
    mask = torch.arange(columns) < torch.tensor(lengths)[:, None]
    one = TokenBatch.from_sequences(sequences, sequences)
    other = TokenBatch.from_padded(padded, mask, token_type_ids=padded)
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.segments, other.segments)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_any_integer_type_will_do(dtype):
    batch = TokenBatch.from_padded(torch.ones(1, 2, dtype=dtype), torch.ones(1, 2).float())
    assert batch.ids.tolist() == [1, 1]


def test_a_single_row_of_positions_serves_all_rows():
    batch = TokenBatch.from_padded(
        torch.ones(2, 3, dtype=torch.long), position_ids=torch.tensor([[2, 1, 0]])
    )
    assert batch.positions.tolist() == [2, 1, 0, 2, 1, 0]
