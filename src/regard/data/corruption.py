"""Corrupted text in, the text back: span corruption as in T5, denoising as in BART.

The arithmetic, on whole batches at once, is in `regard.data.spans`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Generator, Tensor

from regard.data.collate import RandomCollator, as_mappings, pad_features
from regard.data.labels import IGNORED
from regard.data.masking import check_share, is_special
from regard.data.spans import (
    Rows,
    compact,
    infill,
    join,
    noise_spans,
    permute_sentences,
    span_starts,
)
from regard.errors import DataError
from regard.text.encoding import BatchEncoding
from regard.text.tokenizer import Tokenizer


class Framed(NamedTuple):
    """A batch of texts apart from the special tokens before and after them."""

    before: Rows
    text: Rows
    after: Rows


@dataclass(frozen=True)
class DataCollatorForSpanCorruption(RandomCollator):
    """Span corruption (Raffel et al. 2020, section 3.1.4).

    Spans of tokens are cut out of each text, and in the place of each stands a sentinel:
    ``<extra_id_0>``, ``<extra_id_1>``, ... The target has each sentinel with the tokens that it
    stands for, and a last sentinel that ends it. ``Thank you <X> me to your party <Y> week.``
    becomes ``<X> for inviting <Y> last <Z>``. Special tokens around a text stay around its input,
    and those after it end the target too.

    Attributes:
        tokenizer: Knows the sentinels, the padding token and the special tokens.
        noise_density: The share of the tokens to cut out.
        mean_noise_span_length: Tokens of a span on average.
        final_sentinel: Whether a last sentinel ends the target.
        pad_to_multiple_of: Round the lengths up to a multiple of this.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: Tokenizer
    noise_density: float = 0.15
    mean_noise_span_length: float = 3.0
    final_sentinel: bool = True
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __post_init__(self):
        check_share("noise_density", self.noise_density)
        if self.mean_noise_span_length < 1:
            raise ValueError(
                f"mean_noise_span_length={self.mean_noise_span_length}; wanted at least 1"
            )
        if not sentinel_ids(self.tokenizer):
            raise ValueError(
                "the tokenizer has no sentinels <extra_id_0>, <extra_id_1>, ...; add them: "
                "tokenizer.add_special_tokens({'extra_special_tokens': "
                "[f'<extra_id_{i}>' for i in range(100)]})"
            )

    def __call__(
        self, features: Sequence[Any], generator: Generator | None = None
    ) -> BatchEncoding:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, each as long as it must be.

        Args:
            features: Tokenized texts as mappings, or lists of ids.
            generator: Where all random numbers come from.
        """
        frame = unframe(self.tokenizer, features)
        ids, kept = frame.text
        spans = noise_spans(kept.sum(1), self.noise_density, self.mean_noise_span_length, generator)
        noise, starts = spans >= 0, span_starts(spans)
        sentinel = self._sentinels(spans.max(1).values + 1)
        marks = sentinel.gather(1, spans.clamp(min=0))
        inputs = Rows(torch.where(starts, marks, ids), kept & (~noise | starts))
        # Before each token a place for its sentinel.
        target = Rows(
            torch.stack([marks, ids], 2).flatten(1), torch.stack([starts, noise], 2).flatten(1)
        )
        last = sentinel.gather(1, spans.max(1, keepdim=True).values + 1)
        end = Rows(last, torch.full_like(last, self.final_sentinel, dtype=torch.bool))
        return batch_of(
            self, join(frame.before, inputs, frame.after), join(target, end, frame.after)
        )

    def _sentinels(self, counts: Tensor) -> Int[Tensor, "rows sentinels"]:
        """Return the sentinels, in every row; raise if a row needs more than there are."""
        known = sentinel_ids(self.tokenizer)
        needed = int(counts.max()) + 1
        if needed > len(known):
            raise DataError(
                f"example {int(counts.argmax())} has {needed - 1} spans cut out, and the tokenizer "
                f"has {len(known)} sentinels; cut the texts shorter, add sentinels, or raise "
                f"mean_noise_span_length"
            )
        return torch.tensor(known).expand(len(counts), -1)


@dataclass(frozen=True)
class DataCollatorForDenoising(RandomCollator):
    """Denoising (Lewis et al. 2020, section 2.2): the input is corrupted, the target is the text.

    In this order: the sentences of a text are permuted, tokens are deleted, and spans of tokens are
    each replaced by one mask token (text infilling; a span of no token inserts one).

    Attributes:
        tokenizer: Knows the mask token, the padding token and the special tokens.
        mask_probability: The share of the tokens that infilling hides.
        poisson_lambda: Tokens of a span on average; lengths have a Poisson distribution.
        permute_sentences: Whether to permute sentences, which end at ``.``, ``!`` and ``?``.
        delete_probability: The probability of each token to be deleted.
        pad_to_multiple_of: Round the lengths up to a multiple of this.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: Tokenizer
    mask_probability: float = 0.3
    poisson_lambda: float = 3.0
    permute_sentences: bool = True
    delete_probability: float = 0.0
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __post_init__(self):
        check_share("mask_probability", self.mask_probability)
        check_share("delete_probability", self.delete_probability)
        if self.poisson_lambda <= 0:
            raise ValueError(f"poisson_lambda={self.poisson_lambda}; wanted more than 0")
        if self.tokenizer.mask_token_id is None:
            raise ValueError(
                "the tokenizer has no mask token; add one: "
                "tokenizer.add_special_tokens({'mask_token': '<mask>'})"
            )

    def __call__(
        self, features: Sequence[Any], generator: Generator | None = None
    ) -> BatchEncoding:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, each as long as it must be.

        Args:
            features: Tokenized texts as mappings, or lists of ids.
            generator: Where all random numbers come from.
        """
        frame = unframe(self.tokenizer, features)
        noised = frame.text
        if self.permute_sentences:
            ends = torch.isin(noised.values, torch.tensor(sentence_ends(self.tokenizer)))
            noised = permute_sentences(noised, ends, generator)
        if self.delete_probability:
            survives = torch.rand(noised.kept.shape, generator=generator) >= self.delete_probability
            noised = compact(Rows(noised.values, noised.kept & survives))
        if self.mask_probability:
            count = (noised.kept.sum(1) * self.mask_probability).round().long()
            mask = self.tokenizer.mask_token_id or 0
            noised = infill(noised, count, mask, self.poisson_lambda, generator)
        return batch_of(self, join(frame.before, noised, frame.after), join(*frame))


def unframe(tokenizer: Tokenizer, features: Sequence[Any]) -> Framed:
    """Pad texts and take them apart from the special tokens before and after them.

    Special tokens that stand between others of the text belong to the text.
    """
    rows = [feature["input_ids"] for feature in as_mappings(features)]
    batch = pad_features(tokenizer, rows, return_attention_mask=True)
    if not batch["input_ids"].shape[1]:
        raise DataError("the texts are empty: there is nothing to corrupt")
    ids, attended = batch["input_ids"], batch["attention_mask"].bool()
    ordinary = attended & ~is_special(ids, tokenizer)
    begun = ordinary.cumsum(1) > 0
    unfinished = ordinary.flip(1).cumsum(1).flip(1) > 0
    parts = (attended & ~begun, begun & unfinished, attended & begun & ~unfinished)
    return Framed(*(compact(Rows(ids, part)) for part in parts))


def sentinel_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of ``<extra_id_0>``, ``<extra_id_1>``, ... as far as there are any."""
    found: list[int] = []
    lookup = tokenizer.backend_tokenizer.token_to_id
    while (number := lookup(f"<extra_id_{len(found)}>")) is not None:
        found.append(number)
    return found


def sentence_ends(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the tokens that end a sentence, with or without the mark of a space."""
    lookup = tokenizer.backend_tokenizer.token_to_id
    tokens = [f"{space}{mark}" for mark in ".!?" for space in ("", "Ġ", "▁")]
    return [number for token in tokens if (number := lookup(token)) is not None]


def batch_of(collator: Any, inputs: Rows, labels: Rows) -> BatchEncoding:
    """Return the padded batch of inputs and labels."""
    multiple = collator.pad_to_multiple_of or 1
    ids, kept = (_widened(part, multiple) for part in inputs)
    target, labelled = (_widened(part, multiple) for part in labels)
    data: dict[str, Any] = {
        "input_ids": ids.masked_fill(~kept, collator.tokenizer.pad_token_id or 0),
        "attention_mask": kept.long(),
        "labels": target.masked_fill(~labelled, IGNORED),
    }
    if collator.return_tensors == "np":
        data = {name: np.asarray(value) for name, value in data.items()}
    return BatchEncoding(data)


def _widened(part: Tensor, multiple: int) -> Tensor:
    return torch.nn.functional.pad(part, (0, -part.shape[1] % multiple))
