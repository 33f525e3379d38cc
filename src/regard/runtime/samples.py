"""What the linear maps of a model read: seen in one forward of arguments without a meaning."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import ConfigError
from regard.layers.embeddings import LearnedPositions
from regard.models.model import PreTrainedModel

#: Texts, and tokens of each, by which ranges are chosen; a shorter forward shows what takes part.
MANY, FEW = (8, 64), (1, 4)
#: Inputs of each map that are kept.
_KEPT = 512


class Seen:
    """What linear maps read in a forward.

    Attributes:
        inputs: What each of them was last called with, whole: those that read the same have the
            same object.
    """

    def __init__(self) -> None:
        self.inputs: dict[nn.Linear, Tensor] = {}

    def __call__(self, module: nn.Linear, given: tuple[Tensor, ...]) -> None:
        """Note an input; a forward pre-hook."""
        self.inputs[module] = given[0]

    def alike(self, *maps: nn.Linear) -> bool:
        """Whether all of these were called, and with the same input."""
        read = [self.inputs.get(each) for each in maps]
        return read[0] is not None and all(each is read[0] for each in read)

    def sample(self, module: nn.Linear) -> Tensor:
        """Return some inputs of a map, (rows, in), in fp32."""
        rows = self.inputs[module].reshape(-1, module.in_features)
        return rows[:: max(1, len(rows) // _KEPT)].float()


@contextmanager
def seeing(model: nn.Module) -> Generator[Seen]:
    """Note what all linear maps of a model are called with, within the ``with`` block."""
    seen = Seen()
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.Linear):
                stack.callback(module.register_forward_pre_hook(seen).remove)
        yield seen


def random_calls(model: nn.Module, size: tuple[int, int]) -> Iterator[Mapping[str, Any]]:
    """Yield arguments of forwards that together use all of a model: random tokens or pixels.

    Args:
        model: It says what it reads.
        size: Number of texts, and tokens of each.

    Raises:
        ConfigError: The model does not say what it reads.
    """
    try:
        if not isinstance(model, PreTrainedModel):
            raise NotImplementedError(f"{type(model).__name__} is no PreTrainedModel")
        examples = model.example_calls(_length(model, size[1]))
    except NotImplementedError as error:
        raise ConfigError(f"{error}: give optimize(..., inputs={{...}}) of one forward") from error
    chance = torch.Generator().manual_seed(0)
    for example in examples:
        yield {
            name: _random(each, model, chance, size[0]) if isinstance(each, Tensor) else each
            for name, each in example.items()
        }


def _length(model: nn.Module, wanted: int) -> int:
    learned = (each.usable for each in model.modules() if isinstance(each, LearnedPositions))
    return min([wanted, *learned])


def _random(example: Tensor, model: PreTrainedModel, chance: torch.Generator, count: int) -> Tensor:
    """Return several examples of the same shape, whose last tokens stay: they may end a text."""
    many = example.repeat(count, *[1] * (example.dim() - 1))
    if many.is_floating_point():
        return torch.randn(many.shape, generator=chance).to(model.device)
    words = model.get_input_embeddings().num_embeddings
    many[..., :-1] = torch.randint(words, many[..., :-1].shape, generator=chance)
    padding = vars(model.config).get("pad_token_id")
    if padding is not None:
        many[many == padding] = (padding + 1) % words
    return many.to(model.device)
