"""`Linear`: an affine map that is as fast for one token as memory allows.

A decoder that writes computes with one vector per text: all of the time is reading the weights. The
libraries below PyTorch read them with one thread then, at a fraction of what memory gives. Here
each thread has a part of the rows, as matrices of one batch. Measured in docs/performance.md.
"""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Vectors up to which parts of the weights win.
PARTS = 4
#: Vectors up to which another kernel than PyTorch's own is faster; above the parts it is oneDNN's.
_FEW = 64 if torch.backends.mkldnn.is_available() else PARTS
#: Smaller matrices lie in the caches.
_SMALL = 2**16


class Linear(nn.Linear):
    """`torch.nn.Linear`, with kernels of its own for few vectors on a processor."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch calls it
        """Map (..., in_features) to (..., out_features)."""
        if _few(input, self.weight):
            return few(input, self.weight, self.bias)
        return F.linear(input, self.weight, self.bias)


def _few(x: Tensor, weight: Tensor) -> bool:
    """Whether there are few vectors, and no one asks for gradients."""
    return (
        not torch.compiler.is_compiling()  # first: a size that is looked at is compiled for
        and x.numel() <= _FEW * x.shape[-1]
        and weight.numel() >= _SMALL
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and weight.is_contiguous()
    )


def few(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x weight^T + bias`` for few vectors (..., in) and a weight (out, in)."""
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > PARTS:
        onednn = cast("Callable[..., Tensor]", torch.ops.mkldnn._linear_pointwise)
        mapped = onednn(rows, weight, bias, "none", [], "")
    else:
        mapped = _by_parts(rows, weight)
        mapped = mapped if bias is None else mapped.add_(bias)
    return mapped.view(*x.shape[:-1], len(weight))


def _by_parts(rows: Tensor, weight: Tensor) -> Tensor:
    """Return (rows, out), each thread reading a part of the weight."""
    parts, (outputs, inputs) = max(torch.get_num_threads(), 2), weight.shape
    height = outputs // parts
    whole = height * parts
    columns = rows.t()
    mapped = rows.new_empty(outputs, len(rows))
    torch.bmm(
        weight[:whole].view(parts, height, inputs),
        columns.expand(parts, -1, -1),
        out=mapped[:whole].view(parts, height, -1),
    )
    if whole < outputs:
        torch.mm(weight[whole:], columns, out=mapped[whole:])
    return mapped.t().contiguous()
