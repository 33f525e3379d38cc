"""Every kernel gives what `eager` gives, values and gradients, for any lengths."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.attention import kernels
from regard.attention.kernels import KERNELS, attention_maps, eager
from regard.attention.patterns import ALL, Pattern
from regard.batch import Layout
from regard.crossing import Crossing
from regard.places import Group, Scattered

PATTERNS = [
    ALL,
    Pattern(causal=True),
    Pattern(window=2),
    Pattern(causal=True, window=3, scale=0.7),
    Pattern(causal=True, window=0),
]
CPU = [name for name in KERNELS if name != "varlen"]
OTHERS = [name for name in CPU if name != "eager"]


def tensors(tokens, heads, head_dim, dtype, key_heads=None):
    generator = torch.Generator().manual_seed(tokens)
    shape = (3, tokens, heads, head_dim)
    query, key, value = torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
    return query, key[:, :key_heads], value[:, :key_heads]


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 17), min_size=1, max_size=6),
    heads=st.sampled_from([(1, 1), (3, 3), (4, 2), (4, 1)]),
    head_dim=st.sampled_from([4, 5, 64]),
    pattern=st.sampled_from(PATTERNS),
)
def test_values_and_gradients(name, lengths, heads, head_dim, pattern):
    assert_equals_eager(KERNELS[name], lengths, heads, head_dim, pattern)


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=40)
@given(
    lengths=st.lists(st.sampled_from([1, 128, 129, 160, 161, 300]), min_size=1, max_size=3),
    heads=st.sampled_from([(1, 1), (3, 3), (4, 2)]),
    causal=st.booleans(),
    window=st.integers(0, 80),
    scale=st.sampled_from([None, 0.7]),
)
def test_windows_over_long_sequences(name, lengths, heads, causal, window, scale):
    pattern = Pattern(causal=causal, window=window, scale=scale)
    assert_equals_eager(KERNELS[name], lengths, heads, 4, pattern)


def assert_equals_eager(kernel, lengths, heads, head_dim, pattern):
    layout = Layout.from_lengths(lengths)
    inputs = tensors(layout.tokens, heads[0], head_dim, torch.float64, heads[1])
    expected = eager(*inputs, layout, pattern)
    found = kernel(*inputs, layout, pattern)
    assert torch.allclose(found, expected, atol=1e-12)
    if layout.tokens:
        weights = torch.randn_like(expected)
        wanted = torch.autograd.grad((expected * weights).sum(), inputs)
        given_ = torch.autograd.grad((found * weights).sum(), inputs)
        for left, right in zip(given_, wanted, strict=True):
            assert torch.allclose(left, right, atol=1e-12)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_lower_precisions(name, dtype, atol):
    layout = Layout.from_lengths([9, 9, 30, 1])
    inputs = tensors(layout.tokens, 2, 16, torch.float64)
    expected = eager(*inputs, layout)
    found = KERNELS[name](*(each.to(dtype) for each in inputs), layout)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected, atol=atol)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [4, 40])
@pytest.mark.parametrize("count", [1, 3])
def test_the_work_of_a_window_grows_with_the_length(causal, window, count, monkeypatch):
    scores = []

    def counted(query, key, value, **options):
        scores.append(query.shape[:-1].numel() * key.shape[-2])
        return fused(query, key, value, **options)

    fused = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(kernels.F, "scaled_dot_product_attention", counted)
    for length in (500, 1000):
        layout = Layout.from_lengths([length] * count)
        inputs = tensors(layout.tokens, 2, 4, torch.float32)
        KERNELS["sdpa"](*inputs, layout, Pattern(causal=causal, window=window))
    assert scores[1] < 2.2 * scores[0]
    assert scores[1] < 2 * count * 1050 * 3 * max(window, kernels.BLOCK)


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize("pattern", [ALL, Pattern(window=2)])
@pytest.mark.parametrize("length", [4, 200])
@pytest.mark.parametrize("change", [100.0, float("nan")])
def test_tokens_of_other_sequences_do_not_matter(name, pattern, length, change):
    layout = Layout.from_lengths([length, length, 3])
    query, key, value = tensors(layout.tokens, 2, 4, torch.float64)
    before = KERNELS[name](query, key, value, layout, pattern)
    changed = value.detach().clone()
    changed[length : 2 * length] += change
    after = KERNELS[name](query, key, changed, layout, pattern)
    same = (before - after).abs().amax((1, 2)) == 0
    assert same.tolist() == [True] * length + [False] * length + [True] * 3


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize(("length", "pattern"), [(16, ALL), (130, Pattern(window=8))])
def test_dropout_drops_and_keeps_the_mean(name, length, pattern):
    layout = Layout.from_lengths([length])
    query, key, _ = tensors(length, 2, 4, torch.float32)
    value = torch.ones(length, 2, 4)
    torch.manual_seed(0)
    means = [
        KERNELS[name](query, key, value, layout, pattern, 0.25).mean().item() for _ in range(50)
    ]
    assert torch.allclose(KERNELS[name](query, key, value, layout, pattern), value, atol=1e-6)
    assert max(means) - min(means) > 0.01
    assert sum(means) / len(means) == pytest.approx(1.0, abs=0.05)


def test_maps_stand_in_the_callers_rows_and_columns():
    mask = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [1, 0, 1, 0]]).bool()
    layout = Layout.from_mask(mask)
    query, key, value = tensors(layout.tokens, 2, 4, torch.float64)
    maps = attention_maps(query, key, layout)
    pairs = mask[:, None, :, None] & mask[:, None, None, :]
    assert torch.equal(maps > 0, pairs.expand_as(maps))
    assert torch.allclose(maps.sum(-1), mask[:, None].double().expand(3, 2, 4))
    mixed = torch.einsum("rhqk,rkhd->rqhd", maps, layout.pad(value))
    assert torch.allclose(layout.pack(mixed), eager(query, key, value, layout))


@pytest.mark.parametrize("name", CPU)
def test_shared_key_heads_equal_repeated_ones(name):
    layout = Layout.from_lengths([5, 3])
    query, key, value = tensors(8, 4, 4, torch.float64, key_heads=2)
    repeated = (each.repeat_interleave(2, 1) for each in (key, value))
    expected = KERNELS[name](query, *repeated, layout)
    assert torch.allclose(KERNELS[name](query, key, value, layout), expected, atol=1e-12)


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_nothing_comes_from_where_the_pattern_forbids(name, pattern):
    layout = Layout.from_lengths([6])
    query, key, value = tensors(6, 2, 4, torch.float64)
    before = KERNELS[name](query, key, value, layout, pattern)
    for column in range(6):
        changed = value.detach().clone()
        changed[column] += 1.0
        moved = (KERNELS[name](query, key, changed, layout, pattern) - before).abs().amax((1, 2))
        assert torch.equal(moved > 0, pattern.allowed(6, 6)[:, column])


def test_what_patterns_allow():
    def rows(pattern):
        return ["".join(".x"[int(cell)] for cell in row) for row in pattern.allowed(4, 4)]

    assert rows(ALL) == ["xxxx"] * 4
    assert rows(Pattern(causal=True)) == ["x...", "xx..", "xxx.", "xxxx"]
    assert rows(Pattern(window=1)) == ["xx..", "xxx.", ".xxx", "..xx"]
    assert rows(Pattern(causal=True, window=1)) == ["x...", "xx..", ".xx.", "..xx"]


def shuffled(lengths):
    """Return a layout of rows that start late: nothing lies where a reshape would put it."""
    mask = torch.zeros(len(lengths), max(lengths) + 2, dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, row % 3 : row % 3 + length] = True
    return Layout.from_mask(mask)


def row_by_row(query, key, value, crossing, pattern=ALL):
    """Attend with each row's own tensors, by the formula."""
    mixed = torch.empty_like(query)
    for row in range(len(crossing.queries.lengths)):
        parts = []
        for layout in (crossing.queries, crossing.keys):
            number = layout.order.index(row)
            parts.append(slice(*layout.offsets[number : number + 2].tolist()))
        mine, its = parts
        scores = torch.einsum("qhd,khd->hqk", query[mine], key[its]) * query.shape[-1] ** -0.5
        hidden = ~pattern.allowed(*scores.shape[1:])
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        mixed[mine] = torch.einsum("hqk,khd->qhd", weights, value[its])
    return mixed


@pytest.mark.parametrize("name", CPU)
@settings(max_examples=40)
@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=7))
def test_a_row_attends_to_the_same_row_of_another_layout(name, rows):
    crossing = Crossing.between(shuffled([q for q, _ in rows]), shuffled([k for _, k in rows]))
    query = tensors(crossing.queries.tokens, 2, 4, torch.float64)[0]
    _, key, value = tensors(crossing.keys.tokens, 2, 4, torch.float64)
    found = KERNELS[name](query, key, value, crossing)
    expected = row_by_row(query, key, value, crossing)
    assert torch.allclose(found, expected, atol=1e-12)
    weights = torch.randn_like(expected)
    if crossing.queries.tokens:
        gradients, wanted = (
            torch.autograd.grad((out * weights).sum(), (query, key, value))
            for out in (found, expected)
        )
        for left, right in zip(gradients, wanted, strict=True):
            assert torch.allclose(left, right, atol=1e-12)


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_queries_are_the_last_of_longer_keys(name, pattern):
    """As in decoding: of 5, 7, 7 and 3 tokens the last 2 ask."""
    if pattern.scale is not None:
        pattern = replace(pattern, scale=None)
    crossing = Crossing.between(shuffled([2, 2, 2, 2]), shuffled([5, 7, 7, 3]))
    query = tensors(8, 2, 4, torch.float64)[0]
    _, key, value = tensors(22, 2, 4, torch.float64)
    found = KERNELS[name](query, key, value, crossing, pattern)
    assert torch.allclose(found, row_by_row(query, key, value, crossing, pattern), atol=1e-12)


def test_blocks_of_equal_neighbours_are_views():
    crossing = Crossing.between(Layout.from_lengths([2, 2, 3]), Layout.from_lengths([4, 4, 4]))
    assert [block.keys for block in crossing.blocks] == [Group(8, 1, 4), Group(0, 2, 4)]
    crossing = Crossing.between(Layout.from_lengths([2, 2]), Layout.from_lengths([4, 3]))
    (block,) = crossing.blocks
    assert isinstance(block.keys, Scattered)
    assert block.keys.mask.tolist() == [[True] * 4, [False] + [True] * 3]


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize("pattern", [ALL, Pattern(causal=True), Pattern(window=1, scale=1.0)])
@pytest.mark.parametrize("of_each_row", [False, True])
def test_a_bias_adds_to_the_scores(name, pattern, of_each_row):
    layout = Layout.from_lengths([3, 5, 5])
    shapes = [
        (group.count if of_each_row else 1, 2, group.length, group.length)
        for group in layout.groups
    ]
    bias = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    query, key, value = tensors(13, 2, 4, torch.float64)
    found = KERNELS[name](query, key, value, replace(layout, bias=bias), pattern)
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad((found * weights).sum(), bias)
    scale = 0.5 if pattern.scale is None else pattern.scale
    for group, each, gradient in zip(layout.groups, bias, gradients, strict=True):
        q, k, v = (group.view(part).transpose(1, 2) for part in (query, key, value))
        scores = q @ k.transpose(-1, -2) * scale + each
        scores = scores.masked_fill(~pattern.allowed(group.length, group.length), -torch.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2)
        assert torch.allclose(group.view(found), mixed, atol=1e-12)
        (wanted,) = torch.autograd.grad((mixed * group.view(weights)).sum(), each)
        assert torch.allclose(gradient, wanted, atol=1e-12)


def test_maps_of_crossings_stand_in_the_callers_rows_and_columns():
    queries, keys = shuffled([2, 0, 2, 3]), shuffled([4, 2, 3, 1])
    crossing = Crossing.between(queries, keys)
    query = tensors(queries.tokens, 2, 4, torch.float64)[0]
    _, key, value = tensors(keys.tokens, 2, 4, torch.float64)
    maps = attention_maps(query, key, crossing)
    there = [layout.pad(torch.ones(layout.tokens)).bool() for layout in (queries, keys)]
    pairs = there[0][:, None, :, None] & there[1][:, None, None, :]
    assert torch.equal(maps > 0, pairs.expand_as(maps))
    mixed = torch.einsum("rhqk,rkhd->rqhd", maps, keys.pad(value))
    assert torch.allclose(queries.pack(mixed), eager(query, key, value, crossing))
