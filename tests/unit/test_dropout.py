"""Dropout drops what it says, keeps the mean, and follows PyTorch's generator."""

import pytest
import torch
from torch import nn

from regard.dropout import Dropout, keep


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9, 1 / 3])
def test_the_share_and_the_mean(dropout):
    torch.manual_seed(0)
    count = 2_000_001
    factor = keep(count, dropout)
    assert len(factor) == count
    dropped = (factor == 0).double().mean().item()
    assert abs(dropped - dropout) < 5 * (dropout * (1 - dropout) / count) ** 0.5 + 1e-5
    assert torch.allclose(factor.max(), torch.tensor(1 / (1 - dropout)), rtol=1e-4)
    assert set(factor.unique().tolist()) == {0.0, factor.max().item()}


def test_everything_and_nothing():
    assert not keep(9, 1.0).any()
    assert torch.equal(keep(9, 0.0), torch.ones(9))


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    kept = keep(1_000_000, 0.5) > 0
    for lag in (1, 2, 3, 4, 64):
        both = (kept[:-lag] & kept[lag:]).double().mean().item()
        assert abs(both - 0.25) < 0.002


def test_values_gradients_and_seeds():
    x = torch.randn(100, 64, requires_grad=True)
    layer = Dropout(0.25)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)
    kept = first != 0
    assert torch.allclose(first[kept], x[kept] / 0.75, rtol=1e-4)
    first.sum().backward()
    assert torch.equal(x.grad != 0, kept)
    assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_what_is_small_certain_or_judged_goes_pytorchs_way():
    x = torch.randn(100, 64)
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()
    small = torch.randn(10)
    torch.manual_seed(0)
    expected = nn.Dropout(0.3)(small)
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.3)(small), expected)
