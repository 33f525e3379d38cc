"""Which of a model's modules an adapter is for, by their names in files."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import nn

from regard.adapters.config import ALL_LINEAR, LoraConfig
from regard.checkpoints.keymap import Place, disk_places
from regard.errors import ConfigError, listing, notices

#: Name of the child module in which a model has its adapters.
CHILD = "adapters"

#: What is changed where nothing is said (Hu et al. 2021, section 7.1), as we name it in memory.
_USUAL = ("query", "value")


@dataclass(frozen=True, eq=False)
class Target:
    """A linear map to change.

    Attributes:
        path: Where it is in memory.
        linear: It.
        place: Where its weight lies in files.
    """

    path: str
    linear: nn.Linear
    place: Place

    @property
    def disk(self) -> str:
        """Path in files of the map, of which this may be a part."""
        return self.place.name.removesuffix(".weight")


def resolved(model: nn.Module, config: LoraConfig) -> LoraConfig:
    """Return the settings with everything that follows from the model."""
    config = copy.copy(config)
    maps = linear_maps(model)
    if config.target_modules is None:
        usual = [each for each in maps if each.path.rpartition(".")[2] in _USUAL]
        if not usual:
            raise ConfigError(
                f"LoraConfig: name the target_modules; {type(model).__name__} has {_last(maps)}"
            )
        config.target_modules = [*dict.fromkeys(each.disk.rpartition(".")[2] for each in usual)]
    config.fan_in_fan_out = any(each.place.transposed for each in maps)
    if config.base_model_name_or_path is None:
        config.base_model_name_or_path = getattr(model, "name_or_path", None) or None
    return config


def linear_maps(model: nn.Module) -> list[Target]:
    """Return the linear maps of a model; those of its adapters are none."""
    modules = cast("list[tuple[str, nn.Module]]", [*model.named_modules()])
    maps = {p: m for p, m in modules if isinstance(m, nn.Linear) and not _in_adapters(p)}
    places = disk_places(model, [f"{path}.weight" for path in maps])
    return [Target(path, each, places[f"{path}.weight"]) for path, each in maps.items()]


def find_targets(model: nn.Module, config: LoraConfig) -> dict[str, list[Target]]:
    """Return the maps to change, by their paths in files; the parts of one stand together.

    Raises:
        ConfigError: There are none, or what is named is no linear map.
    """
    maps = linear_maps(model)
    if config.target_modules == ALL_LINEAR:
        scores = getattr(model, "get_output_embeddings", lambda: None)()
        chosen = [
            each
            for each in maps
            if each.linear is not scores and not config.is_saved(each.place.name)
        ]
    else:
        _check_kinds(model, config, maps)
        _check_names(config, maps)
        chosen = [each for each in maps if config.is_target(each.disk)]
    if not chosen:
        raise ConfigError(
            f"LoraConfig: no linear map of {type(model).__name__} is called "
            f"{config.target_modules!r}; names count as files have them, and these are there: "
            f"{_last(maps)}"
        )
    found: dict[str, list[Target]] = {}
    for each in chosen:
        found.setdefault(each.disk, []).append(each)
    return found


def own_parameters(
    model: nn.Module, config: LoraConfig, targets: Mapping[str, object]
) -> dict[str, nn.Parameter]:
    """Return the parameters, by name in memory, of which the adapter has its own."""

    def is_own(disk: str) -> bool:
        module, _, leaf = disk.rpartition(".")
        biased = config.bias == "all" or (config.bias == "lora_only" and module in targets)
        return config.is_saved(disk) or (leaf == "bias" and biased)

    named = base_parameters(model)
    places = disk_places(model, named)
    return {name: each for name, each in named.items() if is_own(places[name].name)}


def base_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of a model under all their names, but for those of its adapters."""
    named = model.named_parameters(remove_duplicate=False)
    return {name: each for name, each in named if not _in_adapters(name)}


def _check_kinds(model: nn.Module, config: LoraConfig, maps: Iterable[Target]) -> None:
    places = disk_places(model, base_parameters(model))
    paths = {place.name.rpartition(".")[0] for place in places.values()}
    wrong = sorted(path for path in paths - {each.disk for each in maps} if config.is_target(path))
    if wrong:
        raise ConfigError(
            f"LoraConfig: target_modules has {listing(wrong)}, which is no linear map; name it in "
            "modules_to_save to train it whole"
        )


def _check_names(config: LoraConfig, maps: Iterable[Target]) -> None:
    named = config.target_modules if isinstance(config.target_modules, list) else []
    paths = [f".{each.disk}" for each in maps]
    lost = [name for name in named if not any(path.endswith(f".{name}") for path in paths)]
    if lost and len(lost) < len(named):
        notices.warning("LoraConfig: target_modules %s: not in this model", listing(lost))


def _last(maps: Iterable[Target]) -> str:
    return listing(dict.fromkeys(each.disk.rpartition(".")[2] for each in maps), 20)


def _in_adapters(path: str) -> bool:
    return path.split(".")[0] == CHILD
