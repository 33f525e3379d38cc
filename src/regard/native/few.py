"""Products for few rows, whose time is reading the weights once (few.h)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Float, Int8, Int32
from torch import Tensor

from regard.native.bytes import Rounding, curve_at, rounding_at
from regard.native.calls import AT, INT, LANES, LONG, Kernel, addresses

_few_bytes = Kernel(
    "regard_few_bytes", AT, LONG, LONG, AT, AT, INT, AT, AT, AT, AT, LONG, AT, LONG, AT
)
_few_halves = Kernel("regard_few_halves", AT, LONG, LONG, AT, AT, LONG, AT, LONG, AT)


class FewBytes(NamedTuple):
    """Bytes as `multiply_few_bytes` reads them.

    Attributes:
        weight: (outputs / 64, width / 4, 64, 4), with zeros up to a multiple of 64 outputs.
        scale: What a 1 of each output is worth.
        sums: The sum of each output's bytes.
        outputs: How many there are.
    """

    weight: Int8[Tensor, "blocks fours 64 4"]
    scale: Float[Tensor, " filled"]
    sums: Int32[Tensor, " filled"]
    outputs: int


class FewHalves(NamedTuple):
    """Weights in bf16 as `multiply_few_halves` reads them.

    Attributes:
        weight: (outputs / 64, width, 64), with zeros up to a multiple of 64 outputs.
        outputs: How many there are.
    """

    weight: BFloat16[Tensor, "blocks width 64"]
    outputs: int


def few_bytes(
    weight: Int8[Tensor, "outputs width"], scale: Float[Tensor, " outputs"]
) -> FewBytes | None:
    """Lay out bytes for `multiply_few_bytes`; None: there is no such kernel for them."""
    outputs, width = weight.shape
    if not _few_bytes.there() or width % LANES:
        return None
    filled = F.pad(weight, (0, 0, 0, -outputs % 64))
    blocks = filled.view(-1, 64, width // 4, 4).transpose(1, 2).contiguous()
    sums = filled.sum(1, dtype=torch.int32)
    return FewBytes(blocks, F.pad(scale, (0, -outputs % 64)), sums, outputs)


def few_halves(weight: BFloat16[Tensor, "outputs width"]) -> FewHalves | None:
    """Lay out bf16 weights for `multiply_few_halves`; None: there is no such kernel for them."""
    outputs, width = weight.shape
    if not _few_halves.there():
        return None
    blocks = F.pad(weight, (0, 0, 0, -outputs % 64)).view(-1, 64, width).transpose(1, 2)
    return FewHalves(blocks.contiguous(), outputs)


def with_room(values: Float[Tensor, " outputs"]) -> Float[Tensor, " outputs"]:
    """Return a copy with zeros behind it up to a multiple of 64, which kernels read."""
    return F.pad(values, (0, -len(values) % 64))[: len(values)]


def multiply_few_bytes(
    x: Float[Tensor, "rows width"],
    rounding: Rounding,
    by: FewBytes,
    bias: Float[Tensor, " outputs"],
    curve: Float[Tensor, " numbers"] | None,
) -> Float[Tensor, "rows outputs"]:
    """Round rows as `levels` does, multiply, and finish as `finish_` does.

    Args:
        x: fp32 and contiguous; the width is a multiple of `LANES`.
        rounding: How.
        by: What to multiply by.
        bias: As `with_room` made it.
        curve: See `finish_`.
    """
    rows, width = x.shape
    out = torch.empty(rows, by.outputs)
    _few_bytes(
        x.data_ptr(), rows, width, *rounding_at(rounding), by.weight.data_ptr(),
        by.scale.data_ptr(), by.sums.data_ptr(), bias.data_ptr(), by.outputs, *curve_at(curve),
        out.data_ptr(),
    )  # fmt: skip
    return out


def multiply_few_halves(
    x: Float[Tensor, "rows width"],
    by: FewHalves,
    bias: Float[Tensor, " outputs"],
    curve: Float[Tensor, " numbers"] | None,
) -> Float[Tensor, "rows outputs"]:
    """Return ``activation(x weight^T + bias)`` for a weight in bf16, added up in fp32.

    Args:
        x: fp32 and contiguous.
        by: What to multiply by.
        bias: fp32, as `with_room` made it.
        curve: See `finish_`.
    """
    rows, width = x.shape
    out = torch.empty(rows, by.outputs)
    _few_halves(
        x.data_ptr(), rows, width, *addresses(by.weight, bias), by.outputs, *curve_at(curve),
        out.data_ptr(),
    )  # fmt: skip
    return out
