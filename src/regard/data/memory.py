"""Examples that are in memory already: lists, PyTorch datasets, `datasets`, pandas, polars."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from regard.data.examples import Examples
from regard.errors import DataError, listing


def as_examples(data: Any, columns: Sequence[str] | None = None) -> Examples:
    """Return `Examples` of what is in memory.

    Args:
        data: A list of dicts, a dict of lists, a map-style PyTorch dataset, a `datasets.Dataset`, a
            frame of pandas or polars, a table of pyarrow, or `Examples`.
        columns: Names for the parts of examples that are tuples, such as those of a
            `TensorDataset`; else the columns to take.

    Raises:
        DataError: The examples have different keys, or `data` is something else.
    """
    found = _READ.get(type(data).__module__.partition(".")[0], _plain)(data, columns)
    return found if columns is None else found.keep(columns)


def _plain(data: Any, columns: Sequence[str] | None) -> Examples:
    if isinstance(data, Examples):
        return data
    if isinstance(data, Mapping):
        return Examples(cast("Mapping[str, Sequence[Any]]", data))
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            f"{type(data).__name__} has no length or no examples by number; wanted a list of "
            f"dicts, a dict of lists, a dataset or a frame. A stream is given to the trainer as "
            f"it is"
        )
    return _from_rows([data[index] for index in range(len(data))], columns)


def _from_rows(rows: list[Any], names: Sequence[str] | None) -> Examples:
    made: dict[str, list[Any]] | None = None
    for number, row in enumerate(rows):
        example = _as_dict(row, names, number)
        if made is None:
            made = {name: [] for name in example}
        if set(example) != set(made):
            raise DataError(
                f"example {number} has {listing(example) or 'nothing'}, and example 0 has "
                f"{listing(made)}; give all examples the same keys"
            )
        for name, value in example.items():
            made[name].append(value)
    return Examples(made or {})


def _as_dict(row: Any, names: Sequence[str] | None, number: int) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return cast("Mapping[str, Any]", row)
    if not isinstance(row, list | tuple):
        raise DataError(f"example {number} is {type(row).__name__}; wanted a dict")
    parts = cast("Sequence[Any]", row)
    if names is None or len(names) != len(parts):
        raise DataError(
            f"example {number} has {len(parts)} parts without names; pass columns=[...] with a "
            f"name for each, such as ['text', 'label']"
        )
    return dict(zip(names, parts, strict=True))


def _from_datasets(data: Any, columns: Sequence[str] | None) -> Examples:
    kind = type(data).__name__
    if kind == "DatasetDict":
        raise DataError(f"a DatasetDict has {listing(data)}; take one of them: data['train']")
    if kind != "Dataset":
        raise DataError(f"a {kind} of `datasets` cannot be held in memory; wanted a Dataset")
    names: dict[str, Sequence[str]] = {}
    for name, feature in data.features.items():
        # Class numbers, one per example or a list of them.
        classes = getattr(getattr(feature, "feature", feature), "names", None)
        if classes is not None:
            names[name] = classes
    return Examples(data.with_format(None).to_dict(), class_names=names)


def _from_pandas(data: Any, columns: Sequence[str] | None) -> Examples:
    found: dict[str, list[Any]] = {}
    for name in data.columns:
        values = data[name].tolist()
        if data[name].dtype.kind == "O":  # pandas has NaN where a text is missing
            values = [None if isinstance(v, float) and np.isnan(v) else v for v in values]
        found[str(name)] = values
    return Examples(found)


def _from_polars(data: Any, columns: Sequence[str] | None) -> Examples:
    frame = data.collect() if hasattr(data, "collect") else data
    return Examples(frame.to_dict(as_series=False))


def _from_pyarrow(data: Any, columns: Sequence[str] | None) -> Examples:
    return Examples(data.to_pydict())


#: How to read what each library makes, found without importing any of them.
_READ: dict[str, Callable[[Any, Sequence[str] | None], Examples]] = {
    "datasets": _from_datasets,
    "pandas": _from_pandas,
    "polars": _from_polars,
    "pyarrow": _from_pyarrow,
}
