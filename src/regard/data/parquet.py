"""Parquet, through whichever library is installed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from regard.data.sources import Columns, Source, SourceRow, chosen, reader
from regard.errors import DataError


def parquet_source(path: str | Path, *, columns: Columns | None = None) -> Source:
    """Read a Parquet file with pyarrow or polars, whichever is installed.

    With pyarrow the file is read in portions, and names of classes that the `datasets` library
    stored in it are known.

    Args:
        path: The file.
        columns: Names of the columns to take, or new names with the names that they have in the
            file.

    Raises:
        DataError: A column is missing.
        ImportError: No library for it is installed; the message has the line for pip.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    names, classes = _columns(file)
    taken, picks = chosen(names, columns, file)
    old = [names[pick] for pick in picks]
    known = {new: classes[name] for new, name in zip(taken, old, strict=True) if name in classes}
    return Source(taken, partial(_rows, file, old), "row", known)


def _columns(file: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the names of the columns, and of the classes of some of them."""
    if _library() == "polars":
        return list(import_module("polars").read_parquet_schema(file)), {}
    schema: Any = _open(file).schema_arrow
    return list(schema.names), _class_names(schema.metadata or {})


def _rows(file: Path, names: Sequence[str]) -> Iterator[SourceRow]:
    number = 0
    for portion in _portions(file, names):
        for values in zip(*(portion[name] for name in names), strict=True):
            number += 1
            yield str(file), number, values


def _portions(file: Path, names: Sequence[str]) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Yield the columns `names` of a number of rows at a time."""
    if _library() == "polars":
        frame = import_module("polars").read_parquet(file, columns=list(names))
        yield frame.to_dict(as_series=False)
        return
    for batch in _open(file).iter_batches(columns=list(names)):
        yield batch.to_pydict()


def _open(file: Path) -> Any:
    parquet: Any = import_module("pyarrow.parquet")
    try:
        return parquet.ParquetFile(file)
    except import_module("pyarrow").ArrowInvalid as error:
        raise DataError(f"{file}: not a Parquet file ({error})") from error


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of classes that the `datasets` library notes in the schema."""
    noted: Any = json.loads(metadata.get(b"huggingface", b"{}"))
    features = cast("dict[str, Any]", noted.get("info", {}).get("features", {}))
    return {
        name: list(cast("dict[str, list[str]]", feature)["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and "names" in feature
    }


def _library() -> str:
    """Return the first library that is installed; pandas needs one of them itself.

    Raises:
        ImportError: None is.
    """
    for name in ("pyarrow", "polars"):
        if find_spec(name) is not None:
            return name
    raise ImportError("reading Parquet needs pyarrow; install it with: pip install 'regard[data]'")


read_parquet = reader(parquet_source)
