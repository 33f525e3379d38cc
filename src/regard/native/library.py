"""The library of kernels that suits this processor, where there is one."""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from regard.errors import notices
from regard.processor import flags

#: Set to 0, no kernels of ours are used (nor compiled, when regard is being built).
SWITCH = "REGARD_NATIVE"
FOLDER = Path(__file__).parent
#: What the compiler takes for granted of x86-64-v3, and of x86-64-v4 with VNNI, by Linux's names.
_V3 = frozenset({"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}
#: File -> what a processor needs for it; the best one is first.
LIBRARIES = {"kernels-avx512.so.1": _V4, "kernels-avx2.so.1": _V3}


@cache
def library() -> ctypes.CDLL | None:
    """Return the kernels for this processor, which share the threads of PyTorch.

    None where there are none: they are built for Linux on x86-64 only (hatch_build.py). Each has a
    counterpart in PyTorch's operations, which are used then. The environment variable `SWITCH`
    has it so everywhere.
    """
    file = chosen()
    if file is None or os.environ.get(SWITCH) == "0":
        return None
    if any(source.stat().st_mtime > file.stat().st_mtime for source in FOLDER.glob("*.[ch]")):
        notices.warning(
            "%s is older than its source and is not used; fix: pip install -e . in regard's folder",
            file,
        )
        return None
    try:
        found = ctypes.CDLL(str(file))
        found.regard_threads(_pool())
    except (OSError, AttributeError) as error:  # AttributeError: it is no library of ours
        notices.warning(
            "%s cannot be loaded (%s): PyTorch's own kernels are used, which are slower. Reinstall "
            "regard, or set %s=0",
            *(file, error, SWITCH),
        )
        return None
    return found


def chosen() -> Path | None:
    """Return the file of the best library that is there and that this processor can run."""
    files = (FOLDER / name for name, needed in LIBRARIES.items() if needed <= flags())
    return next((file for file in files if file.exists()), None)


def _pool() -> Callable[..., None] | None:
    """Return what starts a team of the threads that PyTorch computes with, if it is known."""
    openmp = ctypes.CDLL(None) if torch.backends.openmp.is_available() else None
    return getattr(openmp, "GOMP_parallel", None)
