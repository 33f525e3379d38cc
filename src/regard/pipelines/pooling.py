"""From token vectors to a vector per text, as a sentence-transformers checkpoint describes it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from regard.batch import Layout
from regard.checkpoints.files import CheckpointFolder, read_json
from regard.errors import CheckpointError, listing, notices


def _weighted_mean(tokens: Tensor) -> Tensor:
    """Later tokens weigh more (Muennighoff 2022, section 3): for models that read left to right."""
    weights = torch.arange(1, tokens.shape[1] + 1, dtype=tokens.dtype, device=tokens.device)
    return (tokens * weights[:, None]).sum(1) / weights.sum()


#: Name -> reduction of (count, length, width) to (count, width).
POOLINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda tokens: tokens.mean(1),
    "cls": lambda tokens: tokens[:, 0],
    "max": lambda tokens: tokens.amax(1),
    "mean_sqrt_len": lambda tokens: tokens.sum(1) / math.sqrt(tokens.shape[1]),
    "weightedmean": _weighted_mean,
    "lasttoken": lambda tokens: tokens[:, -1],
}

#: The order in which several poolings of one file are joined, and what its switches are called.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class SentencePooling:
    """How token vectors become one vector (Reimers and Gurevych 2019, section 3).

    Attributes:
        modes: Names in `POOLINGS`; several are joined end to end.
        normalize: Whether vectors get length 1.
        max_length: Longest text in tokens that the model was made for, or None.
    """

    modes: tuple[str, ...] = ("mean",)
    normalize: bool = False
    max_length: int | None = None

    def __call__(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "rows vector"]:
        """Return one vector per sequence, in the caller's order."""
        pooled = torch.cat([layout.reduce(hidden, POOLINGS[mode]) for mode in self.modes], -1)
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled

    @classmethod
    def read(cls, folder: CheckpointFolder) -> "SentencePooling":
        """Read modules.json and what it names; without one, take the mean and say so."""
        if folder.find("modules.json") is None:
            notices.warning(
                "%s has no modules.json: vectors are means of token vectors", folder.name
            )
            return cls()
        modes: tuple[str, ...] = ("mean",)
        kinds: list[str] = []
        for module in _modules(folder):
            kinds.append(str(module.get("type")).rsplit(".", 1)[-1])
            if kinds[-1] == "Pooling":
                modes = _modes(folder, f"{module.get('path')}/config.json")
        if set(kinds) - {"Transformer", "Pooling", "Normalize"} or kinds[:1] != ["Transformer"]:
            raise CheckpointError(
                f"{folder.name}: modules.json asks for {listing(kinds)}; only a Transformer "
                "followed by Pooling and Normalize is implemented"
            )
        return cls(modes, "Normalize" in kinds, _max_length(folder))


def _modules(folder: CheckpointFolder) -> list[dict[str, Any]]:
    path = folder.path("modules.json")
    value = read_json(path)
    if not isinstance(value, list) or not all(
        isinstance(m, dict) for m in cast("list[Any]", value)
    ):
        raise CheckpointError(f"{path}: wanted a list of modules")
    return cast("list[dict[str, Any]]", value)


def _modes(folder: CheckpointFolder, file: str) -> tuple[str, ...]:
    config = folder.read_json(file)
    modes = tuple(mode for switch, mode in _SWITCHES.items() if config.get(switch))
    named = config.get("pooling_mode")
    if named is not None:
        listed = cast("list[Any]", named) if isinstance(named, list) else [named]
        modes = tuple(str(mode) for mode in listed)
    unknown = [mode for mode in modes if mode not in POOLINGS]
    if unknown or not modes:
        raise CheckpointError(f"{folder.name}: {file} names no known pooling ({listing(config)})")
    return modes


def _max_length(folder: CheckpointFolder) -> int | None:
    file = "sentence_bert_config.json"
    limit = folder.read_json(file).get("max_seq_length") if folder.find(file) else None
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise CheckpointError(f"{folder.name}: {file} has max_seq_length {limit!r}")
    return limit
