"""Attention kernels: pure functions from queries, keys and values to mixed values.

Scaled dot-product attention, Vaswani et al. 2017, section 3.2.1:
``softmax(scale * query key^T) value``, within each sequence of the layout. Fewer key heads than
query heads are shared by groups of neighbouring query heads (Ainslie et al. 2023, section 2.2).
A kernel sees no module, no configuration and no environment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from regard.batch import Group, Layout


@dataclass(frozen=True)
class Pattern:
    """Who may attend to whom within a sequence, and how scores are scaled.

    Attributes:
        causal: Whether a token sees only itself and what comes before it.
        window: How many tokens away it sees at most: 0 is only itself. None sees all.
        scale: Factor of the scores; None is ``head_dim ** -0.5``.
    """

    causal: bool = False
    window: int | None = None
    scale: float | None = None

    def allowed(
        self, length: int, device: torch.device | None = None
    ) -> Bool[Tensor, "length length"]:
        """Return True where the query of a row may attend to the key of a column."""
        place = torch.arange(length, device=device)
        distance = place[:, None] - place[None, :]
        allowed = distance >= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        return allowed if self.window is None else allowed & (distance.abs() <= self.window)

    def limits(self, length: int) -> bool:
        """Whether the window hides anything in a sequence of this length."""
        return self.window is not None and self.window < length - 1


ALL = Pattern()
Kernel = Callable[[Tensor, Tensor, Tensor, Layout, Pattern, float], Tensor]


def eager(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens key_heads head_dim"],
    value: Float[Tensor, "tokens key_heads head_dim"],
    layout: Layout,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """The definition, step by step; every other kernel is tested against it."""
    parts: list[Tensor] = []
    for group in layout.groups:
        weights = F.dropout(_probabilities(query, key, group, pattern), dropout)
        mixed = weights @ _per_head(value, group, query.shape[1])
        parts.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts) if parts else torch.empty_like(query)


def sdpa(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens key_heads head_dim"],
    value: Float[Tensor, "tokens key_heads head_dim"],
    layout: Layout,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """PyTorch's fused attention, one call per group of sequences of equal length."""
    parts: list[Tensor] = []
    for group in layout.groups:
        limited = pattern.limits(group.length)
        mixed = F.scaled_dot_product_attention(
            group.view(query).transpose(1, 2),
            _per_head(key, group, query.shape[1]),
            _per_head(value, group, query.shape[1]),
            attn_mask=pattern.allowed(group.length, query.device) if limited else None,
            dropout_p=dropout,
            is_causal=pattern.causal and not limited,
            scale=pattern.scale,
        )
        parts.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts) if parts else torch.empty_like(query)


KERNELS: Mapping[str, Kernel] = {"eager": eager, "sdpa": sdpa}


def attention_maps(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens key_heads head_dim"],
    layout: Layout,
    pattern: Pattern = ALL,
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
            probabilities = _probabilities(query, key, group, pattern)
            maps[row, column[:, :, None], column[:, None, :]] = probabilities.movedim(1, -1)
    return maps.movedim(-1, 1)


def _probabilities(query: Tensor, key: Tensor, group: Group, pattern: Pattern) -> Tensor:
    """Return softmax of the scaled scores of one group, (count, heads, length, length)."""
    q, k = group.view(query).transpose(1, 2), _per_head(key, group, query.shape[1])
    scale = query.shape[-1] ** -0.5 if pattern.scale is None else pattern.scale
    scores = q @ k.transpose(-1, -2) * scale
    if pattern.causal or pattern.limits(group.length):
        hidden = ~pattern.allowed(group.length, query.device)
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1)


def _per_head(packed: Tensor, group: Group, heads: int) -> Tensor:
    """Return one group of keys or values as (count, heads, length, head_dim)."""
    view = group.view(packed).transpose(1, 2)
    return view if view.shape[1] == heads else view.repeat_interleave(heads // view.shape[1], 1)
