"""Freed memory goes back to the system when much of it has gathered."""

import ctypes
import sys
from typing import Any

import pytest

import regard
from regard.training import tidying

MIB = 2**20


def _steps(monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> list[int]:
    """Return after which of some steps memory was tidied, with so much of it resident."""
    tidier, tidied = tidying.Tidying(), list[int]()
    control: Any = regard.TrainerControl()
    for step, size in enumerate(sizes):
        monkeypatch.setattr(tidying, "_resident", lambda size=size: size * MIB)
        monkeypatch.setattr(tidier, "_trim", lambda _, step=step: tidied.append(step))
        tidier.on_step_end(None, None, control)
    return tidied


def test_it_waits_until_much_has_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter more than after the first step, and then anew from the next step on."""
    assert _steps(monkeypatch, [2000, 2400, 2501, 900, 1100, 1157, 800, 1000]) == [2, 5]


def test_little_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a quarter is next to nothing."""
    assert _steps(monkeypatch, [100, 130, 300, 356, 357]) == [4]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_given_back() -> None:
    """Of many small blocks, all but the last freed, which the C library would keep."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("the C library has no malloc_trim")
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    tidier = tidying.Tidying()
    control: Any = regard.TrainerControl()
    libc.malloc_trim(0)  # what earlier tests freed would serve for the blocks
    tidier.on_step_end(None, None, control)
    before = tidying._resident()
    size = 64 * 1024
    blocks = [libc.malloc(size) for _ in range(400 * MIB // size)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:
        libc.free(block)
    assert tidying._resident() - before > 300 * MIB, "nothing was kept: the test shows nothing"
    tidier.on_step_end(None, None, control)
    libc.free(blocks[-1])
    assert tidying._resident() - before < 100 * MIB
