"""Batches put together: from the Rust encodings of a call, or from examples for a data loader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from tokenizers import Encoding

from regard.text.encoding import BatchEncoding
from regard.text.options import CallOptions
from regard.text.padding import Padding, as_tensor, pad_column, pad_lists

#: How each column is read from an unpadded encoding.
_READ: dict[str, Callable[[Encoding], list[Any]]] = {
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: [1] * len(encoding),
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}


@dataclass(frozen=True)
class Rows:
    """The rows of one batch.

    Attributes:
        encodings: One per row, not padded.
        owners: For each row, the number of the text that it is from.
        truncated: For each row, how many tokens of its text are not in it.
    """

    encodings: list[Encoding]
    owners: list[int]
    truncated: list[int]


def rows_of(encodings: list[Encoding], cut: list[int], *, overflowing: bool) -> Rows:
    """Return the rows for one encoding per text, with the cut-off pieces as further rows or not.

    Args:
        encodings: One per text, with what was cut off in ``overflowing``.
        cut: For each text, how many tokens were cut.
        overflowing: Whether the pieces that were cut off become rows.
    """
    if not overflowing:
        return Rows(encodings, list(range(len(encodings))), cut)
    pieces = [[encoding, *encoding.overflowing] for encoding in encodings]
    return Rows(
        [piece for row in pieces for piece in row],
        [owner for owner, row in enumerate(pieces) for _ in row],
        [
            len(row[0]) + lost - len(piece)
            for row, lost in zip(pieces, cut, strict=True)
            for piece in row
        ],
    )


def assemble(
    rows: Rows,
    names: Sequence[str],
    options: CallOptions,
    *,
    padding: Padding | None,
    batched: bool,
) -> BatchEncoding:
    """Return the batch of `rows` with the token columns `names`.

    Args:
        rows: What the columns are read from.
        names: The columns, such as ``input_ids``.
        options: The options of the call.
        padding: How to pad, or None.
        batched: False gives a single text without the batch dimension, unless it has become a
            tensor or several pieces.
    """
    kind = options.return_tensors
    lengths = [len(row) for row in rows.encodings]
    width = padding.width(lengths) if padding else 0
    data: dict[str, Any] = {}
    for name in names:
        values = [_READ[name](row) for row in rows.encodings]
        if padding:
            data[name] = pad_column(name, values, padding, width, kind)
        else:
            data[name] = as_tensor(name, values, kind) if kind else values
    if not batched and not kind and not options.return_overflowing_tokens:
        data = {name: column[0] for name, column in data.items()}
    if options.return_length:
        data["length"] = [max(length, width) for length in lengths]
    if options.return_overflowing_tokens:
        data["overflow_to_sample_mapping"] = rows.owners
    pending = (padding, width) if padding else None
    batch = BatchEncoding(data, rows.encodings, truncated=rows.truncated, padding=pending)
    return batch.convert_to_tensors(kind)


def collate(
    batch: Any, name: str, *, padding: Padding | None, mask: bool, tensor_type: str | None
) -> BatchEncoding:
    """Pad a batch of ids; see `Tokenizer.pad`.

    Args:
        batch: Examples as a sequence of mappings, or columns as one mapping.
        name: The column that says how long the rows are.
        padding: How to pad, or None.
        mask: Whether to make an ``attention_mask`` when there is none.
        tensor_type: ``"pt"``, ``"np"``, or None: the type that the rows have.
    """
    given = _columns(batch)
    if name not in given:
        raise ValueError(f"wanted examples with {name!r}; these have {', '.join(given) or 'none'}")
    tensor_type = tensor_type or _tensor_type(given[name])
    data = {key: _plain(value) for key, value in given.items()}
    rows: list[Any] = data[name]
    flat = bool(rows) and not isinstance(rows[0], list)
    if flat:
        data = {key: [value] for key, value in data.items()}
    if mask and "attention_mask" not in data:
        data["attention_mask"] = [[1] * len(row) for row in data[name]]
    if padding:
        width = padding.width([len(row) for row in data[name]])
        data = {key: _padded(key, value, padding, width) for key, value in data.items()}
    if flat:
        data = {key: value[0] for key, value in data.items()}
    return BatchEncoding(data).convert_to_tensors(tensor_type)


def _columns(batch: Any) -> dict[str, Any]:
    if isinstance(batch, Mapping):
        return dict(cast("Mapping[str, Any]", batch))
    given = cast("Sequence[Any]", batch)
    if not given or not all(isinstance(example, Mapping) for example in given):
        raise ValueError("wanted a mapping of columns or a list of mappings, one per example")
    examples = cast("Sequence[Mapping[str, Any]]", given)
    for row, example in enumerate(examples):
        missing = [name for name in examples[0] if name not in example]
        if missing:
            raise ValueError(f"example {row} has no {missing[0]!r}, which example 0 has")
    return {name: [example[name] for example in examples] for name in examples[0]}


def _tensor_type(value: Any) -> str | None:
    """Return the kind of the rows: asking for no type gives back what was given."""
    many = isinstance(value, list | tuple)
    sample = cast("Sequence[Any]", value)[0] if many and value else cast("Any", value)
    if isinstance(sample, np.ndarray):
        return "np"
    return "pt" if hasattr(sample, "device") and hasattr(sample, "tolist") else None


def _plain(value: Any) -> Any:
    """Return `value` with lists for every array, tensor and tuple of rows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        if items and (hasattr(items[0], "tolist") or isinstance(items[0], list | tuple)):
            return [_plain(item) for item in items]
        return list(items)
    return value


def _padded(name: str, rows: Any, padding: Padding, width: int) -> Any:
    fill = padding.fill(name)
    return rows if fill is None else pad_lists(rows, fill, width, padding.side)
