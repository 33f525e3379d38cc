"""Write a model's tensors as safetensors under the names that its family has on disk."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] - typed as PathLike[Unknown]
from torch import Tensor, nn

from regard.checkpoints.keymap import Place, disk_places, stored_tensor
from regard.checkpoints.load import tie_groups
from regard.checkpoints.tensors import SAFETENSORS
from regard.checkpoints.write import Write, write_together

INDEX = f"{SAFETENSORS}.index.json"

_WEIGHTS = re.compile(
    r"(model(-\d+-of-\d+)?\.safetensors|pytorch_model(-\d+-of-\d+)?\.bin)(\.index\.json)?"
)


def save_weights(
    model: nn.Module,
    folder: Path,
    max_shard_size: int | str = "5GB",
    second_names: Mapping[str, str] | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Write every tensor of `model` once, sharded if need be; older weights there are replaced.

    Args:
        model: The model; tied parameters are written under their first name.
        folder: Where to write; made if missing.
        max_shard_size: Bytes in one file, as a number or like ``"200MB"``.
        second_names: Tensors to write again under another name: second name -> first name.
        state_dict: What to write, where it is not what the model has.
    """
    targets = dict(model.state_dict(keep_vars=True))
    first = [names[0] for names in tie_groups(targets)]
    values = targets if state_dict is None else state_dict
    parts: dict[str, dict[Place, Tensor]] = {}
    for name, place in disk_places(model, first).items():
        parts.setdefault(place.name, {})[place] = values[name].detach()
    tensors = {name: stored_tensor(each) for name, each in parts.items()}
    again = (second_names or {}).items()
    tensors |= {second: tensors[name] for second, name in again if name in tensors}
    shards = [*cut_shards(tensors.items(), parse_size(max_shard_size))]
    placed = dict(zip(shard_names(len(shards)), shards, strict=True))
    files: dict[str, Write] = {name: partial(write_shard, shard) for name, shard in placed.items()}
    if len(shards) > 1:
        places = {key: name for name, shard in placed.items() for key in shard}
        index = index_json(places, sum(map(tensor_bytes, tensors.values())))
        files[INDEX] = lambda path: path.write_text(index, encoding="utf-8")
    # An old index must never point into new shards.
    write_together(folder, files, stale=[INDEX])
    # Weights of an earlier save would be read first, or mixed with these.
    for old in folder.iterdir():
        if is_weights_file(old.name) and old.name not in files:
            old.unlink()


def parse_size(size: int | str) -> int:
    """Return bytes for a number or text such as ``"200MB"`` (decimal units, as on disks)."""
    if isinstance(size, int) and size > 0:
        return size
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B", str(size), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ValueError(f"a size is a positive number of bytes or like '200MB'; found {size!r}")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))


def cut_shards(tensors: Iterable[tuple[str, Tensor]], limit: int) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors of each file, at least one file; only those of one are held at a time.

    Args:
        tensors: Names and tensors, in the order in which they are written.
        limit: Bytes in one file; a tensor that is larger by itself is a file by itself.
    """
    shard: dict[str, Tensor] = {}
    used = 0
    for name, tensor in tensors:
        if shard and used + tensor_bytes(tensor) > limit:
            yield shard
            shard, used = {}, 0
        shard[name] = tensor
        used += tensor_bytes(tensor)
    yield shard


def shard_names(count: int) -> list[str]:
    """Return what the files of so many shards are called."""
    if count == 1:
        return [SAFETENSORS]
    return [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]


def index_json(places: Mapping[str, str], size: int) -> str:
    """Return the text of the index that says in which file each tensor is; `size` in bytes."""
    content = {"metadata": {"total_size": size}, "weight_map": places}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def write_shard(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write one safetensors file."""
    try:
        save_file(_own_memory(tensors), path, {"format": "pt"})
    except SafetensorError as error:  # which is no OSError, although the disk is what fails
        raise OSError(f"{path.name} cannot be written ({error})") from error


def tensor_bytes(tensor: Tensor) -> int:
    """Return how many bytes the numbers of a tensor take."""
    return tensor.numel() * tensor.element_size()


def is_weights_file(name: str) -> bool:
    """Whether a file of this name holds weights, or is their index."""
    return _WEIGHTS.fullmatch(name) is not None


def _own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors ready to write; the format refuses two that share memory."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    end = 0
    for name, tensor in sorted(ready.items(), key=lambda item: item[1].data_ptr()):
        if tensor.data_ptr() < end:
            ready[name] = tensor.clone()
        end = max(end, tensor.data_ptr() + tensor_bytes(tensor))
    return ready
