"""What the build hook compiles, and what a wheel has of it; in a small copy of the project."""

import ctypes
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from regard.native.library import LIBRARIES, SWITCH

ROOT = Path(__file__).parents[3]
NATIVE = "src/regard/native"
#: Says who does which number, by itself and with the pool.
SOURCE = """
#include "threads.h"
static void square(void *data, long number) { ((long *)data)[number] += number * number; }
void squares(long *out, long count, int threads) { in_parallel(count, threads, square, out); }
"""

compiled = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="no compiler: pip install -e '.[dev]'"
)


def build(project: Path, target: str = "wheel", **environment: str) -> Path:
    """Return what hatchling builds."""
    shutil.rmtree(project / "dist", ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", "dist"]
    environ = {name: value for name, value in os.environ.items() if name != SWITCH} | environment
    done = subprocess.run(
        command, cwd=project, env=environ, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (project / "dist").iterdir()
    return built


def contents(wheel: Path) -> tuple[set[str], str]:
    """Return the names of the kernels' files in a wheel, and its tag."""
    with zipfile.ZipFile(wheel) as file:
        (said,) = (file.read(name) for name in file.namelist() if name.endswith("/WHEEL"))
        names = {Path(name).name for name in file.namelist() if "/native/" in name}
    pure, tag = re.findall(r"Root-Is-Purelib: (.*)\nTag: (.*)", said.decode())[0]
    assert (pure == "true") == (tag == "py3-none-any")
    assert f"-{tag}.whl" in wheel.name
    return names, tag


def copied(folder: Path) -> Path:
    """Return a copy of the project that has no more than the kernels, and these are the test's."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    native = folder / NATIVE
    native.mkdir(parents=True)
    shutil.copy(ROOT / "src/regard/__init__.py", native.parent)
    for name in ("__init__.py", "library.py", "threads.h"):
        shutil.copy(ROOT / NATIVE / name, native)
    (native / "kernels.c").write_text(SOURCE)
    return folder


@pytest.fixture
def project(tmp_path):
    return copied(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project whose wheel has been built, and the wheel."""
    project = copied(tmp_path_factory.mktemp("built"))
    return project, build(project)


@compiled
class TestKernels:
    def test_a_wheel_has_them_and_no_source(self, built):
        names, tag = contents(built[1])
        assert names == {"__init__.py", "library.py", *LIBRARIES}
        assert tag == "py3-none-manylinux_2_17_x86_64"

    def test_they_say_nothing_of_the_machine_that_built_them(self, built, project):
        build(project)
        for name in LIBRARIES:
            content = (project / NATIVE / name).read_bytes()
            assert content == (built[0] / NATIVE / name).read_bytes()
            assert not re.findall(rb"(?:/[\w.-]+){2}", content), "a path"
            assert len(content) < 10_000, "not stripped?"

    def test_they_are_compiled_when_their_sources_are_newer(self, project):
        for name in LIBRARIES:
            (project / NATIVE / name).write_text("of before")
        build(project)
        assert {(project / NATIVE / name).read_text() for name in LIBRARIES} == {"of before"}
        header = project / NATIVE / "threads.h"
        os.utime(header, (header.stat().st_mtime + 60,) * 2)
        build(project)
        assert {(project / NATIVE / name).read_bytes()[:4] for name in LIBRARIES} == {b"\x7fELF"}

    def test_an_editable_install_finds_them_in_place(self, project, monkeypatch):
        monkeypatch.syspath_prepend(project)
        hook = importlib.import_module("hatch_build").Kernels(str(project), {}, None, None, "", "")
        monkeypatch.delenv(SWITCH, raising=False)
        assert hook.dependencies()
        hook.initialize("editable", {"artifacts": []})
        assert {each.name for each in (project / NATIVE).glob("*.so.*")} == {*LIBRARIES}
        monkeypatch.setenv(SWITCH, "0")
        assert not hook.dependencies()
        hook.initialize("editable", {"artifacts": []})
        assert not [*(project / NATIVE).glob("*.so.*")]

    @pytest.mark.parametrize(
        "broken", ["no C", "double f(void) { extern double g(); return g(); }"]
    )
    def test_what_cannot_be_compiled_says_why_and_the_way_out(self, broken, project):
        (project / NATIVE / "kernels.c").write_text(broken)
        with pytest.raises(AssertionError, match=r"error: [\s\S]*kernels\.c[\s\S]*REGARD_NATIVE=0"):
            build(project)
        assert not [*(project / NATIVE).glob("*.so.*")]

    @pytest.mark.parametrize("count", [0, 1, 3, 1000])
    @pytest.mark.parametrize("threads", [0, 1, 2, 5])
    @pytest.mark.parametrize("pool", [True, False], ids=["pool", "alone"])
    def test_every_number_is_done_once(self, count, threads, pool, built):
        kernels = ctypes.CDLL(str(built[0] / NATIVE / "kernels-avx2.so.1"))
        openmp = ctypes.CDLL(None) if torch.backends.openmp.is_available() else None
        kernels.regard_threads(getattr(openmp, "GOMP_parallel", None) if pool else None)
        out = torch.zeros(count + 1, dtype=torch.long)
        kernels.squares(ctypes.c_void_p(out.data_ptr()), ctypes.c_long(count), threads)
        assert out.tolist() == [*(number**2 for number in range(count)), 0]


def test_a_wheel_without_them_is_pure_python(project):
    for name in LIBRARIES:
        (project / NATIVE / name).write_text("of an editable install")
    names, tag = contents(build(project, **{SWITCH: "0"}))
    assert names == {"__init__.py", "library.py"}
    assert tag == "py3-none-any"
    assert {each.name for each in (project / NATIVE).glob("*.so.*")} == {*LIBRARIES}, "left alone"


def test_the_source_has_what_the_build_needs(project):
    (project / NATIVE / "kernels-avx2.so.1").write_text("no source")
    with tarfile.open(build(project, "sdist")) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"hatch_build.py", f"{NATIVE}/kernels.c", f"{NATIVE}/threads.h"} <= names
    assert not [name for name in names if name.endswith(".so.1")]
