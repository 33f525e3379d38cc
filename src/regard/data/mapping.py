"""A function over examples, one by one or in batches: what `Examples.map` and streams share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from regard.data.origin import Origin, Place
from regard.errors import DataError, listing

#: The column in which tokenizers say which text of the batch each row is from.
OWNERS = "overflow_to_sample_mapping"

Columns = dict[str, list[Any]]
Function = Callable[[Any], Mapping[str, Any]]


def mapped(
    columns: Mapping[str, list[Any]],
    origin: Origin,
    function: Function,
    batch_size: int | None,
    removed: set[str],
) -> tuple[Columns, Sequence[int] | None]:
    """Return the columns after `function`, and which example each row is from.

    Args:
        columns: The columns before.
        origin: Where each example came from.
        function: What to call.
        batch_size: How many examples it gets at once, as columns; None gives it one, as a dict.
        removed: Columns that do not stay.

    Returns:
        The columns, and for each row the number of its example, or None when that is not known.
    """
    count = len(origin.number)
    made: Columns | None = None
    owners: list[int] = []
    known = True
    for start in range(0, count, checked_size(batch_size)):
        stop = min(start + (batch_size or 1), count)
        part = {name: values[start:stop] for name, values in columns.items()}
        found, rows = call(function, part, origin[start], batched=batch_size is not None)
        if made is not None and set(made) != set(found):
            raise DataError(
                f"{origin[start]}: the function returned {listing(found)}, and {listing(made)} "
                f"for the examples before"
            )
        made = made if made is not None else {name: [] for name in found}
        for name, values in found.items():
            made[name] += values
        owned = owned_rows(found, rows)
        known = known and owned is not None
        owners += [start + owner for owner in owned or []]
    made = made or {}
    stay = staying(columns, made, removed, same=known and owners == [*range(count)])
    return {**{name: columns[name] for name in stay}, **made}, owners if known else None


def call(
    function: Function, columns: Columns, place: Place, *, batched: bool
) -> tuple[Columns, int]:
    """Call `function` with columns, or with the one example in them.

    Returns:
        The columns that it made, and how many examples it was given.

    Raises:
        DataError: It returned no mapping, or columns of different lengths.
    """
    given = columns if batched else {name: values[0] for name, values in columns.items()}
    try:
        found: Any = function(given)
    except Exception as error:
        error.add_note(f"in the function that was mapped over examples, at {place}")
        raise
    if not isinstance(found, Mapping):
        raise DataError(
            f"the function returned {type(found).__name__}; wanted a dict of columns to add or "
            f"replace, such as {{'text': ...}}"
        )
    values = cast("Mapping[str, Any]", found)
    made = {name: list(value) if batched else [value] for name, value in values.items()}
    if len({len(value) for value in made.values()}) > 1:
        shown = listing(f"{len(value)} of {name!r}" for name, value in made.items())
        raise DataError(f"{place}: the function returned different numbers of rows: {shown}")
    return made, len(next(iter(columns.values()), ()))


def owned_rows(made: Columns, count: int) -> list[int] | None:
    """Return which of the `count` examples of a batch each made row is from; None if unknown."""
    if OWNERS in made:
        return [int(owner) for owner in made[OWNERS]]
    rows = len(next(iter(made.values()))) if made else count
    return list(range(count)) if rows == count else None


def staying(names: Mapping[str, Any], made: Columns, removed: set[str], *, same: bool) -> list[str]:
    """Return the old columns that stay beside the new ones.

    Raises:
        DataError: The rows are not the `same` as before, so that none can stay.
    """
    stay = [name for name in names if name not in made and name not in removed]
    if stay and not same:
        raise DataError(
            f"the function returned other rows than it got, so old columns cannot stay beside "
            f"them; pass remove_columns={stay!r}"
        )
    return stay


def checked_size(batch_size: int | None) -> int:
    """Return how many examples go into one call.

    Raises:
        DataError: `batch_size` is not positive.
    """
    if batch_size is not None and batch_size < 1:
        raise DataError(f"batch_size={batch_size}; wanted at least 1")
    return batch_size or 1
