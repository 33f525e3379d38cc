"""Let only a part of a model train."""

import re
from collections.abc import Sequence

from torch import nn

from regard.errors import ConfigError, listing
from regard.models.model import PreTrainedModel

#: Everything but the head.
BASE = "base"


def freeze(model: nn.Module, what: str | Sequence[str] = BASE) -> int:
    r"""Take parameters out of training, and return how many numbers still train.

    What lies below the lowest parameter that trains has no backward pass then.

    Args:
        model: Any model; it is changed in place.
        what: ``"base"`` for all but the head, or regular expressions that are looked for in the
            names of parameters, such as ``"embeddings"`` or ``r"layers\.[0-3]\."``.

    Raises:
        ConfigError: The model has no head, or no parameter of such a name.
    """
    if what == BASE:
        base = model.base_model if isinstance(model, PreTrainedModel) else model
        if base is model:
            raise ConfigError(f"freeze: {type(model).__name__} is all base, it has no head")
        base.requires_grad_(False)
    else:
        named = dict(model.named_parameters(remove_duplicate=False))
        for pattern in [what] if isinstance(what, str) else what:
            found = [each for name, each in named.items() if re.search(pattern, name)]
            if not found:
                raise ConfigError(
                    f"freeze: no parameter of {type(model).__name__} is called {pattern!r}; it has "
                    f"{listing(named)}"
                )
            for each in found:
                each.requires_grad_(False)
    return sum(each.numel() for each in model.parameters() if each.requires_grad)
