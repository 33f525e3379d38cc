"""`Mark`: a place in a cache to come back to, after tokens were read that turned out wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attention.cache import Cache, KeyValues


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the ring of one layer held where the next tokens go.

    Attributes:
        store: The layer's keys and values.
        slots: (kept,) slots, and in `positions` of the tokens that will be written over them.
        key: (kept, heads, head_dim) the keys.
        value: The values.
    """

    store: KeyValues
    slots: Tensor
    positions: Tensor
    key: Tensor
    value: Tensor


class Mark:
    """Remembers what the next `count` tokens of the first `rows` sequences push out of windows.

    Without windows nothing is pushed out, and coming back is only a matter of counting.

    Args:
        cache: Where the tokens will be read.
        rows: Of how many sequences.
        count: How many; at most `room`.
    """

    def __init__(self, cache: Cache, rows: int, count: int) -> None:
        self.cache = cache
        self._kept = [
            kept
            for layer in cache.layers
            if layer.window is not None and (kept := _kept(layer, cache.lengths[:rows], count))
        ]

    @staticmethod
    def room(cache: Cache) -> int | None:
        """Return how many tokens can be taken back: no more than a window; None is any number."""
        windows = [layer.window + 1 for layer in cache.layers if layer.window is not None]
        return min(windows, default=None)

    def rewind(self, lengths: Sequence[int]) -> None:
        """Let each sequence be so long again, at least as long as it was at the mark."""
        for kept in self._kept:
            key, value, window = kept.store.key, kept.store.value, kept.store.window
            if key is None or value is None or window is None:
                continue
            after = torch.tensor(lengths, device=key.device)[kept.slots]
            wrong = (kept.positions >= after).nonzero()[:, 0]
            slots, places = kept.slots[wrong], kept.positions[wrong] % (window + 1)
            key[slots, places], value[slots, places] = kept.key[wrong], kept.value[wrong]
        self.cache.lengths[: len(lengths)] = lengths


def _kept(layer: KeyValues, lengths: Sequence[int], count: int) -> _Kept | None:
    """Return what the next tokens will be written over, or None for nothing."""
    if layer.key is None or layer.value is None or layer.window is None:
        return None
    ring, device = layer.window + 1, layer.key.device
    ends = torch.tensor(lengths, device=device)[:, None] + torch.arange(count, device=device)
    slots, steps = (ends >= ring).nonzero(as_tuple=True)  # before that no place is taken
    positions = ends[slots, steps]
    places = positions % ring
    return _Kept(layer, slots, positions, layer.key[slots, places], layer.value[slots, places])
