"""How attention and feed-forward are wired into a layer, and layers into a stack.

There are two wirings. They differ in where the normalisation stands (Xiong et al. 2020, figure 1).
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType] - torch leaves it partly untyped

from regard.attention.attention import Memory
from regard.attention.cache import Cache, KeyValues, Remembered
from regard.batch import Layout
from regard.dropout import Dropout
from regard.layers.norms import normalized_sum


class _Layer(nn.Module):
    """The parts of a layer; a subclass wires them.

    Args:
        attention: Maps (hidden, layout) to hidden.
        feed_forward: Maps hidden to hidden.
        norms: Normalisation that goes with attention and with the feed-forward.
        dropout: Probability of dropping an element of either part's output in training, or one
            for the attention's and one for the feed-forward's.
    """

    def __init__(
        self,
        attention: nn.Module,
        feed_forward: nn.Module,
        norms: tuple[nn.Module, nn.Module],
        dropout: float | tuple[float, float] = 0.0,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.attention_norm, self.feed_forward_norm = norms
        first, last = dropout if isinstance(dropout, tuple) else (dropout, dropout)
        self.dropout, self.feed_forward_dropout = Dropout(first), Dropout(last)

    def attend(self, hidden: Tensor, layout: Layout, past: KeyValues | None) -> Tensor:
        """Let tokens attend to their own sequences, and to what a cache has of these."""
        if past is None:
            return self.attention(hidden, layout)
        return self.attention(hidden, layout, past=past)


class PostNormLayer(_Layer):
    """Normalise the sum: ``x = norm(x + f(x))`` (Vaswani et al. 2017, section 3.1)."""

    def forward(
        self,
        hidden: Float[Tensor, "tokens width"],
        layout: Layout,
        past: KeyValues | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Run the layer over packed tokens."""
        attended = self.attend(hidden, layout, past)
        hidden = normalized_sum(self.attention_norm, hidden, self.dropout(attended))
        fed = self.feed_forward_dropout(self.feed_forward(hidden))
        return normalized_sum(self.feed_forward_norm, hidden, fed)


class PreNormLayer(_Layer):
    """Normalise what goes in and leave the sum alone: ``x = x + f(norm(x))``."""

    def forward(
        self,
        hidden: Float[Tensor, "tokens width"],
        layout: Layout,
        past: KeyValues | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Run the layer over packed tokens."""
        attended = self.attend(self.attention_norm(hidden), layout, past)
        hidden = hidden + self.dropout(attended)
        fed = self.feed_forward(self.feed_forward_norm(hidden))
        return hidden + self.feed_forward_dropout(fed)


class _DecoderLayer(_Layer):
    """The parts of a layer that also attends to a memory, if there is one; a subclass wires them.

    Args:
        attention: Maps (hidden, layout) to hidden.
        cross_attention: Maps (hidden, layout, memory) to hidden.
        feed_forward: Maps hidden to hidden.
        norms: Normalisation that goes with each of the three, in this order.
        dropout: Probability of dropping an element of a part's output in training.
    """

    def __init__(
        self,
        attention: nn.Module,
        cross_attention: nn.Module,
        feed_forward: nn.Module,
        norms: tuple[nn.Module, nn.Module, nn.Module],
        dropout: float = 0.0,
    ) -> None:
        super().__init__(attention, feed_forward, (norms[0], norms[2]), dropout)
        self.cross_attention = cross_attention
        self.cross_attention_norm = norms[1]


class PostNormDecoderLayer(_DecoderLayer):
    """Attend to itself, to the memory, and feed forward (Vaswani et al. 2017, section 3.1)."""

    def forward(
        self,
        hidden: Float[Tensor, "tokens width"],
        layout: Layout,
        memory: Memory | Remembered | None = None,
        past: KeyValues | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Run the layer over packed tokens."""
        attended = self.attend(hidden, layout, past)
        hidden = normalized_sum(self.attention_norm, hidden, self.dropout(attended))
        if memory is not None:
            crossed = self.cross_attention(hidden, layout, memory)
            hidden = normalized_sum(self.cross_attention_norm, hidden, self.dropout(crossed))
        fed = self.feed_forward_dropout(self.feed_forward(hidden))
        return normalized_sum(self.feed_forward_norm, hidden, fed)


class PreNormDecoderLayer(_DecoderLayer):
    """The same three parts, each with its normalisation at its input."""

    def forward(
        self,
        hidden: Float[Tensor, "tokens width"],
        layout: Layout,
        memory: Memory | Remembered | None = None,
        past: KeyValues | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Run the layer over packed tokens."""
        attended = self.attend(self.attention_norm(hidden), layout, past)
        hidden = hidden + self.dropout(attended)
        if memory is not None:
            crossed = self.cross_attention(self.cross_attention_norm(hidden), layout, memory)
            hidden = hidden + self.dropout(crossed)
        fed = self.feed_forward(self.feed_forward_norm(hidden))
        return hidden + self.feed_forward_dropout(fed)


class Stack(nn.Module):
    """Layers one after the other, and for pre-norm layers a last normalisation.

    Args:
        layers: Modules that map (hidden, layout) to hidden, or (hidden, layout, memory).
        norm: Applied to the last layer's output, if given.
        layerdrop: Probability of skipping a layer in training (Fan et al. 2020, section 3.2).
        dropout: Probability of dropping an element of the result in training.

    Attributes:
        checkpointing: Whether to keep only each layer's input in training and compute the rest
            again in the backward pass (Chen et al. 2016).
        recomputing: Makes the context in which that is done, where the forward pass has one that
            PyTorch does not bring back by itself.
    """

    checkpointing: bool = False
    recomputing: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __init__(
        self,
        layers: Iterable[nn.Module],
        norm: nn.Module | None = None,
        layerdrop: float = 0.0,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layerdrop = layerdrop
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(
        self,
        hidden: Float[Tensor, "tokens width"],
        layout: Layout,
        memory: Memory | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Run every layer over packed tokens; `cache` has those before them, and gets these."""
        if cache is not None:
            return self._continue(hidden, layout, cache)
        more = () if memory is None else (memory,)
        for layer in self.layers:
            if self.training and self.layerdrop and float(torch.rand(())) < self.layerdrop:
                continue
            if self.checkpointing and torch.is_grad_enabled():
                hidden = self._again(layer, hidden, layout, *more)
            else:
                hidden = layer(hidden, layout, *more)
        return self.dropout(hidden if self.norm is None else self.norm(hidden))

    def _again(self, layer: nn.Module, *inputs: Any) -> Tensor:
        """Run a layer whose inner values are computed again in the backward pass."""
        call = cast("Callable[..., Tensor]", checkpoint)
        if self.recomputing is nullcontext:
            return call(layer, *inputs, use_reentrant=False)
        contexts = nullcontext(), self.recomputing()
        return call(layer, *inputs, use_reentrant=False, context_fn=lambda: contexts)

    def _continue(self, hidden: Tensor, layout: Layout, cache: Cache) -> Tensor:
        """Run every layer over tokens of which a cache has what comes before."""
        for number, layer in enumerate(self.layers):
            memory = cache.remembered(number, layout)
            more = () if memory is None else (memory,)
            hidden = layer(hidden, layout, *more, past=cache.layers[number])
        cache.advance(layout)
        return hidden if self.norm is None else self.norm(hidden)

    def shrink_residuals(self) -> None:
        """Divide the weights of what adds to the residual stream, when they are new.

        By the square root of how often something is added (Radford et al. 2019, section 2.3).
        """
        with torch.no_grad():
            for name, weight in self.layers.named_parameters():
                if name.endswith(("attention.output.weight", "feed_forward.down.weight")):
                    weight.div_(math.sqrt(2 * len(self.layers)))
