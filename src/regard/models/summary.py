"""What a model of a configuration costs, before any of it is in memory.

The model is built on ``meta``, where tensors have shapes and no values, and runs there once while
its maps are watched: so the figures are those of the model itself, of any family.
"""

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from regard.attention.attention import Attention, ScaledDotProduct
from regard.config import Config
from regard.layers.blocks import Stack
from regard.layers.embeddings import LearnedPositions
from regard.layers.norms import RMSNorm
from regard.models.auto import model_class
from regard.models.model import PreTrainedModel, on_meta
from regard.observe import Observer, observing

#: Tokens of the sequence that is counted where the caller says none and the model takes as many.
LENGTH = 512
#: The parts of a model, in the order in which text passes through them. A norm is none of the part
#: that it stands in, except of a head; what stands on a base (a pooler, a classifier) is the head.
PARTS = (*("embeddings", "attention", "cross_attention", "feed_forward", "norms", "other", "head"),)
#: Bytes of a number, by the type of the weights.
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
#: Bytes that AdamW training holds for each float32 weight: itself, its gradient, and the averages
#: of the gradient and of its square (Loshchilov and Hutter 2019, algorithm 2).
TRAINING_BYTES = 4 * 4


@dataclass(frozen=True)
class PartSummary:
    """What one part of a model costs.

    Attributes:
        parameters: How many, tied ones once (with the embeddings).
        per_layer: How many in each layer, in order.
        flops: Floating-point operations of its linear maps and convolutions in one forward.
    """

    parameters: int
    per_layer: tuple[int, ...]
    flops: int


@dataclass(frozen=True)
class ModelSummary:
    """What a model costs; figures of one sequence or image.

    A multiplication and an addition are two operations. What is no matrix product (activations,
    norms, softmax) is not counted; it is little.

    Attributes:
        model: Name of its class.
        parts: By the names in `PARTS`.
        tokens: Length of the sequence that `flops` are counted over; an encoder-decoder reads a
            source of that length and a target of that length.
        score_flops: Operations of attention between tokens, which grow with the square of
            `tokens`: ``query key^T`` and ``weights value``, each over all pairs, seen or hidden,
            as the ``eager`` kernel computes them.
        cached_numbers: Numbers that the keys and values of one token take in the cache of a model
            that writes from left to right; 0 for others. (An encoder-decoder keeps those of the
            source's tokens too.)
    """

    model: str
    parts: Mapping[str, PartSummary]
    tokens: int
    score_flops: int
    cached_numbers: int

    @property
    def parameters(self) -> int:
        """How many parameters the model has, tied ones once."""
        return sum(part.parameters for part in self.parts.values())

    @property
    def flops(self) -> int:
        """Operations of one forward over `tokens` tokens; training takes about three times that."""
        return self.score_flops + sum(part.flops for part in self.parts.values())

    @property
    def weight_bytes(self) -> dict[str, int]:
        """Bytes of all weights, by their type."""
        return {kind: size * self.parameters for kind, size in BYTES.items()}

    @property
    def training_bytes(self) -> int:
        """Bytes of float32 weights, gradients and AdamW's state; activations come on top."""
        return TRAINING_BYTES * self.parameters

    @property
    def cache_bytes(self) -> dict[str, int]:
        """Bytes that one token takes in the cache of keys and values, by their type."""
        return {kind: BYTES[kind] * self.cached_numbers for kind in ("float32", "bfloat16")}


def model_summary(
    config: Config, *, head: str | None = None, length: int | None = None
) -> ModelSummary:
    """Count parameters, memory and operations of the model that `config` describes.

    Args:
        config: Of any family.
        head: A task, as in the ``AutoModelFor...`` names; None is the model that
            ``config.architectures`` names, or the base model.
        length: Tokens of the sequence whose operations are counted; the default is 512, or as many
            as the model takes. Image models have a length of their own.

    Raises:
        ConfigError: The configuration cannot be built, or the family has no such head.
        ValueError: `length` is less than 1 or more than the model takes.
    """
    with on_meta(), torch.inference_mode():
        model = model_class(config, head)(config).eval()
        inputs = model.example_inputs(_checked_length(model, length))
        with _counting(model) as counts:
            model(**inputs)
    return ModelSummary(
        model=type(model).__name__,
        parts=_parts(model, counts.maps),
        tokens=counts.tokens,
        score_flops=counts.scores,
        cached_numbers=sum(
            each.key.out_features + each.value.out_features
            for each in model.modules()
            if isinstance(each, Attention) and each.mix.pattern.causal
        ),
    )


@dataclass
class _Counts:
    """Operations of one forward: of linear maps, by the name of the module, and of attention."""

    maps: Counter[str] = field(default_factory=Counter[str])
    scores: int = 0
    tokens: int = 0


@contextmanager
def _counting(model: nn.Module) -> Generator[_Counts]:
    """Count what is computed within the block."""
    counts = _Counts()
    modules = cast("list[tuple[str, nn.Module]]", [*model.named_modules()])
    names = {module: name for name, module in modules}

    def see_map(module: nn.Module, _: tuple[Any, ...], output: Tensor) -> None:
        weight = cast("Tensor", module.weight)
        counts.maps[names[module]] += 2 * output.numel() * weight[0].numel()

    def see_scores(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        query, key = inputs[:2]  # of one sequence, so that every query meets every key
        counts.scores += 2 * (query.numel() + output.numel()) * len(key)

    def see_stack(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        counts.tokens = counts.tokens or len(output)

    kinds: dict[type[nn.Module], Observer] = {
        nn.Linear: see_map,
        nn.Conv2d: see_map,
        ScaledDotProduct: see_scores,
        Stack: see_stack,
    }
    observers = {m: see for m in names for kind, see in kinds.items() if isinstance(m, kind)}
    with observing(observers):
        yield counts


def _parts(model: PreTrainedModel, maps: Counter[str]) -> dict[str, PartSummary]:
    part_of, layers = _sorter(model), _layers(model)
    parameters: Counter[str] = Counter()
    flops: Counter[str] = Counter()
    inside = {layer: Counter[str]() for layer in layers}
    for name, parameter in model.named_parameters():
        part, layer = part_of(name)
        parameters[part] += parameter.numel()
        if layer is not None:
            inside[layer][part] += parameter.numel()
    for name, count in maps.items():
        flops[part_of(f"{name}.weight")[0]] += count
    return {
        part: PartSummary(
            parameters[part], tuple(inside[layer][part] for layer in layers), flops[part]
        )
        for part in PARTS
    }


def _layers(model: nn.Module) -> list[str]:
    """Return what the names of the parameters of each layer begin with."""
    return [
        f"{path}.layers.{number}."
        for path, stack in cast("list[tuple[str, nn.Module]]", [*model.named_modules()])
        if isinstance(stack, Stack)
        for number in range(len(stack.layers))
    ]


def _sorter(model: PreTrainedModel) -> Callable[[str], tuple[str, str | None]]:
    """Return a map from the name of a parameter to one of `PARTS`, and to the layer if in one."""
    anatomy, layers = model.anatomy(), _layers(model)

    def part_of(name: str) -> tuple[str, str | None]:
        layer = next((layer for layer in layers if name.startswith(layer)), None)
        if not anatomy.required(name):
            return "head", layer
        if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.LayerNorm | RMSNorm):
            return "norms", layer
        step = "embeddings" if layer is None else name.removeprefix(layer).split(".")[0]
        return step if step in PARTS else "other", layer

    return part_of


def _checked_length(model: nn.Module, length: int | None) -> int:
    """Return how many tokens to count over."""
    usable = [m.usable for m in model.modules() if isinstance(m, LearnedPositions)]
    longest = min(usable, default=None)
    if length is None:
        return LENGTH if longest is None else min(LENGTH, longest)
    if length < 1 or (longest is not None and length > longest):
        limit = "" if longest is None else f" and at most the {longest} positions of this model"
        raise ValueError(f"length is {length}; it must be at least 1{limit}")
    return length
