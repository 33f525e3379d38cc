"""`optimize`: a model for inference, in place, with fused layers over weights laid out once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from regard.layers.feed_forward import FeedForward
from regard.models.generative import Generative
from regard.models.vocabulary import bias_of
from regard.runtime.fused import Packed, maps_of, pack, unpack
from regard.runtime.memory import keep_freed
from regard.runtime.precision import Precision, choose
from regard.runtime.products import Blocked, Plain, Product
from regard.runtime.quantized import FLOORS, quantized
from regard.runtime.samples import FEW, MANY, Seen, random_calls, seeing

_Model = TypeVar("_Model", bound=nn.Module)

#: Smaller matrices gain nothing.
_SMALL = 2**14


def optimize(
    model: _Model,
    precision: str = "auto",
    inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> _Model:
    """Make a model fast for inference, in place, and return it in evaluation mode.

    Products are packed for the processor, in the precision asked for; the three projections of
    attention become one, and activations part of their products. Normalisation, residual sums and
    everything else stay in the model's own type. With gradients, in training, and where weights
    have changed, layers compute as before; `deoptimize` gives the model back.

    Args:
        model: Any model; all linear maps that one forward uses become fast.
        precision: ``"fp32"``, the same numbers but for rounding; ``"bf16"``, products in bfloat16;
            ``"int8"``, products of bytes; or ``"auto"``, bf16 where the processor has instructions
            for it and fp32 elsewhere.
        inputs: Arguments of a forward, or of several. In them is seen what the model uses, and
            for int8 the ranges of what layers read, so real texts are best; by default it is
            random tokens.

    Raises:
        ValueError: There is no such precision, or this processor cannot do it.
        ConfigError: The model does not say what it reads, and `inputs` are not given.
    """
    deoptimize(model).eval()
    keep_freed()
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    chosen = choose(precision, device)
    if chosen == "fp32" and (device.type != "cpu" or not torch.backends.mkldnn.is_available()):
        return model  # nothing is faster than what it does
    with torch.inference_mode(), seeing(model) as seen:
        for arguments in _calls(model, inputs, MANY if chosen == "int8" else FEW):
            model(**arguments)
    floors, writing = _floors(model), _writing(model)
    for module, maps in [*_plan(model, seen)]:
        weight, bias = _joined(maps)
        if chosen == "int8":
            bias = None if bias is None else bias.float()
            sample, floor = seen.sample(maps[0]), floors.get(maps[0])
            product = quantized(weight.float(), bias, sample, floor, few=module in writing)
        else:
            product = _product(weight, bias, chosen, few=module in writing)
        pack(module, product, maps)
    return model


def deoptimize(model: _Model) -> _Model:
    """Undo `optimize`, in place, and return the model, as it was to the last bit."""
    for module in model.modules():
        unpack(module)
    return model


def precision_of(model: nn.Module) -> Precision | None:
    """Return the precision that `optimize` chose, or None for a model that it has not seen."""
    packed = (getattr(module, "packed", None) for module in model.modules())
    return next((each.product.precision for each in packed if isinstance(each, Packed)), None)


def _calls(
    model: nn.Module,
    inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    size: tuple[int, int],
) -> Iterable[Mapping[str, Any]]:
    if inputs is None:
        return random_calls(model, size)
    return [inputs] if isinstance(inputs, Mapping) else inputs


def _plan(model: nn.Module, seen: Seen) -> Iterator[tuple[nn.Module, Sequence[nn.Linear]]]:
    """Yield what becomes fast, and the linear maps that are one product then; each map once."""
    taken = set[nn.Linear]()
    for module in model.modules():  # what is around a map comes before the map itself
        maps = maps_of(module)
        if maps and seen.alike(*maps) and taken.isdisjoint(maps) and _worth_it(maps):
            taken.update(maps)
            yield module, maps


def _worth_it(maps: Sequence[nn.Linear]) -> bool:
    weights = [each.weight for each in maps]
    return sum(each.numel() for each in weights) >= _SMALL and all(
        each.dtype in (torch.float32, torch.bfloat16) for each in weights
    )


def _joined(maps: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """Return the weights and biases of several maps as those of one."""
    weights, biases = [each.weight.detach() for each in maps], [bias_of(each) for each in maps]
    if len(maps) == 1:
        return weights[0], None if biases[0] is None else biases[0].detach()
    if all(bias is None for bias in biases):
        return torch.cat(weights), None
    whole = [
        weight.new_zeros(len(weight)) if bias is None else bias.detach()
        for weight, bias in zip(weights, biases, strict=True)
    ]
    return torch.cat(weights), torch.cat(whole)


def _product(weight: Tensor, bias: Tensor | None, precision: Precision, *, few: bool) -> Product:
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    if weight.device.type != "cpu":
        return Plain(weight, bias, dtype)
    return Blocked(weight, bias, dtype, few=few)


def _writing(model: nn.Module) -> set[nn.Module | None]:
    """Return what a model writes by, a few vectors at a time."""
    if not isinstance(model, Generative):
        return set()
    return {*model.decoder_layers().modules(), model.get_output_embeddings()}


def _floors(model: nn.Module) -> dict[nn.Linear, float]:
    """Return below what the inputs of some linear maps cannot be: they come of an activation."""
    forwards = (module for module in model.modules() if isinstance(module, FeedForward))
    known = ((each.down, FLOORS.get(each.activation)) for each in forwards)
    return {down: floor for down, floor in known if floor is not None}
