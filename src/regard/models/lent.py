"""One base under several heads: what a head holds in place of a base of its own."""

import contextvars
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import Layout, TokenBatch
from regard.models.encoder import TextBase
from regard.models.states import States

_lent: contextvars.ContextVar[TextBase | None] = contextvars.ContextVar("lent", default=None)


@contextmanager
def lending(base: TextBase) -> Generator[None]:
    """Let heads that are built in the block read `base`, which stays no part of them."""
    token = _lent.set(base)
    try:
        yield
    finally:
        _lent.reset(token)


def lent_base() -> "LentBase | None":
    """Return what a head built now is to read; None if it builds a base of its own."""
    base = _lent.get()
    return None if base is None else LentBase(base)


@dataclass(frozen=True)
class EncodedBatch(TokenBatch):
    """A batch that has been encoded already.

    Attributes:
        hidden: (tokens, width) last hidden vectors of the base.
    """

    hidden: Tensor | None = None


class LentBase(nn.Module):
    """A base that belongs to another model: the head that reads it has none of its tensors.

    Args:
        base: The base.
    """

    def __init__(self, base: TextBase) -> None:
        super().__init__()
        self._owner = (base,)  # in a tuple, or torch would take it for a part

    @property
    def base(self) -> TextBase:
        """The base itself."""
        return self._owner[0]

    def encode(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, or those that it comes with."""
        if isinstance(batch, EncodedBatch) and batch.hidden is not None:
            return batch.hidden
        return self.base.encode(batch)

    def pool(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "rows width"]:
        """Return one vector per sequence, in the caller's order."""
        return self.base.pool(hidden, layout)

    def watch(self, *asked: Any) -> AbstractContextManager[States]:
        """Collect what passes through the base; see `ObservedModel.watch`."""
        return self.base.watch(*asked)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self.base.get_input_embeddings()
