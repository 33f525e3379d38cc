"""How the learning rate goes over a run: factors of its highest value, by step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

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

    def rise(self, step: int) -> float | None:
        """Return the factor while the rate rises, else None."""
        return step / max(1, self.warmup) if step < self.warmup else None

    def progress(self, step: int) -> float:
        """Return the part of the steps after the rise that is done, 0 to 1."""
        return min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))


#: Maps (step, span, arguments) to a factor; called after the rise only.
Shape = Callable[[int, Span, Mapping[str, Any]], float]


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


#: Name -> its shape after the rise, whether it rises at all, and the arguments that it takes.
SCHEDULES: Mapping[str, tuple[Shape, bool, tuple[str, ...]]] = {
    "linear": (_linear, True, ()),
    "cosine": (_cosine, True, ("num_cycles",)),
    "cosine_with_restarts": (_restarts, True, ("num_cycles",)),
    "cosine_with_min_lr": (_cosine, True, ("num_cycles", "min_lr", "min_lr_rate")),
    "polynomial": (_polynomial, True, ("power", "lr_end")),
    "constant": (_constant, False, ()),
    "constant_with_warmup": (_constant, True, ()),
    "inverse_sqrt": (_inverse_sqrt, True, ("timescale",)),
    "warmup_stable_decay": (_stable, True, ("num_decay_steps", "decay_type", "min_lr_ratio")),
}

#: Arguments that are rates, the factor of the highest rate that they become, and their defaults.
_RATES = {"min_lr": ("min_lr_rate", 0.0), "lr_end": ("lr_end_rate", 1e-7)}


def get_scheduler(
    name: str,
    optimizer: Optimizer,
    num_warmup_steps: int = 0,
    num_training_steps: int = 0,
    scheduler_specific_kwargs: Mapping[str, Any] | None = None,
) -> LambdaLR:
    """Return the schedule called `name` for `optimizer`; step it after each optimiser step.

    Raises:
        ConfigError: There is no such schedule, or it does not take an argument.
    """
    name = getattr(name, "value", name)
    if name not in SCHEDULES:
        raise ConfigError(
            f"unknown schedule {name!r}{nearest(name, SCHEDULES)}; known: {', '.join(SCHEDULES)}"
        )
    shape, rises, known = SCHEDULES[name]
    given, highest = dict(scheduler_specific_kwargs or {}), optimizer.defaults["lr"]
    for argument in given:
        if argument not in known:
            raise ConfigError(
                f"schedule {name!r} takes no {argument!r}{nearest(argument, known)}; "
                f"it takes {', '.join(known) or 'nothing'}"
            )
    if given.get("decay_type", "cosine") not in _FALLS:
        raise ConfigError(f"decay_type is {given['decay_type']!r}; known: {', '.join(_FALLS)}")
    for rate, (as_factor, default) in _RATES.items():
        value = given.pop(rate, None)
        if rate in known and (value is not None or as_factor not in given):
            given[as_factor] = (default if value is None else value) / (highest or 1)
    span = Span(num_warmup_steps if rises else 0, num_training_steps)
    low = given.get("min_lr_ratio", 0.0)

    def factor(step: int) -> float:
        rising = span.rise(step)
        return shape(step, span, given) if rising is None else low + (1 - low) * rising

    return LambdaLR(optimizer, factor)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
) -> LambdaLR:
    """Rise to the highest rate, then fall to zero in a straight line."""
    return get_scheduler("linear", optimizer, num_warmup_steps, num_training_steps)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5
) -> LambdaLR:
    """Rise to the highest rate, then fall to zero along a cosine."""
    given = {"num_cycles": num_cycles}
    return get_scheduler("cosine", optimizer, num_warmup_steps, num_training_steps, given)


def get_constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int) -> LambdaLR:
    """Rise to the highest rate and stay there."""
    return get_scheduler("constant_with_warmup", optimizer, num_warmup_steps)
