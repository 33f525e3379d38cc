import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.sampling import (
    batches_by_size,
    batches_by_tokens,
    group_by_length,
    mixed_batches,
    share,
    temperature_counts,
    token_batches,
)

LENGTHS = st.lists(st.integers(1, 50), max_size=80)


def flat(batches):
    return [index for batch in batches for index in batch]


@given(count=st.integers(0, 50), size=st.integers(1, 9), seed=st.none() | st.integers(0, 3))
def test_batches_by_size_have_every_index_once(count, size, seed):
    batches = batches_by_size(count, size, seed=seed)
    assert sorted(flat(batches)) == [*range(count)]
    assert all(len(batch) == size for batch in batches[:-1])
    dropped = batches_by_size(count, size, seed=seed, drop_last=True)
    assert dropped == [batch for batch in batches if len(batch) == size]


@given(lengths=LENGTHS, size=st.integers(1, 9), seed=st.integers(0, 3))
def test_batches_by_length_have_every_index_once(lengths, size, seed):
    batches = group_by_length(lengths, size, seed=seed)
    assert sorted(flat(batches)) == [*range(len(lengths))]
    assert all(len(batch) == size for batch in batches[:-1])
    if lengths:
        assert lengths[batches[0][0]] == max(lengths), "the longest comes first"


@given(lengths=LENGTHS, budget=st.integers(1, 120), seed=st.integers(0, 3))
def test_batches_by_tokens_keep_to_the_budget(lengths, budget, seed):
    batches = batches_by_tokens(lengths, budget, seed=seed)
    assert sorted(flat(batches)) == [*range(len(lengths))]
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= budget


def test_order_depends_on_seed_and_epoch_only():
    lengths = [(7 * i) % 40 + 1 for i in range(300)]
    for make in (
        lambda **k: batches_by_size(300, 8, **k),
        lambda **k: group_by_length(lengths, 8, **k),
        lambda **k: batches_by_tokens(lengths, 100, **k),
    ):
        first = make(seed=1, epoch=2)
        assert make(seed=1, epoch=2) == first
        assert make(seed=2, epoch=2) != first
        assert make(seed=1, epoch=3) != first


def test_similar_lengths_meet():
    lengths = [(7919 * i) % 100 + 1 for i in range(5000)]

    def padding(batches):
        return sum(
            max(lengths[i] for i in b) * len(b) - sum(lengths[i] for i in b) for b in batches
        )

    mixed = padding(batches_by_size(5000, 16, seed=0))
    assert padding(group_by_length(lengths, 16)) < mixed / 10
    assert padding(batches_by_tokens(lengths, 800)) < mixed / 10


def test_budget_is_used():
    lengths = [(7919 * i) % 100 + 1 for i in range(5000)]
    batches = batches_by_tokens(lengths, 2000)
    assert sum(lengths) / (2000 * len(batches)) > 0.93
    assert len(batches) < 1.05 * len([*token_batches(lengths, 2000)])


@given(
    batches=st.lists(st.integers(2, 9), max_size=30),
    world=st.integers(1, 4),
)
def test_processes_share_every_example_once(batches, world):
    given_ = [[(n, i) for i in range(size)] for n, size in enumerate(batches)]
    shares = [share(given_, rank, world) for rank in range(world)]
    assert len({len(part) for part in shares}) == 1, "equally many steps"
    assert all(batch for part in shares for batch in part)
    rest = sum(batches[len(batches) // world * world :])
    if rest == 0 or rest >= world:
        assert sorted(flat(flat(shares))) == sorted(flat(given_))
    whole = len(batches) // world
    for step in range(whole):
        together = [shares[rank][step] for rank in range(world)]
        assert together == given_[step * world : (step + 1) * world]


def test_single_examples_that_cannot_be_shared_are_told(caplog):
    with caplog.at_level("WARNING", "regard"):
        assert share([[0], [1], [2]], 0, 2) == [[0]]
        assert share([[0], [1], [2]], 1, 2) == [[1]]
    assert "1 examples are left out" in caplog.text
    assert share([[0], [1], [2, 3]], 0, 2) == [[0], [2]]
    assert share([[0], [1], [2, 3]], 1, 2) == [[1], [3]]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="batch_size=0"):
        batches_by_size(3, 0)
    with pytest.raises(ValueError, match="batch_size=-1"):
        group_by_length([1, 2], -1)
    with pytest.raises(ValueError, match="at least one token"):
        batches_by_tokens([1], 0)
    with pytest.raises(ValueError, match="rank=2 of world=2"):
        share([[0]], 2, 2)


@pytest.mark.parametrize(
    ("sizes", "temperature", "wanted"),
    [
        ([10, 5, 1], 1.0, [10, 5, 1]),
        ([9, 3], math.inf, [6, 6]),
        ([16, 4, 1], 2.0, [12, 6, 3]),
        ([100, 1], 0.1, [100, 1]),
        ([7], 3.0, [7]),
    ],
)
def test_shares_of_an_epoch_follow_the_temperature(sizes, temperature, wanted):
    assert temperature_counts(sizes, temperature) == wanted


def test_shares_that_cannot_be_are_errors():
    with pytest.raises(ValueError, match="needs a batch at least"):
        temperature_counts([3, 0])
    with pytest.raises(ValueError, match="above zero"):
        temperature_counts([3, 2], 0)


def test_a_data_set_that_is_rarely_drawn_goes_on_where_it_was():
    plans = [
        lambda number: [[number, part] for part in range(9)],
        lambda number: [[100 + number, part] for part in range(3)],
    ]
    epochs = [mixed_batches(plans, math.inf, seed=3, epoch=epoch) for epoch in range(3)]
    first = [batch for epoch in epochs for batch in epoch if batch[0] < 100]
    assert first == [[number, part] for number in range(2) for part in range(9)]
    second = [batch for epoch in epochs for batch in epoch if batch[0] >= 100]
    assert second == [[100 + number, part] for number in range(6) for part in range(3)]
    turns = [[batch[0] < 100 for batch in epoch] for epoch in epochs]
    assert turns[0] != turns[1]
    assert mixed_batches(plans, math.inf, seed=3, epoch=1) == epochs[1]
