"""The task heads over an encoder, each written once for all families.

Every head has two ways in: ``forward`` takes padded tensors as the field knows them, and ``logits``
takes a packed `TokenBatch`. A family's class joins a head to its base:
``class BertForMaskedLM(BertPreTrainedModel, MaskedLM)``.
"""

from typing import Any, ClassVar, cast

from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import Layout, TokenBatch
from regard.dropout import Dropout
from regard.layers.scoring import LanguageModelHead, first_token
from regard.linear import Linear
from regard.models.encoder import TextBase, TextModel
from regard.models.lent import lent_base
from regard.models.losses import (
    Labelled,
    LabelledSpans,
    SequenceLabelled,
    both_labels,
    classification_loss,
    labelled_loss,
    sequence_loss,
    span_loss,
    token_loss,
)
from regard.models.model import without_memory
from regard.outputs import (
    CausalLMOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
    scored,
)


class EncoderHead(Labelled, TextModel):
    """A head over a family's encoder, which lies under the family's prefix (``model.bert``).

    What families do each in their own way is a ``build_...`` or ``dropout_...`` method, which they
    override.

    Attributes:
        pooled: Whether the head reads the base's pooler; else a head over whole texts reads the
            first token.
    """

    pooled: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        base = lent_base() or self.build_base(config, self.pooled)
        self.add_module(self.base_model_prefix, base)
        self.dropout = Dropout(self.dropout_rate(config))

    def build_base(self, config: Any, pooled: bool) -> TextBase:
        """Return the family's base model, with a pooler if this head reads one."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its base model is")

    def dropout_rate(self, config: Any) -> float:
        """Return the probability of dropping an element of what the head reads, in training."""
        rate = config.classifier_dropout
        return config.hidden_dropout_prob if rate is None else rate

    def build_classifier(self, config: Any, classes: int) -> nn.Module:
        """Return the map from a text's vector to scores."""
        return Linear(config.hidden_size, classes)

    def build_predictions(self, config: Any) -> nn.Module:
        """Return the map from tokens to words."""
        return language_model_head(config, config.hidden_act)

    @property
    def base_model(self) -> TextBase:
        """The family's base model."""
        return cast("TextBase", self.get_submodule(self.base_model_prefix))

    def logits(self, batch: TokenBatch) -> Any:
        """Return the scores of a packed batch."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it scores")

    def output(self, logits: Any, labels: Any, layout: Layout) -> ModelOutput:
        """Return the scores in the caller's shape, and the loss if there are labels."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it returns")

    def answer(
        self,
        batch: TokenBatch,
        labels: Any,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> ModelOutput:
        """Score a packed batch, and return what the public call returns."""
        watch = self.base_model.watch
        with watch(batch.layout, output_attentions, output_hidden_states) as states:
            logits = self.logits(batch)
        output = self.output(logits, labels, batch.layout)
        output.hidden_states, output.attentions = states.hidden_states, states.attentions
        return output

    def hidden(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return the encoder's last hidden vectors."""
        return self.base_model.encode(batch)

    def pooled_hidden(self, batch: TokenBatch) -> Float[Tensor, "rows width"]:
        """Return one vector per sequence, after dropout."""
        pool = self.base_model.pool if self.pooled else first_token
        return self.dropout(pool(self.hidden(batch), batch.layout))


class LabelledHead(EncoderHead):
    """A head whose public call takes one kind of labels."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ModelOutput:
        """Score padded inputs, all (batch, length); what `labels` are stands with each head."""
        batch = self.pack(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        return self.answer(batch, labels, output_attentions, output_hidden_states)


class SequenceLabels(SequenceLabelled, LabelledHead):
    """A head that gives each sequence labels, or a number; a subclass says how it scores."""

    def output(
        self, logits: Tensor, labels: Tensor | None, layout: Layout
    ) -> SequenceClassifierOutput:
        """Return `logits` and their `sequence_loss`."""
        loss = (
            None if labels is None else sequence_loss(logits, labels, self.config, self.criterion)
        )
        return SequenceClassifierOutput(**scored(loss), logits=logits)


class SequenceClassification(SequenceLabels):
    """Labels, or a number, for each sequence (Devlin et al. 2019, section 4.1)."""

    pooled: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = self.build_classifier(config, config.num_labels)
        self.post_init()

    def logits(self, batch: TokenBatch) -> Float[Tensor, "rows labels"]:
        """Return one score per label for each sequence, in the caller's order."""
        return self.classifier(self.pooled_hidden(batch))


class TokenClassification(LabelledHead):
    """A label for each token (Devlin et al. 2019, section 5.3)."""

    classifies: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def logits(self, batch: TokenBatch) -> Float[Tensor, "tokens labels"]:
        """Return one score per label for each packed token."""
        return self.classifier(self.dropout(self.hidden(batch)))

    def output(
        self, logits: Tensor, labels: Tensor | None, layout: Layout
    ) -> TokenClassifierOutput:
        """Return `logits` padded, and their `token_loss`."""
        loss = None
        if labels is not None:
            loss = token_loss(logits, labels, layout, "labels", self.criterion)
        return TokenClassifierOutput(**scored(loss), logits=layout.pad(logits))


class QuestionAnswering(LabelledSpans, EncoderHead):
    """Where an answer starts and ends (Devlin et al. 2019, section 4.2)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.qa_outputs = Linear(config.hidden_size, 2)
        self.post_init()

    def dropout_rate(self, config: Any) -> float:
        """Return 0: what is read drops nothing."""
        return 0.0

    def logits(self, batch: TokenBatch) -> Float[Tensor, "tokens 2"]:
        """Return a start score and an end score for each packed token."""
        return self.qa_outputs(self.dropout(self.hidden(batch)))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ModelOutput:
        """Score padded tokens as start and end; `start_positions`, `end_positions` are (batch,)."""
        batch = self.pack(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        labels = both_labels(start_positions=start_positions, end_positions=end_positions)
        return self.answer(batch, labels, output_attentions, output_hidden_states)

    def output(
        self, logits: Tensor, labels: tuple[Tensor, Tensor] | None, layout: Layout
    ) -> QuestionAnsweringModelOutput:
        """Return start and end scores, minus infinity at padding, and their `span_loss`."""
        start, end = layout.pad(logits, -float("inf")).unbind(-1)
        loss = None if labels is None else span_loss(start, end, labels)
        return QuestionAnsweringModelOutput(**scored(loss), start_logits=start, end_logits=end)


class MultipleChoice(LabelledHead):
    """Which of several continuations fits (Devlin et al. 2019, section 4.4)."""

    pooled: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = self.build_classifier(config, 1)
        self.post_init()

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return the ids of one choice of `length` tokens."""
        return {name: rows[None] for name, rows in super().example_inputs(length).items()}

    def logits(self, batch: TokenBatch) -> Float[Tensor, "rows 1"]:
        """Return one score for each sequence, in the caller's order."""
        return self.classifier(self.pooled_hidden(batch))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Score (batch, choices, length) inputs; `labels` (batch,) say which choice is right."""
        each = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        shape, flat = flat_choices(*each)
        batch = self.pack(*flat)
        watch = self.base_model.watch
        with watch(batch.layout, output_attentions, output_hidden_states) as states:
            logits = self.logits(batch).view(shape)
        loss = None if labels is None else classification_loss(logits, labels, "labels")
        return MultipleChoiceModelOutput(
            **scored(loss),
            logits=logits,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class LabelledScores(EncoderHead):
    """A head that can score those words only that are labelled, and return nothing but a loss."""

    def loss_only(self, hidden: Tensor, labels: Any, layout: Layout) -> ModelOutput:
        """Return the loss of (tokens, width) vectors, without scores of words."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its loss is")

    def answer(
        self,
        batch: TokenBatch,
        labels: Any,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> ModelOutput:
        """Score a packed batch, or of it what is labelled."""
        wanted = output_attentions, output_hidden_states
        if labels is None or not self.labelled_only:
            return super().answer(batch, labels, *wanted)
        with self.base_model.watch(batch.layout, *wanted) as states:
            hidden = self.hidden(batch)
        output = self.loss_only(hidden, labels, batch.layout)
        output.hidden_states, output.attentions = states.hidden_states, states.attentions
        return output


class WordLabels(LabelledScores, LabelledHead):
    """A head that scores every word for each token.

    Attributes:
        output_class: What it returns.
    """

    classifies: ClassVar[bool] = True
    output_class: ClassVar[type[MaskedLMOutput | CausalLMOutput]] = MaskedLMOutput

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for tokens with these vectors."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it scores")

    def logits(self, batch: TokenBatch) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for each packed token."""
        return self.score(self.hidden(batch))

    def loss_only(
        self, hidden: Tensor, labels: Tensor, layout: Layout
    ) -> MaskedLMOutput | CausalLMOutput:
        """Return the loss of (tokens, width) vectors; words are scored where they are labelled."""
        (labels,) = self.counted_labels([labels], {})
        loss = labelled_loss(self.score, hidden, labels, layout, self.criterion)
        # Who asks for no logits reads none.
        return self.output_class(**scored(loss), logits=cast("Tensor", None))

    def output(
        self, logits: Tensor, labels: Tensor | None, layout: Layout
    ) -> MaskedLMOutput | CausalLMOutput:
        """Return `logits` padded, and their `token_loss`."""
        loss = None
        if labels is not None:
            (labels,) = self.counted_labels([labels], {})
            loss = token_loss(logits, labels, layout, "labels", self.criterion)
        return self.output_class(**scored(loss), logits=layout.pad(logits))


class WordScores(WordLabels):
    """A head over an encoder that scores words; a subclass says what the scores are of."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with without_memory():
            self.predictions = self.build_predictions(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        scores = self.predictions
        return scores if isinstance(scores, nn.Linear) else cast("nn.Linear", scores.decoder)

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for tokens with these vectors."""
        return self.predictions(hidden)


class MaskedLM(WordScores):
    """Which word stands at each place (Devlin et al. 2019, section 3.1, task 1)."""


def hidden_layer(config: Any) -> nn.Linear:
    """Return the first of two layers that score; it is the only big part of such a head."""
    with without_memory():
        return Linear(config.hidden_size, config.hidden_size)


def flat_choices(
    input_ids: Tensor | None, *others: Tensor | None
) -> tuple[tuple[int, int], list[Tensor | None]]:
    """Return (batch, choices), and the inputs of all choices as rows of one batch.

    The arguments are those of `TextModel.pack`, each (batch, choices, length, ...).
    """
    given = input_ids if input_ids is not None else others[-1]
    if given is None or given.dim() != (3 if given is input_ids else 4):
        shape = None if given is None else tuple(given.shape)
        raise ValueError(f"wanted inputs of shape (batch, choices, length, ...); found {shape}")
    flat = [None if each is None else each.flatten(0, 1) for each in (input_ids, *others)]
    return (given.shape[0], given.shape[1]), flat


def language_model_head(config: Any, act: str, inner: int | None = None) -> LanguageModelHead:
    """Return the map from tokens to words of the sizes that `config` gives."""
    sizes = (config.hidden_size, config.vocab_size, act, config.layer_norm_eps)
    return LanguageModelHead(*sizes, inner=inner, tied=config.tie_word_embeddings)
