"""Which examples are held out."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

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
    _check_share(fraction)
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


def held_out_units(units: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Draw about `fraction` of what examples belong to: texts, articles.

    Whether a unit is drawn depends on its name, the seed and the fraction alone. So tasks that
    share texts hold out the same ones, whatever else each of them reads.

    Args:
        units: Their names, each as often as it likes.
        fraction: The share to draw, between 0 and 1; at least one unit is drawn, and one left.
        seed: The same seed draws the same.

    Raises:
        DataError: The fraction is no share, or there are too few units to divide.
    """
    _check_share(fraction)
    places = {unit: _place(unit, seed) for unit in units}
    if len(places) < 2:
        raise DataError(
            f"examples of {len(places)} text cannot be divided in two; wanted at least 2 texts"
        )
    order = sorted(places, key=lambda unit: places[unit])
    count = sum(place < fraction for place in places.values())
    return {*order[: min(max(count, 1), len(order) - 1)]}


def _place(unit: str, seed: int) -> float:
    """Return a number from 0 to 1 that is as good as random."""
    digest = hashlib.blake2b(f"{seed} {unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _check_share(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise DataError(f"fraction={fraction} is no share of the examples; wanted 0 < fraction < 1")
