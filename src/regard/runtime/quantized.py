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
from regard.runtime.products import ROWS, Product

_onednn = cast("Any", torch.ops.onednn)

#: Shares of the columns' ranges that the weights may take over (Xiao et al., equation 4).
_SHARES = (0.0, 0.3, 0.5, 0.7)
#: Outputs by which a share is chosen.
_JUDGED = 4096
_TINY = 1e-12
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
    """

    precision = "int8"
    #: Which byte stands for zero.
    zero: int

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.scale = weight.abs().amax(1).div_(127).clamp_(min=_TINY)
        rounded = (weight / self.scale[:, None]).round_().to(torch.int8)
        self.weight = _onednn.qlinear_prepack(rounded, [ROWS, weight.shape[1]])
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        self.bias = torch.zeros(len(weight)) if bias is None else bias

    def __call__(self, x: Tensor, act: Activation | None = None) -> Tensor:
        """Map (rows, in) to (rows, out)."""
        levels, step = self.levels(x.float())
        # Floats become signed bytes quickly, and unsigned ones, which oneDNN wants, do not.
        found = levels.round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        given = (found, 1.0, self.zero, self.weight, self.scale, self.zeros, None)
        product = _onednn.qlinear_pointwise(*given, 1.0, 0, torch.float32, "none", [], "")
        mapped = torch.addcmul(self.bias, product, step, out=product)
        return mapped if act is None else act(mapped)

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs as numbers from -128 to 127, and for each row (rows, 1) what 1 is worth."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it rounds")


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
    ) -> None:
        super().__init__(weight * range, F.linear(shift, weight, bias))
        self.factor = range.reciprocal()
        self.offset = -shift * self.factor

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Divide by the largest of the row, on either side."""
        even = torch.addcmul(self.offset, x, self.factor)
        step = even.abs().amax(-1, keepdim=True).div_(127).clamp_(min=_TINY)
        return even.mul_(step.reciprocal()), step


class Unsigned(Bytes):
    """Inputs above a floor.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        floor: No input is below it.
    """

    zero = 0

    def __init__(self, weight: Tensor, bias: Tensor | None, floor: float) -> None:
        shift = torch.full((weight.shape[1],), floor)
        super().__init__(weight, F.linear(shift, weight, bias))
        self.floor = floor

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Divide by the largest of the row."""
        step = x.amax(-1, keepdim=True).sub_(self.floor).div_(255).clamp_(min=_TINY)
        factor = step.reciprocal()
        return torch.addcmul(-self.floor * factor - 128, x, factor), step


def quantized(
    weight: Tensor, bias: Tensor | None, sample: Tensor, floor: float | None = None
) -> Bytes:
    """Return the product of bytes that errs least.

    Args:
        weight: (out, in), in fp32.
        bias: (out,), or None.
        sample: (rows, in), inputs of the kind to come.
        floor: What no input is below, if that is known.
    """
    product = _least_wrong(weight, bias, sample, floor)
    product.bias += (F.linear(sample, weight, bias) - product(sample)).mean(0)
    return product


def _least_wrong(weight: Tensor, bias: Tensor | None, sample: Tensor, floor: float | None) -> Bytes:
    if floor is not None:
        return Unsigned(weight, bias, floor)
    shift = sample.mean(0)
    reach = (sample - shift).abs().amax(0).clamp_(min=1e-5)
    against = weight.abs().amax(0).clamp_(min=1e-5)
    ranges = {share: reach**share / against ** (1 - share) for share in _SHARES if share}
    ranges[0.0] = torch.ones_like(reach)
    part, wanted = weight[:_JUDGED], F.linear(sample, weight[:_JUDGED])

    def error(share: float) -> float:
        wrong = Signed(part, None, shift, ranges[share])(sample) - wanted
        return wrong.square_().sum().item()

    return Signed(weight, bias, shift, ranges[min(_SHARES, key=error)])
