"""The task heads over an encoder-decoder, each written once for all families."""

from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attention import Memory
from regard.attention.cache import Cache
from regard.batch import Layout, TokenBatch
from regard.checkpoints.keymap import KeyTable
from regard.layers.blocks import Stack
from regard.layers.scoring import Classifier
from regard.linear import Linear
from regard.models.generative import Generative, project
from regard.models.heads import hidden_layer
from regard.models.losses import (
    IGNORED,
    Labelled,
    LabelledSpans,
    SequenceLabelled,
    both_labels,
    labelled_loss,
    sequence_loss,
    span_loss,
    token_loss,
)
from regard.models.model import without_memory
from regard.models.seq2seq import (
    Decoded,
    Seq2SeqDecoder,
    Seq2SeqModel,
    Seq2SeqText,
    Side,
    given_memory,
)
from regard.outputs import (
    CausalLMOutputWithCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqOutput,
    Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput,
    scored,
)


class Seq2SeqHead(Labelled, Seq2SeqText):
    """A head over a family's encoder-decoder, which lies under the family's prefix."""

    mask_argument: ClassVar[str] = "decoder_attention_mask"

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
        return self.base_model.from_source(source).masked(target.attention_mask)

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


class ConditionalGeneration(Generative, LabelledSeq2SeqHead):
    """Which token comes next in the target; `labels` (batch, length) are the target itself.

    Attributes:
        scale: Factor of the vectors that are scored.
    """

    classifies: ClassVar[bool] = True
    reads_source: ClassVar[bool] = True
    scale: float = 1.0

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        with without_memory():
            words = self.base_model.decoder.embeddings.words
            self.lm_head = Linear(config.hidden_size, words.num_embeddings, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        return self.lm_head

    def tie_weights(self) -> None:
        """Let the output embeddings share the target's matrix, if the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.base_model.decoder.embeddings.words.weight

    def remember(self, source: TokenBatch, cache: Cache, first: int = 0) -> None:
        """Read sources and keep in `cache` what the decoder attends to of them."""
        hidden = self.base_model.encode(source)
        cache.remember(project(self.decoder_layers().layers, hidden), source.layout, first)

    def read(self, batch: TokenBatch, cache: Cache) -> Float[Tensor, "tokens width"]:
        """Return the last vectors of tokens that come after those of `cache`, and add them."""
        return self.base_model.decoder(batch, cache=cache)

    def decoder_layers(self) -> Stack:
        """Return the layers that a cache is for."""
        return self.base_model.decoder.stack

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
        if target.given:
            return target
        if labels is None:
            return self.base_model.default_target(source).masked(target.attention_mask)
        labelled = (labels != IGNORED).flip(1).cummax(1).values.flip(1)
        return Side(self.base_model.shift_right(labels), labelled).masked(target.attention_mask)

    def output(self, run: Decoded, source: Side, labels: Tensor | None) -> Seq2SeqLMOutput:
        """Return `logits` padded, and the `token_loss` of `labels`."""
        if labels is not None and self.labelled_only:
            loss = labelled_loss(self.score, run.hidden, labels, run.layout, self.criterion)
            return Seq2SeqLMOutput(**scored(loss), logits=cast("Tensor", None), **run.seen)
        logits = self.score(run.hidden)
        loss = None
        if labels is not None:
            loss = token_loss(logits, labels, run.layout, "labels", self.criterion)
        return Seq2SeqLMOutput(**scored(loss), logits=run.layout.pad(logits), **run.seen)


class BiasedGeneration(ConditionalGeneration):
    """The same with a bias for each word, which is not trained.

    A file may lack it: then it is zero.
    """

    optional: ClassVar[tuple[str, ...]] = ("final_logits_bias",)

    final_logits_bias: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.register_buffer("final_logits_bias", torch.zeros(1, self.lm_head.out_features))

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows each token of the target."""
        return super().score(hidden) + self.final_logits_bias

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Grow or shrink the vocabulary; new words have no bias. Returns the word embeddings."""
        words = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of)
        new = self.lm_head.out_features - self.final_logits_bias.shape[1]
        self.final_logits_bias = F.pad(self.final_logits_bias, (0, new))
        return words


class Seq2SeqSequenceClassification(SequenceLabelled, LabelledSeq2SeqHead):
    """Labels for each text, from the decoder's vector at its end token (Lewis et al. 2020, 3.1)."""

    keys: ClassVar[KeyTable] = {"classification_head.output": "classification_head.out_proj"}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classification_head = self.build_classifier(config)
        self.post_init()

    def build_classifier(self, config: Any) -> nn.Module:
        """Return the map from a text's vector to scores."""
        rate = config.classifier_dropout
        dense = hidden_layer(config)
        return Classifier(dense, config.num_labels, "tanh", rate, drop_input=True)

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return the ids of a text of `length` tokens, the last of which ends it."""
        ids = super().example_inputs(length)["input_ids"].clone()
        if isinstance(self.config.eos_token_id, int):
            ids[:, -1] = self.config.eos_token_id
        return {"input_ids": ids}

    def output(
        self, run: Decoded, source: Side, labels: Tensor | None
    ) -> Seq2SeqSequenceClassifierOutput:
        """Return `logits` and their `sequence_loss`."""
        ends = self._ends(source, run.layout)
        hidden = run.layout.pad(run.hidden)[torch.arange(len(ends), device=ends.device), ends]
        logits = self.classification_head(hidden)
        loss = (
            None if labels is None else sequence_loss(logits, labels, self.config, self.criterion)
        )
        return Seq2SeqSequenceClassifierOutput(**scored(loss), logits=logits, **run.seen)

    def _ends(self, source: Side, layout: Layout) -> Tensor:
        """Return the column of each row's last end token, (batch,), where `layout` has a token."""
        ids, end = source.input_ids, self.config.eos_token_id
        if ids is None or not isinstance(end, int):
            raise ValueError(
                f"{type(self).__name__} needs input_ids, and a configuration with one eos_token_id"
            )
        if ids.shape != (len(layout.lengths), layout.columns):
            raise ValueError(
                f"the target has {layout.columns} columns and the source {ids.shape[1]}; it is the "
                "source, shifted right, whose vector at the end token is classified"
            )
        found = ids.eq(end) & layout.pad(ids.new_ones(layout.tokens)).bool()
        if not ids.is_meta and not bool(found.any(1).all()):
            row = int((~found.any(1)).nonzero()[0])
            raise ValueError(
                f"row {row} has no end token ({end}), whose vector is classified; tokenize with "
                "add_special_tokens=True"
            )
        columns = torch.arange(ids.shape[1], device=ids.device)
        return torch.where(found, columns, -1).amax(1)


class Seq2SeqQuestionAnswering(LabelledSpans, Seq2SeqHead):
    """Where an answer starts and ends, read off the decoder (Lewis et al. 2020, section 5.1)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.qa_outputs = Linear(config.hidden_size, 2)
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
            **scored(loss), start_logits=start, end_logits=end, **run.seen
        )


class Seq2SeqCausalLM(Labelled, Generative):
    """The decoder by itself: which token comes next, after a text and perhaps given a memory.

    Its `labels` are not shifted here: each stands where it is to be given.
    """

    classifies: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.config = config.replace(is_decoder=True, is_encoder_decoder=False)
        self.add_module(self.base_model_prefix, self.build_decoder(self.config))
        with without_memory():
            words = self.base_model.get_input_embeddings()
            self.lm_head = Linear(config.hidden_size, words.num_embeddings, bias=False)
        self.post_init()

    def build_decoder(self, config: Any) -> Seq2SeqDecoder:
        """Return the family's decoder."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its decoder is")

    @property
    def base_model(self) -> Seq2SeqDecoder:
        """The family's decoder."""
        return cast("Seq2SeqDecoder", self.get_submodule(self.base_model_prefix))

    def get_output_embeddings(self) -> nn.Linear:
        """Return the map from hidden vectors to the vocabulary."""
        return self.lm_head

    def logits(
        self, batch: TokenBatch, memory: Memory | None = None
    ) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows each packed token."""
        return self.score(self.base_model.encode(batch, memory))

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows tokens with these vectors."""
        return self.lm_head(hidden)

    def read(self, batch: TokenBatch, cache: Cache) -> Float[Tensor, "tokens width"]:
        """Return the last vectors of tokens that come after those of `cache`, and add them."""
        return self.base_model.encode(batch, cache=cache)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> CausalLMOutputWithCrossAttentions:
        """Score padded texts, (batch, length); a memory is (batch, source length, width)."""
        batch = self.pack(input_ids, attention_mask, None, None, inputs_embeds)
        memory, given = None, encoder_hidden_states
        if given is not None:
            memory = given_memory(given, encoder_attention_mask, batch.layout)
        elif encoder_attention_mask is not None:
            raise ValueError("encoder_attention_mask needs the encoder_hidden_states that it masks")
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            logits = self.logits(batch, memory)
        loss = None
        if labels is not None:
            loss = token_loss(logits, labels, batch.layout, "labels", self.criterion)
        return CausalLMOutputWithCrossAttentions(
            **scored(loss),
            logits=batch.layout.pad(logits),
            hidden_states=states.hidden_states,
            attentions=states.attentions,
            cross_attentions=states.cross_attentions,
        )
