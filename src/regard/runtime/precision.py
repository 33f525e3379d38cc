"""In which numbers a model is to compute, and what this processor is fast in."""

import platform
from typing import Literal, TypeGuard, get_args

import torch

from regard.errors import nearest
from regard.processor import multiplies

Precision = Literal["fp32", "bf16", "int8"]


def choose(precision: str, device: torch.device) -> Precision:
    """Return what ``"auto"`` stands for on a device; any other precision stands for itself.

    ``"auto"`` is bf16 where the processor multiplies in it, and fp32 elsewhere: never int8, which
    changes answers by more.

    Raises:
        ValueError: There is no such precision, or the device cannot do it.
    """
    if precision == "auto":
        return "bf16" if multiplies_bf16(device) else "fp32"
    if not _known(precision):
        known = ("auto", *get_args(Precision))
        raise ValueError(
            f"unknown precision {precision!r}{nearest(precision, known)}; known: {', '.join(known)}"
        )
    if precision == "bf16" and not _computes_bf16(device):
        raise ValueError(
            f"bf16 needs a processor with AVX-512 or its like; this is {device} on "
            f"{platform.machine()}. Use precision='auto'"
        )
    if precision == "int8" and not multiplies_int8(device):
        raise ValueError(
            f"int8 needs a processor with VNNI or AMX instructions; this is {device} on "
            f"{platform.machine()}. Use precision='auto'"
        )
    return precision


def multiplies_bf16(device: torch.device) -> bool:
    """Whether products in bf16 are faster than in fp32: there are instructions for them."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _computes_bf16(device) and multiplies("bfloat16")


def _computes_bf16(device: torch.device) -> bool:
    """Whether there are products in bf16 at all, be they as slow as they may."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def multiplies_int8(device: torch.device) -> bool:
    """Whether there are instructions for products of bytes."""
    here = device.type == "cpu" and torch.backends.mkldnn.is_available()
    return here and multiplies("int8")


def _known(precision: str) -> TypeGuard[Precision]:
    return precision in get_args(Precision)
