"""Embeddings and output maps of another vocabulary size, keeping the rows that both have."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from regard.linear import Linear

Initialise = Callable[[nn.Module], None]


def resized_embedding(old: nn.Embedding, count: int, initialise: Initialise) -> nn.Embedding:
    """Return an embedding of `count` rows: those of `old`, and after them fresh ones."""
    padding = None if old.padding_idx is None or old.padding_idx >= count else old.padding_idx
    new = nn.Embedding(count, old.embedding_dim, padding).to(old.weight)
    initialise(new)
    _copy_rows(old.weight, new.weight)
    return new


def resized_output(old: nn.Linear, count: int, initialise: Initialise) -> nn.Linear:
    """Return a linear map to `count` scores: those of `old`, and after them fresh ones."""
    new = Linear(old.in_features, count, bias_of(old) is not None).to(old.weight)
    initialise(new)
    _copy_rows(old.weight, new.weight)
    if bias_of(old) is not None:
        _copy_rows(old.bias, new.bias)
    return new


def bias_of(linear: nn.Linear) -> nn.Parameter | None:
    """Return the bias, which torch types as never None though ``Linear(bias=False)`` has none."""
    return dict(linear.named_parameters()).get("bias")


def _copy_rows(old: Tensor, new: Tensor) -> None:
    kept = min(len(old), len(new))
    with torch.no_grad():
        new[:kept] = old[:kept]
    new.requires_grad_(old.requires_grad)
