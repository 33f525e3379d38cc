"""What this machine and its Python have. Each probe may be missing; none may crash."""

import importlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regard.processor import features, multiplies

#: Extras of the package that are for those who work on it.
DEVELOPMENT = {"benchmarks", "dev"}


#: Packages whose module has another name.
_MODULES = {"pyyaml": "yaml", "pillow": "PIL"}


@dataclass(frozen=True)
class Requirement:
    """A package that regard's own metadata asks for; `extra` is "" for those it cannot do without.

    Attributes:
        name: As it is installed.
        wanted: With its version, as pip takes it.
        floor: The lowest version that will do, or "".
        extra: The extra that it belongs to.
    """

    name: str
    wanted: str
    floor: str
    extra: str

    @property
    def version(self) -> str | None:
        """The installed version, or None."""
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def problem(self) -> str | None:
        """Return what is wrong with the package and the fix, or None."""
        version = self.version
        if version is None:
            return f'{self.name} is missing; fix: pip install "{self.wanted}"'
        if _numbers(version) < _numbers(self.floor):
            return (
                f"{self.name} {version} is older than {self.floor}; "
                f'fix: pip install --upgrade "{self.wanted}"'
            )
        try:
            importlib.import_module(_MODULES.get(self.name, self.name.replace("-", "_")))
        except (ImportError, OSError) as error:  # OSError: a shared library is missing or foreign
            return (
                f"{self.name} {version} cannot be imported ({error}); "
                f'fix: pip install --force-reinstall "{self.wanted}"'
            )
        return None


def requirements() -> list[Requirement]:
    """Return what regard needs, and what its extras add for users."""
    try:
        lines = importlib.metadata.requires("regard") or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return []
    return [each for each in map(_requirement, lines) if each.extra not in DEVELOPMENT]


def processor() -> dict[str, Any]:
    """Describe the processor, and what torch makes of it."""
    lines = _pairs(Path("/proc/cpuinfo"))
    memory = _pairs(Path("/proc/meminfo"))
    return {
        "model": lines.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "features": features(),
        "cores": _cores(),
        "threads": _torch().get_num_threads() if _torch() else None,
        "memory": _bytes(memory.get("MemTotal")) or _all_memory(),
        "memory_available": _bytes(memory.get("MemAvailable")),
    }


def native_types() -> list[str]:
    """Return the types in which the processor computes directly."""
    halves: tuple[Literal["bfloat16", "float16"], ...] = ("bfloat16", "float16")
    return ["float32", *filter(multiplies, halves)]


def kernels() -> str | None:
    """Return the file of the compiled kernels that regard uses here, or None."""
    try:
        from regard.native.library import chosen, library
    except (ImportError, OSError):  # torch is broken, which is told as its own problem
        return None
    file = chosen()
    return file.name if file is not None and library() is not None else None


def gpus() -> list[dict[str, Any]]:
    """Describe the accelerators that torch can use, each with the types that it is fast in."""
    torch = _torch()
    if torch is None:
        return []
    if torch.cuda.is_available():
        return [*_cuda(torch)]
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        native = ["float32", "float16"]
        return [{"device": "mps", "name": "Apple GPU", "memory": None, "native": native}]
    return []


def _cuda(torch: Any) -> Iterator[dict[str, Any]]:
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        # Half precision is fast from Volta (7.0) on, bfloat16 from Ampere (8.0) on.
        half = ["float16"] if found.major >= 7 else []
        brain = ["bfloat16"] if found.major >= 8 else []
        yield {
            "device": f"cuda:{index}",
            "name": found.name,
            "memory": found.total_memory,
            "native": ["float32", *brain, *half],
        }


def _torch() -> Any:
    """Return torch if it was imported: `Requirement.problem` has tried, and said what failed."""
    return sys.modules.get("torch")


def _requirement(line: str) -> Requirement:
    wanted, _, marker = (part.strip() for part in line.partition(";"))
    name = re.match(r"[\w.-]+", wanted)
    floor = re.search(r"[>=]=\s*([\d.]+)", wanted)
    extra = re.search(r"""extra\s*==\s*['"]([\w.-]+)""", marker)
    return Requirement(
        name=name[0] if name else wanted,
        wanted=wanted,
        floor=floor[1] if floor else "",
        extra=extra[1] if extra else "",
    )


def _numbers(version: str) -> list[int]:
    """Return ``2.13.0+cpu`` as [2, 13, 0]."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(number) for number in found[0].split(".")] if found else []


def _pairs(path: Path) -> dict[str, str]:
    """Return the first value of each ``name: value`` line of a file in /proc, if there is one."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in reversed(lines))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _bytes(value: str | None) -> int | None:
    """Return ``16 kB`` as 16384."""
    found = re.match(r"(\d+)\s*kB", value or "")
    return int(found[1]) * 1024 if found else None


def _all_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
