"""`RelativeBias` against its definition: one number per head and bucket of the distance."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard import ConfigError
from regard.attention.relative import RelativeBias
from regard.batch import Layout
from regard.crossing import Crossing
from regard.places import Scattered

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=5)


def random_bias(causal):
    torch.manual_seed(0)
    return RelativeBias(3, 8, 6, causal=causal).double()


def by_pair(bias, queries, keys):
    """Return (heads, queries, keys) from the places of queries and keys, pair by pair."""
    distances = torch.tensor(keys)[None] - torch.tensor(queries)[:, None]
    return bias.weight[bias.bucket(distances.long())].permute(2, 0, 1)


def test_buckets_by_hand():
    """Of 4 before, distances 0 and 1 have their own, and the others grow by the logarithm to 6."""
    away = torch.arange(9)
    both, before = random_bias(causal=False), random_bias(causal=True)
    assert both.bucket(-away).tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 3]
    assert both.bucket(away).tolist() == [0, 5, 6, 6, 7, 7, 7, 7, 7]
    assert before.bucket(-away).tolist() == [0, 1, 2, 3, 4, 6, 7, 7, 7]
    assert before.bucket(away).tolist() == [0] * 9


@pytest.mark.parametrize("causal", [False, True])
@given(lengths=LENGTHS)
def test_every_group_gets_the_bias_of_its_length(causal, lengths):
    bias, layout = random_bias(causal), Layout.from_lengths(lengths)
    found = bias(layout)
    assert len(found) == len(layout.groups)
    for group, each in zip(layout.groups, found, strict=True):
        assert each.shape == (1, 3, group.length, group.length)
        places = [*range(group.length)]
        assert torch.equal(each[0], by_pair(bias, places, places))


def test_gradients_are_those_of_the_definition():
    bias, layout = random_bias(causal=False), Layout.from_lengths([9, 4, 4])
    found, wanted = (
        torch.autograd.grad(sum(each.sin().sum() for each in every), bias.weight)[0]
        for every in (
            bias(layout),
            [by_pair(bias, [*range(length)], [*range(length)]) for length in (9, 4)],
        )
    )
    assert torch.allclose(found, wanted)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [([2, 1, 3], [5, 5, 5]), ([1, 1, 1], [9, 2, 4])])
def test_queries_are_the_last_of_more_keys(causal, queries, keys):
    bias = random_bias(causal)
    crossing = Crossing.between(Layout.from_lengths(queries), Layout.from_lengths(keys))
    for block, each in zip(crossing.blocks, bias(crossing), strict=True):
        length, some = block.keys.length, block.queries.length
        places = [*range(length)]
        whole = by_pair(bias, places, places)
        assert torch.equal(each[0], whole[:, length - some :])
        if isinstance(block.keys, Scattered):  # shorter sequences end at the last column too
            short = min(keys)
            alone = by_pair(bias, [short - 1], [*range(short)])
            assert torch.equal(each[0, :, -1:, length - short :], alone)


def test_distances_across_a_hole_count_what_is_missing():
    mask = torch.tensor([[1, 0, 0, 1, 1, 0], [0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()
    bias, layout = random_bias(causal=False), Layout.from_mask(mask)
    long, short = bias(layout)
    assert torch.equal(long[0], by_pair(bias, [*range(6)], [*range(6)]))
    assert torch.equal(short[0], by_pair(bias, [0, 3, 4], [0, 3, 4]))
    assert torch.equal(short[1], by_pair(bias, [0, 1, 2], [0, 1, 2]))


def test_buckets_are_found_once_per_distance(monkeypatch):
    seen = []
    plain = RelativeBias.bucket
    monkeypatch.setattr(
        RelativeBias, "bucket", lambda self, each: seen.append(each) or plain(self, each)
    )
    random_bias(causal=False)(Layout.from_lengths([9, 4, 4, 1]))
    assert [each.tolist() for each in seen] == [[*range(-8, 9)]]


@pytest.mark.parametrize(
    ("buckets", "furthest", "causal"),
    [(3, 128, False), (1, 128, True), (32, 8, False), (8, 4, True)],
)
def test_sizes_that_make_no_buckets_are_refused(buckets, furthest, causal):
    with pytest.raises(ConfigError, match=r"relative_attention_num_buckets \(\d+\) must be"):
        RelativeBias(2, buckets, furthest, causal=causal)
