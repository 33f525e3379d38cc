"""A number for a text, or for a pair: how similar two texts are, how good a review is."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from regard.config import Config
from regard.data.examples import Examples
from regard.errors import DataError
from regard.training.metrics.metric import as_array
from regard.training.tasks.task import Column, Prepared
from regard.training.tasks.text_classification import PAIR, TEXT, TextClassification


@dataclass(frozen=True, kw_only=True)
class TextRegression(TextClassification):
    """A number for each text or pair, on whatever scale the data has."""

    name: ClassVar[str] = "text-regression"
    columns: ClassVar[tuple[Column, ...]] = (
        TEXT,
        PAIR,
        Column(
            "label",
            ("score", "similarity", "similarity_score", "relatedness_score", "rating", "value"),
            label=True,
        ),
    )

    def config_for(self, examples: Examples, config: Config) -> dict[str, Any]:
        """Return that the answer is one number."""
        return {"num_labels": 1, "problem_type": "regression"}

    def with_labels(self, examples: Examples, config: Config) -> Examples:
        """Return the examples with a column ``labels`` of numbers in place of ``label``."""
        made = examples.cast("label", float)
        for index, number in enumerate(made.column("label")):
            if not math.isfinite(number):
                raise DataError(f"{examples.where(index)}: 'label' is {number}; leave it out")
        return made.rename({"label": "labels"})

    def best(self, config: Config) -> str:
        """Return the loss: a correlation is not defined while all answers are the same."""
        return "loss"

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return ``score``, the number."""
        return [{"score": float(number)} for number in as_array(predictions).reshape(-1)]
