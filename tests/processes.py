"""Processes that tests start."""

import signal


def interruptible() -> None:
    """Let Ctrl-C reach a process also where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
