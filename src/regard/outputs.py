"""What models return: named tensors, reachable by attribute, by key and by index."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, dataclass_transform

from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """A sum of means, each over its own labelled items.

    Kept apart so that a step of several batches, or of several processes, can divide by the items
    that all of them have together: a mean of means would count a short batch too much.

    Attributes:
        totals: Sum over the items of each mean.
        counts: How many items, or how much weight, that is.
    """

    totals: tuple[Tensor, ...]
    counts: tuple[Tensor, ...]

    def mean(self) -> Tensor:
        """Return the loss; a mean over nothing is zero."""
        means = [t / c.where(c > 0, 1) for t, c in zip(self.totals, self.counts, strict=True)]
        return sum(means[1:], means[0])

    def over(self, counts: Sequence[float]) -> Tensor:
        """Return the part of a loss whose means are over `counts` items."""
        parts = [t / (c or 1) for t, c in zip(self.totals, counts, strict=True)]
        return sum(parts[1:], parts[0])

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(self.totals + other.totals, self.counts + other.counts)

    def weighted(self, weight: float) -> "Loss":
        """Return the same means, times a weight."""
        return Loss(tuple(total * weight for total in self.totals), self.counts)

    def __truediv__(self, divisor: float) -> "Loss":
        return Loss(tuple(total / divisor for total in self.totals), self.counts)

    def __mul__(self, factor: float) -> "Loss":
        return Loss(tuple(total * factor for total in self.totals), self.counts)


def scored(loss: Loss | None) -> dict[str, Any]:
    """Return the fields of an output that a loss fills."""
    return {} if loss is None else {"loss": loss.mean(), "loss_parts": loss}


@dataclass_transform(kw_only_default=True)
@dataclasses.dataclass(kw_only=True, eq=False)
class ModelOutput:
    """Base of every output. Fields that are None do not exist for keys, indices and `to_tuple`.

    ``output.logits``, ``output["logits"]`` and ``output[1]`` (the second field that is there) are
    the same tensor; iterating gives the keys, as with a dict.

    Attributes:
        hidden_states: If asked for, the input of each layer and the last layer's output, each
            (batch, length, hidden_size), zero at padding.
        attentions: If asked for, each layer's probabilities before dropout,
            (batch, heads, length, length), zero at padding.
        loss_parts: What the loss is made of, for a trainer; no key.
        last: The fields that come after an output's own.
    """

    last: ClassVar[tuple[str, ...]] = ("hidden_states", "attentions")

    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    loss_parts: Loss | None = None

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(kw_only=True, eq=False)(cls)

    def keys(self) -> list[str]:
        """Return the names of the fields that are there, those that every output has last."""
        fields = vars(self).items()
        there = [name for name, value in fields if value is not None and name != "loss_parts"]
        return sorted(there, key=self.last.__contains__)

    def values(self) -> list[Any]:
        """Return the fields that are there, in the order of `keys`."""
        return [getattr(self, name) for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        """Return ``(name, value)`` of the fields that are there, in the order of `keys`."""
        return list(zip(self.keys(), self.values(), strict=True))

    def get(self, key: str, default: Any = None) -> Any:
        """Return the field `key`, or `default` when it is not there."""
        return self[key] if key in self else default

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are there as a tuple."""
        return tuple(self.values())

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self:
            raise KeyError(f"{type(self).__name__} has no {key!r}; it has {', '.join(self.keys())}")
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


class BaseModelOutputWithPooling(ModelOutput):
    """``last_hidden_state`` (batch, length, hidden_size), zero at padding.

    And ``pooler_output`` (batch, hidden_size), if the model has a pooler.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None


class MaskedLMOutput(ModelOutput):
    """``logits`` (batch, length, vocab_size), zero at padding."""

    loss: Tensor | None = None
    logits: Tensor


class SequenceClassifierOutput(ModelOutput):
    """``logits`` (batch, num_labels)."""

    loss: Tensor | None = None
    logits: Tensor


class TokenClassifierOutput(ModelOutput):
    """``logits`` (batch, length, num_labels), zero at padding."""

    loss: Tensor | None = None
    logits: Tensor


class MultipleChoiceModelOutput(ModelOutput):
    """``logits`` (batch, choices)."""

    loss: Tensor | None = None
    logits: Tensor


class ElectraForPreTrainingOutput(ModelOutput):
    """``logits`` (batch, length): above zero where a token looks replaced; zero at padding."""

    loss: Tensor | None = None
    logits: Tensor


class NextSentencePredictorOutput(ModelOutput):
    """``logits`` (batch, 2): the second sentence follows, or is random."""

    loss: Tensor | None = None
    logits: Tensor


class QuestionAnsweringModelOutput(ModelOutput):
    """``start_logits`` and ``end_logits`` (batch, length), minus infinity at padding."""

    loss: Tensor | None = None
    start_logits: Tensor
    end_logits: Tensor


class PreTrainingOutput(ModelOutput):
    """Masked-language ``prediction_logits`` and next-sentence ``seq_relationship_logits``."""

    loss: Tensor | None = None
    prediction_logits: Tensor
    seq_relationship_logits: Tensor


class CausalLMOutput(ModelOutput):
    """``logits`` (batch, length, vocab_size) of the next token, zero at padding."""

    loss: Tensor | None = None
    logits: Tensor


class CausalLMOutputWithCrossAttentions(CausalLMOutput):
    """As `CausalLMOutput`, of a decoder that may attend to a memory.

    Attributes:
        cross_attentions: Each layer's probabilities over the memory,
            (batch, heads, length, memory length), if asked for and there is one.
    """

    last: ClassVar[tuple[str, ...]] = ("hidden_states", "attentions", "cross_attentions")

    cross_attentions: tuple[Tensor, ...] | None = None


class Seq2SeqOutput(ModelOutput):
    """What every output of an encoder-decoder has beside its own fields.

    Attributes:
        decoder_hidden_states: As `hidden_states`, of the decoder.
        decoder_attentions: As `attentions`, of the decoder to itself.
        cross_attentions: Each decoder layer's probabilities over the source,
            (batch, heads, length, source length), if asked for.
        encoder_last_hidden_state: (batch, source length, hidden_size), zero at padding.
        encoder_hidden_states: As `hidden_states`, of the encoder.
        encoder_attentions: As `attentions`, of the encoder.
    """

    last: ClassVar[tuple[str, ...]] = (
        "decoder_hidden_states",
        "decoder_attentions",
        "cross_attentions",
        "encoder_last_hidden_state",
        "encoder_hidden_states",
        "encoder_attentions",
    )

    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None


class Seq2SeqModelOutput(Seq2SeqOutput):
    """``last_hidden_state`` (batch, length, hidden_size) of the decoder, zero at padding."""

    last_hidden_state: Tensor


class Seq2SeqLMOutput(Seq2SeqOutput):
    """``logits`` (batch, length, vocab_size) of the next token, zero at padding."""

    loss: Tensor | None = None
    logits: Tensor


class Seq2SeqSequenceClassifierOutput(Seq2SeqOutput):
    """``logits`` (batch, num_labels)."""

    loss: Tensor | None = None
    logits: Tensor


class Seq2SeqQuestionAnsweringModelOutput(Seq2SeqOutput):
    """``start_logits`` and ``end_logits`` (batch, length), minus infinity at padding."""

    loss: Tensor | None = None
    start_logits: Tensor
    end_logits: Tensor


class DoubleHeadsOutput(ModelOutput):
    """``logits`` (batch, choices, length, vocab_size) and ``mc_logits`` (batch, choices).

    ``loss`` is that of the next tokens, ``mc_loss`` that of the choices.
    """

    loss: Tensor | None = None
    mc_loss: Tensor | None = None
    logits: Tensor
    mc_logits: Tensor
