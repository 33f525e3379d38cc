"""Multi-head self-attention as a module (Vaswani et al. 2017, section 3.2.2)."""

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.kernels import Kernel, sdpa
from regard.batch import Layout
from regard.errors import ConfigError


class ScaledDotProduct(nn.Module):
    """The part of attention without weights: runs a kernel, and is the place to hook or swap it.

    Args:
        dropout: Probability of dropping an attention weight in training.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.kernel: Kernel = sdpa

    def forward(
        self,
        query: Float[Tensor, "tokens heads head_dim"],
        key: Float[Tensor, "tokens heads head_dim"],
        value: Float[Tensor, "tokens heads head_dim"],
        layout: Layout,
    ) -> Float[Tensor, "tokens heads head_dim"]:
        """Mix `value` within each sequence of `layout`."""
        return self.kernel(query, key, value, layout, self.dropout if self.training else 0.0)


class Attention(nn.Module):
    """Project to queries, keys and values, mix per head, project back.

    Args:
        width: Size of the hidden vectors, in and out.
        heads: Number of heads; must divide `width`.
        dropout: Probability of dropping an attention weight in training.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"num_attention_heads ({heads}) must divide hidden_size ({width})")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.mix = ScaledDotProduct(dropout)
        self.output = nn.Linear(width, width)

    def forward(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "tokens width"]:
        """Let each token attend to every token of its own sequence."""
        query, key, value = (
            project(hidden).unflatten(-1, (self.heads, -1))
            for project in (self.query, self.key, self.value)
        )
        return self.output(self.mix(query, key, value, layout).flatten(-2))
