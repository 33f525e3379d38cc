"""Position-wise feed-forward networks."""

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers.activations import activation


class FeedForward(nn.Module):
    """``down(activation(up(x)))`` (Vaswani et al. 2017, section 3.3).

    Args:
        width: Size of the hidden vectors, in and out.
        inner: Size between the two linear maps.
        act: Name of the activation, see `regard.layers.activations`.
        bias: Whether the linear maps have biases.
        dropout: Probability of dropping an inner element in training.
    """

    def __init__(
        self, width: int, inner: int, act: str, *, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.activation = activation(act)
        self.up = nn.Linear(width, inner, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Linear(inner, width, bias=bias)

    def forward(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """Transform each token by itself."""
        return self.down(self.dropout(self.activation(self.up(hidden))))


class GatedFeedForward(nn.Module):
    """``down(activation(gate(x)) * up(x))`` (Shazeer 2020, section 2).

    Args:
        width: Size of the hidden vectors, in and out.
        inner: Size between the linear maps.
        act: Name of the activation on the gate.
        bias: Whether the linear maps have biases.
        dropout: Probability of dropping an inner element in training.
    """

    def __init__(
        self, width: int, inner: int, act: str, *, bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.activation = activation(act)
        self.gate = nn.Linear(width, inner, bias=bias)
        self.up = nn.Linear(width, inner, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Linear(inner, width, bias=bias)

    def forward(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """Transform each token by itself."""
        inner = self.activation(self.gate(hidden)) * self.up(hidden)
        return self.down(self.dropout(inner))
