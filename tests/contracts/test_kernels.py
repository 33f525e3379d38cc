"""Every kernel gives what `eager` gives, values and gradients, for any lengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.attention.kernels import KERNELS, attention_maps, eager
from regard.batch import Layout

OTHERS = [name for name in KERNELS if name != "eager"]


def tensors(tokens, heads, head_dim, dtype):
    generator = torch.Generator().manual_seed(tokens)
    shape = (3, tokens, heads, head_dim)
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_().unbind(0)


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 17), min_size=1, max_size=6),
    heads=st.sampled_from([1, 3]),
    head_dim=st.sampled_from([4, 5, 64]),
)
def test_values_and_gradients(name, lengths, heads, head_dim):
    layout = Layout.from_lengths(lengths)
    inputs = tensors(layout.tokens, heads, head_dim, torch.float64)
    expected = eager(*inputs, layout)
    found = KERNELS[name](*inputs, layout)
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
    means = [KERNELS[name](query, key, value, layout, 0.25).mean().item() for _ in range(50)]
    assert torch.allclose(KERNELS[name](query, key, value, layout, 0.0), value, atol=1e-6)
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
