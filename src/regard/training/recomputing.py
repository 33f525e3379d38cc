"""Layers that are computed again in the backward pass, which saves what they would have kept."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from regard.errors import ConfigError
from regard.layers.blocks import Stack


def recompute(model: nn.Module, context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Let every stack of layers compute its layers again in the backward pass, in `context`.

    Raises:
        ConfigError: The model has no stack of layers of ours.
    """
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    if not stacks:
        raise ConfigError(f"gradient_checkpointing: {type(model).__name__} has no regard Stack")
    for stack in stacks:
        stack.checkpointing = True
        stack.recomputing = context
