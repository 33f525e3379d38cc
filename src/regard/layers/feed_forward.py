"""Position-wise feed-forward networks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.dropout import Dropout
from regard.layers.activations import activation
from regard.linear import Linear


class WideLinear(nn.Linear):
    """A linear map whose results may pass the largest number of float16: there it gives float32.

    T5's do, and infinity would end the computation. The inputs are made smaller by a power of two
    and the results larger, which changes no digit; bfloat16 and float32 need no such thing.
    """

    def forward(self, input: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens out"]:  # noqa: A002 - torch's own name
        """Map each vector."""
        if input.dtype != torch.float16:
            return super().forward(input)
        return super().forward(input * 2**-8).float() * 2**8


class FeedForward(nn.Module):
    """``down(activation(up(x)))`` (Vaswani et al. 2017, section 3.3).

    Args:
        width: Size of the hidden vectors, in and out.
        inner: Size between the two linear maps.
        act: Name of the activation, see `regard.layers.activations`.
        bias: Whether the linear maps have biases.
        dropout: Probability of dropping an inner element in training.
        wide: Whether results may pass the largest number of float16, see `WideLinear`.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        act: str,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        wide: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation(act)
        self.up = Linear(width, inner, bias=bias)
        self.dropout = Dropout(dropout)
        self.down = (WideLinear if wide else Linear)(inner, width, bias=bias)

    def forward(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """Transform each token by itself."""
        return self.down(self.widened(hidden))

    def widened(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens inner"]:
        """Return what `down` reads."""
        return self.dropout(self.activation(self.up(hidden)))


class GatedFeedForward(nn.Module):
    """``down(activation(gate(x)) * up(x))`` (Shazeer 2020, section 2).

    Args:
        width: Size of the hidden vectors, in and out.
        inner: Size between the linear maps.
        act: Name of the activation on the gate.
        bias: Whether the linear maps have biases.
        dropout: Probability of dropping an inner element in training.
        wide: Whether results may pass the largest number of float16, see `WideLinear`.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        act: str,
        *,
        bias: bool = False,
        dropout: float = 0.0,
        wide: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation(act)
        self.gate = Linear(width, inner, bias=bias)
        self.up = Linear(width, inner, bias=bias)
        self.dropout = Dropout(dropout)
        self.down = (WideLinear if wide else Linear)(inner, width, bias=bias)

    def forward(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """Transform each token by itself."""
        return self.down(self.widened(hidden))

    def widened(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens inner"]:
        """Return what `down` reads."""
        return self.dropout(self.activation(self.gate(hidden)) * self.up(hidden))
