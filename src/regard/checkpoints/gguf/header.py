"""What a GGUF file says of itself: metadata, and where its tensors lie.

The package `gguf` has a reader too. It takes two seconds for a vocabulary of 49,152 tokens, where
this one takes a tenth, and a damaged length makes it count to 2 ** 64. The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from regard.errors import CheckpointError

#: How `struct` calls the metadata types that have a fixed size, by their numbers in the file.
_SCALARS: Mapping[int, str] = dict(
    zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True)
)
_FLOAT32, _STRING, _ARRAY = 6, 8, 9
#: The types of tensors that are numbers as torch has them, and not blocks of a quantised format.
PLAIN: Mapping[int, str] = {0: "float32", 1: "float16", 28: "float64", 30: "bfloat16"}
_LONGEST_NAME = 2**16 - 1
_MOST_DIMENSIONS = 4

T = TypeVar("T")


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies.

    Attributes:
        name: Its name in the file.
        shape: As torch has it; the file lists the sizes from the last to the first.
        kind: The number of its type, `GGMLQuantizationType` in the package `gguf`.
        start: At which byte of the file it begins.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True)
class Header:
    """Everything in a GGUF file but the weights."""

    file: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]

    @property
    def architecture(self) -> str:
        """What llama.cpp calls the family of the model."""
        return self.need("general.architecture", str)

    def get(self, key: str, kind: type[T], default: T) -> T:
        """Return the value of `key` in the metadata; one of another type is an error."""
        return self.need(key, kind) if key in self.metadata else default

    def need(self, key: str, kind: type[T]) -> T:
        """Return the value of `key`, which must be there."""
        value: Any = self.metadata.get(key)
        if kind is float and type(value) is int:
            return cast("T", float(value))
        # A bool is an int to Python.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            found = f"found {type(value).__name__}" if key in self.metadata else "there is none"
            raise CheckpointError(
                f"{self.file}: the metadata needs {key!r} of type {kind.__name__}; {found}"
            )
        return value

    def array(self, key: str, kind: type[T], length: int | None = None) -> list[T]:
        """Return the list `key`, all of whose values are of one type."""
        values = cast("list[T]", self.need(key, list))
        if values and not isinstance(values[0], kind):
            raise CheckpointError(
                f"{self.file}: {key!r} holds {type(values[0]).__name__}; wanted {kind.__name__}"
            )
        if length is not None and len(values) != length:
            raise CheckpointError(f"{self.file}: {key!r} has {len(values)} values; wanted {length}")
        return values

    def floats(self, name: str, length: int) -> list[float]:
        """Return the values of the vector `name`, which is stored as float32."""
        info = self.tensors[name]
        if info.shape != (length,) or PLAIN.get(info.kind) != "float32":
            raise CheckpointError(
                f"{self.file}: {name!r} is {[*info.shape]} of type {info.kind}; wanted [{length}] "
                "of float32"
            )
        found = np.fromfile(self.file, "<f4", length, offset=info.start).tolist()
        if len(found) < length:
            raise CheckpointError(f"{self.file}: the file ends within the tensor {name!r}")
        return found


def read_header(path: Path) -> Header:
    """Return the header of the file at `path`; one that is unchanged is not read again.

    Raises:
        CheckpointError: The file is damaged, or not a GGUF file of a version that we read.
    """
    try:
        status = path.stat()
        return _read(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


@lru_cache(maxsize=2)
def _read(path: Path, size: int, changed: int) -> Header:
    if size < 24:
        raise CheckpointError(f"{path}: has {size} bytes, too few for a GGUF file")
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(path, data)
        magic, version, tensors, entries = cursor.take("4sIQQ")
        if magic != b"GGUF":
            raise CheckpointError(f"{path}: begins with {magic!r}, not b'GGUF': not a GGUF file")
        if version not in (2, 3):
            order = " in big-endian order" if version & 0xFFFF == 0 else ""
            raise CheckpointError(
                f"{path}: is of GGUF version {version}{order}; versions 2 and 3 in little-endian "
                "order are read: convert the model again"
            )
        metadata = _metadata(cursor, entries)
        found = [_tensor(cursor, number) for number in range(tensors)]
        names = [info.name for info in found]
        cursor.check(len(set(names)) == len(names), "two tensors have one name")
        start = cursor.data_start(metadata.get("general.alignment", 32), found)
        moved = {i.name: TensorInfo(i.name, i.shape, i.kind, start + i.start) for i in found}
        return Header(path, metadata, moved)


def _metadata(cursor: "_Cursor", entries: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number in range(entries):
        key = cursor.text(f"the name of entry {number}", _LONGEST_NAME)
        cursor.check(key not in found, f"the metadata has {key!r} twice")
        found[key] = cursor.value(key, *cursor.take("I"))
    return found


def _tensor(cursor: "_Cursor", number: int) -> TensorInfo:
    name = cursor.text(f"the name of tensor {number}", _LONGEST_NAME)
    (count,) = cursor.take("I")
    cursor.check(count <= _MOST_DIMENSIONS, f"tensor {name!r} has {count} dimensions")
    *sizes, kind, offset = cursor.take(f"{count}QIQ")
    return TensorInfo(name, tuple(reversed(sizes)), kind, offset)


class _Cursor:
    """Reads values one after another and never past the end, so that every count comes to an end.

    Each turn of a loop over a count takes bytes: a count that lies meets the end of the file.
    """

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def check(self, fine: bool, otherwise: str) -> None:
        if not fine:
            raise CheckpointError(f"{self.path}: damaged: {otherwise} (near byte {self.at})")

    def take(self, form: str) -> tuple[Any, ...]:
        """Return the next values of a fixed size; `form` is as in `struct`."""
        form = f"<{form}"
        end = self.at + struct.calcsize(form)
        self.check(end <= len(self.data), "the file ends within its header")
        values = struct.unpack_from(form, self.data, self.at)
        self.at = end
        return values

    def text(self, what: str, limit: int | None = None) -> str:
        (size,) = self.take("Q")
        self.check(limit is None or size <= limit, f"{what} has {size} bytes")
        self.check(size <= len(self.data) - self.at, f"the file ends within {what}")
        self.at += size
        try:
            return self.data[self.at - size : self.at].decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.path}: damaged: {what} is not UTF-8 ({error})") from error

    def value(self, key: str, kind: int) -> Any:
        if kind == _ARRAY:
            return self._array(key, *self.take("IQ"))
        if kind == _STRING:
            return self.text(repr(key))
        self.check(kind in _SCALARS, f"{key!r} is of unknown type {kind}")
        (value,) = self.take(_SCALARS[kind])
        # The shortest number that rounds to it: what the configuration said that it was made from.
        return float(str(np.float32(value))) if kind == _FLOAT32 else value

    def _array(self, key: str, kind: int, count: int) -> list[Any]:
        if kind == _STRING:
            return [self.text(repr(key)) for _ in range(count)]
        self.check(kind in _SCALARS, f"{key!r} is a list of type {kind}, which is not read")
        size = struct.calcsize(f"<{_SCALARS[kind]}")
        # Before `struct` sees the count: a large one would take memory first.
        self.check(count * size <= len(self.data) - self.at, f"the file ends within {key!r}")
        return [*self.take(f"{count}{_SCALARS[kind]}")]

    def data_start(self, alignment: object, tensors: list[TensorInfo]) -> int:
        """Return where the weights begin, after checking what their places depend on."""
        whole = isinstance(alignment, int) and alignment >= 8 and alignment.bit_count() == 1
        self.check(whole, f"general.alignment is {alignment!r}; wanted a power of two from 8 on")
        step = cast("int", alignment)
        for info in tensors:
            self.check(info.start % step == 0, f"tensor {info.name!r} is not aligned to {step}")
        return -(-self.at // step) * step
