"""Attention kernels: pure functions from queries, keys and values to mixed values.

Scaled dot-product attention, Vaswani et al. 2017, section 3.2.1:
``softmax(scale * query key^T + bias) value``, within each sequence of the scope, which attends to
itself or to another one (section 3.2.3). Fewer key heads than query heads are shared by groups of
neighbouring query heads (Ainslie et al. 2023, section 2.2).
A kernel sees no module, no configuration and no environment.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regard.attention.bundles import bundled, worth_it
from regard.attention.compiled import compiled, compiled_fits
from regard.attention.patterns import ALL, Pattern
from regard.attention.varlen import obstacle, varlen
from regard.crossing import Scope, Stored
from regard.places import Block, Group, Scattered, Slots

#: Fewest queries that are scored together under a window; fewer would be more work to start than
#: to do.
BLOCK = 32
Kernel = Callable[[Tensor, Tensor, Tensor, Scope, Pattern, float], Tensor]


def eager(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "*key_tokens key_heads head_dim"],
    value: Float[Tensor, "*key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """The definition, step by step; every other kernel is tested against it."""
    parts: list[Tensor] = []
    for block in scope.blocks:
        weights = F.dropout(_probabilities(query, key, block, pattern), dropout)
        mixed = weights @ _per_head(value, block.keys, query.shape[1])
        parts.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts) if parts else torch.empty_like(query)


def sdpa(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "*key_tokens key_heads head_dim"],
    value: Float[Tensor, "*key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """PyTorch's fused attention, one call per group of sequences of equal length.

    Where flash attention takes all sequences in one call, it is `varlen` instead; in training on a
    processor, where small calls are slow, `bundled`.
    """
    fits = obstacle(query, key, scope, pattern, dropout) is None
    if fits and not _one_plain_call(scope, pattern):
        return varlen(query, key, value, scope, pattern, dropout)
    if compiled_fits(query, key, value, scope, pattern, dropout):
        return compiled(query, key, value, scope, pattern)
    if worth_it(scope, query, pattern, dropout):
        return bundled(query, key, value, scope, pattern, dropout)
    parts: list[Tensor] = []
    for block in scope.blocks:
        if block.queries.length == 1 and block.bias is None and key.shape[-2] < query.shape[1]:
            parts.append(_one_query(query, key, value, block, pattern, dropout))
            continue
        # The fused causal mask lets the first query meet the first key, so it is for squares.
        square = block.queries == block.keys and block.bias is None
        window = pattern.window
        if square and window is not None and block.queries.length > 4 * max(window, BLOCK):
            parts.append(_in_blocks(query, key, value, block.queries, pattern, dropout))
            continue
        causal = square and pattern.causal and not pattern.limits(block.keys.length)
        mixed = F.scaled_dot_product_attention(
            block.queries.view(query).transpose(1, 2),
            _per_head(key, block.keys, query.shape[1]),
            _per_head(value, block.keys, query.shape[1]),
            attn_mask=None if causal else _mask(block, pattern, query),
            dropout_p=dropout,
            is_causal=causal,
            scale=pattern.scale,
        )
        parts.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts) if parts else torch.empty_like(query)


def _one_plain_call(scope: Scope, pattern: Pattern) -> bool:
    """Whether all sequences are equally long and nothing is hidden but by the causal mask.

    Then there is one call anyway, and the kernels for it are as good or better.
    """
    blocks = scope.blocks
    if len(blocks) != 1:
        return not blocks
    queries, keys = blocks[0].queries, blocks[0].keys
    if isinstance(keys, Slots):
        return keys.mask is None and keys.distance is None
    if isinstance(keys, Scattered) or pattern.limits(keys.length):
        return False
    return queries == keys or not pattern.hides(queries.length, keys.length)


KERNELS: Mapping[str, Kernel] = {"eager": eager, "sdpa": sdpa, "varlen": varlen}


def attention_maps(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "*key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern = ALL,
) -> Float[Tensor, "rows heads columns key_columns"]:
    """Return who attends to whom, before dropout, in the caller's rows; zero at padding.

    Memory grows with the square of the length: this is for looking, not for computing.
    """
    if isinstance(scope, Stored):
        raise ValueError("who attends to whom is seen in a forward without a cache only")
    queries, keys = scope.queries, scope.keys
    from_, to = queries.places(), keys.places()
    shape = (len(queries.lengths), queries.columns, keys.columns, query.shape[1])
    maps = query.new_zeros(shape)
    for block in scope.blocks:
        if block.queries.length:
            places, columns = block.queries.view(from_), block.keys.view(to) % keys.columns
            row, column = places[:, :1, None] // queries.columns, places % queries.columns
            probabilities = _probabilities(query, key, block, pattern).movedim(1, -1)
            # Where there is no key the probability is zero, whichever place stands there.
            maps.index_put_(
                (row, column[:, :, None], columns[:, None, :]), probabilities, accumulate=True
            )
    return maps.movedim(-1, 1)


def _probabilities(query: Tensor, key: Tensor, block: Block, pattern: Pattern) -> Tensor:
    """Return softmax of the scaled scores of one block, (count, heads, queries, keys)."""
    q = block.queries.view(query).transpose(1, 2)
    k = _per_head(key, block.keys, query.shape[1])
    scale = query.shape[-1] ** -0.5 if pattern.scale is None else pattern.scale
    scores = q @ k.transpose(-1, -2) * scale
    mask = _mask(block, pattern, query)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    return scores.softmax(-1)


def _mask(block: Block, pattern: Pattern, query: Tensor) -> Tensor | None:
    """Return what one block hides, True where it does not, or with a bias what adds to the scores.

    Of a shape that fits (count, heads, queries, keys); None where there is neither.
    """
    keys, allowed = block.keys, None
    if isinstance(keys, Slots):
        key = pattern.causal, pattern.window, query.dtype
        hidden = keys.once(key, lambda: _hidden(keys, pattern, query))
        if hidden is None or block.bias is None:
            return hidden if block.bias is None else block.bias.to(query.dtype)
        return block.bias.to(query.dtype) + hidden
    if pattern.hides(block.queries.length, keys.length):
        allowed = pattern.allowed(block.queries.length, keys.length, query.device)
    if isinstance(keys, Scattered):
        there = keys.mask[:, None, None, :]
        allowed = there if allowed is None else allowed & there
    if block.bias is None:
        return allowed
    bias = block.bias.to(query.dtype)
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)


def _hidden(keys: Slots, pattern: Pattern, query: Tensor) -> Tensor | None:
    """Return minus infinity where queries may not attend to what lies in slots, and else zero.

    None where they may to all. As numbers, made once for all layers: of truth values each call of
    the fused kernel would make them again.
    """
    allowed = None if keys.mask is None else keys.mask[:, None, None, :]
    if keys.distance is not None:
        reached = pattern.reaches(keys.distance)[:, None]
        allowed = reached if allowed is None else reached & allowed
    if allowed is None:
        return None
    return query.new_zeros(allowed.shape).masked_fill_(~allowed, -torch.inf)


def _per_head(packed: Tensor, where: Group | Scattered | Slots, heads: int) -> Tensor:
    """Return one block's keys or values as (count, heads, length, head_dim)."""
    return _shared(where.view(packed).transpose(1, 2), heads)


def _one_query(
    query: Tensor, key: Tensor, value: Tensor, block: Block, pattern: Pattern, dropout: float
) -> Tensor:
    """Return a block's mixed values where heads share keys and each sequence has one query.

    The heads that share keys are then as many queries to them, and no keys need to be repeated.
    """
    count, key_heads = block.queries.count, key.shape[-2]
    mixed = F.scaled_dot_product_attention(
        block.queries.view(query).view(count, key_heads, -1, query.shape[-1]),
        _per_head(key, block.keys, key_heads),
        _per_head(value, block.keys, key_heads),
        attn_mask=_mask(block, pattern, query),
        dropout_p=dropout,
        scale=pattern.scale,
    )
    return mixed.reshape(count, *query.shape[1:])


def _shared(keys: Tensor, heads: int) -> Tensor:
    """Return keys or values, whose heads are dimension 1, once for each of `heads` query heads."""
    return keys if keys.shape[1] == heads else keys.repeat_interleave(heads // keys.shape[1], 1)


def _in_blocks(
    query: Tensor, key: Tensor, value: Tensor, group: Group, pattern: Pattern, dropout: float
) -> Tensor:
    """Return one group's mixed values, (tokens, heads, head_dim), under a window.

    A block of queries is scored against the keys that its windows reach and no others (Beltagy et
    al. 2020, section 3.1), so that time and memory grow with the length and not with its square.
    """
    window, length = pattern.window or 0, group.length
    size, after = max(window, BLOCK), 0 if pattern.causal else window
    extra = -length % size

    def blocks(packed: Tensor, before: int, after: int) -> Tensor:
        """Return (blocks, heads, tokens, head_dim), each block with so many of its neighbours."""
        rows = F.pad(group.view(packed), (0, 0, 0, 0, before, extra + after))
        return rows.unfold(1, before + size + after, size).transpose(-1, -2).flatten(0, 1)

    place = torch.arange(-window, length + extra + after, device=query.device)
    keys = place.unfold(0, window + size + after, size)[:, None]
    queries = keys[..., window : window + size].transpose(1, 2)
    # No token sees what was added at the ends. What was added sees itself: a softmax over nothing
    # would be NaN.
    real = ((keys >= 0) & (keys < length)) | (queries >= length)
    allowed = (real & pattern.reaches(queries - keys)).repeat(group.count, 1, 1)
    mixed = F.scaled_dot_product_attention(
        blocks(query, 0, 0),
        blocks(_shared(key, query.shape[1]), window, after),
        blocks(_shared(value, query.shape[1]), window, after),
        attn_mask=allowed[:, None],
        dropout_p=dropout,
        scale=pattern.scale,
    )
    whole = mixed.transpose(1, 2).reshape(group.count, length + extra, *query.shape[1:])
    return whole[:, :length].flatten(0, 1)
