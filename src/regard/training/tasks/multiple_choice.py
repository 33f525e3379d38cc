"""Which of several continuations, or answers, fits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.config import Config
from regard.data.collate import DataCollatorForMultipleChoice
from regard.data.examples import Examples
from regard.errors import DataError
from regard.models.auto import AutoModelForMultipleChoice
from regard.training.metrics.loading import metrics_for
from regard.training.metrics.metric import Metric, as_array
from regard.training.tasks.task import Column, Prepared, Task


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(Task):
    """The number of the right choice, from 0; all examples have equally many."""

    name: ClassVar[str] = "multiple-choice"
    auto = AutoModelForMultipleChoice
    columns: ClassVar[tuple[Column, ...]] = (
        Column("text", ("question", "premise", "startphrase", "sent1", "context")),
        Column("choices", ("options", "endings", "answers")),
        Column("label", ("answer", "labels"), label=True),
    )

    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return the tokens of each choice, after the text's."""
        made = _checked(examples)
        length = self.length(processor, config)

        def tokens(example: dict[str, Any]) -> Any:
            choices = [*map(str, example["choices"])]
            texts = [str(example["text"])] * len(choices)
            return {**processor(texts, choices, truncation=True, max_length=length)}

        return Prepared(made.map(tokens), examples)

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what pads every choice to the longest of the batch."""
        return DataCollatorForMultipleChoice(processor)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return accuracy."""
        return metrics_for("multiple-choice", config)

    def best(self, config: Config) -> str:
        """Return accuracy."""
        return "accuracy"

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return ``label``, the number of the choice, ``choice`` itself, and its probability."""
        logits = as_array(predictions).astype(float)
        scores = np.exp(logits - logits.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return [
            {"label": int(row.argmax()), "choice": choices[row.argmax()], "score": float(row.max())}
            for row, choices in zip(scores, data.examples.column("choices"), strict=True)
        ]


def _checked(examples: Examples) -> Examples:
    """Return the examples with the right choice as a number in ``labels``."""
    counts = [
        len(cast("list[Any]", choices)) if isinstance(choices, list | tuple) else 0
        for choices in examples.column("choices")
    ]
    count = max(counts, default=0)
    for index, choices in enumerate(examples.column("choices")):
        if counts[index] != count or count < 2:
            raise DataError(
                f"{examples.where(index)}: 'choices' is {choices!r}; wanted a list of two or more, "
                f"in every example equally many (here {count})"
            )
    if "label" not in examples.column_names:
        return examples
    made = examples.cast("label", int)
    for index, label in enumerate(made.column("label")):
        if not 0 <= label < count:
            raise DataError(
                f"{examples.where(index)}: the label is {label}; wanted the number of a choice, "
                f"from 0 to {count - 1}"
            )
    return made.rename({"label": "labels"})
