"""Relative positions as a bias: what attention adds to a score for how far apart two tokens are."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.crossing import Scope
from regard.errors import ConfigError
from regard.places import Block


class RelativeBias(nn.Embedding):
    """One trained number per head and bucket of distances (Raffel et al. 2020, section 2.1).

    The nearer half of the buckets hold one distance each, the others ever more of them, and the
    last all that is further than `furthest`. All layers of a stack share one.

    Args:
        heads: Number of attention heads.
        buckets: How many buckets; where tokens also see what comes after them, half are for that.
        furthest: Distance from which on all is equally far.
        causal: Whether tokens see only what comes before them.
    """

    def __init__(self, heads: int, buckets: int, furthest: int, *, causal: bool) -> None:
        super().__init__(buckets, heads)
        self.buckets = buckets if causal else buckets // 2
        self.furthest, self.causal = furthest, causal
        if self.buckets < 2 or furthest <= self.buckets // 2:
            raise ConfigError(
                f"relative_attention_num_buckets ({buckets}) must be at least 4, and "
                f"relative_attention_max_distance ({furthest}) more than half of them"
            )

    def bucket(self, distance: Int[Tensor, "*pairs"]) -> Int[Tensor, "*pairs"]:
        """Return the bucket of each distance: place of the key minus place of the query."""
        after = torch.zeros_like(distance) if self.causal else (distance > 0) * self.buckets
        away = (-distance).clamp(min=0) if self.causal else distance.abs()
        exact = self.buckets // 2
        # In fp32 and in this order, as the bounds of the buckets that the weights were trained for.
        steps = (away.float() / exact).log() / math.log(self.furthest / exact)
        wide = exact + (steps * (self.buckets - exact)).long()
        return after + torch.where(away < exact, away, wide.clamp(max=self.buckets - 1))

    def forward(self, scope: Scope) -> tuple[Float[Tensor, "counts heads queries keys"], ...]:  # pyright: ignore[reportIncompatibleMethodOverride] - takes what attends to what
        """Return what each block of `scope` adds to its scores, (count or 1, heads, queries, keys).

        Where there are more keys than queries, the queries are the last of the sequence.
        """
        blocks = scope.blocks
        if not scope.by_distance:
            return tuple(self._by_position(block, scope) for block in blocks)
        queries = max((block.queries.length for block in blocks), default=0)
        keys = max((block.keys.length for block in blocks), default=0)
        distances = torch.arange(1 - keys, max(queries, 1), device=self.weight.device)
        values = super().forward(self.bucket(distances)).t()
        return tuple(_by_distance(values[:, keys - b.keys.length :], b) for b in blocks)

    def _by_position(self, block: Block, scope: Scope) -> Tensor:
        """Return the bias of a block whose distances are not those of the packed places."""
        queries = block.queries.view(scope.queries.positions)
        keys = scope.key_positions(block)
        buckets = self.bucket(keys[:, None, :] - queries[:, :, None])
        return super().forward(buckets).movedim(-1, 1)


def _by_distance(values: Tensor, block: Block) -> Tensor:
    """Return the bias (1, heads, queries, keys) from (heads, distances), the first 1 - keys.

    Each query's row is the one of the query before it, moved by a place: nothing is looked up.
    """
    queries, keys = block.queries.length, block.keys.length
    if not queries or not keys:
        return values.new_zeros(1, len(values), queries, keys)
    return values[:, : queries + keys - 1].unfold(1, keys, 1).flip(1)[None]
