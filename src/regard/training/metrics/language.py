"""How well a model foresees tokens: perplexity, accuracy, and the cost of a character."""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from regard.errors import DataError
from regard.training.metrics.metric import IGNORED, Metric, as_array, ratio
from regard.training.metrics.texts import Perplexity


class Foresight(Metric):
    """``perplexity`` and ``accuracy`` of labelled tokens; both of pairs, where the model has two.

    Give its `preprocess` to the trainer: of the scores of all words it keeps two numbers for each
    token. With `tokens_per_character` also ``nats_per_character`` and ``bits_per_character``, which
    compare models whatever their vocabularies.

    Args:
        shift: Whether logits foresee the next token (a causal model) and not their own.
        tokens_per_character: Tokens of the text that is evaluated, divided by its characters.
    """

    def __init__(self, *, shift: bool = False, tokens_per_character: float | None = None) -> None:
        self.likelihood = Perplexity(shift=shift)
        self.shift, self.tokens_per_character = shift, tokens_per_character
        super().__init__()

    def reset(self) -> None:
        """Forget everything that was added."""
        self.likelihood = Perplexity(shift=self.shift)
        self.right = 0

    @property
    def count(self) -> int:
        """How many labelled tokens were added."""
        return self.likelihood.count

    def preprocess(self, logits: Any, labels: Any) -> Any:
        """Return (rows, tokens, 2): of each label the log-likelihood, and 1 where it is likeliest.

        Of a model that also tells whether texts follow each other, those scores stay beside.
        """
        parts = cast("tuple[Tensor, ...]", logits if isinstance(logits, tuple) else (logits,))
        known = cast("tuple[Tensor, ...]", labels if isinstance(labels, tuple) else (labels,))
        (words, *others), first = parts, known[0]
        likeliest = words.argmax(-1)
        if self.shift:
            likeliest = torch.nn.functional.pad(likeliest[..., :-1], (1, 0))
        found = torch.stack(
            [self.likelihood.preprocess(words, first), (likeliest == first).float()], -1
        )
        return (found, *others) if others else found

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch, as `preprocess` leaves it."""
        scores, labels = as_array(predictions), as_array(references, "labels")
        if scores.shape != (*labels.shape, 2):
            raise DataError(
                f"predictions are {scores.shape} and labels {labels.shape}; wanted what "
                "preprocess_logits_for_metrics=metric.preprocess keeps"
            )
        self.likelihood.add_batch(scores[..., 0], labels)
        if self.shift:
            scores, labels = scores[..., 1:, :], labels[..., 1:]
        self.right += int(scores[..., 1][labels != IGNORED].sum())

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        self.likelihood.absorb(other.likelihood)
        self.right += other.right

    def results(self) -> dict[str, float]:
        """Return the numbers of all tokens together."""
        nats = float(ratio(self.likelihood.total, self.count))
        found = {**self.likelihood.results(), "accuracy": self.right / self.count}
        if self.tokens_per_character is not None:
            found["nats_per_character"] = nats * self.tokens_per_character
            found["bits_per_character"] = found["nats_per_character"] / math.log(2)
        return found


class PairForesight(Foresight):
    """`Foresight` of masked words, and ``next_sentence_accuracy``: which pairs are none."""

    def reset(self) -> None:
        """Forget everything that was added."""
        super().reset()
        self.pairs = self.known = 0

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch: (words, pairs) of predictions and of labels."""
        super().add_batch(predictions[0], references[0])
        pairs, labels = as_array(predictions[1]), as_array(references[1], "labels")
        self.pairs += labels.size
        self.known += int((pairs.argmax(-1) == labels.reshape(-1)).sum())

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        super().absorb(other)
        self.pairs, self.known = self.pairs + other.pairs, self.known + other.known

    def results(self) -> dict[str, float]:
        """Return the numbers of words and of pairs."""
        return {**super().results(), "next_sentence_accuracy": self.known / self.pairs}


class Detection(Metric):
    """How an ELECTRA does: what its discriminator finds, and how often its generator is right.

    ``accuracy`` over all tokens; ``precision`` and ``recall`` of replaced ones; and
    ``generator_accuracy``, over masked tokens.
    """

    def reset(self) -> None:
        """Forget everything that was added."""
        self.counts = np.zeros((2, 2), dtype=np.int64)
        self.masked = self.right = 0

    @property
    def count(self) -> int:
        """How many tokens were added."""
        return int(self.counts.sum())

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch: (scores, replaced) of the model, and the labels of masked tokens."""
        scores, replaced = as_array(predictions[0]), as_array(predictions[1])
        there = replaced != IGNORED
        masked = as_array(references, "labels") != IGNORED
        found = (scores[there] > 0).astype(int)
        np.add.at(self.counts, (replaced[there].astype(int), found), 1)
        self.masked += int(masked.sum())
        self.right += int((replaced[masked] == 0).sum())

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        self.counts = self.counts + other.counts
        self.masked, self.right = self.masked + other.masked, self.right + other.right

    def results(self) -> dict[str, float]:
        """Return the shares."""
        hits = self.counts[1, 1]
        return {
            "accuracy": float(self.counts.trace() / self.count),
            "precision": float(ratio(hits, self.counts[:, 1].sum())),
            "recall": float(ratio(hits, self.counts[1].sum())),
            "generator_accuracy": float(ratio(self.right, self.masked)),
        }
