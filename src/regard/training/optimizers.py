"""Optimisers, all of them torch's, and which parameters get which rate and decay."""

import ast
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regard.errors import ConfigError, nearest


@dataclass(frozen=True)
class Recipe:
    """What an optimiser is made of.

    Attributes:
        build: The class.
        fixed: Arguments that the name stands for.
        adam: Whether it takes Adam's betas and epsilon.
    """

    build: Callable[..., Optimizer]
    fixed: Mapping[str, Any]
    adam: bool = False


class Muon(Optimizer):
    """Momentum made orthogonal for hidden matrices, AdamW for all else (Jordan et al. 2024).

    Two optimisers of torch under one name. A group with ``use_muon`` goes to the first.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        momentum: float = 0.95,
    ) -> None:
        groups = [*params]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        hidden = [group for group in self.param_groups if group["use_muon"]]
        others = [group for group in self.param_groups if not group["use_muon"]]
        # The update of a matrix is scaled to the size of Adam's, so that one rate serves both.
        self.parts: list[Optimizer] = []
        if hidden:
            self.parts.append(
                torch.optim.Muon(hidden, lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")
            )
        if others:
            self.parts.append(torch.optim.AdamW(others, lr, betas, eps))
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - no closure, as a trainer needs none
        """Step both."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both, numbered over all groups as torch does for one."""
        for part in self.parts:
            self.state.update(part.state)
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave."""
        super().load_state_dict(state_dict)
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            own = chain.from_iterable(group["params"] for group in part.param_groups)
            part.state.update({each: self.state[each] for each in own if each in self.state})


_ADAMW = Recipe(torch.optim.AdamW, {}, adam=True)
_FUSED = Recipe(torch.optim.AdamW, {"fused": True}, adam=True)

#: The names of the field; ``optim_args`` may say more.
OPTIMIZERS: Mapping[str, Recipe] = {
    "adamw_torch_fused": _FUSED,
    "adamw_torch": _ADAMW,
    "adamw_hf": _ADAMW,
    "adamw": _ADAMW,
    "adafactor": Recipe(torch.optim.Adafactor, {}),
    "sgd": Recipe(torch.optim.SGD, {}),
    "adagrad": Recipe(torch.optim.Adagrad, {}),
    "rmsprop": Recipe(torch.optim.RMSprop, {}),
    "muon": Recipe(Muon, {}, adam=True),
}


def build_optimizer(
    groups: list[dict[str, Any]], name: str, lr: float, adam: Mapping[str, Any], more: str | None
) -> Optimizer:
    """Return the optimiser called `name` over parameter groups.

    Args:
        groups: As `parameter_groups` returns them.
        name: One of `OPTIMIZERS`.
        lr: Highest learning rate.
        adam: ``betas`` and ``eps``, for the optimisers that have them.
        more: ``"momentum=0.9,nesterov=True"``.

    Raises:
        ConfigError: The optimiser does not take one of the arguments.
    """
    recipe = OPTIMIZERS[name]
    arguments = dict(recipe.fixed) | (dict(adam) if recipe.adam else {}) | _parsed(more)
    known = [*inspect.signature(recipe.build).parameters][1:]
    for argument in arguments:
        if argument not in known:
            raise ConfigError(
                f"optimiser {name!r} takes no {argument!r}{nearest(argument, known)}; "
                f"it takes {', '.join(known)}"
            )
    return recipe.build(groups, lr=lr, **arguments)


def clip(parameters: list[nn.Parameter], most: float, value: Callable[[Tensor], float]) -> float:
    """Scale gradients to a norm of `most` at most (Pascanu et al. 2013, algorithm 1).

    Args:
        parameters: Those with the gradients.
        most: The largest norm of all together.
        value: Gives the number in a norm, which may be in parts on several processes.

    Returns:
        The norm that they had.
    """
    norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
    found = value(norm)
    # The bound at which torch's factor, which it always multiplies by, is no more 1.
    if math.isfinite(found) and found + 1e-6 > most:
        nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return found


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Return groups of trainable parameters with the same rate and decay.

    Biases and normalisations, all that is no matrix, do not decay. With `layer_decay` below 1 each
    layer's rate is that factor of the layer's above it; a head has the whole rate, embeddings the
    smallest (Howard and Ruder 2018, section 3.2).
    """
    layers = _layer_numbers(model)
    if layer_decay != 1 and len({*layers.values()}) < 2:
        raise ConfigError(f"layer_lr_decay: {type(model).__name__} has no numbered layers")
    top = max(layers.values(), default=0)
    embedded = {
        id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
    }
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        matrix = parameter.dim() > 1
        rate = lr * layer_decay ** (top - layers[name])
        hidden = parameter.dim() == 2 and id(parameter) not in embedded and _LAYER.search(name)
        key = (rate, matrix, bool(hidden))
        group = groups.setdefault(
            key,
            {
                "params": [],
                "lr": rate,
                "weight_decay": weight_decay if matrix else 0.0,
                "use_muon": bool(hidden),
            },
        )
        group["params"].append(parameter)
    if not groups:
        raise ConfigError("the model has no trainable parameters: every requires_grad is False")
    return [*groups.values()]


#: What lists of layers are called, here and in models of others.
_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)\.")


def _layer_numbers(model: nn.Module) -> dict[str, int]:
    """Map each parameter to its layer: 0 embeddings, 1 the lowest layer, the highest the head."""
    names = [name for name, _ in model.named_parameters()]
    found = {name: _LAYER.search(name) for name in names}
    count = max((int(match[1]) for match in found.values() if match), default=-1) + 1
    numbers: dict[str, int] = {}
    for name, match in found.items():
        below = "embeddings" in name
        numbers[name] = int(match[1]) + 1 if match else (0 if below else count + 1)
    return numbers


def _parsed(more: str | None) -> dict[str, Any]:
    """Return ``"a=1,b=True"`` as a mapping."""
    pairs = [pair.strip().partition("=") for pair in (more or "").split(",") if pair.strip()]
    found: dict[str, Any] = {}
    for name, equals, value in pairs:
        if not equals:
            raise ConfigError(f"optim_args {more!r}: {name!r} has no value; write {name}=VALUE")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            found[name.strip()] = value.strip()
    return found
