"""Layer normalisation of a sum (norm.h)."""

import torch
from jaxtyping import Float
from torch import Tensor

from regard.native.calls import AT, FLOAT, INT, LONG, Kernel, addresses

_add_norm = Kernel("regard_add_norm", AT, AT, LONG, LONG, AT, AT, FLOAT, INT, AT)


def add_norm(
    x: Float[Tensor, "rows width"],
    added: Float[Tensor, "rows width"],
    weight: Float[Tensor, " width"],
    bias: Float[Tensor, " width"],
    eps: float,
) -> Float[Tensor, "rows width"]:
    """Return the layer normalisation of ``x + added``; the width is a multiple of `LANES`.

    Args:
        x: fp32 and contiguous.
        added: fp32 or bf16, and contiguous.
        weight: fp32.
        bias: fp32.
        eps: Added to the variance.
    """
    out = torch.empty_like(x)
    _add_norm(
        *addresses(x, added), *x.shape, *addresses(weight, bias), eps,
        added.dtype == torch.bfloat16, out.data_ptr(),
    )  # fmt: skip
    return out
