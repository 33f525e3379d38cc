"""The public edge of text encoders: padded tensors in, padded tensors out, packed in between."""

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.cache import Cache
from regard.batch import Layout, TokenBatch
from regard.errors import notices
from regard.layers.blocks import Stack
from regard.models.states import ObservedModel
from regard.outputs import BaseModelOutputWithPooling


class TextModel(ObservedModel):
    """A model that reads packed text; adds the way from padded tensors to a `TokenBatch`."""

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return the ids of one text of `length` tokens."""
        return {"input_ids": torch.ones(1, length, dtype=torch.int64)}

    def pack(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
    ) -> TokenBatch:
        """Pack what a caller gave; see `TokenBatch.from_padded`."""
        pad = self.config.pad_token_id
        if attention_mask is None and input_ids is not None and pad is not None:
            padded = input_ids.device.type == "cpu" and bool((input_ids == pad).any())
            if padded and not getattr(self, "_told_of_padding", False):
                self._told_of_padding = True
                notices.warning(
                    "input_ids hold padding (%d), which is attended to like any token unless "
                    "attention_mask says otherwise; pass the tokenizer's attention_mask",
                    pad,
                )
        return TokenBatch.from_padded(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
        )


class TextBase(TextModel):
    """Base model of a family, which heads sit on: it has embeddings, and `encode` runs it."""

    is_base: ClassVar[bool] = True

    embeddings: nn.Module

    def encode(
        self, batch: TokenBatch, cache: Cache | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, which goes on from `cache`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it encodes")

    def pooled(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "rows width"] | None:
        """Return one vector per sequence, in the caller's order; None without a pooler."""
        return None

    def pool(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "rows width"]:
        """Return one vector per sequence, in the caller's order; an error without a pooler."""
        pooled = self.pooled(hidden, layout)
        if pooled is None:
            raise ValueError(
                f"this {type(self).__name__} has no pooler (add_pooling_layer=False, or a family "
                "that knows none)"
            )
        return pooled

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode padded token ids, all arguments (batch, length)."""
        batch = self.pack(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            hidden = self.encode(batch)
            pooled = self.pooled(hidden, batch.layout)
        return BaseModelOutputWithPooling(
            last_hidden_state=batch.layout.pad(hidden),
            pooler_output=pooled,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return cast("nn.Embedding", self.embeddings.words)

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.embeddings.words = embeddings


class EncoderModel(TextBase):
    """Base of every family's encoder: embeddings, a stack of layers, perhaps a pooler.

    A family sets the three in its constructor and needs no forward of its own.
    """

    optional: ClassVar[tuple[str, ...]] = ("pooler",)

    encoder: Stack
    pooler: nn.Module | None

    def encode(
        self, batch: TokenBatch, cache: Cache | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, which goes on from `cache`."""
        return self.encoder(self.embeddings(batch), batch.layout, cache=cache)

    def pooled(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "rows width"] | None:
        """Return what the pooler makes of each sequence, in the caller's order."""
        return None if self.pooler is None else self.pooler(hidden, layout)
