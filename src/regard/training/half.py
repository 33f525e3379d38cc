"""Matrix products in bf16 on a processor, and nothing else in half precision.

What autocast does, with three differences. Everything between the products stays in single
precision, since no other operation is faster in half on a processor. Rows are filled up to a
multiple of 64: oneDNN compiles a kernel for each number of rows it meets, which takes as long as
the product itself, and packed batches have another number in every step. And one copy makes bf16 of
an input that three projections read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_ROWS = 64
#: Smaller matrices gain nothing.
_SMALL = 2**14


class HalfProducts(TorchFunctionMode):
    """While it is on, `torch.nn.functional.linear` multiplies in bf16, with gradients in fp32."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Tensor, int, Tensor] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one function of PyTorch, in bf16 if it is a product worth it."""
        if func is F.linear and not kwargs and worth_it(*args):
            x, weight, *bias = args
            return cast("Tensor", _Linear.apply(x, self._half(x), weight, *bias or [None]))
        return func(*args, **(kwargs or {}))

    def _half(self, x: Tensor) -> Tensor:
        """Return an input in bf16, the same copy for all products that read it in turn."""
        if self._last is None or self._last[0] is not x or self._last[1] != x._version:
            self._last = (x, x._version, _filled(x.detach()))
        return self._last[2]


def worth_it(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether a product is big enough, and in single precision on a processor."""
    return (
        weight.numel() >= _SMALL
        and x.numel() >= _ROWS * x.shape[-1]
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
    )


class _Linear(Function):
    """``x weight^T + bias``; `half` is what `_filled` gives for `x`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, half: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        half_weight = weight.bfloat16()
        ctx.save_for_backward(half, half_weight)
        ctx.shape = x.shape
        turned = half_weight.t()
        if bias is None:
            product = torch.mm(half, turned)
        else:
            product = torch.addmm(bias.bfloat16(), half, turned)
        rows = x.numel() // x.shape[-1]
        return product[:rows].float().view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - torch leaves the decorator untyped
        (gradient,) = grad_outputs
        half, weight = ctx.saved_tensors
        filled = _filled(gradient)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            rows = gradient.numel() // gradient.shape[-1]
            to_x = torch.mm(filled, weight)[:rows].float().view(ctx.shape)
        if ctx.needs_input_grad[2]:
            to_weight = torch.mm(filled.t(), half).float()
        if ctx.needs_input_grad[3]:
            to_bias = gradient.flatten(0, -2).sum(0)
        return to_x, None, to_weight, to_bias


def _filled(x: Tensor) -> Tensor:
    """Return (..., width) as (rows, width) in bf16, filled up with rows of zeros."""
    rows = x.numel() // x.shape[-1]
    half = torch.empty(-(-rows // _ROWS) * _ROWS, x.shape[-1], dtype=torch.bfloat16)
    half[:rows].copy_(x.reshape(rows, -1))
    half[rows:].zero_()
    return half
