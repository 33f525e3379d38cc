"""Multi-head attention as a module (Vaswani et al. 2017, sections 3.2.2 and 3.2.3)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.cache import KeyValues, Remembered
from regard.attention.kernels import Kernel, sdpa
from regard.attention.patterns import ALL, Pattern
from regard.attention.positions import Rotary
from regard.batch import Layout
from regard.crossing import Crossing, Scope
from regard.errors import ConfigError
from regard.linear import Linear


@dataclass(frozen=True, eq=False)
class Memory:
    """What a decoder attends to beside itself: the encoder's last hidden vectors.

    Attributes:
        hidden: (key_tokens, width) packed vectors.
        crossing: Which of them each sequence sees.
    """

    hidden: Float[Tensor, "key_tokens width"]
    crossing: Crossing


@dataclass(frozen=True)
class Heads:
    """How many heads an attention has, and of which size.

    Attributes:
        query: Number of query heads.
        key: Number of key and value heads, which divides `query`; None is one for each.
        size: Size of a head; None is the width divided by `query`.
    """

    query: int
    key: int | None = None
    size: int | None = None


class ScaledDotProduct(nn.Module):
    """The part of attention without weights: runs a kernel, and is the place to hook or swap it.

    Args:
        dropout: Probability of dropping an attention weight in training.
        pattern: Who may attend to whom.
    """

    def __init__(self, dropout: float = 0.0, pattern: Pattern = ALL) -> None:
        super().__init__()
        self.dropout = dropout
        self.pattern = pattern
        self.kernel: Kernel = sdpa

    def forward(
        self,
        query: Float[Tensor, "tokens heads head_dim"],
        key: Float[Tensor, "*key_tokens key_heads head_dim"],
        value: Float[Tensor, "*key_tokens key_heads head_dim"],
        scope: Scope,
    ) -> Float[Tensor, "tokens heads head_dim"]:
        """Mix `value` within each sequence of `scope`."""
        dropout = self.dropout if self.training else 0.0
        return self.kernel(query, key, value, scope, self.pattern, dropout)


class Attention(nn.Module):
    """Project to queries, keys and values, mix per head, project back.

    Args:
        width: Size of the hidden vectors, in and out.
        heads: How many heads; a plain number must divide `width`.
        dropout: Probability of dropping an attention weight in training.
        pattern: Who may attend to whom; the default is everyone.
        biases: Whether query, key and value have biases, and whether the output has one.
        rotary: Turns queries and keys by their positions, if given.
        norms: Normalisations of each query and key head, if given (Dehghani et al. 2023, 2.1).
    """

    def __init__(
        self,
        width: int,
        heads: int | Heads,
        dropout: float = 0.0,
        pattern: Pattern = ALL,
        *,
        biases: tuple[bool, bool] = (True, True),
        rotary: Rotary | None = None,
        norms: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        heads = Heads(heads) if isinstance(heads, int) else heads
        if heads.size is None and width % heads.query:
            raise ConfigError(
                f"num_attention_heads ({heads.query}) must divide hidden_size ({width})"
            )
        key_heads = heads.query if heads.key is None else heads.key
        if heads.query % key_heads:
            raise ConfigError(
                f"num_key_value_heads ({key_heads}) must divide num_attention_heads ({heads.query})"
            )
        self.head_dim = width // heads.query if heads.size is None else heads.size
        self.query = Linear(width, heads.query * self.head_dim, bias=biases[0])
        self.key = Linear(width, key_heads * self.head_dim, bias=biases[0])
        self.value = Linear(width, key_heads * self.head_dim, bias=biases[0])
        self.query_norm, self.key_norm = norms or (None, None)
        self.rotary = rotary
        self.mix = ScaledDotProduct(dropout, pattern)
        self.output = Linear(heads.query * self.head_dim, width, bias=biases[1])

    def forward(
        self,
        hidden: Float[Tensor, "tokens width"],
        layout: Layout,
        memory: Memory | Remembered | None = None,
        past: KeyValues | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Let each token attend to its own sequence, or to what `memory` holds for it.

        What is before these tokens in their own sequences is read from `past`, which then has
        them too.
        """
        if isinstance(memory, Remembered):
            query = self.heads(self.query(hidden), self.query_norm)
            mixed = self.mix(query, memory.key, memory.value, memory.scope)
            return self.output(mixed.flatten(-2))
        query, key, value = self.projected(hidden, hidden if memory is None else memory.hidden)
        if self.rotary is not None:
            query, key = self.rotary(query, key, layout)
        scope: Scope = layout if memory is None else memory.crossing
        if past is not None:
            key, value, scope = past.append(key, value, layout)
        return self.output(self.mix(query, key, value, scope).flatten(-2))

    def projected(
        self, hidden: Float[Tensor, "tokens width"], vectors: Float[Tensor, "key_tokens width"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries of `hidden`, and keys and values of `vectors`, head by head."""
        query = self.heads(self.query(hidden), self.query_norm)
        return query, *self.project(vectors)

    def project(
        self, vectors: Float[Tensor, "tokens width"]
    ) -> tuple[Float[Tensor, "tokens heads head_dim"], Float[Tensor, "tokens heads head_dim"]]:
        """Return keys and values of what is attended to."""
        return self.heads(self.key(vectors), self.key_norm), self.heads(self.value(vectors))

    def heads(self, vectors: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Return (tokens, heads * head_dim) as (tokens, heads, head_dim), perhaps normalised."""
        heads = vectors.view(-1, vectors.shape[-1] // self.head_dim, self.head_dim)
        return heads if norm is None else norm(heads)
