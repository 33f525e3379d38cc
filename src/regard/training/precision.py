"""Half precision where it is safe: which type, and the scaling that fp16 needs."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from regard.errors import ConfigError, notices
from regard.processor import multiplies
from regard.training.arguments import TrainingArguments
from regard.training.half import HalfProducts


def autocast(
    device: torch.device, *, bf16: bool, fp16: bool, compiled: bool = False
) -> AbstractContextManager[Any]:
    """Return the context in which forwards run (Micikevicius et al. 2018).

    Layers that are computed again in the backward pass need it there too.
    """
    if not bf16 and not fp16:
        return nullcontext()
    if bf16 and device.type == "cpu" and not compiled:
        return HalfProducts()
    return torch.autocast(device.type, torch.bfloat16 if bf16 else torch.float16)


def scaler(device: torch.device, args: TrainingArguments) -> torch.amp.GradScaler | None:
    """Return what keeps small gradients of fp16 from vanishing; None where it is not needed."""
    if not args.fp16:
        return None
    if device.type != "cuda":
        raise ConfigError("fp16 training needs a GPU; use bf16, or neither")
    return torch.amp.GradScaler(device.type)


def check(device: torch.device, args: TrainingArguments) -> None:
    """Say so when bf16 was asked for on a processor that has no instructions for it."""
    if device.type != "cpu" or not (args.bf16 or args.bf16_full_eval):
        return
    if not multiplies("bfloat16"):
        notices.warning("bf16 is slow here: this processor has no instructions for it")
