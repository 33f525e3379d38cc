"""Imports of very many modules at once."""

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Generator[None]:
    """Look for no garbage while modules are imported, nor later in what torch consists of.

    Torch is 270,000 objects that live as long as the process. The collector would go through them
    again and again while they become more, and twice more when the process ends: a quarter of a
    process that embeds one sentence. What was there before torch is then never garbage either; no
    model or tensor can be among it.
    """
    enabled, had_torch = gc.isenabled(), "torch" in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if "torch" in sys.modules and not had_torch:
            gc.freeze()
        if enabled:
            gc.enable()
