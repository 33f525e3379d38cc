"""Adapters on a model: added, chosen, taken off, and merged into its weights.

The model stays the object that it is, so whatever works on it works on it with adapters. All that
adapters have lies in one child module, ``model.adapters``; the model's linear maps get a forward
hook, and parameters that an adapter has of its own stand where the base's stood.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from regard.adapters.config import LoraConfig
from regard.adapters.lora import LowRank
from regard.adapters.targets import (
    CHILD,
    Target,
    base_parameters,
    find_targets,
    own_parameters,
    resolved,
)
from regard.errors import ConfigError, nearest

DEFAULT = "default"

_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Plug:
    """Adds a low-rank change to what a linear map gives; a forward hook of that map.

    Attributes:
        adapter: Whose change it is; it is added while that is `on`.
        low_rank: The change.
        part: Which part of the change's outputs this map is.
        parts: How many there are.
    """

    adapter: "Adapter"
    low_rank: LowRank
    part: int
    parts: int

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """Return the changed output, or None for the output as it is."""
        if not self.adapter.on:
            return None
        return output + self.low_rank(inputs[0], self.part, self.parts).to(output.dtype)

    def merged(self, weight: Tensor) -> nn.Parameter:
        """Return a weight that has the change in it."""
        change = self.low_rank.change(self.part, self.parts)
        whole = weight.to(change.dtype) + change
        return nn.Parameter(whole.detach().to(weight.dtype), requires_grad=False)


class Adapter(nn.Module):
    """What one adapter has.

    Args:
        config: Its settings.

    Attributes:
        on: Whether its changes are added now.
        changes: Its low-rank changes, by the paths in files of the maps that they change.
        own: Parameters in place of the base's, by their names in memory.
        plugs: The hook of each linear map, by its path in memory.
        handles: What takes the hooks off again.
    """

    on: bool = False

    def __init__(self, config: LoraConfig) -> None:
        super().__init__()
        self.config = config
        self.changes = nn.Module()
        self.own = nn.Module()
        self.plugs: dict[str, Plug] = {}
        self.handles: list[RemovableHandle] = []

    def add_change(self, disk: str, targets: list[Target]) -> None:
        """Add a change of the matrix at `disk`, which is that of each of `targets` in turn."""
        first = targets[0].linear
        outputs = sum(target.linear.out_features for target in targets)
        low_rank = LowRank(first.in_features, outputs, self.config, first.weight)
        _plant(self.changes, disk, low_rank)
        for target in targets:
            plug = Plug(self, low_rank, target.place.part, target.place.parts)
            self.plugs[target.path] = plug
            self.handles.append(target.linear.register_forward_hook(plug))

    def add_own(self, name: str, parameter: nn.Parameter) -> None:
        """Add a copy of the base's parameter of that name."""
        _plant(self.own, name, nn.Parameter(parameter.detach().clone()))


class Adapters(nn.Module):
    """All adapters of a model, at ``model.adapters``.

    Args:
        trained: Names of the base's parameters that trained before there was an adapter.

    Attributes:
        members: Each by its name.
        originals: Parameters of the base that others stand in for, by their names.
        active: Name of the adapter that counts now, if any.
        merged: Whether its changes are in the weights.
    """

    def __init__(self, trained: set[str]) -> None:
        super().__init__()
        self.trained = trained
        self.members = nn.ModuleDict()
        self.originals = nn.Module()
        self.active: str | None = None
        self.merged = False

    def get(self, name: str) -> Adapter:
        """Return the adapter of that name."""
        if name not in self.members:
            raise ConfigError(
                f"there is no adapter {name!r}{nearest(name, self.members)}; there are "
                f"{', '.join(self.members)}"
            )
        return cast("Adapter", self.members[name])

    def named(self) -> Iterator[tuple[str, Adapter]]:
        """Return each name and adapter."""
        return ((name, cast("Adapter", each)) for name, each in self.members.items())


def attached(model: nn.Module) -> Adapters | None:
    """Return the adapters of a model, or None where it has none."""
    found = dict(model.named_children()).get(CHILD)
    return found if isinstance(found, Adapters) else None


def adapters_of(model: nn.Module) -> Adapters:
    """Return the adapters of a model, or raise `ConfigError`."""
    found = attached(model)
    if found is None:
        raise ConfigError(f"this {type(model).__name__} has no adapter; add_adapter gives it one")
    return found


def add_adapter(model: nn.Module, config: LoraConfig, name: str = DEFAULT) -> None:
    """Give a model an adapter that trains, and make it the one that counts.

    The base is frozen: only the adapter trains, and its `modules_to_save`.

    Args:
        model: One of ours or of your own; it is changed in place.
        config: What to change in it.
        name: What to call the adapter; a model can have several, of which one counts at a time.

    Raises:
        ConfigError: The model has no such modules, or an adapter of that name.
    """
    if not name or "." in name or "/" in name:
        raise ConfigError(f"{name!r} cannot be the name of an adapter: a word without . and /")
    config = resolved(model, config)
    targets = find_targets(model, config)
    adapters = attached(model)
    if adapters is None:
        if isinstance(model, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            raise ConfigError(
                f"a {type(model).__name__} takes every child for its own, adapters too; put it "
                "into a module that has a forward"
            )
        if hasattr(model, CHILD):
            raise ConfigError(f"{type(model).__name__} has a {CHILD!r} of its own; rename that")
        adapters = Adapters({n for n, p in base_parameters(model).items() if p.requires_grad})
    elif name in adapters.members:
        raise ConfigError(f"there is an adapter {name!r} already; give another name")
    else:
        _show(model, adapters, None)  # its own parameters are copies of the base's
    adapter = Adapter(config)
    for disk, each in targets.items():
        adapter.add_change(disk, each)
    for path, parameter in own_parameters(model, config, targets).items():
        adapter.add_own(path, parameter)
    model.requires_grad_(False)
    adapters.members[name] = adapter.train(model.training)
    model.add_module(CHILD, adapters)
    set_adapter(model, name)


def set_adapter(model: nn.Module, name: str, *, trainable: bool = True) -> None:
    """Make another adapter the one that counts, and the only one that trains.

    Args:
        model: A model with adapters.
        name: Which.
        trainable: Whether its parameters get gradients.
    """
    adapters = adapters_of(model)
    adapter = adapters.get(name)
    _show(model, adapters, name)
    adapters.requires_grad_(False)
    adapter.requires_grad_(trainable)


@contextmanager
def disable_adapter(model: nn.Module) -> Generator[None]:
    """Within the block the model is its base, bit for bit."""
    adapters = adapters_of(model)
    active, merged = adapters.active, adapters.merged
    _show(model, adapters, None)
    try:
        yield
    finally:
        _show(model, adapters, active, merged=merged)


@contextmanager
def merged_adapter(model: nn.Module) -> Generator[None]:
    """Within the block the weights have the changes of the adapter, if there is one, in them."""
    adapters = attached(model)
    if adapters is None or adapters.merged:
        yield
        return
    merge_adapter(model)
    try:
        yield
    finally:
        unmerge_adapter(model)


def merge_adapter(model: nn.Module) -> None:
    """Put the changes into the weights: as fast as the base. The base's own are kept beside."""
    adapters = adapters_of(model)
    _show(model, adapters, adapters.active, merged=True)


def unmerge_adapter(model: nn.Module) -> None:
    """Take the changes out of the weights again, which are then the same bits as before."""
    adapters = adapters_of(model)
    _show(model, adapters, adapters.active)


def merge_and_unload(model: _Module) -> _Module:
    """Put the changes into the weights for good and forget all adapters; return the model.

    It then trains and saves as a whole again.
    """
    adapters = adapters_of(model)
    _show(model, adapters, adapters.active, merged=True)
    _forget(model, adapters)
    return model


def delete_adapter(model: nn.Module, name: str) -> None:
    """Take an adapter away; after the last one the model is its base, and trains as before."""
    adapters = adapters_of(model)
    adapter = adapters.get(name)
    if adapters.active == name:
        _show(model, adapters, None)
    for handle in adapter.handles:
        handle.remove()
    del adapters.members[name]
    if not adapters.members:
        _forget(model, adapters)


def _show(model: nn.Module, adapters: Adapters, name: str | None, *, merged: bool = False) -> None:
    """Make the model what it is with that adapter, or None, whatever it was before."""
    for path, original in adapters.originals.named_parameters(remove_duplicate=False):
        _put(model, path, original)
    adapters.originals = nn.Module()
    for _, each in adapters.named():
        each.on = False
    adapters.active, adapters.merged = name, merged and name is not None
    if name is None:
        return
    adapter = adapters.get(name)
    shown = dict(adapter.own.named_parameters())
    if merged:
        weights = {path: model.get_parameter(f"{path}.weight") for path in adapter.plugs}
        with torch.no_grad():
            shown |= {f"{p}.weight": adapter.plugs[p].merged(w) for p, w in weights.items()}
    adapter.on = not merged
    for path, parameter in shown.items():
        _plant(adapters.originals, path, model.get_parameter(path))
        _put(model, path, parameter)


def _forget(model: nn.Module, adapters: Adapters) -> None:
    """Leave the model as it is, without adapters."""
    for _, each in adapters.named():
        for handle in each.handles:
            handle.remove()
    delattr(model, CHILD)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in adapters.trained)


def _put(model: nn.Module, path: str, parameter: nn.Parameter) -> None:
    owner, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(owner), leaf, parameter)


def _plant(root: nn.Module, path: str, value: nn.Module | nn.Parameter) -> None:
    """Put a value at a path of modules, which are made where there are none."""
    *above, leaf = path.split(".")
    for step in above:
        if step not in dict(root.named_children()):
            root.add_module(step, nn.Module())
        root = root.get_submodule(step)
    setattr(root, leaf, value)
