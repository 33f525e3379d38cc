"""How compiled kernels are called: by the addresses of tensors.

They are for plain tensors of a processor, outside of gradients, as `usable` says, and give what
PyTorch's own operations would, but for rounding. There is a module for each C header.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from regard.native.library import library

#: Vectors that most kernels take have a multiple of so many numbers.
LANES = 16

#: Types of arguments.
AT, LONG, INT, FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float


class Kernel:
    """A function of the library.

    Args:
        name: As C has it.
        arguments: The types of its arguments; the last one is the number of threads.
    """

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name, self.arguments = name, [*arguments, INT]
        self.function: Callable[..., None] | None = None

    def __call__(self, *given: float | None) -> None:
        """Call it with all arguments but the last, on PyTorch's threads."""
        function = self.function or self._bound()
        function(*given, torch.get_num_threads())

    def _bound(self) -> Callable[..., None]:
        found = getattr(library(), self.name)
        found.argtypes, found.restype = self.arguments, None
        self.function = found
        return found

    def there(self) -> bool:
        """Whether this processor's library has it."""
        return library() is not None and hasattr(library(), self.name)


#: Others (of FSDP, of those who trace) are tensors by name only.
_PLAIN = (Tensor, nn.Parameter)

#: Who transforms operations is asked for here; torch has no public word for it.
_core: Any = vars(torch)["_C"]


def usable(*tensors: Tensor) -> bool:
    """Whether there are kernels, and these tensors are such as they read."""
    return (
        not torch.compiler.is_compiling()
        and library() is not None
        and not _transformed()
        and not (torch.is_grad_enabled() and any(each.requires_grad for each in tensors))
        and all(each.device.type == "cpu" and type(each) in _PLAIN for each in tensors)
    )


def _transformed() -> bool:
    """Whether someone watches operations (`torch.utils.flop_counter`), maps or derives them.

    They would not see a kernel.
    """
    return bool(
        _core._len_torch_dispatch_stack()
        or _core._functorch.peek_interpreter_stack() is not None
        or vars(forward_ad)["_current_level"] >= 0
    )


def addresses(*tensors: Tensor) -> tuple[int, ...]:
    """Return where the first elements of tensors lie."""
    return tuple(each.data_ptr() for each in tensors)
