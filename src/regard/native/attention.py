"""Attention within packed sequences, and to what a cache holds (attention.h)."""

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from regard.native.calls import AT, FLOAT, INT, LONG, Kernel, addresses

_attention = Kernel(
    "regard_attention", *[AT] * 3, *[LONG] * 3, AT, *[LONG] * 4, FLOAT, INT, INT, AT
)
_attention_to_store = Kernel(
    "regard_attention_to_store", *[AT] * 3, LONG, LONG, AT, AT, *[LONG] * 5, FLOAT, INT, AT
)


def attention(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens key_heads head_dim"],
    value: Float[Tensor, "tokens key_heads head_dim"],
    starts: Int32[Tensor, " sequences_and_end"],
    scale: float,
    *,
    causal: bool,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Mix values within packed sequences.

    Args:
        query: fp32 or bf16, like keys and values; heads lie side by side, and their size is a
            multiple of `LANES`.
        key: As many tokens as there are queries.
        value: The same.
        starts: Where each sequence starts, and the end.
        scale: Of the scores.
        causal: Whether tokens see none that come after them.
    """
    out = torch.empty(query.shape, dtype=query.dtype)
    heads, key_heads, size = query.shape[1], key.shape[1], query.shape[2]
    _attention(
        *addresses(query, key, value), *(each.stride(0) for each in (query, key, value)),
        starts.data_ptr(), len(starts) - 1, heads, key_heads, size, scale, causal,
        query.dtype == torch.bfloat16, out.data_ptr(),
    )  # fmt: skip
    return out


def attention_to_store(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "slots places key_heads head_dim"],
    value: Float[Tensor, "slots places key_heads head_dim"],
    slots: Int64[Tensor, " sequences"],
    used: Int32[Tensor, " sequences"],
    scale: float,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Mix values that a cache holds; each sequence has as many tokens, which see all that is there.

    Args:
        query: fp32 or bf16, like keys and values, and contiguous; the size of a head is a multiple
            of `LANES`.
        key: The places of a head lie one after the other.
        value: Like `key`, with the same strides.
        slots: Which slot each sequence has.
        used: How many of its places hold a key, at least one.
        scale: Of the scores.
    """
    out = torch.empty_like(query)
    tokens, heads, size = query.shape
    _attention_to_store(
        *addresses(query, key, value), key.stride(0), key.stride(2), *addresses(slots, used),
        len(slots), tokens // len(slots), heads, key.shape[2], size, scale,
        query.dtype == torch.bfloat16, out.data_ptr(),
    )  # fmt: skip
    return out
