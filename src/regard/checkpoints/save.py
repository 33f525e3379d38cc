"""Write a model's tensors as safetensors under the names that its family has on disk."""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

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
) -> None:
    """Write every tensor of `model` once, sharded if need be; older weights there are replaced.

    Args:
        model: The model; tied parameters are written under their first name.
        folder: Where to write; made if missing.
        max_shard_size: Bytes in one file, as a number or like ``"200MB"``.
        second_names: Tensors to write again under another name: second name -> first name.
    """
    targets = dict(model.state_dict(keep_vars=True))
    first = [names[0] for names in tie_groups(targets)]
    parts: dict[str, dict[Place, Tensor]] = {}
    for name, place in disk_places(model, first).items():
        parts.setdefault(place.name, {})[place] = targets[name].detach()
    tensors = {name: stored_tensor(each) for name, each in parts.items()}
    again = (second_names or {}).items()
    tensors |= {second: tensors[name] for second, name in again if name in tensors}
    shards = _shards(_own_memory(tensors), parse_size(max_shard_size))
    names = [SAFETENSORS]
    if len(shards) > 1:
        names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    placed = dict(zip(names, shards, strict=True))
    files: dict[str, Write] = {name: partial(_save_file, shard) for name, shard in placed.items()}
    if len(shards) > 1:
        files[INDEX] = lambda path: path.write_text(_index(placed), encoding="utf-8")
    # An old index must never point into new shards.
    write_together(folder, files, stale=[INDEX])
    # Weights of an earlier save would be read first, or mixed with these.
    for old in folder.iterdir():
        if _WEIGHTS.fullmatch(old.name) and old.name not in files:
            old.unlink()


def parse_size(size: int | str) -> int:
    """Return bytes for a number or text such as ``"200MB"`` (decimal units, as on disks)."""
    if isinstance(size, int) and size > 0:
        return size
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B", str(size), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ValueError(f"a size is a positive number of bytes or like '200MB'; found {size!r}")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))


def _save_file(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path, {"format": "pt"})


def _index(shards: Mapping[str, Mapping[str, Tensor]]) -> str:
    places = {key: name for name, shard in shards.items() for key in shard}
    total = sum(_size(tensor) for shard in shards.values() for tensor in shard.values())
    content = {"metadata": {"total_size": total}, "weight_map": places}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors ready to write; the format refuses two that share memory."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    end = 0
    for name, tensor in sorted(ready.items(), key=lambda item: item[1].data_ptr()):
        if tensor.data_ptr() < end:
            ready[name] = tensor.clone()
        end = max(end, tensor.data_ptr() + _size(tensor))
    return ready


def _shards(tensors: dict[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        if shards[-1] and used + _size(tensor) > limit:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += _size(tensor)
    return shards


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
