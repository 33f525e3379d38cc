"""In which numbers a model is to compute, and what this processor is fast in."""

import platform
from functools import cache
from pathlib import Path
from typing import Literal, TypeGuard, get_args

import torch

from regard.errors import nearest

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
    if device.type != "cpu" or not _computes_bf16(device):
        return False
    flags = ("avx512_bf16", "amx_bf16", "bf16")
    return _probe("_is_avx512_bf16_supported", "_is_amx_tile_supported") or _flagged(*flags)


def _computes_bf16(device: torch.device) -> bool:
    """Whether there are products in bf16 at all, be they as slow as they may."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def multiplies_int8(device: torch.device) -> bool:
    """Whether there are instructions for products of bytes."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    flags = ("avx512_vnni", "avx_vnni", "amx_int8")
    return _probe("_is_vnni_supported", "_is_amx_tile_supported") or _flagged(*flags)


def _known(precision: str) -> TypeGuard[Precision]:
    return precision in get_args(Precision)


def _probe(*names: str) -> bool:
    """Ask torch, whose probes are private and may be missing."""
    probes = (getattr(torch.cpu, name, None) for name in names)
    return any(probe() for probe in probes if probe is not None)


@cache
def _flagged(*flags: str) -> bool:
    """Ask Linux, for processors that torch has no probe for."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    found = {
        word
        for line in lines
        if line.lower().startswith(("flags", "features"))
        for word in line.split()
    }
    return bool(found.intersection(flags))
