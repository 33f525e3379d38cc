"""Around products of bytes: rows of floats to bytes, and sums of products to floats (bytes.h)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regard.native.calls import AT, INT, LONG, Kernel, addresses

_levels = Kernel("regard_levels", AT, LONG, LONG, AT, AT, INT, AT, AT)
_finish = Kernel("regard_finish", AT, LONG, LONG, AT, AT, AT, LONG)
_relevel = Kernel("regard_relevel", AT, LONG, LONG, AT, AT, AT, LONG, AT, AT, INT, AT, AT)


class Rounding(NamedTuple):
    """How rows become bytes: ``(x factor + offset) / step``, plus 128 if there are both signs.

    Attributes:
        factor: Of each column; their number is a multiple of `LANES` for a kernel.
        offset: Of each column.
        signs: Whether that may be below zero.
    """

    factor: Float[Tensor, " width"]
    offset: Float[Tensor, " width"]
    signs: bool


class Levels(NamedTuple):
    """Rows as bytes.

    Attributes:
        bytes: (rows, width); there may be more rows, of anything.
        steps: (rows, 1) fp32, what a difference of 1 is worth.
    """

    bytes: UInt8[Tensor, "filled width"]
    steps: Float[Tensor, "rows 1"]


def levels(x: Float[Tensor, "rows width"], rounding: Rounding, filled: int) -> Levels:
    """Round each row to bytes.

    Args:
        x: fp32 and contiguous; the width is a multiple of `LANES`.
        rounding: How.
        filled: Rows of the result, at least those of `x`.
    """
    rows, width = x.shape
    out, steps = torch.empty(filled, width, dtype=torch.uint8), torch.empty(rows, 1)
    _levels(x.data_ptr(), rows, width, *rounding_at(rounding), *addresses(out, steps))
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
    rounding: Rounding,
    filled: int,
) -> Levels:
    """Return what `finish_` would make of sums as `levels` would round it."""
    rows, width = sums.shape
    out, found = torch.empty(filled, width, dtype=torch.uint8), torch.empty(rows, 1)
    _relevel(
        sums.data_ptr(), rows, width, *addresses(steps, bias), *curve_at(curve),
        *rounding_at(rounding), *addresses(out, found),
    )  # fmt: skip
    return Levels(out, found)


def rounding_at(rounding: Rounding) -> tuple[int, ...]:
    """Return where factor and offset lie, and whether there are signs."""
    return *addresses(rounding.factor, rounding.offset), rounding.signs


def curve_at(curve: Tensor | None) -> tuple[int | None, int]:
    """Return where a curve lies, and its degree."""
    return (None, 0) if curve is None else (curve.data_ptr(), len(curve) - 2)
