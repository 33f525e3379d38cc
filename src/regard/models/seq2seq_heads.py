"""The task heads over an encoder-decoder, each written once for all families."""

from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import TokenBatch
from regard.checkpoints.keymap import KeyTable
from regard.layers.scoring import Classifier
from regard.models.encoder import TextModel
from regard.models.losses import IGNORED, both_labels, sequence_loss, span_loss, token_loss
from regard.models.model import without_memory
from regard.models.seq2seq import Decoded, Seq2SeqModel, Side
from regard.outputs import (
    Seq2SeqLMOutput,
    Seq2SeqOutput,
    Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput,
)


class Seq2SeqHead(TextModel):
    """A head over a family's encoder-decoder, which lies under the family's prefix."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.add_module(self.base_model_prefix, self.build_base(config))

    def build_base(self, config: Any) -> Seq2SeqModel:
        """Return the family's base model."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its base model is")

    @property
    def base_model(self) -> Seq2SeqModel:
        """The family's base model."""
        return cast("Seq2SeqModel", self.get_submodule(self.base_model_prefix))

    def target(self, source: Side, target: Side, labels: Any) -> Side:
        """Return what to decode, when the caller gave none: the source, shifted right."""
        if target.given:
            return target
        if source.input_ids is None:
            raise ValueError("give decoder_input_ids, for there are no input_ids to shift")
        return Side(self.base_model.shift_right(source.input_ids), source.attention_mask)

    def output(self, run: Decoded, source: Side, labels: Any) -> Seq2SeqOutput:
        """Return the scores in the caller's shape, and the loss if there are labels."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it returns")

    def answer(
        self,
        source: Side,
        target: Side,
        labels: Any,
        encoder_outputs: Any,
        wanted: tuple[bool | None, bool | None],
    ) -> Seq2SeqOutput:
        """Encode, decode and score, and return what the public call returns."""
        target = self.target(source, target, labels)
        run = self.base_model.run(source, target, encoder_outputs, *wanted)
        return self.output(run, source, labels)


class LabelledSeq2SeqHead(Seq2SeqHead):
    """A head whose public call takes one kind of labels."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqOutput:
        """Score padded inputs, all (batch, length); what `labels` are stands with each head."""
        source = Side(input_ids, attention_mask, inputs_embeds)
        target = Side(decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds)
        wanted = (output_attentions, output_hidden_states)
        return self.answer(source, target, labels, encoder_outputs, wanted)


class ConditionalGeneration(LabelledSeq2SeqHead):
    """Which token comes next in the target; `labels` (batch, length) are the target itself.

    Attributes:
        scale: Factor of the vectors that are scored.
    """

    scale: float = 1.0

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with without_memory():
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        return self.lm_head

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows each token of the target."""
        return self.lm_head(hidden if self.scale == 1.0 else hidden * self.scale)

    def logits(self, source: TokenBatch, target: TokenBatch) -> Float[Tensor, "tokens vocabulary"]:
        """Return the scores of packed targets, one row per token."""
        base = self.base_model
        return self.score(base.decode(target, base.encode(source), source.layout))

    def target(self, source: Side, target: Side, labels: Tensor | None) -> Side:
        """Return what to decode: what the caller gave, or the labels shifted right.

        The columns after a row's last label are nothing to decode: they are left out.
        """
        if target.given or labels is None:
            return target if target.given else self.base_model.default_target(source)
        labelled = (labels != IGNORED).flip(1).cummax(1).values.flip(1)
        return Side(self.base_model.shift_right(labels), labelled)

    def output(self, run: Decoded, source: Side, labels: Tensor | None) -> Seq2SeqLMOutput:
        """Return `logits` padded, and the `token_loss` of `labels`."""
        logits = self.score(run.hidden)
        loss = None if labels is None else token_loss(logits, labels, run.layout, "labels")
        return Seq2SeqLMOutput(loss=loss, logits=run.layout.pad(logits), **run.seen)


class Seq2SeqSequenceClassification(LabelledSeq2SeqHead):
    """Labels for each text, from the decoder's vector at its end token (Lewis et al. 2020, 3.1)."""

    keys: ClassVar[KeyTable] = {"classification_head.output": "classification_head.out_proj"}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        rate = config.classifier_dropout
        self.dropout = nn.Dropout(rate)
        self.classification_head = Classifier(config.hidden_size, config.num_labels, "tanh", rate)
        self.post_init()

    def output(
        self, run: Decoded, source: Side, labels: Tensor | None
    ) -> Seq2SeqSequenceClassifierOutput:
        """Return `logits` and their `sequence_loss`."""
        ends = self._ends(source)
        hidden = run.layout.pad(run.hidden)[torch.arange(len(ends), device=ends.device), ends]
        logits = self.classification_head(self.dropout(hidden))
        loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return Seq2SeqSequenceClassifierOutput(loss=loss, logits=logits, **run.seen)

    def _ends(self, source: Side) -> Tensor:
        """Return the column of each row's last end token, (batch,)."""
        ids, end = source.input_ids, self.config.eos_token_id
        if ids is None or not isinstance(end, int):
            raise ValueError(
                f"{type(self).__name__} needs input_ids, and a configuration with one eos_token_id"
            )
        found = ids.eq(end)
        if not bool(found.any(1).all()):
            row = int((~found.any(1)).nonzero()[0])
            raise ValueError(
                f"row {row} has no end token ({end}), whose vector is classified; tokenize with "
                "add_special_tokens=True"
            )
        columns = torch.arange(ids.shape[1], device=ids.device)
        return torch.where(found, columns, -1).amax(1)


class Seq2SeqQuestionAnswering(Seq2SeqHead):
    """Where an answer starts and ends, read off the decoder (Lewis et al. 2020, section 5.1)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqOutput:
        """Score padded tokens as start and end; `start_positions`, `end_positions` are (batch,)."""
        source = Side(input_ids, attention_mask, inputs_embeds)
        target = Side(decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds)
        labels = both_labels(start_positions=start_positions, end_positions=end_positions)
        wanted = (output_attentions, output_hidden_states)
        return self.answer(source, target, labels, encoder_outputs, wanted)

    def output(
        self, run: Decoded, source: Side, labels: tuple[Tensor, Tensor] | None
    ) -> Seq2SeqQuestionAnsweringModelOutput:
        """Return start and end scores, minus infinity at padding, and their `span_loss`."""
        padded = run.layout.pad(self.qa_outputs(run.hidden), -float("inf"))
        start, end = padded.unbind(-1)
        loss = None if labels is None else span_loss(start, end, labels)
        return Seq2SeqQuestionAnsweringModelOutput(
            loss=loss, start_logits=start, end_logits=end, **run.seen
        )
