"""Products in bf16: what PyTorch gives for rounded inputs, whatever the number of rows."""

import pytest
import torch
import torch.nn.functional as F

from regard.training import precision
from regard.training.arguments import TrainingArguments
from regard.training.half import HalfProducts


def parts(*rows, bias=True):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(*rows, 128, generator=draw).requires_grad_()
    weight = torch.randn(256, 128, generator=draw).requires_grad_()
    return (x, weight, torch.randn(256, generator=draw).requires_grad_() if bias else None)


def rounded(tensor):
    return tensor.detach().bfloat16().double()


@pytest.mark.parametrize("rows", [(64,), (65,), (3, 50), (2, 5, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_rounded_inputs(rows, bias):
    x, weight, more = parts(*rows, bias=bias)
    with HalfProducts():
        found = F.linear(x, weight, more)
    assert found.dtype == torch.float32
    wanted = rounded(x) @ rounded(weight).T + (rounded(more) if bias else 0)
    assert torch.allclose(found.double(), wanted, rtol=2**-7, atol=0.1)
    gradient = torch.randn_like(found)
    found.backward(gradient)
    flat, seen = rounded(gradient).flatten(0, -2), rounded(x).flatten(0, -2)
    assert torch.allclose(
        x.grad.double(), rounded(gradient) @ rounded(weight), rtol=2**-7, atol=0.2
    )
    assert torch.allclose(weight.grad.double(), flat.T @ seen, rtol=2**-7, atol=0.2)
    if bias:
        assert torch.equal(more.grad, gradient.flatten(0, -2).sum(0))


def test_rows_that_fill_up_change_nothing():
    x, weight, bias = parts(128)
    with HalfProducts():
        whole, part = F.linear(x, weight, bias), F.linear(x[:100], weight, bias)
    assert torch.equal(whole[:100], part)


def test_a_changed_input_is_read_again():
    x, weight, _ = parts(64)
    x = x.detach()
    with HalfProducts():
        before = F.linear(x, weight)
        x.mul_(2)
        after = F.linear(x, weight)
    assert torch.equal(after, 2 * before)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.ones(63, 128), torch.ones(256, 128)),
        (torch.ones(64, 128), torch.ones(2, 128)),
        (torch.ones(64, 128).double(), torch.ones(256, 128).double()),
        (torch.ones(64, 128).bfloat16(), torch.ones(256, 128).bfloat16()),
    ],
)
def test_small_products_and_other_types_are_left_alone(x, weight):
    x = x + 0.001
    with HalfProducts():
        found = F.linear(x, weight)
    assert torch.equal(found, F.linear(x, weight))


def test_a_frozen_weight_gets_no_gradient():
    x, weight, bias = parts(64)
    weight.requires_grad_(False)
    with HalfProducts():
        F.linear(x, weight, bias).sum().backward()
    assert weight.grad is None
    assert x.grad is not None


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("here", [True, False])
def test_bf16_without_instructions_for_it_is_told(here, bf16, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(precision, "multiplies", lambda kind: here and kind == "bfloat16")
    precision.check(torch.device("cpu"), TrainingArguments(str(tmp_path), bf16=bf16))
    assert ["bf16 is slow here" in said for said in caplog.messages] == [True] * (bf16 and not here)
