"""JSON: one object per line, a list of objects, or an object of columns."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from regard.data.files import numbered_lines, read_all
from regard.data.sources import Columns, EmptyRows, Source, SourceRow, chosen, reader
from regard.errors import DataError, listing


def jsonl_source(
    path: str | Path,
    *,
    columns: Columns | None = None,
    encoding: str = "utf-8",
    empty_rows: str = "error",
) -> Source:
    """Read JSON lines: one object per line, all with the same keys.

    Args:
        path: The file, gzipped or not.
        columns: Names of the keys to take, or new names with the names that they have in the file.
        encoding: The encoding of the text.
        empty_rows: ``"error"``, or ``"skip"`` to pass over empty lines with one notice.

    Raises:
        DataError: A line is no JSON object, or has other keys than the first; the message names
            file and line.
    """
    file = Path(path)
    first = next(_objects(file, encoding, empty_rows), None)
    if first is None:
        raise DataError(f"{file}: the file is empty")
    names, picks = chosen(list(first[1]), columns, file)
    keys = [list(first[1])[pick] for pick in picks]
    return Source(names, partial(_json_lines, file, encoding, empty_rows, keys, columns is None))


def json_source(
    path: str | Path, *, columns: Columns | None = None, encoding: str = "utf-8"
) -> Source:
    """Read a JSON list of objects, or an object whose values are columns; the file is read whole.

    Args:
        path: The file, gzipped or not.
        columns: Names of the keys to take, or new names with the names that they have in the file.
        encoding: The encoding of the text.

    Raises:
        DataError: The file is no such JSON; the message names file and entry.
    """
    file = Path(path)
    found = parse_json(file, encoding)
    if isinstance(found, dict):
        found = _from_columns(cast("dict[str, Any]", found), file)
    if not isinstance(found, list) or not found:
        raise DataError(f"{file}: wanted a list of objects, such as [{{'text': ...}}, ...]")
    entries = cast("list[Any]", found)
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise DataError(f"{file}, entry {number}: {_kind(entry)}; wanted an object")
    first = cast("dict[str, Any]", entries[0])
    names, picks = chosen(list(first), columns, file)
    keys = [list(first)[pick] for pick in picks]
    return Source(names, partial(_entries, file, entries, keys, columns is None), "entry")


def parse_json(file: Path, encoding: str) -> Any:
    """Return the JSON value in a file.

    Raises:
        DataError: It is not JSON; the message names file, line and column.
    """
    try:
        return json.loads(read_all(file, encoding))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}, line {error.lineno}: not JSON ({error.msg} at column {error.colno}); a file "
            f"with one object per line is read with file_format='jsonl'"
        ) from error


def _objects(file: Path, encoding: str, empty_rows: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the line and the object of each row."""
    empty = EmptyRows(file, empty_rows)
    for line, text in numbered_lines(file, encoding):
        if not text.strip():
            empty.found(line)
            continue
        empty.content_follows()
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{file}, line {line}: not JSON ({error.msg} at column {error.colno})"
            ) from error
        if not isinstance(value, dict):
            raise DataError(f"{file}, line {line}: {_kind(value)}; wanted an object on each line")
        yield line, cast("dict[str, Any]", value)
    empty.close()


def _json_lines(
    file: Path, encoding: str, empty_rows: str, keys: Sequence[str], exact: bool
) -> Iterator[SourceRow]:
    name = str(file)
    for line, value in _objects(file, encoding, empty_rows):
        yield name, line, _values(value, keys, exact, f"{file}, line {line}")


def _entries(
    file: Path, entries: Sequence[Mapping[str, Any]], keys: Sequence[str], exact: bool
) -> Iterator[SourceRow]:
    for number, entry in enumerate(entries, 1):
        yield str(file), number, _values(entry, keys, exact, f"{file}, entry {number}")


def _values(entry: Mapping[str, Any], keys: Sequence[str], exact: bool, where: str) -> list[Any]:
    """Return the values of `keys`; with `exact` there may be no others."""
    missing = [key for key in keys if key not in entry]
    others = [key for key in entry if key not in keys] if exact else []
    if missing or others:
        what = f"no {missing[0]!r}" if missing else f"{others[0]!r}, which the first has not"
        raise DataError(
            f"{where}: {what}; the first has {listing(keys)}. Give all the same keys, or pass "
            f"columns=[...] with the keys that all have"
        )
    return [entry[key] for key in keys]


def _from_columns(found: dict[str, Any], file: Path) -> Any:
    """Return an object of equally long columns as a list of objects."""
    lengths = {len(cast("list[Any]", c)) if isinstance(c, list) else -1 for c in found.values()}
    if len(lengths) != 1 or lengths == {-1}:
        raise DataError(
            f"{file}: one object with {listing(found) or 'nothing'}; wanted a list of objects, or "
            f"an object whose values are equally long lists"
        )
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def _kind(value: Any) -> str:
    return f"found {type(value).__name__} {str(value)[:30]!r}"


read_jsonl = reader(jsonl_source)
read_json = reader(json_source)
