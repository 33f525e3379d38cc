"""Attention kernels: pure functions from queries, keys and values to mixed values.

Scaled dot-product attention, Vaswani et al. 2017, section 3.2.1:
``softmax(scale * query key^T + bias) value``, within each sequence of the scope, which attends to
itself or to another one (section 3.2.3). Fewer key heads than query heads are shared by groups of
neighbouring query heads (Ainslie et al. 2023, section 2.2).
A kernel sees no module, no configuration and no environment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regard.batch import Block, Group, Scattered
from regard.crossing import Crossing, Scope


@dataclass(frozen=True)
class Pattern:
    """Who may attend to whom within a sequence, and how scores are scaled.

    Where there are more keys than queries, the queries are the last of the sequence.

    Attributes:
        causal: Whether a token sees only itself and what comes before it.
        window: How many tokens away it sees at most: 0 is only itself. None sees all.
        scale: Factor of the scores; None is ``head_dim ** -0.5``.
    """

    causal: bool = False
    window: int | None = None
    scale: float | None = None

    def allowed(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "queries keys"]:
        """Return True where the query of a row may attend to the key of a column."""
        query_places = torch.arange(keys - queries, keys, device=device)
        return self.reaches(query_places[:, None] - torch.arange(keys, device=device))

    def reaches(self, distance: Int[Tensor, "*pairs"]) -> Bool[Tensor, "*pairs"]:
        """Return True where a query may attend to the key that is `distance` tokens before it."""
        allowed = distance >= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        return allowed if self.window is None else allowed & (distance.abs() <= self.window)

    def limits(self, keys: int) -> bool:
        """Whether the window hides anything among so many keys."""
        return self.window is not None and self.window < keys - 1

    def hides(self, queries: int, keys: int) -> bool:
        """Whether anything is hidden from so many queries at the end of so many keys."""
        return self.limits(keys) or (self.causal and queries > 1)


ALL = Pattern()
#: Fewest queries that are scored together under a window; fewer would be more work to start than
#: to do.
BLOCK = 32
Kernel = Callable[[Tensor, Tensor, Tensor, Scope, Pattern, float], Tensor]


def eager(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "key_tokens key_heads head_dim"],
    value: Float[Tensor, "key_tokens key_heads head_dim"],
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
    key: Float[Tensor, "key_tokens key_heads head_dim"],
    value: Float[Tensor, "key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """PyTorch's fused attention, one call per group of sequences of equal length."""
    parts: list[Tensor] = []
    for block in scope.blocks:
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


def varlen(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "key_tokens key_heads head_dim"],
    value: Float[Tensor, "key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Flash attention over all sequences in one call: half precision on CUDA, nothing else.

    Raises:
        ValueError: What is asked is what it cannot do; use ``"sdpa"``.
    """
    half = query.dtype in (torch.float16, torch.bfloat16)
    biased = any(block.bias is not None for block in scope.blocks)
    if not query.is_cuda or not half or biased or dropout:
        raise ValueError(
            "attention kernel 'varlen' needs CUDA tensors in half precision, no bias and no "
            f"dropout; found {query.dtype} on {query.device}, {'a' if biased else 'no'} bias, "
            f'dropout {dropout}. Use attn_implementation="sdpa"'
        )
    from torch.nn.attention.varlen import varlen_attn  # imports a compiler

    offsets = scope.keys.offsets
    if isinstance(scope, Crossing) and scope.realigned is not None:
        index, offsets = scope.realigned
        key, value = key[index], value[index]
    reach = -1 if pattern.window is None else pattern.window
    mixed = varlen_attn(
        query,
        key,
        value,
        scope.queries.offsets,
        offsets,
        max(scope.queries.lengths, default=0),
        max(scope.keys.lengths, default=0),
        scale=pattern.scale,
        window_size=(reach, 0 if pattern.causal else reach),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return cast("Tensor", mixed)  # a tuple only when more is asked for


KERNELS: Mapping[str, Kernel] = {"eager": eager, "sdpa": sdpa, "varlen": varlen}


def attention_maps(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern = ALL,
) -> Float[Tensor, "rows heads columns key_columns"]:
    """Return who attends to whom, before dropout, in the caller's rows; zero at padding.

    Memory grows with the square of the length: this is for looking, not for computing.
    """
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
    allowed, length = None, block.keys.length
    if pattern.hides(block.queries.length, length):
        allowed = pattern.allowed(block.queries.length, length, query.device)
    if isinstance(block.keys, Scattered):
        there = block.keys.mask[:, None, None, :]
        allowed = there if allowed is None else allowed & there
    if block.bias is None:
        return allowed
    bias = block.bias.to(query.dtype)
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)


def _per_head(packed: Tensor, where: Group | Scattered, heads: int) -> Tensor:
    """Return one block's keys or values as (count, heads, length, head_dim)."""
    return _shared(where.view(packed).transpose(1, 2), heads)


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
