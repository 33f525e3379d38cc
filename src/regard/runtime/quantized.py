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
from regard.native.bytes import Levels, Scaling, finish_, levels, relevel
from regard.native.calls import LANES, usable
from regard.native.few import few_bytes, multiply_few_bytes, with_room
from regard.runtime.curves import curve_of
from regard.runtime.products import ROWS, Product, filled_rows

_onednn = cast("Any", torch.ops.onednn)

#: Shares of the columns' ranges that the weights may take over (Xiao et al., equation 4).
_SHARES = (0.0, 0.3, 0.5, 0.7)
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
        few: Whether to keep the weights also as they are read for few rows.

    Attributes:
        zero: Which byte stands for zero.
        scaling: Factor and offset of the inputs' columns, if they are on both sides of zero then.
        floor: Else no input is below it.
    """

    precision = "int8"
    zero: int
    scaling: Scaling = None
    floor: float = 0.0

    def __init__(self, weight: Tensor, bias: Tensor | None, *, few: bool = False) -> None:
        self.scale = weight.abs().amax(1).div_(127).clamp_(min=_TINY)
        rounded = (weight / self.scale[:, None]).round_().to(torch.int8)
        self.weight = _onednn.qlinear_prepack(rounded, [ROWS, weight.shape[1]])
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        self.few = few_bytes(rounded, self.scale) if few else None
        self.bias = with_room(torch.zeros(len(weight)) if bias is None else bias)
        self.compiled = weight.shape[1] % LANES == 0

    def __call__(self, x: Tensor, act: Activation | None = None) -> Tensor:
        """Map (rows, in) to (rows, out)."""
        if self.few is None or len(x) > FEW or not usable(x):
            return self.of(self.rounded(x), act)
        curve = None if act is None else curve_of(act)
        x = x.float().contiguous()
        mapped = multiply_few_bytes(x, self.scaling, self.floor, self.few, self.bias, curve)
        return mapped if act is None or curve is not None else act(mapped)

    def of(self, given: Levels, act: Activation | None = None) -> Tensor:
        """Map inputs that are bytes already."""
        sums, curve = self.sums(given), None if act is None else curve_of(act)
        if self.compiled and usable(sums):
            finish_(sums, given.steps, self.bias, curve)
            return sums if act is None or curve is not None else act(sums)
        mapped = torch.addcmul(self.bias, sums, given.steps, out=sums)
        return mapped if act is None else act(mapped)

    def then(self, x: Tensor, act: Activation, after: Product) -> Tensor:
        """Map by this product, an activation, and another product."""
        curve, short = curve_of(act), self.few is not None and len(x) <= FEW
        if short or curve is None or not isinstance(after, Unsigned) or not usable(x):
            return super().then(x, act, after)
        if not (self.compiled and after.compiled):
            return super().then(x, act, after)
        given = self.rounded(x)
        sums = self.sums(given)
        again = relevel(sums, given.steps, self.bias, curve, after.floor, len(given.bytes))
        return after.of(again)

    def rounded(self, x: Tensor) -> Levels:
        """Return inputs as bytes, and what the bytes of each row are worth."""
        x = x.float().contiguous()
        if self.compiled and usable(x):
            return levels(x, self.scaling, self.floor, filled_rows(len(x)))
        if self.scaling is None:
            step = x.amax(-1, keepdim=True).sub_(self.floor).div_(255).clamp_(min=_TINY)
            factor = step.reciprocal()
            numbers = torch.addcmul(-self.floor * factor - 128, x, factor)
        else:
            factor, offset = self.scaling
            even = torch.addcmul(offset, x, factor)
            step = even.abs().amax(-1, keepdim=True).div_(127).clamp_(min=_TINY)
            numbers = even.mul_(step.reciprocal())
        # Floats become signed bytes quickly, and unsigned ones, which oneDNN wants, do not.
        found = numbers.round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        return Levels(found, step)

    def sums(self, given: Levels) -> Tensor:
        """Return the products of bytes, (rows, out), as multiples of the rows' steps."""
        whole = (given.bytes, 1.0, self.zero, self.weight, self.scale, self.zeros, None)
        sums = _onednn.qlinear_pointwise(*whole, 1.0, 0, torch.float32, "none", [], "")
        return sums[: len(given.steps)]


class Signed(Bytes):
    """Inputs on both sides of a mean.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        shift: (in,), the means of the inputs' columns.
        range: (in,), what each column is divided by.
    """

    zero = 128

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        shift: Tensor,
        range: Tensor,  # noqa: A002 - what it is
        *,
        few: bool = False,
    ) -> None:
        super().__init__(weight * range, F.linear(shift, weight, bias), few=few)
        factor = range.reciprocal()
        self.scaling = factor, -shift * factor


class Unsigned(Bytes):
    """Inputs above a floor.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        floor: No input is below it.
    """

    zero = 0

    def __init__(
        self, weight: Tensor, bias: Tensor | None, floor: float, *, few: bool = False
    ) -> None:
        shift = torch.full((weight.shape[1],), floor)
        super().__init__(weight, F.linear(shift, weight, bias), few=few)
        self.floor = floor


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
    product = _least_wrong(weight, bias, sample, floor, few=few)
    product.bias += (F.linear(sample, weight, bias) - product(sample)).mean(0)
    return product


def _least_wrong(
    weight: Tensor, bias: Tensor | None, sample: Tensor, floor: float | None, *, few: bool
) -> Bytes:
    if floor is not None:
        return Unsigned(weight, bias, floor, few=few)
    shift = sample.mean(0)
    reach = (sample - shift).abs().amax(0).clamp_(min=1e-5)
    against = weight.abs().amax(0).clamp_(min=1e-5)
    ranges = {share: reach**share / against ** (1 - share) for share in _SHARES if share}
    ranges[0.0] = torch.ones_like(reach)
    part, wanted = weight[:_JUDGED], F.linear(sample, weight[:_JUDGED])

    def error(share: float) -> float:
        wrong = Signed(part, None, shift, ranges[share])(sample) - wanted
        return wrong.square_().sum().item()

    return Signed(weight, bias, shift, ranges[min(_SHARES, key=error)], few=few)
