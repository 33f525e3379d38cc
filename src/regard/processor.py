"""What this processor has instructions for, asked of torch and of Linux."""

import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any, Literal

#: Feature -> torch's own probe, and the flag in Linux's /proc/cpuinfo.
_X86 = {
    "avx2": ("_is_avx2_supported", "avx2"),
    "avx512f": ("_is_avx512_supported", "avx512f"),
    "avx512_bf16": ("_is_avx512_bf16_supported", "avx512_bf16"),
    "avx512_vnni": ("_is_vnni_supported", "avx512_vnni"),
    "avx_vnni": ("", "avx_vnni"),
    "amx": ("_is_amx_tile_supported", "amx_tile"),
    "amx_fp16": ("_is_amx_fp16_supported", "amx_fp16"),
}
_ARM = {
    "neon": ("", "asimd"),
    "sve": ("", "sve"),
    "bf16": ("", "bf16"),
    "fp16": ("", "asimdhp"),
}
#: Type -> the features any of which multiplies in it.
_MULTIPLIES = {
    "bfloat16": ("avx512_bf16", "amx", "bf16"),
    "float16": ("amx_fp16", "fp16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx"),
}
_CPUINFO = Path("/proc/cpuinfo")


def multiplies(kind: Literal["bfloat16", "float16", "int8"]) -> bool:
    """Whether there are instructions for products in a type, and it is known."""
    found = features()
    return any(found.get(name) for name in _MULTIPLIES[kind])


def features() -> dict[str, bool | None]:
    """Return what the processor has and lacks; None is what nobody knows."""
    arm = platform.machine().lower() in {"aarch64", "arm64"}
    return {name: _has(*probes) for name, probes in (_ARM if arm else _X86).items()}


@cache
def flags() -> frozenset[str]:
    """Return the features of the processor by Linux's names; none where there is no Linux."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    named = (line.partition(":") for line in lines)
    words = (value for name, _, value in named if name.strip() in {"flags", "Features"})
    return frozenset(next(words, "").split())


def _has(probe: str, flag: str) -> bool | None:
    """Ask torch, if it has been imported, and Linux; each may know what the other does not."""
    known = flags()
    answers = [_ask(probe), flag in known if known else None]
    told = [answer for answer in answers if answer is not None]
    return any(told) if told else None


def _ask(probe: str) -> bool | None:
    """Ask torch, whose probes are private: one may be missing or change."""
    torch: Any = sys.modules.get("torch")
    ask = getattr(getattr(torch, "cpu", None), probe, None) if probe else None
    try:
        return None if ask is None else bool(ask())
    except (RuntimeError, TypeError, OSError):
        return None
