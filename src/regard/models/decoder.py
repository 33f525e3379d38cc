"""Decoder-only models: the base, and the heads that differ from an encoder's."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import Layout, TokenBatch
from regard.layers.blocks import Stack
from regard.models.encoder import TextBase
from regard.models.heads import LabelledHead, SequenceLabels
from regard.models.losses import IGNORED, token_loss
from regard.models.model import without_memory
from regard.outputs import CausalLMOutput


class DecoderModel(TextBase):
    """Base of every decoder-only family: embeddings, and a stack of causal layers.

    A family sets both in its constructor and needs no forward of its own.
    """

    decoder: Stack

    def encode(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch."""
        return self.decoder(self.embeddings(batch), batch.layout)


class CausalLM(LabelledHead):
    """Which token comes next (Radford et al. 2019, section 2)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with without_memory():
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        return self.lm_head

    def logits(self, batch: TokenBatch) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows each packed token."""
        return self.lm_head(self.hidden(batch))

    def output(self, logits: Tensor, labels: Tensor | None, layout: Layout) -> CausalLMOutput:
        """Return `logits` padded, and the loss of `labels`, which are shifted here."""
        loss = None if labels is None else next_token_loss(logits, labels, layout)
        return CausalLMOutput(loss=loss, logits=layout.pad(logits))


class LastTokenClassification(SequenceLabels):
    """Labels for each sequence, from its last token (Radford et al. 2018, section 3.3)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def logits(self, batch: TokenBatch) -> Float[Tensor, "rows labels"]:
        """Return one score per label for each sequence, in the caller's order."""
        return self.score(last_token(self.hidden(batch), batch, self.config.pad_token_id))


def next_token_loss(
    logits: Float[Tensor, "tokens vocabulary"], labels: Tensor, layout: Layout
) -> Float[Tensor, ""]:
    """Return the cross-entropy of each token's successor in its own row; -100 is not counted."""
    unlabelled = labels.new_full((len(labels), 1), IGNORED)
    return token_loss(logits, torch.cat([labels[:, 1:], unlabelled], 1), layout, "labels")


def last_token(
    hidden: Float[Tensor, "tokens width"], batch: TokenBatch, pad: int | None
) -> Float[Tensor, "rows width"]:
    """Return the vector of each sequence's last token that is no padding, in the caller's order.

    Padding that no mask hides comes after the text, where causal attention keeps it harmless.
    """
    layout = batch.layout
    if batch.ids is None or pad is None:
        return layout.reduce(hidden, lambda tokens: tokens[:, -1])
    place = torch.arange(len(hidden), device=hidden.device)
    last = layout.reduce(torch.where(batch.ids == pad, -1, place), lambda places: places.amax(1))
    return hidden[last.clamp(min=0)]
