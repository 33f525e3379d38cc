"""A run that is told to end saves first."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Ending:
    """Whether, and by which signal, the process was told to end."""

    signal: int | None = None


@contextmanager
def ending() -> Generator[Ending]:
    """Note SIGTERM within the block, in place of dying of it; the loop looks between two steps.

    Signals reach the main thread only, so in another thread nothing changes.
    """
    told = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def note(number: int, frame: FrameType | None) -> None:
        told.signal = number

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
