"""Every kernel gives what `eager` gives, values and gradients, for any lengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.attention.kernels import ALL, KERNELS, Pattern, attention_maps, eager
from regard.batch import Layout

PATTERNS = [
    ALL,
    Pattern(causal=True),
    Pattern(window=2),
    Pattern(causal=True, window=3, scale=0.7),
    Pattern(causal=True, window=0),
]
OTHERS = [name for name in KERNELS if name != "eager"]


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
    layout = Layout.from_lengths(lengths)
    inputs = tensors(layout.tokens, heads[0], head_dim, torch.float64, heads[1])
    expected = eager(*inputs, layout, pattern)
    found = KERNELS[name](*inputs, layout, pattern)
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


@pytest.mark.parametrize("name", KERNELS)
def test_tokens_of_other_sequences_do_not_matter(name):
    layout = Layout.from_lengths([4, 4, 3])
    query, key, value = tensors(layout.tokens, 2, 4, torch.float64)
    before = KERNELS[name](query, key, value, layout)
    changed = value.detach().clone()
    changed[layout.groups[0].view(torch.arange(11))[1]] += 100.0
    after = KERNELS[name](query, key, changed, layout)
    same = (before - after).abs().amax((1, 2)) == 0
    assert same.tolist() == [True] * 4 + [False] * 4 + [True] * 3


@pytest.mark.parametrize("name", KERNELS)
def test_dropout_drops_and_keeps_the_mean(name):
    layout = Layout.from_lengths([16])
    query, key, _ = tensors(16, 2, 4, torch.float32)
    value = torch.ones(16, 2, 4)
    torch.manual_seed(0)
    means = [
        KERNELS[name](query, key, value, layout, dropout=0.25).mean().item() for _ in range(50)
    ]
    assert torch.allclose(KERNELS[name](query, key, value, layout), value, atol=1e-6)
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


@pytest.mark.parametrize("name", KERNELS)
def test_shared_key_heads_equal_repeated_ones(name):
    layout = Layout.from_lengths([5, 3])
    query, key, value = tensors(8, 4, 4, torch.float64, key_heads=2)
    repeated = (each.repeat_interleave(2, 1) for each in (key, value))
    expected = KERNELS[name](query, *repeated, layout)
    assert torch.allclose(KERNELS[name](query, key, value, layout), expected, atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_nothing_comes_from_where_the_pattern_forbids(name, pattern):
    layout = Layout.from_lengths([6])
    query, key, value = tensors(6, 2, 4, torch.float64)
    before = KERNELS[name](query, key, value, layout, pattern)
    for column in range(6):
        changed = value.detach().clone()
        changed[column] += 1.0
        moved = (KERNELS[name](query, key, changed, layout, pattern) - before).abs().amax((1, 2))
        assert torch.equal(moved > 0, pattern.allowed(6)[:, column])


def test_what_patterns_allow():
    def rows(pattern):
        return ["".join(".x"[int(cell)] for cell in row) for row in pattern.allowed(4)]

    assert rows(ALL) == ["xxxx"] * 4
    assert rows(Pattern(causal=True)) == ["x...", "xx..", "xxx.", "xxxx"]
    assert rows(Pattern(window=1)) == ["xx..", "xxx.", ".xxx", "..xx"]
    assert rows(Pattern(causal=True, window=1)) == ["x...", "xx..", ".xx.", "..xx"]
