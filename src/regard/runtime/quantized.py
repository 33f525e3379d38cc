"""Products of bytes: eight bits for each weight and each input (Dettmers et al. 2022, section 2).

A weight has a scale for each output, an input one for each row, found as it comes: so the answer to
one text does not depend on those beside it, and no input is too large. What is known before is how
the columns of the inputs differ: they are shifted by their means and divided by a share of their
ranges, which the weights make good for (Xiao et al. 2023, section 4). The share is that which errs
least on a sample.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.layers.activations import ACTIVATIONS, Activation
from regard.native.bytes import Levels, Rounding, finish_, levels, relevel
from regard.native.calls import LANES, usable
from regard.native.few import few_bytes, multiply_few_bytes, with_room
from regard.runtime.curves import curve_of
from regard.runtime.products import ROWS, Product, filled_rows

_onednn = cast("Any", torch.ops.onednn)

#: Shares of the columns' ranges that the weights may take over (Xiao et al., equation 4).
_SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
#: Outputs by which a share is chosen.
_JUDGED = 4096
_TINY = 1e-12
#: Rows up to which reading the weights takes more time than multiplying by them.
FEW = 24
#: No activation gives less; where inputs are known to be above, all 256 bytes are used for them.
FLOORS: Mapping[Activation, float] = {
    ACTIVATIONS["gelu"]: -0.17,
    ACTIVATIONS["gelu_new"]: -0.1702,
    ACTIVATIONS["relu"]: 0.0,
    ACTIVATIONS["silu"]: -0.2785,
}


class Bytes(Product):
    """A product of bytes by oneDNN, with results in fp32.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        shift: (in,), what is taken from the inputs' columns.
        range: (in,), what each column is divided by then.
        signs: Whether the columns are on both sides of zero then; else they are never below it.
        few: Whether to keep the weights also as they are read for few rows.
    """

    precision = "int8"

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        shift: Tensor,
        range: Tensor,  # noqa: A002 - what it is
        *,
        signs: bool = True,
        few: bool = False,
    ) -> None:
        factor = range.reciprocal()
        self.rounding = Rounding(factor, -shift * factor, signs)
        self.bias = with_room(F.linear(shift, weight, bias))
        weight = weight * range
        self.scale = weight.abs().amax(1).div_(127).clamp_(min=_TINY)
        rounded = (weight / self.scale[:, None]).round_().to(torch.int8)
        self.weight = _onednn.qlinear_prepack(rounded, [ROWS, weight.shape[1]])
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        self.few = few_bytes(rounded, self.scale) if few else None
        self.even = weight.shape[1] % LANES == 0

    def __call__(self, x: Tensor, act: Activation | None = None) -> Tensor:
        """Map (rows, in) to (rows, out)."""
        if self.few is None or len(x) > FEW or not usable(x):
            return self.of(self.rounded(x), act)
        curve, x = None if act is None else curve_of(act), x.float().contiguous()
        mapped = multiply_few_bytes(x, self.rounding, self.few, self.bias, curve)
        return mapped if act is None or curve is not None else act(mapped)

    def then(self, x: Tensor, act: Activation, after: Product) -> Tensor:
        """Map by this product, an activation, and another product."""
        curve, short = curve_of(act), self.few is not None and len(x) <= FEW
        if not isinstance(after, Bytes) or curve is None or short:
            return super().then(x, act, after)
        if not after.even or not usable(x):
            return super().then(x, act, after)
        given = self.rounded(x)
        sums = self.sums(given)
        filled = len(given.bytes)
        return after.of(relevel(sums, given.steps, self.bias, curve, after.rounding, filled))

    def of(self, given: Levels, act: Activation | None = None) -> Tensor:
        """Map inputs that are bytes already."""
        sums, curve = self.sums(given), None if act is None else curve_of(act)
        if usable(sums):
            finish_(sums, given.steps, self.bias, curve)
            return sums if act is None or curve is not None else act(sums)
        mapped = torch.addcmul(self.bias, sums, given.steps, out=sums)
        return mapped if act is None else act(mapped)

    def rounded(self, x: Tensor) -> Levels:
        """Return inputs as bytes, and what the bytes of each row are worth."""
        x = x.float().contiguous()
        if self.even and usable(x):
            return levels(x, self.rounding, filled_rows(len(x)))
        factor, offset, signs = self.rounding
        even = torch.addcmul(offset, x, factor)
        top = even.abs() if signs else even
        step = top.amax(-1, keepdim=True).div_(127 if signs else 255).clamp_(min=_TINY)
        numbers = even.mul_(step.reciprocal())
        # Floats become signed bytes quickly, and unsigned ones, which oneDNN wants, do not.
        numbers = numbers if signs else numbers.sub_(128)
        return Levels(numbers.round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128), step)

    def sums(self, given: Levels) -> Tensor:
        """Return the products of bytes, (rows, out), as multiples of the rows' steps."""
        zero = 128 if self.rounding.signs else 0
        whole = (given.bytes, 1.0, zero, self.weight, self.scale, self.zeros, None)
        sums = _onednn.qlinear_pointwise(*whole, 1.0, 0, torch.float32, "none", [], "")
        return sums[: len(given.steps)]


def quantized(
    weight: Tensor,
    bias: Tensor | None,
    sample: Tensor,
    floor: float | None = None,
    *,
    few: bool = False,
) -> Bytes:
    """Return the product of bytes that errs least.

    Args:
        weight: (out, in), in fp32.
        bias: (out,), or None.
        sample: (rows, in), inputs of the kind to come.
        floor: What no input is below, if that is known.
        few: Whether it will often be of few rows: then the weights are kept twice.
    """
    signs = floor is None
    shift = sample.mean(0) if floor is None else torch.full((weight.shape[1],), floor)
    # After an activation it is single tokens that are far off, and not columns.
    ranges = _ranges(weight, sample - shift) if signs else [torch.ones_like(shift)]
    part, wanted = weight[:_JUDGED], F.linear(sample, weight[:_JUDGED])

    def error(range: Tensor) -> float:  # noqa: A002 - what it is
        wrong = Bytes(part, None, shift, range, signs=signs)(sample) - wanted
        return wrong.square_().sum().item()

    product = Bytes(weight, bias, shift, min(ranges, key=error), signs=signs, few=few)
    product.bias += (F.linear(sample, weight, bias) - product(sample)).mean(0)
    return product


def _ranges(weight: Tensor, shifted: Tensor) -> list[Tensor]:
    """Return by what columns may be divided, for shares of their own ranges."""
    reach = shifted.abs().amax(0)
    reach = reach.clamp(min=float(reach.mean()) / 4 + _TINY)  # what a few texts left out may come
    against = weight.abs().amax(0).clamp_(min=1e-5)
    some = [reach**share / against ** (1 - share) for share in _SHARES]
    return [torch.ones_like(reach), *some]
