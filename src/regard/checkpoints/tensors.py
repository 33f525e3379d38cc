"""The tensors of a checkpoint folder, found by name and read one at a time."""

import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from regard.checkpoints.files import GGUF_FILE, CheckpointFolder, plain_name, read_json_object
from regard.errors import CheckpointError, CheckpointNotFoundError, listing

SAFETENSORS, TORCH_BIN = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file; nothing is read before `read` is called.

    Attributes:
        file: Where it is.
        shape: Its sizes.
        read: Maps it into memory, or makes float32 of it where it is quantised.
        quantised: The format, such as ``"Q4_K"``, of one that is.
    """

    file: Path
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    quantised: str | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What `read` gives; to know it, nothing is computed."""
        return torch.float32 if self.quantised else self.read().dtype


def open_tensors(folder: CheckpointFolder) -> dict[str, StoredTensor]:
    """Find every tensor of `folder`: safetensors, else PyTorch's own format, else GGUF.

    Raises:
        CheckpointNotFoundError: There is no weights file.
        CheckpointError: A file is damaged, not plain data, or not what the index says.
    """
    for name, open_file in ((SAFETENSORS, _open_safetensors), (TORCH_BIN, _open_bin)):
        path = folder.find_path(name)
        if path is not None:
            return open_file(path)
        index = folder.find_path(f"{name}.index.json")
        if index is not None:
            return _open_shards(folder, index, open_file)
    path = folder.find_path(GGUF_FILE)
    if path is not None:
        # Imported here: it is the one format that is seldom met.
        from regard.checkpoints.gguf.tensors import open_gguf

        return open_gguf(path)
    cached = " (offline, only the files in the local cache count)"
    raise CheckpointNotFoundError(
        f"{folder.name}: no weights; looked for {SAFETENSORS} and {TORCH_BIN}, whole and sharded"
        f"{cached if folder.origin == 'hub' else ''}"
    )


def _open_shards(
    folder: CheckpointFolder, index: Path, open_file: Callable[[Path], dict[str, StoredTensor]]
) -> dict[str, StoredTensor]:
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index}: wanted a 'weight_map' of tensor names to file names")
    places = cast("dict[str, Any]", weight_map)
    for tensor, file in places.items():
        if not isinstance(file, str):
            raise CheckpointError(f"{index}: the file of {tensor!r} is {file!r}, not a name")
        plain_name(file, str(index))
    shards: dict[str, dict[str, StoredTensor]] = {}
    for file in sorted(set(places.values())):
        path = folder.find_path(file)
        if path is None:
            lost = [tensor for tensor, place in places.items() if place == file]
            raise CheckpointNotFoundError(f"{index}: {file} is missing; it holds {listing(lost)}")
        shards[file] = open_file(path)
    absent = [tensor for tensor, file in places.items() if tensor not in shards[file]]
    if absent:
        raise CheckpointError(f"{index}: not in the file that it names: {listing(absent)}")
    return {tensor: shards[file][tensor] for tensor, file in places.items()}


def _open_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        file: Any = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error

    def read(name: str) -> Tensor:
        try:
            return file.get_tensor(name)
        except (SafetensorError, RuntimeError) as error:  # a type that this torch does not have
            raise CheckpointError(f"{path}: {name!r} cannot be read ({error})") from error

    def entry(name: str) -> StoredTensor:
        return StoredTensor(path, tuple(file.get_slice(name).get_shape()), lambda: read(name))

    names = cast("list[str]", file.keys())
    return {name: entry(name) for name in names}


def _open_bin(path: Path) -> dict[str, StoredTensor]:
    # Only the zip format (torch >= 1.6) can be mapped; older files are read whole.
    mapped = zipfile.is_zipfile(path)
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch.load raises anything from RuntimeError to EOFError
        raise CheckpointError(
            f"{path}: not a file of plain tensors ({str(error).strip().split(chr(10), 1)[0]}). "
            "regard runs no code from checkpoints; convert the file to safetensors where you "
            "trust it"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: wanted a dict of tensors, found {type(content).__name__}")
    tensors = cast("Mapping[Any, Any]", content)
    wrong = [str(name) for name, value in tensors.items() if not _is_plain(value)]
    if wrong:
        raise CheckpointError(f"{path}: not plain tensors: {listing(wrong)}")
    uses = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())

    def entry(tensor: Tensor) -> StoredTensor:
        # Two views of one memory would change together; each place gets its own.
        shared = uses[tensor.untyped_storage().data_ptr()] > 1
        plain = tensor.detach().clone() if shared else tensor.detach()
        return StoredTensor(path, tuple(tensor.shape), lambda: plain)

    return {str(name): entry(tensor) for name, tensor in tensors.items()}


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def floating_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return a floating type by its name, or raise `ValueError`."""
    found = dtype
    if not isinstance(found, torch.dtype):
        found = getattr(torch, str(found).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype {dtype!r} is not a floating type such as 'float32' or 'bfloat16'")
    return found
