"""A label for each word of a sentence: names of people and places, parts of speech."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from regard.config import Config
from regard.data.collate import DataCollatorForTokenClassification
from regard.data.examples import Examples
from regard.data.labels import encode_labels, renamed_labels
from regard.models.auto import AutoModelForTokenClassification
from regard.training.metrics.loading import metrics_for
from regard.training.metrics.metric import Metric
from regard.training.metrics.spans import is_span_label, read_spans
from regard.training.tasks.task import Column, Prepared, Task, label_fields
from regard.training.tasks.words import check_words, numbered, spread, word_labels, word_rows


@dataclass(frozen=True, kw_only=True)
class TokenClassification(Task):
    """A label for each word; the first token of a word speaks for it.

    A sentence that is too long becomes several rows, so that every word is answered.

    Attributes:
        labels: Labels of the data, or the kinds of spans, to what they are called here: so corpora
            with labels of their own train one model. ``O`` leaves a kind out.
    """

    name: ClassVar[str] = "token-classification"
    auto = AutoModelForTokenClassification
    columns: ClassVar[tuple[Column, ...]] = (
        Column("tokens", ("words",)),
        Column("tags", ("ner_tags", "labels", "label", "ner", "pos_tags", "upos"), label=True),
    )

    labels: dict[str, str] | None = None

    def relabelled(self, examples: Examples, *, all_there: bool = False) -> Examples:
        """Return the examples with labels under the names of `labels`."""
        column = next(each.name for each in self.columns if each.label)
        if not self.labels or column not in examples.column_names:
            return examples
        return renamed_labels(examples, column, self.labels, all_there=all_there)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        """Return the words and signs of each text."""
        return Examples({"tokens": [re.findall(r"\w+|[^\w\s]", text) for text in texts]})

    def config_for(self, examples: Examples, config: Config) -> dict[str, Any]:
        """Return the labels that occur, and to each ``B-X`` its ``I-X``."""
        labels = examples.labels("tags")
        spans = all(map(is_span_label, labels))
        inside = {f"I-{each[2:]}" for each in labels if spans and each.startswith("B-")}
        return label_fields([*labels, *sorted(inside - {*labels})], config)

    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return tokens, and a label for the first token of each word."""
        check_words(examples, "tags")
        made = numbered(examples)
        if "tags" in examples.column_names:
            made = encode_labels(made, "tags", config.label2id or {})
        length = self.length(processor, config)

        def rows(batch: dict[str, list[Any]]) -> dict[str, Any]:
            return spread(word_rows(batch["tokens"], processor, length), batch)

        return Prepared(made.map(rows, batched=True, remove_columns=made.column_names), examples)

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what pads tokens, and labels with -100."""
        return DataCollatorForTokenClassification(processor)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return F1 of spans, or accuracy where the labels are of no spans."""
        return metrics_for("token-classification", config)

    def best(self, config: Config) -> str:
        """Return F1 of spans, or accuracy where the labels are of no spans."""
        return "f1" if all(map(is_span_label, config.label2id or {})) else "accuracy"

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return ``tags``, one for each word, and ``entities`` where these are spans."""
        unseen = "O" if "O" in (config.label2id or {}) else ""
        found = word_labels(predictions, data, config, unseen)
        if self.best(config) != "f1":
            return [{"tags": tags} for tags in found]
        sentences = data.examples.column("tokens")
        return [
            {"tags": tags, "entities": _entities(words, tags)}
            for words, tags in zip(sentences, found, strict=True)
        ]


def _entities(words: list[Any], tags: list[str]) -> list[dict[str, Any]]:
    """Return type, text, first word and the word after the last of each span."""
    return [
        {"type": kind, "text": " ".join(map(str, words[a : b + 1])), "start": a, "end": b + 1}
        for kind, a, b in read_spans(tags)
    ]
