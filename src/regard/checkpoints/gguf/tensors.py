"""The tensors of a GGUF file, mapped into memory and turned into numbers one at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.checkpoints.gguf.families import Place, places
from regard.checkpoints.gguf.header import PLAIN, Header, TensorInfo, read_header
from regard.checkpoints.tensors import StoredTensor
from regard.errors import CheckpointError


@dataclass(frozen=True)
class _Format:
    """How the numbers of a tensor are stored.

    Attributes:
        name: Such as ``"Q4_K"``; None for plain numbers.
        block: How many numbers are stored together.
        size: The bytes that they take.
        read: Bytes (rows, bytes of a row) to numbers.
    """

    name: str | None
    block: int
    size: int
    read: Callable[[Tensor], Tensor]


def open_gguf(path: Path) -> dict[str, StoredTensor]:
    """Find every tensor of the GGUF file at `path`, under its name on disk.

    Raises:
        CheckpointError: The file is damaged, of a family or a quantisation that is not read, or
            quantised while the package `gguf` is missing.
    """
    header = read_header(path)
    # Private pages: who trains a model does not write into its file.
    data = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    found: dict[str, StoredTensor] = {}
    for name, place in places(header).items():
        found[place.name] = _open(header, header.tensors[name], place, data)
    return found


def _open(header: Header, info: TensorInfo, place: Place, data: Tensor) -> StoredTensor:
    form = _format(header.file, info)
    shape = info.shape
    width = shape[-1] if shape else 1
    if width % form.block:
        raise CheckpointError(
            f"{header.file}: {info.name!r} has rows of {width} numbers; {form.name} stores "
            f"{form.block} together"
        )
    end = info.start + math.prod(shape) // form.block * form.size
    if end > len(data):
        raise CheckpointError(
            f"{header.file}: the file ends within the tensor {info.name!r}: {len(data)} bytes, "
            f"wanted {end}; download it again"
        )
    heads = _heads(header, info, place)

    def read() -> Tensor:
        stored = data[info.start : end].view(-1, max(width // form.block * form.size, 1))
        values = form.read(stored).view(shape)
        if heads:
            # llama.cpp turns neighbours where the field turns a head's halves.
            values = values.view(heads, -1, 2, *shape[1:]).transpose(1, 2).reshape(shape)
        return values.t() if place.transposed and len(shape) == 2 else values

    turned = place.transposed and len(shape) == 2
    return StoredTensor(header.file, shape[::-1] if turned else shape, read, form.name)


def _heads(header: Header, info: TensorInfo, place: Place) -> int:
    """Return how many heads have interleaved halves, or 0."""
    if not place.heads:
        return 0
    kin = header.architecture
    heads = header.need(f"{kin}.attention.head_count", int)
    heads = header.get(f"{kin}.{place.heads}", int, heads)
    if heads < 1 or not info.shape or info.shape[0] % (2 * heads):
        raise CheckpointError(
            f"{header.file}: {info.name!r} is {[*info.shape]}, which {heads} heads do not divide"
        )
    return heads


def _format(file: Path, info: TensorInfo) -> _Format:
    if info.kind in PLAIN:
        dtype: torch.dtype = getattr(torch, PLAIN[info.kind])
        return _Format(None, 1, dtype.itemsize, lambda stored: stored.view(dtype))
    try:
        return _quantised(info.kind)
    except ImportError as error:
        raise CheckpointError(
            f"{file}: {info.name!r} is quantised; to read it: pip install 'regard[gguf]' ({error})"
        ) from error
    except (ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{file}: {info.name!r} is of a type that the package gguf cannot read ({error})"
        ) from error


@cache
def _quantised(kind: int) -> _Format:
    # Imported here: few checkpoints are quantised.
    import gguf

    form = gguf.GGMLQuantizationType(kind)
    block, size = gguf.GGML_QUANT_SIZES[form]

    def read(stored: Tensor) -> Tensor:
        with np.errstate(all="ignore"):  # a damaged scale may be infinite
            values: Any = gguf.dequantize(stored.numpy(), form)
        return torch.from_numpy(values)

    read(torch.zeros(1, size, dtype=torch.uint8))  # what cannot be read shows now
    return _Format(form.name, block, size, read)
