"""Around products of bytes: rows of floats to bytes, and sums of products to floats (bytes.h)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regard.native.calls import AT, FLOAT, LONG, Kernel, addresses

#: Factor and offset of columns: ``(x factor + offset) / step + 128``, for numbers on both sides of
#: zero; None is ``(x - floor) / step``.
Scaling = tuple[Float[Tensor, " width"], Float[Tensor, " width"]] | None

_levels = Kernel("regard_levels", AT, LONG, LONG, AT, AT, FLOAT, AT, AT)
_finish = Kernel("regard_finish", AT, LONG, LONG, AT, AT, AT, LONG)
_relevel = Kernel("regard_relevel", AT, LONG, LONG, AT, AT, AT, LONG, FLOAT, AT, AT)


class Levels(NamedTuple):
    """Rows as bytes.

    Attributes:
        bytes: (rows, width); there may be more rows, of anything.
        steps: (rows, 1) fp32, what a difference of 1 is worth.
    """

    bytes: UInt8[Tensor, "filled width"]
    steps: Float[Tensor, "rows 1"]


def levels(
    x: Float[Tensor, "rows width"],
    scaling: Scaling,
    floor: float,
    filled: int,
) -> Levels:
    """Round each row to bytes.

    Args:
        x: fp32 and contiguous; the width is a multiple of `LANES`.
        scaling: Factor and offset: ``(x factor + offset) / step + 128``, for numbers on both sides
            of zero. None is ``(x - floor) / step``.
        floor: No number is below it.
        filled: Rows of the result, at least those of `x`.
    """
    rows, width = x.shape
    out, steps = torch.empty(filled, width, dtype=torch.uint8), torch.empty(rows, 1)
    _levels(x.data_ptr(), rows, width, *scaling_at(scaling), floor, *addresses(out, steps))
    return Levels(out, steps)


def finish_(
    sums: Float[Tensor, "rows width"],
    steps: Float[Tensor, "rows 1"],
    bias: Float[Tensor, " width"],
    curve: Float[Tensor, " numbers"] | None,
) -> None:
    """Make ``activation(sums steps + bias)`` of sums, in place.

    Args:
        sums: fp32 and contiguous.
        steps: What a difference of 1 is worth in each row.
        bias: Added to each row.
        curve: The activation, as `regard.runtime.curves` has it; None: none.
    """
    _finish(sums.data_ptr(), *sums.shape, *addresses(steps, bias), *curve_at(curve))


def relevel(
    sums: Float[Tensor, "rows width"],
    steps: Float[Tensor, "rows 1"],
    bias: Float[Tensor, " width"],
    curve: Float[Tensor, " numbers"] | None,
    floor: float,
    filled: int,
) -> Levels:
    """Return what `finish_` would make of sums as `levels` would round it."""
    rows, width = sums.shape
    out, found = torch.empty(filled, width, dtype=torch.uint8), torch.empty(rows, 1)
    _relevel(
        sums.data_ptr(), rows, width, *addresses(steps, bias), *curve_at(curve), floor,
        *addresses(out, found),
    )  # fmt: skip
    return Levels(out, found)


def scaling_at(scaling: Scaling) -> tuple[int | None, ...]:
    """Return where factor and offset lie, if there are any."""
    return (None, None) if scaling is None else addresses(*scaling)


def curve_at(curve: Tensor | None) -> tuple[int | None, int]:
    """Return where a curve lies, and its degree."""
    return (None, 0) if curve is None else (curve.data_ptr(), len(curve) - 2)
