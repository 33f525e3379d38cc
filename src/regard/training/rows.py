"""Gradients of word vectors, of the few rows that a batch has words of.

A batch reads some hundred rows of a matrix of tens of thousands. A dense gradient of it is new
memory in every step, which the system fills with zeros page by page: a tenth of the time of a small
model's step. Here the backward pass gives the rows alone, and they go into one matrix of zeros that
lives as long as the run, so that the optimiser finds the dense gradient it expects.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: Smaller matrices gain nothing.
_SMALL = 2**20


class RowGradients:
    """The embeddings of a model whose gradients come as rows, inside `coming`.

    Args:
        model: Those of its embeddings are taken that are on the processor, large, trainable, and
            have no hook that expects a dense gradient.
        alone: Whether no other process has gradients to add, which must be dense.
    """

    def __init__(self, model: nn.Module, *, alone: bool = True) -> None:
        modules = model.modules() if alone else ()
        embeddings = (each for each in modules if isinstance(each, nn.Embedding))
        self._embeddings = [each for each in embeddings if _eligible(each)]
        self._dense: dict[Tensor, Tensor] = {}
        self._filled: list[tuple[Tensor, Tensor]] = []
        self._versions: list[int] = []

    @contextmanager
    def coming(self) -> Generator[None]:
        """Let the gradients of the backward passes in the block come as rows."""
        for embedding in self._embeddings:
            embedding.sparse = True
        try:
            yield
        finally:
            for embedding in self._embeddings:
                embedding.sparse = False
            self._dense.clear()

    @torch.no_grad()
    def spread(self) -> None:
        """Make gradients that came as rows dense, before anything reads them."""
        for weight in {embedding.weight: None for embedding in self._embeddings}:
            gradient = weight.grad
            if gradient is None or not gradient.is_sparse:
                continue  # it has other uses, as the matrix of a language model's head
            if weight not in self._dense:
                self._dense[weight] = torch.zeros_like(weight)
            dense = self._dense[weight]
            gradient = gradient.coalesce()
            rows = gradient.indices()[0]
            dense.index_copy_(0, rows, gradient.values())
            weight.grad = dense
            self._filled.append((dense, rows))

    def seal(self) -> None:
        """Note that nothing but the rows was filled so far."""
        self._versions = [dense._version for dense, _ in self._filled]

    @torch.no_grad()
    def clear(self) -> None:
        """Make the matrices zero again, after the optimiser's step."""
        for (dense, rows), version in zip(self._filled, self._versions, strict=True):
            if dense._version == version:
                dense.index_fill_(0, rows, 0.0)
            else:  # a callback wrote into it, perhaps into other rows
                dense.zero_()
        self._filled.clear()


def _eligible(embedding: nn.Embedding) -> bool:
    """Whether the gradient of an embedding is better made of rows."""
    weight = embedding.weight
    return (
        weight.requires_grad
        and weight.device.type == "cpu"
        and weight.numel() >= _SMALL
        and not (embedding.sparse or embedding.scale_grad_by_freq or weight._backward_hooks)
    )
