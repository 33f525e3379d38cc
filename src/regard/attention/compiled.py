"""Attention by compiled kernels: all sequences of a packed batch in one call on a processor.

PyTorch's fused attention takes one call for each length, which for texts of a sentence or two is
more work to start than to do; and for a token or a few that attend to a cache it reads the keys at
a tenth of what memory gives.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.patterns import Pattern
from regard.batch import Layout
from regard.crossing import Scope, Stored
from regard.native.attention import attention, attention_to_store
from regard.native.calls import LANES, usable
from regard.places import Block, Slots


def compiled(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "*key_tokens key_heads head_dim"],
    value: Float[Tensor, "*key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Mix `value` within each sequence, where `compiled_fits`."""
    scale = query.shape[-1] ** -0.5 if pattern.scale is None else pattern.scale
    if isinstance(scope, Layout):
        return attention(query, key, value, scope.offsets, scale, causal=pattern.causal)
    query = query.contiguous()
    parts = [
        attention_to_store(_tokens(block, query), key, value, *_of_slots(block.keys), scale)
        for block in scope.blocks
        if isinstance(block.keys, Slots)  # all of them are
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def compiled_fits(
    query: Tensor, key: Tensor, value: Tensor, scope: Scope, pattern: Pattern, dropout: float
) -> bool:
    """Whether a kernel does what is asked."""
    return (
        not dropout
        and (pattern.scale is None or pattern.scale > 0)
        and query.shape[-1] % LANES == 0
        and query.dtype in (torch.float32, torch.bfloat16)
        and query.dtype == key.dtype == value.dtype
        and usable(query, key, value)
        and (
            _packed_fits(query, key, value, scope, pattern)
            if isinstance(scope, Layout)
            else _stored_fits(key, value, scope)
        )
    )


def _packed_fits(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, pattern: Pattern
) -> bool:
    dense = all(each.stride()[1:] == (each.shape[-1], 1) for each in (query, key, value))
    return dense and layout.bias is None and pattern.window is None


def _stored_fits(key: Tensor, value: Tensor, scope: Scope) -> bool:
    if not isinstance(scope, Stored) or key.dim() != 4 or key.stride() != value.stride():
        return False
    return key.stride()[1::2] == (key.shape[-1], 1) and all(
        block.bias is None
        and block.queries.length
        and type(block.keys) is Slots
        and block.keys.distance is None
        and block.keys.consecutive
        and min(block.keys.counts) > 0
        for block in scope.blocks
    )


def _tokens(block: Block, query: Tensor) -> Tensor:
    group = block.queries
    return query[group.start : group.start + group.count * group.length]


def _of_slots(keys: Slots) -> tuple[Tensor, Tensor]:
    """Return the slot of each sequence, and how many of its places hold a key."""

    def found() -> tuple[Tensor, Tensor]:
        rows = keys.rows
        slots = torch.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        return slots, torch.tensor(keys.counts, dtype=torch.int32)

    return keys.once(_of_slots, found)
