"""`Linear`: the kernels for few vectors give what PyTorch's one product gives."""

import pytest
import torch
import torch.nn.functional as F

from regard import linear as module
from regard.linear import Linear, few

INPUTS = 512
#: Not a multiple of any number of threads, and one that is.
OUTPUTS = [257, 512]


def _linear(outputs: int, bias: bool) -> Linear:
    torch.manual_seed(0)
    return Linear(INPUTS, outputs, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("shape", [(1,), (4,), (2, 2), (5,), (64,), (8, 8), (65,)], ids=str)
def test_any_number_of_vectors(shape: tuple[int, ...], outputs: int, bias: bool) -> None:
    linear = _linear(outputs, bias)
    x = torch.randn(*shape, INPUTS)
    with torch.no_grad():
        found = linear(x)
    expected = F.linear(x.double(), linear.weight.double(), linear.bias.double() if bias else None)
    assert found.shape == (*shape, outputs)
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(threads: int) -> None:
    linear, x, before = _linear(257, True), torch.randn(3, INPUTS), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            torch.testing.assert_close(linear(x), F.linear(x, linear.weight, linear.bias))
    finally:
        torch.set_num_threads(before)


def test_the_parts_of_a_weight_are_not_asked_where_they_do_not_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gradients, turned weights, other dtypes, no vectors and many: PyTorch's own product."""
    asked = []

    def noted(*given: torch.Tensor) -> torch.Tensor:
        asked.append(1)
        return few(*given)

    monkeypatch.setattr(module, "few", noted)
    linear, x = _linear(512, True), torch.randn(1, INPUTS)
    linear(x)
    with torch.no_grad():
        linear(torch.randn(65, INPUTS))
        assert linear(torch.randn(0, INPUTS)).shape == (0, 512)
        Linear(16, 16)(torch.randn(1, 16))
        turned = _linear(512, True)
        turned.weight = torch.nn.Parameter(turned.weight.detach().t().contiguous().t())
        found = turned(x)
        linear.to(torch.bfloat16)(x.to(torch.bfloat16))
        assert not asked
        torch.testing.assert_close(found, _linear(512, True)(x))
    assert asked == [1]


def test_gradients_flow_as_ever() -> None:
    linear, x = _linear(512, True), torch.randn(1, INPUTS, requires_grad=True)
    linear(x).sum().backward()
    torch.testing.assert_close(x.grad, linear.weight.detach().sum(0, keepdim=True))
