"""Which base an adapter is trained on: its name, and a mark of its weights."""

import hashlib
from dataclasses import asdict, dataclass

import torch
from torch import nn

from regard.adapters.adapter import adapters_of
from regard.adapters.targets import base_parameters

#: Values of each tensor that the mark is made of.
_SAMPLED = 256


@dataclass(frozen=True)
class Base:
    """What a model is without its adapters.

    Attributes:
        name: Where it was loaded from, or its class.
        mark: The same for the same weights, in any precision and wherever they lie.
    """

    name: str
    mark: str

    def to_dict(self) -> dict[str, str]:
        """Return both, as JSON has them."""
        return asdict(self)


def base_of(model: nn.Module) -> Base:
    """Return which base a model with adapters has.

    The mark is a hash of names, shapes and some values of each tensor, evenly spread: reading all
    of a large model would take longer than loading it.
    """
    own = {id(parameter) for parameter in adapters_of(model).parameters()}
    found = hashlib.blake2b(digest_size=16)
    for name, parameter in sorted(base_parameters(model).items()):
        if id(parameter) in own:
            continue
        flat = parameter.detach().reshape(-1)
        some = flat[:: max(1, len(flat) // _SAMPLED)].to("cpu", torch.bfloat16)
        found.update(f"{name} {[*parameter.shape]} ".encode())
        found.update(some.view(torch.int16).numpy().tobytes())
    named = [each.config.base_model_name_or_path for _, each in adapters_of(model).named()]
    name = next((each for each in named if each), type(model).__name__)
    return Base(name, found.hexdigest())
