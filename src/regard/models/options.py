"""What a model may be told: the arguments of its ``forward``, and options of `from_pretrained`."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch

from regard.checkpoints.tensors import floating_dtype
from regard.config import Config
from regard.errors import nearest


@cache
def forward_arguments(forward: Callable[..., Any]) -> tuple[dict[str, None], bool]:
    """Return the names that `forward` takes, in order, and whether it takes any other too."""
    parameters = inspect.signature(forward).parameters.values()
    names = [p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
    return dict.fromkeys(names), any(p.kind is p.VAR_KEYWORD for p in parameters)


def check_options(owner: str, known: Iterable[str], options: Mapping[str, Any]) -> None:
    """Raise for an option that neither the configuration nor the constructor knows."""
    known = [*known]
    for name in options:
        if name not in known:
            raise TypeError(f"{owner}.from_pretrained has no option {name!r}{nearest(name, known)}")


def dtype_of(dtype: str | torch.dtype | None, config: Config) -> torch.dtype | None:
    """Return the type that was asked for, or else the configuration's; None is the file's."""
    if dtype in (None, "auto"):
        dtype = config.dtype
    return None if dtype is None else floating_dtype(dtype)
