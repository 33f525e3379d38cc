"""Processes that tests start."""

import signal

#: Seconds after which what hangs is ended: a busy machine may leave a process waiting for minutes.
PATIENCE = 600


def interruptible() -> None:
    """Let Ctrl-C reach a process also where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
