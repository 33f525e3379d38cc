"""Compiles the kernels for processors when a wheel is built or an editable install is made.

They are for x86-64 Linux with glibc, and called through ctypes, so one wheel does for every Python.
Elsewhere, and with REGARD_NATIVE=0 in the environment, the wheel is pure Python. The compiler is
Zig's, a package of PyPI: it brings clang and the symbols of old releases of glibc.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "src/regard/native"
#: Library -> the processors that it is for, as clang calls them. Without a version behind its name
#: Python would take it for a module.
LIBRARIES = {"kernels-avx512.so.1": "x86_64_v4+avx512vnni", "kernels-avx2.so.1": "x86_64_v3"}
#: glibc 2.17 is older than any that PyTorch runs on.
TAG = "py3-none-manylinux_2_17_x86_64"
FLAGS = (
    *("-target", "x86_64-linux-gnu.2.17", "-O3", "-mprefer-vector-width=512"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
    # Without Zig's own runtime, which would have to be compiled too: 1 second and not 12.
    *("-shared", "-fPIC", "-s", "-nostdlib", "-lc", "-lm", "-Wl,-z,defs"),
)


class Kernels(BuildHookInterface[Any]):
    """The step that hatchling takes before it builds a wheel."""

    def dependencies(self) -> list[str]:
        """Return what the build needs: 90 MB that nobody downloads who builds no kernels."""
        return ["ziglang>=0.15"] if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the libraries in the wheel; an editable install finds them in place."""
        folder = Path(self.root, NATIVE)
        if not _wanted():
            for name in LIBRARIES if version == "editable" else ():
                (folder / name).unlink(missing_ok=True)  # of an earlier install; it would be loaded
            return
        sources = [Path(__file__), *folder.glob("*.[ch]")]
        newest = max(source.stat().st_mtime for source in sources)
        with tempfile.TemporaryDirectory() as cache:
            for name, processor in LIBRARIES.items():
                library = folder / name
                if not library.exists() or library.stat().st_mtime < newest:
                    self._compile(library, processor, cache)
        build_data.update(tag=TAG, pure_python=False)
        build_data["artifacts"] += [f"/{NATIVE}/{name}" for name in LIBRARIES]

    def _compile(self, library: Path, processor: str, cache: str) -> None:
        """Compile beside the library and rename, so that nobody ever loads a half one."""
        result = library.with_name(f"{os.getpid()}-{library.name}")
        options = (*FLAGS, f"-mcpu={processor}", "-o", str(result))
        done = subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *options, "kernels.c"],
            cwd=library.parent,
            env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self.app.abort(
                f"{done.stdout}{done.stderr}\n{library.name} cannot be compiled from "
                f"{NATIVE}/kernels.c; the compiler's message stands above. To install regard "
                "without it, which is slower, set REGARD_NATIVE=0 in the environment"
            )
        result.replace(library)


def _wanted() -> bool:
    return (
        os.environ.get("REGARD_NATIVE") != "0"
        and (sys.platform, platform.machine()) == ("linux", "x86_64")
        and platform.libc_ver()[0] == "glibc"
    )
