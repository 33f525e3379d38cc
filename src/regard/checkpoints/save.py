"""Write a model's tensors as safetensors under the names that its family has on disk."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] - PathLike[?]
from torch import Tensor, nn

from regard.checkpoints.keymap import disk_names
from regard.checkpoints.load import tie_groups
from regard.checkpoints.tensors import SAFETENSORS
from regard.checkpoints.write import write_atomically, write_text

_WEIGHTS = re.compile(r"(model(-\d+-of-\d+)?\.safetensors|pytorch_model.*\.bin)(\.index\.json)?$")


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
    on_disk = disk_names(model, first)
    tensors = {on_disk[name]: targets[name].detach().cpu().contiguous() for name in first}
    for second, name in (second_names or {}).items():
        if name in tensors:
            tensors[second] = tensors[name].clone()
    shards = _shards(tensors, parse_size(max_shard_size))
    names = [SAFETENSORS]
    if len(shards) > 1:
        names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        write_atomically(folder / name, lambda path, s=shard: save_file(s, path, {"format": "pt"}))
    index = f"{SAFETENSORS}.index.json"
    if len(shards) > 1:
        places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        total = sum(_size(tensor) for tensor in tensors.values())
        content = {"metadata": {"total_size": total}, "weight_map": places}
        write_text(folder / index, json.dumps(content, indent=2, sort_keys=True) + "\n")
        names.append(index)
    # Weights of an earlier save would be read first, or mixed with these.
    for old in folder.iterdir():
        if _WEIGHTS.fullmatch(old.name) and old.name not in names:
            old.unlink()


def parse_size(size: int | str) -> int:
    """Return bytes for a number or text such as ``"200MB"`` (decimal units, as on disks)."""
    if isinstance(size, int) and size > 0:
        return size
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B", str(size), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ValueError(f"a size is a positive number of bytes or like '200MB'; found {size!r}")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))


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
