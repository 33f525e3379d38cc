"""How the learning rate goes over a run: factors of its highest value, by step."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from regard.errors import ConfigError, nearest


@dataclass(frozen=True)
class Span:
    """How long a run is, in optimiser steps.

    Attributes:
        warmup: Steps in which the rate rises from zero.
        total: All steps.
    """

    warmup: int
    total: int

    def progress(self, step: int) -> float:
        """Return the part of the steps after the rise that is done, 0 to 1."""
        return min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))


#: Maps (step, span, arguments) to a factor; one for the steps of the rise, one for those after it.
Shape = Callable[[int, Span, Mapping[str, Any]], float]


def _from_zero(step: int, span: Span, given: Mapping[str, Any]) -> float:
    low = given.get("min_lr_ratio", 0.0)
    return low + (1 - low) * step / span.warmup


def _from_above_zero(step: int, span: Span, given: Mapping[str, Any]) -> float:
    """Rise so that even the first step has a rate, and the last one of the rise the whole."""
    low = given.get("warmup_lr_rate")
    if low is None:
        return (step + 1) / span.warmup
    return low + (1 - low) * step / max(1, span.warmup - 1)


def _linear(step: int, span: Span, given: Mapping[str, Any]) -> float:
    return 1 - span.progress(step)


def _constant(step: int, span: Span, given: Mapping[str, Any]) -> float:
    return 1.0


def _cosine(step: int, span: Span, given: Mapping[str, Any]) -> float:
    """Half a cosine, or `num_cycles` whole ones (Loshchilov and Hutter 2017, section 3)."""
    cycles = given.get("num_cycles", 0.5)
    wave = 0.5 * (1 + math.cos(math.pi * cycles * 2 * span.progress(step)))
    low = float(given.get("min_lr_rate", 0.0))
    return low + (1 - low) * max(0.0, wave)


def _cosine_ahead(step: int, span: Span, given: Mapping[str, Any]) -> float:
    """The same a step earlier, as the rise before it is."""
    return _cosine(step + 1, span, given)


def _restarts(step: int, span: Span, given: Mapping[str, Any]) -> float:
    """Half a cosine, begun again `num_cycles` times."""
    progress = span.progress(step)
    if progress >= 1:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (given.get("num_cycles", 1) * progress % 1.0)))


def _polynomial(step: int, span: Span, given: Mapping[str, Any]) -> float:
    low = given["lr_end_rate"]
    return low + (1 - low) * (1 - span.progress(step)) ** given.get("power", 1.0)


def _inverse_sqrt(step: int, span: Span, given: Mapping[str, Any]) -> float:
    """Fall with the root of the step (Vaswani et al. 2017, section 5.3)."""
    scale = given.get("timescale") or span.warmup or 10_000
    return 1 / math.sqrt((step + scale - span.warmup) / scale)


def _stable(step: int, span: Span, given: Mapping[str, Any]) -> float:
    """Rise, stay, and fall at the end (Hu et al. 2024, section 4)."""
    decay = given.get("num_decay_steps") or max(1, span.total // 10)
    low = given.get("min_lr_ratio", 0.0)
    done = min(1.0, max(0.0, (step - (span.total - decay)) / decay))
    fall = _FALLS[given.get("decay_type", "cosine")]
    return low + (1 - low) * fall(done)


#: How a rate falls that was stable, by the part of the fall that is done.
_FALLS: Mapping[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "1-sqrt": lambda done: 1 - math.sqrt(done),
}


_MIN = ("num_cycles", "min_lr", "min_lr_rate")
_STABLE = ("num_decay_steps", "decay_type", "min_lr_ratio")

#: Name -> its rise, if any, its shape after that, and the arguments that it takes.
SHAPES: Mapping[str, tuple[Shape | None, Shape, tuple[str, ...]]] = {
    "linear": (_from_zero, _linear, ()),
    "cosine": (_from_zero, _cosine, ("num_cycles",)),
    "cosine_with_restarts": (_from_zero, _restarts, ("num_cycles",)),
    "cosine_with_min_lr": (_from_zero, _cosine, _MIN),
    "cosine_warmup_with_min_lr": (_from_above_zero, _cosine_ahead, (*_MIN, "warmup_lr_rate")),
    "polynomial": (_from_zero, _polynomial, ("power", "lr_end")),
    "constant": (None, _constant, ()),
    "constant_with_warmup": (_from_zero, _constant, ()),
    "inverse_sqrt": (_from_zero, _inverse_sqrt, ("timescale",)),
    "warmup_stable_decay": (_from_zero, _stable, _STABLE),
}

#: The one that has no shape: it falls when an evaluation is no better than those before.
PLATEAU = "reduce_lr_on_plateau"
_PLATEAU_ARGUMENTS = tuple(inspect.signature(ReduceLROnPlateau).parameters)[1:]

#: Every name.
SCHEDULES = (*SHAPES, PLATEAU)

#: Arguments that are rates, the factor of the highest rate that they become, and their defaults.
_RATES = {"min_lr": ("min_lr_rate", 0.0), "lr_end": ("lr_end_rate", 1e-7)}


def get_scheduler(
    name: str,
    optimizer: Optimizer,
    num_warmup_steps: int = 0,
    num_training_steps: int = 0,
    scheduler_specific_kwargs: Mapping[str, Any] | None = None,
) -> LRScheduler:
    """Return the schedule called `name` for `optimizer`; step it after each optimiser step.

    ``"reduce_lr_on_plateau"`` is stepped after each evaluation, with what was measured.

    Raises:
        ConfigError: There is no such schedule, or it does not take an argument.
    """
    name = getattr(name, "value", name)
    if name not in SCHEDULES:
        raise ConfigError(
            f"unknown schedule {name!r}{nearest(name, SCHEDULES)}; known: {', '.join(SCHEDULES)}"
        )
    rise, shape, known = SHAPES.get(name, (None, _constant, _PLATEAU_ARGUMENTS))
    given, highest = dict(scheduler_specific_kwargs or {}), optimizer.defaults["lr"]
    for argument in given:
        if argument not in known:
            raise ConfigError(
                f"schedule {name!r} takes no {argument!r}{nearest(argument, known)}; "
                f"it takes {', '.join(known) or 'nothing'}"
            )
    if name == PLATEAU:
        return ReduceLROnPlateau(optimizer, **given)
    if given.get("decay_type", "cosine") not in _FALLS:
        raise ConfigError(f"decay_type is {given['decay_type']!r}; known: {', '.join(_FALLS)}")
    for rate, (as_factor, default) in _RATES.items():
        value = given.pop(rate, None)
        if rate in known and (value is not None or as_factor not in given):
            given[as_factor] = (default if value is None else value) / (highest or 1)
    span = Span(0 if rise is None else num_warmup_steps, num_training_steps)

    def factor(step: int) -> float:
        if rise is not None and step < span.warmup:
            return rise(step, span, given)
        return shape(step, span, given)

    return LambdaLR(optimizer, factor)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
) -> LRScheduler:
    """Rise to the highest rate, then fall to zero in a straight line."""
    return get_scheduler("linear", optimizer, num_warmup_steps, num_training_steps)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5
) -> LRScheduler:
    """Rise to the highest rate, then fall to zero along a cosine."""
    given = {"num_cycles": num_cycles}
    return get_scheduler("cosine", optimizer, num_warmup_steps, num_training_steps, given)


def get_constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int) -> LRScheduler:
    """Rise to the highest rate and stay there."""
    return get_scheduler("constant_with_warmup", optimizer, num_warmup_steps)
