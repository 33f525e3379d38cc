"""Attention kernels: pure functions from queries, keys and values to mixed values.

Scaled dot-product attention, Vaswani et al. 2017, section 3.2.1:
``softmax(query key^T / sqrt(head_dim)) value``, within each sequence of the layout.
A kernel sees no module, no configuration and no environment.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regard.batch import Group, Layout

Kernel = Callable[[Tensor, Tensor, Tensor, Layout, float], Tensor]


def eager(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens heads head_dim"],
    value: Float[Tensor, "tokens heads head_dim"],
    layout: Layout,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """The definition, step by step; every other kernel is tested against it."""
    parts: list[Tensor] = []
    for group in layout.groups:
        weights = F.dropout(_probabilities(query, key, group), dropout)
        mixed = weights @ group.view(value).transpose(1, 2)
        parts.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts) if parts else torch.empty_like(value)


def sdpa(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens heads head_dim"],
    value: Float[Tensor, "tokens heads head_dim"],
    layout: Layout,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """PyTorch's fused attention, one call per group of sequences of equal length."""
    parts: list[Tensor] = []
    for group in layout.groups:
        q, k, v = (group.view(each).transpose(1, 2) for each in (query, key, value))
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        parts.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts) if parts else torch.empty_like(value)


KERNELS: Mapping[str, Kernel] = {"eager": eager, "sdpa": sdpa}


def attention_maps(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens heads head_dim"],
    layout: Layout,
) -> Float[Tensor, "rows heads columns columns"]:
    """Return who attends to whom, before dropout, in the caller's rows; zero at padding.

    Memory grows with the square of the length: this is for looking, not for computing.
    """
    rows, columns = len(layout.lengths), layout.columns
    flat = layout.index
    if flat is None:
        flat = torch.arange(rows * columns, device=query.device)
    maps = query.new_zeros(rows, columns, columns, query.shape[1])
    for group in layout.groups:
        if group.length:
            places = group.view(flat)
            row, column = places[:, :1, None] // columns, places % columns
            probabilities = _probabilities(query, key, group)
            maps[row, column[:, :, None], column[:, None, :]] = probabilities.movedim(1, -1)
    return maps.movedim(-1, 1)


def _probabilities(query: Tensor, key: Tensor, group: Group) -> Tensor:
    """Return softmax of the scaled scores of one group, (count, heads, length, length)."""
    q, k = group.view(query).transpose(1, 2), group.view(key).transpose(1, 2)
    scores = q @ k.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.softmax(-1)
