"""Look at what passes through a model, by hooks: no flag inside any layer."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from torch import nn

#: ``(module, inputs, output)``, as torch's own forward hooks see them.
Observer = Callable[[nn.Module, tuple[Any, ...], Any], None]


@contextmanager
def observing(observers: dict[nn.Module, Observer]) -> Generator[None]:
    """Call each observer after each forward of its module, within the ``with`` block.

    Other threads may run the same model meanwhile: what they compute is not observed.
    """
    thread = threading.get_ident()

    def only_here(observer: Observer) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if threading.get_ident() == thread:
                observer(module, inputs, output)

        return hook

    handles = [module.register_forward_hook(only_here(see)) for module, see in observers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
