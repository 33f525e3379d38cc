"""Which examples are held out together: the folds of a cross-validation."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from regard.data.examples import Examples
from regard.errors import DataError, listing, notices
from regard.training.tasks.task import Task
from regard.training.tasks.text_regression import TextRegression
from regard.training.tasks.text_to_text import TextToText

#: Tasks whose labels are numbers on a scale, or texts.
_UNCLASSED = (TextRegression, TextToText)


def fold_numbers(task: Task, examples: Examples, folds: int, seed: int) -> list[int]:
    """Return the fold of each example, from 0.

    Each label is as frequent in every fold, as far as it goes; examples that share their unit (the
    questions about a text) are in the same one. Where there are too few of a label, or of all,
    there are fewer folds, and a notice says so.

    Args:
        task: The task, with its columns.
        examples: The examples.
        folds: How many are wanted.
        seed: The same seed gives the same folds.

    Raises:
        DataError: There are too few examples to hold any out.
    """
    if folds < 2:
        raise DataError(f"folds={folds}; wanted at least 2, one to measure on and one to learn")
    unit = task.shared_column(examples)
    units = _units(unit, examples)
    groups = _classes(task, examples) if unit is None else None
    many = len(set(units))
    if many < 2:
        what = "example" if unit is None else f"{unit!r}"
        raise DataError(
            f"{examples.where(0)}: there is only one {what}; wanted at least 2, one to measure on "
            "and one to learn from"
        )
    fewer = min(folds, many, _least(groups))
    if fewer < folds:
        notices.warning("%d folds, not %d: %s", fewer, folds, _reason(many, groups))
    return _dealt(units, groups, fewer, seed)


def _units(unit: str | None, examples: Examples) -> list[str]:
    """Return what an example belongs to: itself, or what it shares with others."""
    if unit is None:
        return [*map(str, range(len(examples)))]
    return [str(value) for value in examples.column(unit)]


def _classes(task: Task, examples: Examples) -> list[str] | None:
    """Return the class of each example, where each has one; numbers on a scale are none."""
    name = next((c.name for c in task.columns if c.label and c.name in examples.column_names), None)
    values = [] if name is None else examples.column(name)
    plain = all(isinstance(value, str | int) for value in values)
    return [*map(str, values)] if plain and not isinstance(task, _UNCLASSED) else None


def _least(groups: Sequence[str] | None) -> int:
    """Return how many folds the rarest class allows, which is 2 at least."""
    return max(2, min(Counter(groups).values())) if groups else 2**31


def _reason(many: int, groups: Sequence[str] | None) -> str:
    counts = Counter[str](groups or ())
    if not groups or many < min(counts.values()):
        return f"there are {many} examples to hold out"
    rare = sorted(counts, key=lambda name: (counts[name], name))
    alone = [name for name in rare if counts[name] == 1]
    if alone:
        return f"of {listing(alone, 3)} there is one example, which nothing can be learned from"
    return f"of {rare[0]!r} there are {counts[rare[0]]} examples"


def _dealt(units: Sequence[str], groups: Sequence[str] | None, folds: int, seed: int) -> list[int]:
    """Deal units out, class after class, so that folds are of one size and of the same classes."""
    names: list[str] = [*dict.fromkeys(units)]
    kind: dict[str, Any] = dict(zip(units, groups, strict=True)) if groups else {}
    members: dict[str, list[str]] = defaultdict(list)
    order: list[int] = np.random.default_rng(seed).permutation(len(names)).tolist()
    for place in order:
        members[kind.get(names[place], "")].append(names[place])
    dealt = [name for group in sorted(members) for name in members[group]]
    fold = {name: place % folds for place, name in enumerate(dealt)}
    return [fold[unit] for unit in units]
