"""Decoder-only models: the base, and the heads that differ from an encoder's."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.cache import Cache
from regard.batch import Layout, TokenBatch
from regard.errors import ConfigError
from regard.layers.activations import activation
from regard.layers.blocks import Stack
from regard.linear import Linear
from regard.models.encoder import TextBase
from regard.models.generative import Generative
from regard.models.heads import EncoderHead, SequenceLabels, WordLabels, WordScores, flat_choices
from regard.models.losses import (
    LabelledSuccessors,
    classification_loss,
    shifted_left,
    token_loss,
)
from regard.models.model import without_memory
from regard.outputs import CausalLMOutput, DoubleHeadsOutput, MaskedLMOutput, scored


class DecoderModel(TextBase):
    """Base of every decoder-only family: embeddings, and a stack of causal layers.

    A family sets both in its constructor and needs no forward of its own.
    """

    decoder: Stack

    def encode(
        self, batch: TokenBatch, cache: Cache | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, which goes on from `cache`."""
        return self.decoder(self.embeddings(batch), batch.layout, cache=cache)


class Continues(Generative, EncoderHead):
    """A head that continues the text that its base reads."""

    def read(self, batch: TokenBatch, cache: Cache) -> Float[Tensor, "tokens width"]:
        """Return the last vectors of tokens that come after those of `cache`, and add them."""
        return self.base_model.encode(batch, cache)


class NextToken(LabelledSuccessors, Continues, WordLabels):
    """A head whose scores are of the token that comes next (Radford et al. 2019, section 2).

    Labels are the tokens themselves; they are shifted here.
    """

    output_class: ClassVar[type[MaskedLMOutput | CausalLMOutput]] = CausalLMOutput


class CausalLM(NextToken):
    """Which token comes next, by a plain map of the last hidden vectors."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with without_memory():
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        return self.lm_head

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows tokens with these vectors."""
        return self.lm_head(hidden)


class CausalEncoder(WordScores, NextToken):
    """Which token comes next, by the family of an encoder whose attention is made causal.

    Raises:
        ConfigError: The configuration does not say ``is_decoder``: every token would see the one
            that it is to predict, so that training learns nothing and loses nothing.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if not config.is_decoder:
            raise ConfigError(
                f"{type(self).__name__} continues text, so no token may see those after it; give "
                "is_decoder=True, or use the MaskedLM class, whose tokens see each other"
            )


class DoubleHeads(LabelledSuccessors, Continues):
    """Which token comes next, and which of several texts is right (Radford et al. 2018, 3.3).

    The second head reads the token of each text that the caller points at.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with without_memory():
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.choice = Linear(config.hidden_size, 1)
        self.activation = activation(config.summary_activation or "linear")
        self.post_init()

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return the ids of one choice of `length` tokens."""
        return {name: rows[None] for name, rows in super().example_inputs(length).items()}

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        return self.lm_head

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows tokens with these vectors."""
        return self.lm_head(hidden)

    def dropout_rate(self, config: Any) -> float:
        """Return the rate of what the second head reads."""
        return config.summary_first_dropout

    def logits(
        self, batch: TokenBatch, tokens: Int[Tensor, " rows"] | None = None
    ) -> tuple[Float[Tensor, "tokens vocabulary"], Float[Tensor, " rows"]]:
        """Return word scores for each packed token, and a score for each text.

        `tokens` are the packed numbers of those that the second head reads; None for the last ones.
        """
        hidden = self.hidden(batch)
        if tokens is None:
            chosen = last_token(hidden, batch, self.config.pad_token_id)
        else:
            chosen = hidden[tokens]
        return self.score(hidden), self.activation(self.choice(self.dropout(chosen)))[:, 0]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> DoubleHeadsOutput:
        """Score (batch, choices, length) inputs; the two losses stand apart, for you to weigh.

        Args:
            input_ids: Token ids; the inputs after it have the same shape.
            attention_mask: 1 for tokens, 0 for padding.
            token_type_ids: Segments.
            position_ids: Positions in place of those counted.
            inputs_embeds: Vectors in place of `input_ids`.
            mc_token_ids: (batch, choices) column of the token that stands for each text; by default
                its last one.
            labels: Token ids to predict, which are shifted here; -100 is not counted.
            mc_labels: (batch,) which choice is right.
            output_attentions: Give who attends to whom; None is what the configuration says.
            output_hidden_states: Give what goes into each layer and out of the last one.
        """
        each = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        shape, flat = flat_choices(*each)
        batch = self.pack(*flat)
        chosen = None if mc_token_ids is None else _chosen_tokens(mc_token_ids, batch.layout)
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            words, choices = self.logits(batch, chosen)
        choices, padded = choices.view(shape), batch.layout.pad(words)
        lm_loss = None
        if labels is not None:
            successors = shifted_left(labels.flatten(0, -2))
            lm_loss = token_loss(words, successors, batch.layout, "labels")
        mc_loss = None
        if mc_labels is not None:
            mc_loss = classification_loss(choices, mc_labels, "mc_labels").mean()
        return DoubleHeadsOutput(
            **scored(lm_loss),
            mc_loss=mc_loss,
            logits=padded.view(*shape, *padded.shape[1:]),
            mc_logits=choices,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class LastTokenClassification(SequenceLabels):
    """Labels for each sequence, from its last token (Radford et al. 2018, section 3.3)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.score = Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def logits(self, batch: TokenBatch) -> Float[Tensor, "rows labels"]:
        """Return one score per label for each sequence, in the caller's order."""
        return self.score(last_token(self.hidden(batch), batch, self.config.pad_token_id))


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


def _chosen_tokens(columns: Tensor, layout: Layout) -> Int[Tensor, " rows"]:
    """Return the packed number of the token in the given column of each of the caller's rows."""
    columns, rows = columns.flatten(), len(layout.lengths)
    if len(columns) != rows or columns.is_floating_point():
        raise ValueError(f"mc_token_ids must name one column for each of {rows} texts")
    numbers = layout.pad(torch.arange(1, layout.tokens + 1, device=columns.device))
    inside = columns.clamp(0, layout.columns - 1)
    found = numbers.gather(1, inside[:, None])[:, 0].where(columns == inside, 0)
    if not bool(found.all()):
        row = int((found == 0).nonzero()[0])
        raise ValueError(
            f"mc_token_ids of text {row} is {int(columns[row])}, where it has no token"
        )
    return found - 1
