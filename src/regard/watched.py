"""Whether someone looks at what goes in or out of a module: then it is not passed over."""

from typing import Any, cast

from torch import nn
from torch.nn.modules.module import _has_any_global_hook  # pyright: ignore[reportPrivateUsage] - torch has no other word for it

#: Where torch keeps what wants to see a module's inputs, and its outputs.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def watched(*modules: nn.Module) -> bool:
    """Whether something wants to see what goes in or out of one of these modules."""
    every = cast("Any", _has_any_global_hook())
    return bool(every) or any(len(vars(module)[name]) for module in modules for name in _HOOKS)
