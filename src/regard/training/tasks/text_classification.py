"""A label, several labels or a number for a text or a pair of texts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.config import Config
from regard.data.collate import DataCollatorWithPadding
from regard.data.examples import Examples
from regard.data.labels import encode_labels
from regard.errors import DataError
from regard.models.auto import AutoModelForSequenceClassification
from regard.training.metrics.loading import metrics_for
from regard.training.metrics.metric import Metric, as_array
from regard.training.tasks.task import Column, Prepared, Task, label_fields

TEXT = Column("text", ("sentence", "sentence1", "sentence_a", "premise", "review", "question"))
PAIR = Column("text_pair", ("sentence2", "sentence_b", "hypothesis"), optional=True)
SEVERAL = "multi_label_classification"


@dataclass(frozen=True, kw_only=True)
class TextClassification(Task):
    """A label for each text or pair, or several.

    A text has several where the data has lists of labels, or `label_separator` stands between
    them; then none is fine too.

    Attributes:
        label_separator: What stands between the labels of a text, such as ``","``.
    """

    name: ClassVar[str] = "text-classification"
    auto = AutoModelForSequenceClassification
    columns: ClassVar[tuple[Column, ...]] = (
        TEXT,
        PAIR,
        Column("label", ("labels", "class", "category", "sentiment", "topic"), label=True),
    )

    label_separator: str | None = None

    def config_for(self, examples: Examples, config: Config) -> dict[str, Any]:
        """Return the labels that occur, and whether a text may have several."""
        examples = self._parted(examples)
        several = any(isinstance(label, list | tuple) for label in examples.column("label"))
        kind = SEVERAL if several else "single_label_classification"
        return {**label_fields(examples.labels("label"), config), "problem_type": kind}

    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return tokens, and labels as numbers."""
        made = examples
        if "label" in examples.column_names:
            made = self.with_labels(examples, config)
        return Prepared(tokenized(made, processor, self.length(processor, config)), examples)

    def with_labels(self, examples: Examples, config: Config) -> Examples:
        """Return the examples with a column ``labels`` of numbers in place of ``label``."""
        coded = encode_labels(self._parted(examples), "label", config.label2id or {}, "labels")
        if config.problem_type == SEVERAL:
            truths = [_one_hot(each, config.num_labels) for each in coded.column("labels")]
            coded = coded.with_column("labels", truths)
        return coded.keep([name for name in coded.column_names if name != "label"])

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what pads to the longest text of a batch."""
        return DataCollatorWithPadding(processor)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return accuracy, F1 and their like."""
        return metrics_for("text-classification", config)

    def best(self, config: Config) -> str:
        """Return accuracy, or the micro F1 of several labels."""
        return "f1_micro" if config.problem_type == SEVERAL else "accuracy"

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return ``label`` and ``score``, its probability; or ``labels`` and their scores."""
        logits, names = as_array(predictions).astype(float), config.id2label or {}
        if config.problem_type == SEVERAL:
            scores = 1 / (1 + np.exp(-logits))
            chosen = [np.flatnonzero(row > 0.5).tolist() for row in scores]
            return [
                {"labels": [names[n] for n in some], "scores": [float(row[n]) for n in some]}
                for row, some in zip(scores, chosen, strict=True)
            ]
        scores = np.exp(logits - logits.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return [{"label": names[int(row.argmax())], "score": float(row.max())} for row in scores]

    def _parted(self, examples: Examples) -> Examples:
        """Return the examples with lists of labels, where a separator stands between them."""
        if self.label_separator is None:
            return examples
        parts = [
            [part.strip() for part in str(text).split(self.label_separator) if part.strip()]
            for text in examples.column("label")
        ]
        return examples.with_column("label", parts)


def tokenized(examples: Examples, processor: Any, length: int) -> Examples:
    """Return the examples with the tokens of ``text`` and ``text_pair``, cut to `length`.

    The texts stay, for whoever looks at the worst examples; the trainer leaves them out.
    """

    def tokens(batch: dict[str, list[Any]]) -> Any:
        texts, pairs = (
            [*map(str, batch[n])] if n in batch else None for n in ("text", "text_pair")
        )
        return processor(texts, pairs, truncation=True, max_length=length)

    for name in ("text", "text_pair"):
        if name in examples.column_names:
            check_texts(examples, name)
    return examples.map(tokens, batched=True)


def check_texts(examples: Examples, name: str) -> None:
    """Raise for a text that is missing or empty."""
    for index, text in enumerate(examples.column(name)):
        if text is None or not str(text).strip():
            raise DataError(
                f"{examples.where(index)}: {name!r} is empty; fill it in, or leave out the example"
            )


def _one_hot(labels: Any, classes: int) -> list[float]:
    """Return 1.0 for each label that a text has, and 0.0 for the others."""
    given = cast("list[int]", labels if isinstance(labels, list) else [labels])
    truth = [0.0] * classes
    for number in given:
        truth[number] = 1.0
    return truth
