"""Layers that compute by products which were laid out before (`regard.runtime.products`).

`optimize` gives a module another class, a child of its own class with the same parts and
parameters: so names, hooks, saving and `isinstance` are as before. What passes over a part (three
projections as one product) steps aside when someone looks at that part, and all of it does when
gradients are wanted, in training, and when weights are not what they were.
"""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.errors import notices
from regard.layers.feed_forward import FeedForward, GatedFeedForward, WideLinear
from regard.linear import Linear
from regard.runtime.products import Product
from regard.watched import watched


class Packed:
    """A product, and the tensors that it was made of.

    Args:
        product: What computes.
        maps: The linear maps whose weights and biases it has.

    Attributes:
        told: Whether it was said that the weights are others now.
    """

    told: bool = False

    def __init__(self, product: Product, maps: Sequence[nn.Linear]) -> None:
        self.product = product
        self.device = maps[0].weight.device
        self.tensors = _tensors(maps)
        self.versions = [_version(tensor) for tensor in self.tensors]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return one for copies of the tensors; it shares the product, which never changes."""
        twin = copy.copy(self)
        twin.tensors = copy.deepcopy(self.tensors, memo)
        fresh = self.versions == [_version(tensor) for tensor in self.tensors]
        twin.versions = [_version(tensor) if fresh else -1 for tensor in twin.tensors]
        return twin

    def ready(self, x: Tensor, maps: Sequence[nn.Linear]) -> bool:
        """Whether the product is what these maps would give for `x`."""
        if torch.is_grad_enabled() or maps[0].training or torch.compiler.is_compiling():
            return False
        if x.dtype not in (torch.float32, torch.bfloat16) or len(x) < self.product.least:
            return False
        if x.device != self.device or not x.numel():
            return False
        now = _tensors(maps)
        for old, version, tensor in zip(self.tensors, self.versions, now, strict=True):
            if tensor is not old or _version(tensor) != version:
                self._tell()
                return False
        return True

    def _tell(self) -> None:
        if not self.told:
            notices.warning(
                "weights have changed since regard.optimize(model): the changed layers compute as "
                "before it; call it again to have them fast"
            )
        self.told = True


class FastLinear(nn.Linear):
    """A linear map with a packed product."""

    packed: Packed

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Map (..., in_features) to (..., out_features), in the type of the input."""
        rows = input.reshape(-1, self.in_features)
        if not self.packed.ready(rows, (self,)):
            return super().forward(input)
        mapped = self.packed.product(rows).to(input.dtype)
        return mapped.view(*input.shape[:-1], self.out_features)


class FastAttention(Attention):
    """Attention whose three projections are one product."""

    packed: Packed

    def projected(self, hidden: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries of `hidden`, and keys and values of `vectors`."""
        maps = (self.query, self.key, self.value)
        if vectors is not hidden or watched(*maps) or not self.packed.ready(hidden, maps):
            return super().projected(hidden, vectors)
        mapped = self.packed.product(hidden)
        if self.rotary is not None or self.query_norm is not None or self.mix.pattern.causal:
            mapped = mapped.to(hidden.dtype)  # turned, normalised or kept: not for half precision
        sizes = [each.out_features for each in maps]
        query, key, value = torch.split(mapped, sizes, -1)
        return self.heads(query, self.query_norm), self.heads(key, self.key_norm), self.heads(value)


class FastFeedForward(FeedForward):
    """A feed-forward whose activation is part of the first product, or between two of one kind."""

    packed: Packed

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform each token by itself."""
        if not isinstance(self.down, FastLinear) or watched(self.up, self.dropout, self.down):
            return super().forward(hidden)
        if not (
            self.packed.ready(hidden, (self.up,)) and self.down.packed.ready(hidden, (self.down,))
        ):
            return super().forward(hidden)
        mapped = self.packed.product.then(hidden, self.activation, self.down.packed.product)
        return mapped.to(hidden.dtype)

    def widened(self, hidden: Tensor) -> Tensor:
        """Return ``activation(up(x))``."""
        if watched(self.up, self.dropout) or not self.packed.ready(hidden, (self.up,)):
            return super().widened(hidden)
        return self.packed.product(hidden, self.activation)


class FastGatedFeedForward(GatedFeedForward):
    """A gated feed-forward whose two maps of the input are one product."""

    packed: Packed

    def widened(self, hidden: Tensor) -> Tensor:
        """Return ``activation(gate(x)) * up(x)``."""
        maps = (self.gate, self.up)
        if watched(*maps, self.dropout) or not self.packed.ready(hidden, maps):
            return super().widened(hidden)
        gate, up = self.packed.product(hidden).chunk(2, -1)
        return self.activation(gate) * up


class _Kind(NamedTuple):
    """What can be made fast.

    Attributes:
        ours: A class.
        fast: What does the same fast.
        method: In which the two differ.
        maps: The linear maps that are one product then, by name; none: itself.
    """

    ours: type[nn.Module]
    fast: type[nn.Module]
    method: str
    maps: tuple[str, ...] = ()

    def does(self, kind: type[nn.Module]) -> bool:
        """Whether a class is ours, and does not do it in a way of its own."""
        return issubclass(kind, self.ours) and (
            getattr(kind, self.method) is getattr(self.ours, self.method)
        )


_KINDS = (
    _Kind(Attention, FastAttention, "projected", ("query", "key", "value")),
    _Kind(FeedForward, FastFeedForward, "widened", ("up",)),
    _Kind(GatedFeedForward, FastGatedFeedForward, "widened", ("gate", "up")),
    _Kind(WideLinear, FastLinear, "forward"),
    _Kind(Linear, FastLinear, "forward"),
    _Kind(nn.Linear, FastLinear, "forward"),
)


def maps_of(module: nn.Module) -> tuple[nn.Linear, ...]:
    """Return the linear maps that become one product in a module; none: it cannot be fast."""
    kind = _kind(type(module))
    if kind is None:
        return ()
    names = kind.maps
    return tuple(module.get_submodule(name) for name in names) if names else (module,)  # pyright: ignore[reportReturnType] - by the table


def pack(module: nn.Module, product: Product, maps: Sequence[nn.Linear]) -> None:
    """Let a module compute by a product, which was made of these linear maps in it."""
    module.__class__ = _fast(type(module))
    module.packed = Packed(product, maps)  # pyright: ignore[reportArgumentType] - neither tensor nor module


def unpack(module: nn.Module) -> None:
    """Give a module back the class that it had."""
    if isinstance(module, FastLinear | FastAttention | FastFeedForward | FastGatedFeedForward):
        module.__class__ = type(module).__bases__[1]
        del module.packed


@cache
def _kind(kind: type[nn.Module]) -> _Kind | None:
    return next((each for each in _KINDS if each.does(kind)), None)


@cache
def _fast(kind: type[nn.Module]) -> type[nn.Module]:
    """Return the fast child of a class."""
    known = _kind(kind)
    if known is None:
        raise TypeError(f"{kind.__name__} cannot be made fast")
    return type(f"Fast{kind.__name__}", (known.fast, kind), {})


def _tensors(maps: Sequence[nn.Linear]) -> list[Tensor | None]:
    # As they stand in torch's own table: this is asked for in every call.
    return [tensor for each in maps for tensor in vars(each)["_parameters"].values()]


def _version(tensor: Tensor | None) -> int:
    """Return how often a tensor was written to, as far as torch counts it."""
    return 0 if tensor is None or tensor.is_inference() else tensor._version
