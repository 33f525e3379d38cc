"""Which library of kernels is loaded, and what is said where there is none."""

import os
import sys

import pytest
import torch

from regard import processor
from regard.native import library as native
from regard.native.library import LIBRARIES, SWITCH, chosen, library

BEST, OLD = LIBRARIES
V4, V3 = LIBRARIES.values()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with both libraries, neither of which is one, on a processor that can run both."""
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(native, "flags", lambda: V4 | V3)
    monkeypatch.delenv(SWITCH, raising=False)
    for name in LIBRARIES:
        (tmp_path / name).write_text("no library")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (V4 | {"sse2", "amx_tile"}, BEST),
        (V4 - {"avx512_vnni"}, OLD),
        (V4 - {"avx512vl"}, OLD),
        (V3, OLD),
        (V3 - {"fma"}, None),
        (frozenset(), None),
    ],
    ids=["avx512", "without-vnni", "without-vl", "avx2", "without-fma", "unknown"],
)
def test_the_best_that_the_processor_can_run(flags, wanted, folder, monkeypatch):
    monkeypatch.setattr(native, "flags", lambda: flags)
    assert chosen() == (None if wanted is None else folder / wanted)


def test_the_best_that_is_there(folder):
    (folder / BEST).unlink()
    assert chosen() == folder / OLD
    (folder / OLD).unlink()
    assert chosen() is None


def test_none_is_no_notice(folder, caplog):
    for name in LIBRARIES:
        (folder / name).unlink()
    assert library.__wrapped__() is None
    assert not caplog.messages


def test_switched_off(folder, monkeypatch, caplog):
    monkeypatch.setenv(SWITCH, "0")
    assert library.__wrapped__() is None
    assert not caplog.messages


def test_what_cannot_be_loaded_is_told(folder, caplog):
    assert library.__wrapped__() is None
    (said,) = caplog.messages
    assert f"{folder / BEST} cannot be loaded (" in said
    assert "REGARD_NATIVE=0" in said


@pytest.mark.skipif(sys.platform != "linux", reason="its libraries are of another kind")
def test_a_library_of_others_is_told(folder, caplog):
    (folder / BEST).unlink()
    (folder / OLD).unlink()
    (folder / OLD).symlink_to(torch._C.__file__)
    assert library.__wrapped__() is None
    assert "regard_threads" in caplog.messages[0]


def test_what_is_older_than_its_source_is_told(folder, caplog):
    source = folder / "kernels.h"
    source.write_text("")
    os.utime(source, (source.stat().st_mtime + 60,) * 2)
    assert library.__wrapped__() is None
    assert f"{folder / BEST} is older than its source" in caplog.messages[0]


@pytest.mark.skipif(chosen() is None, reason="no kernels for this processor were built")
def test_the_real_one_answers(monkeypatch, caplog):
    monkeypatch.delenv(SWITCH, raising=False)
    kernels = library.__wrapped__()
    assert not caplog.messages
    assert kernels.regard_version() > 0


class TestProcessor:
    @pytest.fixture
    def cpuinfo(self, tmp_path, monkeypatch):
        """A file to be read as /proc/cpuinfo, with torch knowing nothing."""
        monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(processor, "flags", processor.flags.__wrapped__)
        monkeypatch.setattr(processor, "_ask", lambda _: None)
        monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
        return tmp_path / "cpuinfo"

    def test_flags(self, cpuinfo):
        cpuinfo.write_text("model\t: 1\nflags\t\t: fpu avx2\nvmx flags\t: vnmi\n\nflags\t: other\n")
        assert processor.flags() == {"fpu", "avx2"}

    def test_flags_of_arm(self, cpuinfo, monkeypatch):
        monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
        cpuinfo.write_text("Features\t: fp asimd bf16\n")
        assert processor.features() == {"neon": True, "sve": False, "bf16": True, "fp16": False}
        assert processor.multiplies("bfloat16")
        assert not processor.multiplies("int8")

    def test_nobody_knows(self, cpuinfo):
        assert processor.flags() == frozenset()
        assert {*processor.features().values()} == {None}
        assert not processor.multiplies("bfloat16")

    @pytest.mark.parametrize(
        ("flag", "kinds"),
        [
            ("avx512f", []),
            ("avx512_bf16", ["bfloat16"]),
            ("avx_vnni", ["int8"]),
            ("amx_tile", ["bfloat16", "int8"]),
        ],
    )
    def test_products(self, flag, kinds, cpuinfo):
        cpuinfo.write_text(f"flags : fpu {flag}\n")
        known = ("bfloat16", "float16", "int8")
        assert [kind for kind in known if processor.multiplies(kind)] == kinds

    @pytest.mark.parametrize("answer", [True, False])
    def test_torch_may_know_what_linux_does_not(self, answer, cpuinfo, monkeypatch):
        cpuinfo.write_text("flags : fpu\n")
        monkeypatch.setattr(processor, "_ask", lambda probe: answer)
        assert processor.features()["amx"] is answer
