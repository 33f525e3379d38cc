"""The layers of the Transformer (Vaswani et al. 2017, figure 1), of any size, in both wirings."""

from dataclasses import dataclass

from torch import nn

from regard.attention.attention import Attention
from regard.attention.patterns import Pattern
from regard.layers.blocks import (
    PostNormDecoderLayer,
    PostNormLayer,
    PreNormDecoderLayer,
    PreNormLayer,
)
from regard.layers.feed_forward import FeedForward


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What the layers of one side are like, to build them from.

    Attributes:
        width: Size of the hidden vectors.
        heads: Number of attention heads.
        inner: Size between the maps of the feed-forward.
        act: Name of its activation, see `regard.layers.activations`.
        dropout: Probability of dropping an element of a part's output in training.
        attention_dropout: Probability of dropping an attention weight.
        inner_dropout: Probability of dropping an inner element of the feed-forward.
        eps: Of the normalisations.
        norm_first: Whether they stand before each part, and not after the sum.
    """

    width: int
    heads: int
    inner: int
    act: str
    dropout: float = 0.0
    attention_dropout: float = 0.0
    inner_dropout: float = 0.0
    eps: float = 1e-5
    norm_first: bool = False

    def encoder_layer(self) -> nn.Module:
        """Return a layer in which every token attends to every other."""
        wiring = PreNormLayer if self.norm_first else PostNormLayer
        parts = (self._attention(Pattern()), self._feed_forward())
        return wiring(*parts, (self.norm(), self.norm()), self.dropout)

    def decoder_layer(self) -> nn.Module:
        """Return a layer in which a token attends to those before it, and to a memory."""
        wiring = PreNormDecoderLayer if self.norm_first else PostNormDecoderLayer
        attention, crossing = self._attention(Pattern(causal=True)), self._attention(Pattern())
        norms = (self.norm(), self.norm(), self.norm())
        return wiring(attention, crossing, self._feed_forward(), norms, self.dropout)

    def norm(self) -> nn.LayerNorm:
        """Return a normalisation."""
        return nn.LayerNorm(self.width, eps=self.eps)

    def _attention(self, pattern: Pattern) -> Attention:
        return Attention(self.width, self.heads, self.attention_dropout, pattern)

    def _feed_forward(self) -> FeedForward:
        return FeedForward(self.width, self.inner, self.act, dropout=self.inner_dropout)
