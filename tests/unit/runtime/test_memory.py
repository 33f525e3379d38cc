"""What the process keeps of freed memory, what goes back, and its peak."""

import ctypes
import os
import subprocess
import sys

import pytest

from regard.runtime import memory

MIB = 2**20
#: Frees and asks again for what a layer makes, and says how many pages the system had to fill.
CHURN = """
import ctypes, resource
from regard.runtime import memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def churn(count, size):
    blocks = [libc.malloc(size) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        libc.free(block)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
"""


def run(program: str, **environment: str) -> list[str]:
    """Return what a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", CHURN + program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def libc():
    """The C library, if it is glibc."""
    found = ctypes.CDLL(None) if os.name == "posix" else None
    if not (hasattr(found, "mallopt") and hasattr(found, "malloc_trim")):
        pytest.skip("the C library is not glibc")
    return found


@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        ({}, True),
        ({"REGARD_MALLOPT": "0"}, False),
        ({"MALLOC_TRIM_THRESHOLD_": "100000"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=100000"}, False),
    ],
)
@pytest.mark.usefixtures("libc")
def test_freed_blocks_are_used_again_unless_somebody_says_otherwise(environment, kept):
    program = """
print(memory.keep_freed())
churn(2, 48 << 20)
before = faults()
churn(2, 48 << 20)
print(faults() - before)
"""
    said, pages = run(program, **environment)
    assert said == str(kept)
    assert (int(pages) < 20) == kept


@pytest.mark.usefixtures("libc")
def test_what_is_kept_has_a_limit():
    program = """
memory.KEPT, memory.LARGEST = 64 << 20, 32 << 20
memory.keep_freed()
before = memory.memory_now()
churn(2, 24 << 20)
print(memory.memory_now() - before)
churn(6, 24 << 20)
print(memory.memory_now() - before)
churn(1, 80 << 20)
print(memory.memory_now() - before)
"""
    few, many, large = map(int, run(program))
    assert 40 * MIB < few < 64 * MIB
    assert many < 64 * MIB
    assert large < 64 * MIB


def trims(monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> list[int]:
    """Return at which of some looks memory was trimmed, with so much of it held."""
    trimmer, trimmed = memory.Trimmer(), list[int]()
    for step, size in enumerate(sizes):
        monkeypatch.setattr(memory, "memory_now", lambda size=size: size * MIB)
        monkeypatch.setattr(trimmer, "_trim", lambda _, step=step: trimmed.append(step))
        trimmer.look()
    return trimmed


def test_it_waits_until_much_has_gathered(monkeypatch):
    """A quarter more than at the first look, and then anew from the next one on."""
    assert trims(monkeypatch, [2000, 2400, 2501, 900, 1100, 1157, 800, 1000]) == [2, 5]


def test_little_is_left_alone(monkeypatch):
    """Where a quarter is next to nothing."""
    assert trims(monkeypatch, [100, 130, 300, 356, 357]) == [4]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_given_back():
    """Of many small blocks, all but the last freed, which the C library would keep."""
    program = """
trimmer = memory.Trimmer()
trimmer.look()
before, size = memory.memory_now(), 64 * 1024
blocks = [libc.malloc(size) for _ in range(400 * 2**20 // size)]
for block in blocks:
    ctypes.memset(block, 1, size)
for block in blocks[:-1]:
    libc.free(block)
kept = memory.memory_now() - before
trimmer.look()
print(kept, memory.memory_now() - before)
"""
    kept, left = (int(each) for each in run(program))
    assert kept > 300 * MIB, "nothing was kept: the test shows nothing"
    assert left < 100 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="a peak can be forgotten on Linux only")
def test_the_peak_outlives_what_was_freed():
    program = """
memory.forget_peak()
before = memory.memory_peak()
churn(1, 80 << 20)
print(memory.memory_peak() - before, memory.memory_now() - before)
memory.forget_peak()
print(memory.memory_peak() - before)
"""
    peak, now, anew = map(int, run(program, REGARD_MALLOPT="0"))
    assert peak > 75 * MIB > 20 * MIB > max(now, anew)
