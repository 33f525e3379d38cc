"""The heads that BERT was trained with beside masked words: next sentence, and both together."""

from typing import Any, ClassVar, cast

from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import Layout, TokenBatch
from regard.linear import Linear
from regard.models.heads import EncoderHead, LabelledHead, LabelledScores
from regard.models.losses import both_labels, classification_loss, labelled_loss, token_loss
from regard.models.model import without_memory
from regard.outputs import ModelOutput, NextSentencePredictorOutput, PreTrainingOutput, scored


class NextSentencePrediction(LabelledHead):
    """Whether the second text follows the first (Devlin et al. 2019, section 3.1, task 2)."""

    pooled: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.next_sentence = Linear(config.hidden_size, 2)
        self.post_init()

    def logits(self, batch: TokenBatch) -> Float[Tensor, "rows 2"]:
        """Return scores of "follows" and "is random" for each sequence, in the caller's order."""
        pooled = self.base_model.pool(self.hidden(batch), batch.layout)
        return self.next_sentence(pooled)

    def output(
        self, logits: Tensor, labels: Tensor | None, layout: Layout
    ) -> NextSentencePredictorOutput:
        """Return `logits` and their cross-entropy."""
        loss = None if labels is None else classification_loss(logits, labels, "labels")
        return NextSentencePredictorOutput(**scored(loss), logits=logits)


class PreTraining(LabelledScores, EncoderHead):
    """Masked words and next sentence together, as BERT was trained (section 3.1)."""

    label_arguments: ClassVar[tuple[str, ...]] = ("labels", "next_sentence_label")
    pooled: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with without_memory():
            self.predictions = self.build_predictions(config)
        self.next_sentence = Linear(config.hidden_size, 2)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        return cast("nn.Linear", self.predictions.decoder)

    def logits(
        self, batch: TokenBatch
    ) -> tuple[Float[Tensor, "tokens vocabulary"], Float[Tensor, "rows 2"]]:
        """Return word scores for each packed token, and next-sentence scores for each sequence."""
        hidden = self.hidden(batch)
        pooled = self.base_model.pool(hidden, batch.layout)
        return self.predictions(hidden), self.next_sentence(pooled)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ModelOutput:
        """Score padded pairs; the loss is the sum of both tasks and needs both labels."""
        batch = self.pack(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        both = both_labels(labels=labels, next_sentence_label=next_sentence_label)
        return self.answer(batch, both, output_attentions, output_hidden_states)

    def loss_only(
        self, hidden: Tensor, labels: tuple[Tensor, Tensor], layout: Layout
    ) -> PreTrainingOutput:
        """Return the loss and next-sentence scores; words are scored where they are labelled."""
        follows = self.next_sentence(self.base_model.pool(hidden, layout))
        loss = labelled_loss(self.predictions, hidden, labels[0], layout)
        loss = loss + classification_loss(follows, labels[1], "next_sentence_label")
        return PreTrainingOutput(
            **scored(loss),
            prediction_logits=cast("Tensor", None),  # who asks for no logits reads none
            seq_relationship_logits=follows,
        )

    def output(
        self, logits: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor] | None, layout: Layout
    ) -> PreTrainingOutput:
        """Return both scores, and the sum of their losses."""
        words, follows = logits
        loss = None
        if labels is not None:
            loss = token_loss(words, labels[0], layout, "labels")
            loss = loss + classification_loss(follows, labels[1], "next_sentence_label")
        return PreTrainingOutput(
            **scored(loss), prediction_logits=layout.pad(words), seq_relationship_logits=follows
        )
