"""The memory of this process: what is kept for reuse, what goes back to the system, the peak."""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

#: Set to 0, it leaves the C library's thresholds as they are.
SWITCH = "REGARD_MALLOPT"
#: Variables by which somebody else has set them.
_TUNED = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
#: Parameters of mallopt (glibc's malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Free bytes that may stay at the end of the heap; the largest result of a layer that lies there.
KEPT, LARGEST = 512 * 2**20, 256 * 2**20
#: The largest that glibc takes before version 2.35.
_LARGEST_OF_OLD = 32 * 2**20

#: How much more than at the first look since the last trim may be held.
_MORE = 1.25
#: What is not worth a trim, in bytes.
_LITTLE = 256 * 2**20

_STATM = Path("/proc/self/statm")
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@cache
def keep_freed() -> bool:
    """Let the C library keep the memory that one layer frees for the next one.

    Usually it hands large blocks back at once, and the system fills each page with zeros when it is
    asked for again: 285,000 pages in a second of work. This is a setting of the whole process, so
    it is made when a pipeline is (or a model optimized), never by an import. Up to `KEPT` bytes
    then stay with the process; blocks above `LARGEST` are handed back as before. The environment
    variable `SWITCH` prevents it, and so does any setting of glibc's own.

    Returns:
        Whether it is so: on Linux with glibc.
    """
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    tuned = tuned or any(name in os.environ for name in _TUNED)
    mallopt = _libc("mallopt")
    if mallopt is None or tuned or os.environ.get(SWITCH) == "0":
        return False
    sizes = (LARGEST, _LARGEST_OF_OLD)
    return bool(mallopt(_TRIM_THRESHOLD, KEPT)) and any(
        mallopt(_MMAP_THRESHOLD, size) for size in sizes
    )


class Trimmer:
    """Gives freed memory back to the system when much of it has gathered (on Linux with glibc).

    Batches differ in size. What one frees the next cannot always use, and a block that lives on
    behind it keeps it from being returned: MiniLM trained on paragraphs came to 6 GiB after 200
    steps, of which a step uses 2.
    """

    def __init__(self) -> None:
        self._trim = _libc("malloc_trim")
        self._usual: int | None = None

    def look(self) -> None:
        """Look how much the process holds, and trim if it is much more than at first."""
        held = None if self._trim is None else memory_now()
        if self._trim is None or held is None:
            return
        if self._usual is None:
            self._usual = held
        elif held > max(_MORE * self._usual, self._usual + _LITTLE):
            self._trim(0)
            self._usual = None


def memory_now() -> int | None:
    """Return the bytes of memory that this process has, or None where the system does not say."""
    if not _STATM.exists():
        return memory_peak()
    return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_peak() -> int | None:
    """Return the most bytes that this process has had, or None where the system does not say."""
    if _STATUS.exists():
        lines = _STATUS.read_text("utf-8").splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line[:6] == "VmHWM:"), None)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def forget_peak() -> None:
    """Let the peak of this process begin anew, where the system can."""
    try:
        _RESET.write_text("5")
    except OSError:  # no Linux, or not allowed: then the peak is that of the whole process
        return


def _libc(name: str) -> Callable[..., int] | None:
    """Return a function of the C library, if this one has it."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
