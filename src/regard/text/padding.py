"""Rows of different lengths made rectangular, and turned into arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

#: What stands in a padded place of a column other than ``input_ids`` and ``token_type_ids``.
FILL: dict[str, Any] = {"attention_mask": 0, "special_tokens_mask": 1, "offset_mapping": (0, 0)}

TENSOR_TYPES = ("pt", "np")


@dataclass(frozen=True)
class Padding:
    """How rows are padded.

    Attributes:
        length: Pad to this many tokens; None pads to the longest row.
        multiple: Round the length up to a multiple of this.
        side: ``"right"`` or ``"left"``.
        token: What stands in the padded places; `id` and `type_id` are its numbers.
    """

    length: int | None
    multiple: int | None
    side: str
    token: str
    id: int
    type_id: int = 0

    def width(self, lengths: Sequence[int]) -> int:
        """Return the number of tokens to pad rows of these `lengths` to."""
        wanted = max(lengths, default=0) if self.length is None else self.length
        if self.multiple:
            wanted += -wanted % self.multiple
        return wanted

    def fill(self, name: str) -> Any:
        """Return the value for padded places of the column `name`, or None: not a token column."""
        return {"input_ids": self.id, "token_type_ids": self.type_id, **FILL}.get(name)

    def apply(self, encoding: Encoding, width: int) -> None:
        """Pad a Rust encoding in place; one that is longer stays as it is."""
        encoding.pad(
            width,
            direction=self.side,
            pad_id=self.id,
            pad_type_id=self.type_id,
            pad_token=self.token,
        )


def pad_lists(rows: Sequence[list[Any]], fill: Any, width: int, side: str) -> list[list[Any]]:
    """Return copies of `rows` with `fill` up to `width`; a longer row stays as long as it is."""
    if side == "left":
        return [[fill] * (width - len(row)) + row for row in rows]
    return [row + [fill] * (width - len(row)) for row in rows]


def pad_array(rows: Sequence[Sequence[int]], fill: int, width: int, side: str) -> NDArray[np.int64]:
    """Return `rows` as one int64 array ``(rows, width)``; no row may be longer than `width`."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    columns = np.arange(width)
    if side == "left":
        used = columns >= width - lengths[:, None]
    else:
        used = columns < lengths[:, None]
    out = np.full((len(rows), width), fill, np.int64)
    # One assignment for the whole batch: a mask reads and writes in row order.
    out[used] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return out


def pad_column(
    name: str, rows: Sequence[list[Any]], padding: Padding, width: int, tensor_type: str | None
) -> Any:
    """Return the token column `name` padded to `width`, as lists or as the asked tensor type."""
    fill = padding.fill(name)
    flat = name != "offset_mapping"
    if tensor_type is None or not flat or any(len(row) > width for row in rows):
        padded = pad_lists(rows, fill, width, padding.side)
        return padded if tensor_type is None else as_tensor(name, padded, tensor_type)
    return _wrap(pad_array(rows, fill, width, padding.side), tensor_type)


def as_tensor(name: str, value: Any, tensor_type: str) -> Any:
    """Return `value` as a ``"pt"`` tensor or ``"np"`` array.

    Raises:
        ValueError: The rows have different lengths, or `tensor_type` is unknown.
    """
    check_tensor_type(tensor_type)
    if not isinstance(value, list):  # an array or tensor already
        array = cast("NDArray[Any]", value)
        return _wrap(array, tensor_type) if isinstance(value, np.ndarray) else value
    rows = cast("list[Any]", value)
    lengths = {len(cast("list[Any]", row)) for row in rows if isinstance(row, list)}
    if len(lengths) > 1:
        raise ValueError(
            f"the rows of {name!r} have different lengths ({min(lengths)} to {max(lengths)}), so "
            f"they make no tensor: pass padding=True (and truncation=True for texts that are too "
            f"long), or leave out return_tensors"
        )
    array = np.asarray(rows)
    if array.dtype == object or array.dtype.kind not in "iufb":
        raise ValueError(f"{name!r} does not hold numbers only, so it makes no tensor")
    if tensor_type == "pt" and array.dtype == np.float64:
        array = array.astype(np.float32)  # torch's own type for Python numbers
    if array.size == 0:  # numpy knows no type for nothing
        array = array.reshape(_empty_shape(name, rows)).astype(np.int64)
    return _wrap(array, tensor_type)


def check_tensor_type(tensor_type: str | None) -> None:
    """Raise for anything but None, ``"pt"`` and ``"np"``."""
    if tensor_type is not None and tensor_type not in TENSOR_TYPES:
        raise ValueError(f"return_tensors={tensor_type!r}; wanted 'pt', 'np' or None")


def _empty_shape(name: str, rows: list[Any]) -> tuple[int, ...]:
    if name in {"length", "overflow_to_sample_mapping"}:
        return (0,)
    return (len(rows), 0, 2) if name == "offset_mapping" else (len(rows), 0)


def _wrap(array: NDArray[Any], tensor_type: str) -> Any:
    if tensor_type == "np":
        return array
    import torch  # here, so that a tokenizer alone needs no torch

    return torch.from_numpy(array)
