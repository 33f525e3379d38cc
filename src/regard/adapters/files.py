"""Adapters in files: adapter_config.json and adapter_model.safetensors, as peft has them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.adapters.adapter import DEFAULT, Adapter, adapters_of, add_adapter, set_adapter
from regard.adapters.config import LoraConfig
from regard.adapters.targets import base_parameters
from regard.checkpoints.files import ADAPTER_CONFIG, CheckpointFolder, File, find_checkpoint
from regard.checkpoints.keymap import Place, disk_places, stored_tensor
from regard.checkpoints.save import write_shard
from regard.checkpoints.tensors import SAFETENSORS, TORCH_BIN, StoredTensor, open_tensors
from regard.checkpoints.write import Write, write_together
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError, listing

CONFIG = ADAPTER_CONFIG
WEIGHTS = "adapter_model.safetensors"
_OLD_WEIGHTS = "adapter_model.bin"

#: What stands before every name in the file.
_PREFIX = "base_model.model."
#: What stands before the bias of a map that the adapter changes.
_BASE = "base_layer."


def stored_config(folder: CheckpointFolder) -> LoraConfig | None:
    """Return the settings of the adapter in a folder, or None where there is none."""
    if folder.find(CONFIG) is None:
        return None
    try:
        return LoraConfig(**folder.read_json(CONFIG))
    except ConfigError as error:
        raise ConfigError(f"{folder.name}: {CONFIG}: {error}") from error


def save_adapters(model: nn.Module, folder: str | Path) -> None:
    """Write the adapters of a model: ``"default"`` into `folder`, others below it by their names.

    Raises:
        CheckpointError: More trains than the adapter has, which would be lost, or the base lies in
            that folder.
    """
    adapters, folder = adapters_of(model), Path(folder)
    own = {id(parameter) for parameter in adapters.parameters()}
    named = base_parameters(model).items()
    lost = [name for name, each in named if each.requires_grad and id(each) not in own]
    if lost:
        raise CheckpointError(
            f"these train and are no part of an adapter, so they would be lost: {listing(lost)}; "
            "name them in modules_to_save"
        )
    for name, adapter in adapters.named():
        _write(model, adapter, folder if name == DEFAULT else folder / name)


def load_adapter(
    model: nn.Module,
    folder: str | Path | CheckpointFolder,
    name: str = DEFAULT,
    *,
    trainable: bool = False,
) -> None:
    """Give a model an adapter from files, and make it the one that counts.

    Args:
        model: The base that the adapter was trained on.
        folder: A folder or name as in `find_checkpoint`, with the two files.
        name: What to call the adapter.
        trainable: Whether it goes on training.

    Raises:
        CheckpointError: The files are of another model; names the tensors.
        ConfigError: The adapter asks for what is not implemented.
    """
    found = folder if isinstance(folder, CheckpointFolder) else find_checkpoint(folder)
    config = stored_config(found)
    if config is None:
        raise CheckpointNotFoundError(f"{found.name}: no adapter; there is no {CONFIG}")
    add_adapter(model, config, name)
    _read(model, adapters_of(model).get(name), found)
    set_adapter(model, name, trainable=trainable)


def restore_adapters(model: nn.Module, folder: str | Path) -> None:
    """Copy what `save_adapters` wrote back into the same adapters, as a resumed run needs it."""
    for name, adapter in adapters_of(model).named():
        _read(model, adapter, find_checkpoint(folder if name == DEFAULT else Path(folder) / name))


def remove_adapter_files(folder: str | Path) -> None:
    """Remove an adapter from a folder that gets a whole model."""
    for name in (CONFIG, WEIGHTS, _OLD_WEIGHTS):
        (Path(folder) / name).unlink(missing_ok=True)


def _write(model: nn.Module, adapter: Adapter, folder: Path) -> None:
    base = adapter.config.base_model_name_or_path
    if base is not None and Path(base).is_dir() and Path(base).resolve() == folder.resolve():
        raise CheckpointError(f"{folder} holds the base of the adapter; choose another folder")
    parts: dict[str, dict[Place, Tensor]] = {}
    for tensor, place in _places(model, adapter).items():
        parts.setdefault(place.name, {})[place] = adapter.get_parameter(tensor).detach()
    tensors = {f"{_PREFIX}{name}": stored_tensor(each) for name, each in parts.items()}
    text = json.dumps(adapter.config.to_dict(), indent=2, sort_keys=True) + "\n"
    files: dict[str, Write] = {
        WEIGHTS: partial(write_shard, tensors),
        CONFIG: lambda path: path.write_text(text, encoding="utf-8"),
    }
    write_together(folder, files, stale=[_OLD_WEIGHTS])


def stored_tensors(folder: CheckpointFolder) -> dict[str, StoredTensor]:
    """Return the tensors of the adapter in a folder, by the names of the modules that they change.

    Raises:
        CheckpointNotFoundError: There are none.
    """
    if folder.find(WEIGHTS) is None and folder.find(_OLD_WEIGHTS) is None:
        raise CheckpointNotFoundError(f"{folder.name}: there is no file {WEIGHTS!r}")
    names = {SAFETENSORS: WEIGHTS, TORCH_BIN: _OLD_WEIGHTS}

    def locate(name: str) -> File | None:
        return folder.locate(names[name]) if name in names else None

    only = replace(folder, locate=locate)
    return {_plain(name): each for name, each in open_tensors(only).items() if _counts(name)}


def _read(model: nn.Module, adapter: Adapter, folder: CheckpointFolder) -> None:
    stored = stored_tensors(folder)
    places = _places(model, adapter)
    wanted = {_plain(place.name) for place in places.values()}
    beyond = stored.keys() - wanted
    # Embeddings and scores stand in files of peft beside their change, as the base has them.
    wrong = [f"{name} has no place" for name in sorted(beyond - _of_base(model, stored))]
    wrong += [f"{name} is missing" for name in sorted(wanted - stored.keys())]
    found: dict[str, Tensor] = {}
    for name, place in places.items():
        each = stored.get(_plain(place.name))
        here = tuple(adapter.get_parameter(name).shape)
        if each is not None and place.shape(each.shape) != here:
            wrong.append(f"{_plain(place.name)} is {[*each.shape]}, the model has {[*here]}")
        elif each is not None:
            found[name] = place.take(each.read())
    if wrong:
        raise CheckpointError(
            f"{folder.name}: {WEIGHTS} does not fit this model: {listing(wrong)}. Check the base "
            "model, its head and num_labels"
        )
    with torch.no_grad():
        for name, tensor in found.items():
            adapter.get_parameter(name).copy_(tensor)


def _of_base(model: nn.Module, stored: Mapping[str, StoredTensor]) -> set[str]:
    """Return the names of stored tensors that are just what the base has there."""
    named = base_parameters(model)
    places = disk_places(model, named)
    found = {place.name for place in places.values() if place.name in stored}
    for name, place in places.items():
        if place.name in found and not torch.equal(
            place.take(stored[place.name].read()), named[name]
        ):
            found.remove(place.name)
    return found


def _places(model: nn.Module, adapter: Adapter) -> dict[str, Place]:
    """Return where each parameter of an adapter, by its name in that, lies in the file."""
    changes = {f"changes.{name}": Place(name) for name, _ in adapter.changes.named_parameters()}
    own = [name for name, _ in adapter.own.named_parameters()]
    changed = {name.rpartition(".lora_")[0] for name, _ in adapter.changes.named_parameters()}

    def placed(place: Place) -> Place:
        module, _, leaf = place.name.rpartition(".")
        beside = module in changed and leaf == "bias"
        return replace(place, name=f"{module}.{_BASE}{leaf}") if beside else place

    return changes | {f"own.{n}": placed(p) for n, p in disk_places(model, own).items()}


def _plain(name: str) -> str:
    """Return a name without what older and newer files have beyond the tensor's own."""
    return name.removeprefix(_PREFIX).replace(_BASE, "")


def _counts(name: str) -> bool:
    """Whether a tensor is the adapter's: with ``bias="all"`` files hold the base's own head too."""
    return ".original_module." not in name and ".modules_to_save." not in name
