"""A source of examples: rows that are read as they are taken, each with its file and line."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from itertools import chain, islice
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np

from regard.data.examples import Examples
from regard.data.origin import Origin
from regard.errors import DataError, listing, nearest, notices

#: File, line and values of one example.
SourceRow = tuple[str, int, Sequence[Any]]

#: Which columns to take: names, or new names with the name or number that each has in the file.
Columns = Sequence[str] | Mapping[str, str | int]

#: Rows that are put into columns at a time.
PORTION = 1024

P = ParamSpec("P")


@dataclass(frozen=True)
class Source:
    """Examples that are read when they are taken, so that files may be larger than memory.

    Attributes:
        names: The columns.
        rows: Starts reading: yields file, line and values of each example.
        unit: What the number of a row counts.
        class_names: For columns of class numbers, the names of the classes.
    """

    names: tuple[str, ...]
    rows: Callable[[], Iterator[SourceRow]]
    unit: str = "line"
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


def collect(sources: Sequence[Source]) -> Examples:
    """Read sources to their ends.

    Raises:
        DataError: They have different columns.
    """
    names = common_names(sources)
    columns: list[list[Any]] = [[] for _ in names]
    numbers: dict[str, int] = {}
    file_of: list[int] = []
    lines: list[int] = []
    rows = chain.from_iterable(source.rows() for source in sources)
    # In portions: a row's own container is then gone before the next portion is read.
    while portion := list(islice(rows, PORTION)):
        file_of += [numbers.setdefault(file, len(numbers)) for file, _, _ in portion]
        lines += [line for _, line, _ in portion]
        for column, values in zip(
            columns, zip(*(v for _, _, v in portion), strict=True), strict=True
        ):
            column.extend(values)
    origin = Origin(
        tuple(numbers), np.array(file_of, np.int32), np.array(lines, np.int64), sources[0].unit
    )
    return Examples(dict(zip(names, columns, strict=True)), origin, sources[0].class_names)


def common_names(sources: Sequence[Source]) -> tuple[str, ...]:
    """Return the columns of sources that are read one after the other.

    Raises:
        DataError: There is no source, or they have different columns.
    """
    if not sources:
        raise DataError("there is no file to read")
    names = sources[0].names
    for index, source in enumerate(sources):
        if source.names != names:
            raise DataError(
                f"file {index + 1} has the columns {listing(source.names)}, and the first file "
                f"has {listing(names)}; pass columns=[...] to take the same from each"
            )
    return names


def reader(source: Callable[P, Source]) -> Callable[P, Examples]:
    """Return the function that reads what `source` opens; its arguments are the same."""

    @wraps(source)
    def read(*args: P.args, **kwargs: P.kwargs) -> Examples:
        return collect([source(*args, **kwargs)])

    return read


def chosen(
    names: Sequence[str], columns: Columns | None, file: Path
) -> tuple[tuple[str, ...], list[int]]:
    """Return the names that the columns get, and the number of each in the file.

    Args:
        names: The columns of the file.
        columns: What was asked for; None asks for all as they are.
        file: The file, for messages.

    Raises:
        DataError: The file has no such column; the message names the nearest.
    """
    if columns is None:
        return tuple(names), list(range(len(names)))
    wanted = columns if isinstance(columns, Mapping) else {name: name for name in columns}
    return tuple(wanted), [_find(names, column, file) for column in wanted.values()]


class EmptyRows:
    """Says what becomes of rows in which nothing stands: an error, or skipped and counted.

    Empty lines at the end of a file mean nothing and are passed over.
    """

    def __init__(self, file: Path, policy: str):
        if policy not in ("error", "skip"):
            raise DataError(f"empty_rows={policy!r}; wanted 'error' or 'skip'")
        self._file, self._skip = file, policy == "skip"
        self._waiting: list[int] = []
        self._skipped: list[int] = []

    def found(self, line: int) -> None:
        """Take note of an empty row."""
        self._waiting.append(line)

    def content_follows(self) -> None:
        """Complain about the empty rows so far, or skip them, for they are not at the end."""
        if self._waiting and not self._skip:
            raise DataError(
                f"{self._file}, line {self._waiting[0]}: the row is empty; delete it, or pass "
                f"empty_rows='skip'"
            )
        self._skipped += self._waiting
        self._waiting.clear()

    def close(self) -> None:
        """Tell how many were skipped."""
        if self._skipped:
            skipped = (self._file, len(self._skipped), self._skipped[0])
            notices.warning("%s: skipped %d empty rows, the first in line %d", *skipped)


def _find(names: Sequence[str], column: str | int, file: Path) -> int:
    if isinstance(column, int):
        if -len(names) <= column < len(names):
            return column % len(names)
        raise DataError(f"{file}: no column number {column}; there are {len(names)}, from 0")
    if column not in names:
        raise DataError(
            f"{file}: no column {column!r}{nearest(column, names)}; the columns are "
            f"{listing(names)}"
        )
    return list(names).index(column)
