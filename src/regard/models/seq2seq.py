"""Encoder-decoder models: text in, text out (Sutskever et al. 2014; Vaswani et al. 2017, 3.1).

The encoder reads the source; the decoder reads the target so far, each token what came before it,
and attends to what the encoder made of the source.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attention import Memory
from regard.attention.cache import Cache
from regard.attention.relative import RelativeBias
from regard.batch import Layout, TokenBatch
from regard.config import Config
from regard.crossing import Crossing
from regard.layers.blocks import Stack
from regard.layers.embeddings import Embeddings, twin
from regard.models.encoder import TextBase, TextModel
from regard.models.losses import IGNORED
from regard.outputs import ModelOutput, Seq2SeqModelOutput


class Seq2SeqConfig(Config):
    """What the configurations of encoder-decoders share."""

    decoder_start_token_id: int | None = None
    is_encoder_decoder: bool = True
    is_decoder: bool = False


class TextStack(nn.Module):
    """One side of an encoder-decoder: embeddings, and the layers over them.

    Args:
        embeddings: Maps a packed batch to its first hidden vectors.
        stack: The layers; those of a decoder also take a memory.
        bias: What all layers add to the scores of a sequence with itself, if anything.
    """

    def __init__(
        self, embeddings: Embeddings, stack: Stack, bias: RelativeBias | None = None
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.stack = stack
        self.bias = bias

    def forward(
        self, batch: TokenBatch, memory: Memory | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, which goes on from `cache`."""
        layout = batch.layout
        if self.bias is not None:
            scope = layout if cache is None else cache.scope(layout)
            layout = replace(layout, bias=self.bias(scope))
        return self.stack(self.embeddings(batch), layout, memory, cache)


@dataclass(frozen=True)
class Side:
    """What a caller gave for one side, padded: each (batch, length), vectors (..., width)."""

    input_ids: Tensor | None = None
    attention_mask: Tensor | None = None
    inputs_embeds: Tensor | None = None

    @property
    def given(self) -> bool:
        """Whether there are tokens or vectors."""
        return self.input_ids is not None or self.inputs_embeds is not None

    def masked(self, mask: Tensor | None) -> Self:
        """Return this side with another mask, if there is one."""
        return self if mask is None else replace(self, attention_mask=mask)


@dataclass(frozen=True, eq=False)
class Decoded:
    """What one run of encoder and decoder gave.

    Attributes:
        hidden: (tokens, width) the decoder's last vectors, packed.
        layout: How they lie.
        seen: Fields of the output that every model and head shares.
    """

    hidden: Tensor
    layout: Layout
    seen: dict[str, Any]


class Seq2SeqText(TextModel):
    """A model that reads a source and a target."""

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return the ids of a source and of a target, both of `length` tokens."""
        source = super().example_inputs(length)
        return source | {"decoder_input_ids": source["input_ids"]}


class Seq2SeqModel(Seq2SeqText):
    """Base of every encoder-decoder family, without a head.

    A family sets both sides in its constructor and needs no forward of its own.

    Attributes:
        shared: The words of both sides, where they have a name of their own on disk.
    """

    is_base: ClassVar[bool] = True

    shared: nn.Embedding | None
    encoder: TextStack
    decoder: TextStack

    def encode(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return what the encoder makes of a packed batch of sources."""
        return self.encoder(batch)

    def decode(
        self, batch: TokenBatch, hidden: Float[Tensor, "source_tokens width"], layout: Layout
    ) -> Float[Tensor, "tokens width"]:
        """Return the decoder's last vectors of a packed batch of targets.

        `hidden` is what `encode` gave for the sources, which lie as `layout` says.
        """
        return self.decoder(batch, Memory(hidden, Crossing.between(batch.layout, layout)))

    def shift_right(self, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what the decoder reads when it is to give `labels`, (batch, length).

        The start token, in the first column that `mask` does not hide; then each label but the
        last; what is not labelled, or hidden, reads as padding.
        """
        pad = self.config.pad_token_id
        if pad is None:
            raise ValueError("the configuration needs a pad_token_id, for what is not labelled")
        ids = labels.masked_fill(labels == IGNORED, pad)
        first = torch.zeros_like(ids[:, :1])
        if mask is not None:
            ids = ids.masked_fill(mask == 0, pad)
            first = mask.long().argmax(1, keepdim=True)
        return torch.cat([ids[:, :1], ids[:, :-1]], 1).scatter(1, first, self.start_tokens(ids))

    def start_tokens(self, ids: Tensor) -> Tensor:
        """Return what the decoder reads first when it is to give `ids`, as (batch, 1)."""
        start = cast("Seq2SeqConfig", self.config).decoder_start_token_id
        if start is None:
            raise ValueError("the configuration needs a decoder_start_token_id to shift labels")
        return torch.full_like(ids[:, :1], start)

    def from_source(self, source: Side) -> Side:
        """Return the source shifted right, as a target to decode."""
        if source.input_ids is None:
            raise ValueError("give decoder_input_ids, for there are no input_ids to shift")
        mask = source.attention_mask
        return Side(self.shift_right(source.input_ids, mask), mask)

    def run(
        self,
        source: Side,
        target: Side,
        encoder_outputs: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Decoded:
        """Encode the source, unless `encoder_outputs` has it, and decode the target."""
        wanted = (output_attentions, output_hidden_states)
        if encoder_outputs is None:
            hidden, layout, encoded = self._encode(source, wanted)
        else:
            hidden, layout, encoded = _given(encoder_outputs, source.attention_mask)
        batch = TokenBatch.from_padded(
            target.input_ids, target.attention_mask, inputs_embeds=target.inputs_embeds
        )
        with self.watch(batch.layout, *wanted, within=self.decoder) as states:
            decoded = self.decode(batch, hidden, layout)
        return Decoded(
            decoded,
            batch.layout,
            {
                "decoder_hidden_states": states.hidden_states,
                "decoder_attentions": states.attentions,
                "cross_attentions": states.cross_attentions,
                **encoded,
            },
        )

    def _encode(
        self, source: Side, wanted: tuple[bool | None, bool | None]
    ) -> tuple[Tensor, Layout, dict[str, Any]]:
        """Return the sources' packed vectors, how they lie, and the output's fields for them."""
        ids, mask, embeds = source.input_ids, source.attention_mask, source.inputs_embeds
        batch = self.pack(ids, mask, None, None, embeds)
        with self.watch(batch.layout, *wanted, within=self.encoder) as states:
            hidden = self.encode(batch)
        fields = {
            "encoder_last_hidden_state": batch.layout.pad(hidden),
            "encoder_hidden_states": states.hidden_states,
            "encoder_attentions": states.attentions,
        }
        return hidden, batch.layout, fields

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> Seq2SeqModelOutput:
        """Encode padded sources and decode padded targets, all arguments (batch, length).

        `encoder_outputs`, an encoder's output or a tuple that starts with (batch, length, width)
        vectors, stands for a source that is encoded already; its `attention_mask` is still needed.
        """
        source = Side(input_ids, attention_mask, inputs_embeds)
        target = Side(decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds)
        if not target.given:
            target = self.default_target(source).masked(target.attention_mask)
        run = self.run(source, target, encoder_outputs, output_attentions, output_hidden_states)
        return Seq2SeqModelOutput(last_hidden_state=run.layout.pad(run.hidden), **run.seen)

    def default_target(self, source: Side) -> Side:
        """Return what to decode when the caller gave no target: an error, for most families."""
        raise ValueError(
            f"{type(self).__name__} needs a target: decoder_input_ids, or labels for a model with "
            "a head"
        )

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings, which both sides share."""
        return self.encoder.embeddings.words

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the word embeddings of both sides, which must share them."""
        words = (self.encoder.embeddings.words, self.decoder.embeddings.words)
        if words[0].weight is not words[1].weight:
            raise ValueError(
                "source and target have words of their own in this model; replace those of "
                "encoder.embeddings and decoder.embeddings, each by itself"
            )
        if self._modules.get("shared") is not None:
            self.shared = embeddings
        self.encoder.embeddings.words = self.decoder.embeddings.words = embeddings


class Seq2SeqEncoder(TextBase):
    """The encoder of an encoder-decoder by itself."""

    optional: ClassVar[tuple[str, ...]] = ("decoder",)

    shared: nn.Embedding
    encoder: TextStack

    @property
    def embeddings(self) -> Embeddings:  # pyright: ignore[reportIncompatibleVariableOverride] - lie where the encoder has them
        """The encoder's embeddings."""
        return self.encoder.embeddings

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.shared = self.encoder.embeddings.words = embeddings

    def encode(
        self, batch: TokenBatch, cache: Cache | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, which goes on from `cache`."""
        return self.encoder(batch, cache=cache)


class Seq2SeqDecoder(TextModel):
    """The decoder of an encoder-decoder by itself: it reads a text, and perhaps a memory too."""

    is_base: ClassVar[bool] = True
    optional: ClassVar[tuple[str, ...]] = ("encoder",)

    decoder: TextStack

    def encode(
        self, batch: TokenBatch, memory: Memory | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, which goes on from `cache`."""
        return self.decoder(batch, memory, cache)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self.decoder.embeddings.words

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.decoder.embeddings.words = embeddings


#: The words of both sides under a name of their own, if any; the source's; the target's.
Words = tuple[nn.Embedding | None, nn.Embedding, nn.Embedding]


def shared_words(config: Any) -> Words:
    """Return words that both sides share, if the configuration ties them.

    If not, each side has its own; files then hold the first matrix too, though nothing reads it.
    """
    shared, count = embedded_words(config, config.vocab_size), config.vocab_size
    if config.tie_word_embeddings:
        return shared, twin(shared), twin(shared)
    return shared, embedded_words(config, count), embedded_words(config, count)


def embedded_words(config: Any, count: int) -> nn.Embedding:
    """Return embeddings of `count` words; that of padding stays as it is in training."""
    return nn.Embedding(count, config.hidden_size, config.pad_token_id)


def given_memory(vectors: Tensor, mask: Tensor | None, layout: Layout) -> Memory:
    """Return padded `vectors`, (batch, length, width), as what sequences of `layout` attend to."""
    batch = TokenBatch.from_padded(None, mask, inputs_embeds=vectors)
    return Memory(cast("Tensor", batch.embeds), Crossing.between(layout, batch.layout))


def _given(outputs: Any, mask: Tensor | None) -> tuple[Tensor, Layout, dict[str, Any]]:
    """Return what `Seq2SeqModel._encode` does, of sources that are encoded already."""
    names = ("encoder_last_hidden_state", "encoder_hidden_states", "encoder_attentions")
    values = outputs.to_tuple() if isinstance(outputs, ModelOutput) else outputs
    fields: dict[str, Any] = dict(zip(names, values, strict=False))
    batch = TokenBatch.from_padded(None, mask, inputs_embeds=fields[names[0]])
    return cast("Tensor", batch.embeds), batch.layout, fields
