"""Activation functions by the names that configurations use."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.errors import ConfigError, nearest

Activation = Callable[[Tensor], Tensor]


def quick_gelu(x: Tensor) -> Tensor:
    """Sigmoid approximation of GELU (Hendrycks and Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


_tanh_gelu = partial(F.gelu, approximate="tanh")

ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": F.gelu,
    "gelu_new": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "mish": F.mish,
    "linear": lambda x: x,
}


def activation(name: str) -> Activation:
    """Return the activation called `name`, or raise `ConfigError` naming the nearest one."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"unknown activation {name!r}{nearest(name, ACTIVATIONS)}; "
            f"known: {', '.join(sorted(ACTIVATIONS))}"
        )
    return ACTIVATIONS[name]
