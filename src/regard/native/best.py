"""The best of many scores, and what all of them come to (best.h)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regard.native.calls import AT, LONG, Kernel, addresses

_best = Kernel("regard_best", AT, LONG, LONG, LONG, AT, AT, AT)


def best(
    scores: Float[Tensor, "rows words"], count: int
) -> tuple[Float[Tensor, "rows count"], Int64[Tensor, "rows count"], Float[Tensor, "rows 1"]]:
    """Return each row's best scores in order, where they are, and its ``logsumexp``.

    Of equal ones it takes the first. The last is no number where a score is none.

    Args:
        scores: fp32 and contiguous.
        count: How many; no more than there are.
    """
    rows, words = scores.shape
    values, totals = torch.empty(rows, count), torch.empty(rows, 1)
    places = torch.empty(rows, count, dtype=torch.int64)
    _best(scores.data_ptr(), rows, words, count, *addresses(values, places, totals))
    return values, places, totals
