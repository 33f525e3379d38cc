"""What ``torch_compile`` compiles: of each layer everything but attention.

A packed batch has other lengths in every step, and attention goes over them in groups: compiled
with the rest, it would be compiled again and again. What is left of a layer (sums, normalisations,
dropout and the feed-forward) takes (tokens, width), so one dynamic graph does for all batches and,
where they are alike, for all layers.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from regard.layers.blocks import Stack
from regard.training.arguments import TrainingArguments


def compiles_layers(model: nn.Module) -> bool:
    """Whether a model has layers of ours; one of your own is compiled as a whole."""
    return any(isinstance(module, Stack) for module in model.modules())


def settings(args: TrainingArguments) -> dict[str, Any]:
    """Return what `torch.compile` is told."""
    return {"backend": args.torch_compile_backend or "inductor", "mode": args.torch_compile_mode}


@contextmanager
def compiled_layers(model: nn.Module, args: TrainingArguments) -> Generator[None]:
    """Compile the layers of a model for as long as the block runs, if the arguments say so."""
    layers = [layer for each in model.modules() if isinstance(each, Stack) for layer in each.layers]
    changed: list[Any] = []
    try:
        for layer in layers if args.torch_compile else ():
            parts = [part for name, part in layer.named_children() if name.endswith("attention")]
            changed += [*parts, layer]
            for part in parts:
                part.forward = torch.compiler.disable(part.forward)
            layer.forward = torch.compile(layer.forward, dynamic=True, **settings(args))
        yield
    finally:
        for module in changed:
            vars(module).pop("forward", None)
