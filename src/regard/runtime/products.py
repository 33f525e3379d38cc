"""`Product`: an affine map whose weights were laid out once, for the way the processor reads them.

PyTorch lays out the weights of a linear map anew in every call, or reads them as they lie. oneDNN
multiplies faster from blocks of its own; bias and activation are then part of the same pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.layers.activations import ACTIVATIONS, Activation
from regard.linear import PARTS
from regard.native.calls import usable
from regard.native.few import few_halves, multiply_few_halves, with_room
from regard.runtime.curves import curve_of
from regard.runtime.precision import Precision

#: oneDNN compiles a kernel for each number of rows, and packed batches have ever another one:
#: above this many, rows are filled up to a multiple of it.
ROWS = 64
#: Rows up to which reading weights of two bytes takes more time than multiplying by them.
FEW = 4

_onednn = cast("Any", torch.ops.mkldnn)


class Post(NamedTuple):
    """What is done to each result of a product, as oneDNN calls it."""

    name: str = "none"
    variant: str = ""


#: The activations that are part of the product.
POSTS: Mapping[Activation, Post] = {
    ACTIVATIONS["gelu"]: Post("gelu", "none"),
    ACTIVATIONS["gelu_new"]: Post("gelu", "tanh"),
    ACTIVATIONS["relu"]: Post("relu"),
    ACTIVATIONS["silu"]: Post("swish"),
}


class Product(ABC):
    """``activation(x weight^T + bias)`` under no gradients.

    Attributes:
        precision: What it multiplies in.
        least: For fewer rows than that, the weights as they lie are faster.
    """

    least: int = 1
    precision: Precision

    @abstractmethod
    def __call__(self, x: Tensor, act: Activation | None = None) -> Tensor:
        """Map (rows, in) to (rows, out), in the type that the product gives."""

    def then(self, x: Tensor, act: Activation, after: "Product") -> Tensor:
        """Map by this product, an activation, and another product."""
        return after(self(x, act))


class Blocked(Product):
    """A product in fp32 or bf16 by oneDNN, from weights in its own blocks.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        dtype: `torch.float32` or `torch.bfloat16`, of the product and of its results.
        few: Whether it will often be of few rows: then bf16 weights are kept twice, and the results
            for few rows are in fp32.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, few: bool = False
    ) -> None:
        self.dtype = dtype
        self.precision = "fp32" if dtype == torch.float32 else "bf16"
        self.least = PARTS + 1 if dtype == torch.float32 else 1
        plain = weight.detach().to(dtype).contiguous()
        self.weight: Tensor = _onednn._reorder_linear_weight(plain, ROWS)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.few = few_halves(plain) if few and dtype == torch.bfloat16 else None
        self.room = None if self.few is None else with_room(_floats(bias, len(weight)))

    def __call__(self, x: Tensor, act: Activation | None = None) -> Tensor:
        """Map (rows, in) to (rows, out)."""
        if self.few is not None and self.room is not None and len(x) <= FEW and usable(x):
            curve = None if act is None else curve_of(act)
            mapped = multiply_few_halves(x.float().contiguous(), self.few, self.room, curve)
            return mapped if act is None or curve is not None else act(mapped)
        post = Post() if act is None else POSTS.get(act)
        given = (filled(x, self.dtype), self.weight, self.bias)
        if post is None or act is None:
            mapped = _onednn._linear_pointwise(*given, "none", [], "")
            mapped = mapped if act is None else act(mapped)
        else:
            mapped = _onednn._linear_pointwise(*given, post.name, [], post.variant)
        return mapped[: len(x)]


class Plain(Product):
    """A product in another type than the model's, by whatever the device has for it."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.precision = "fp32" if dtype == torch.float32 else "bf16"
        self.weight = weight.detach().to(dtype)
        self.bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor, act: Activation | None = None) -> Tensor:
        """Map (rows, in) to (rows, out)."""
        mapped = F.linear(x.to(self.weight.dtype), self.weight, self.bias)
        return mapped if act is None else act(mapped)


def _floats(bias: Tensor | None, outputs: int) -> Tensor:
    return torch.zeros(outputs) if bias is None else bias.detach().float()


def filled(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (rows, width) in a type, with more rows of any values up to a multiple of `ROWS`.

    Few rows stay as they are. Rows of what `filled` gave before are there already.
    """
    rows, width = x.shape
    wanted = filled_rows(rows)
    if rows == wanted:
        return x.to(dtype).contiguous()
    if x.dtype == dtype and x.is_contiguous() and _room(x) >= wanted * width:
        return x.as_strided((wanted, width), (width, 1))
    whole = torch.empty(wanted, width, dtype=dtype)
    whole[:rows].copy_(x)
    whole[rows:].zero_()
    return whole


def filled_rows(rows: int) -> int:
    """Return how many rows a product has in place of so many: few stay, others become even."""
    return rows if rows <= ROWS else -(-rows // ROWS) * ROWS


def _room(x: Tensor) -> int:
    """Return how many elements the memory of a tensor has from its first on."""
    return int(x.untyped_storage().nbytes()) // x.element_size() - int(x.storage_offset())
