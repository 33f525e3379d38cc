"""Which examples are held out."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from regard.errors import DataError


def held_out(
    count: int, fraction: float, seed: int, groups: Sequence[str] | None = None
) -> list[int]:
    """Draw `fraction` of `count` examples at random; return their numbers, sorted.

    Args:
        count: How many examples there are.
        fraction: The share to draw, between 0 and 1; at least one example is drawn, and one left.
        seed: The same seed draws the same.
        groups: The group of each example; every group gives its share, to within one example.

    Raises:
        DataError: The fraction is no share, or there are too few examples to divide.
    """
    if not 0 < fraction < 1:
        raise DataError(f"fraction={fraction} is no share of the examples; wanted 0 < fraction < 1")
    if count < 2:
        raise DataError(f"{count} examples cannot be divided in two; wanted at least 2")
    total = min(max(round(count * fraction), 1), count - 1)
    order = np.random.default_rng(seed).permutation(count)
    if groups is None:
        return sorted(order[:total].tolist())
    members: dict[str, list[int]] = defaultdict(list)
    for index in order:
        members[groups[int(index)]].append(int(index))
    share = {name: len(inside) * total / count for name, inside in members.items()}
    taken = {name: int(exact) for name, exact in share.items()}
    # The largest remainders are rounded up, so that the total is right.
    missing = total - sum(taken.values())
    for name in sorted(share, key=lambda name: (taken[name] - share[name], name))[:missing]:
        taken[name] += 1
    return sorted(index for name, inside in members.items() for index in inside[: taken[name]])
