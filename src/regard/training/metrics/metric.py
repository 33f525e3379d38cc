"""What every metric is: counts that grow batch by batch, and numbers made of them."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import ConfigError, DataError, nearest

#: Labels and tokens with this number count for nothing.
IGNORED = -100

Array = NDArray[Any]


class Metric(ABC):
    """A metric. Three ways to use it, the same numbers.

    * ``Trainer(compute_metrics=metric)``: called with an `EvalPrediction`, it keeps nothing.
    * ``metric.compute(predictions=..., references=...)``: all at once.
    * ``metric.add_batch(predictions, references)`` for every batch, and ``metric.compute()``,
      which starts anew; several processes count apart and `merge`.

    Attributes:
        only: Names of the numbers to return; None returns all.
        percent: Whether the numbers of a perfect result are 100, as the field counts it, and not 1.
    """

    only: Sequence[str] | None = None
    percent: ClassVar[bool] = False

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything that was added."""

    @abstractmethod
    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch.

        Raises:
            DataError: Predictions and references do not belong together.
        """

    @abstractmethod
    def absorb(self, other: Any) -> None:
        """Add what another metric of the same kind counted."""

    @abstractmethod
    def results(self) -> dict[str, float]:
        """Return all numbers; something was added."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many labelled items were added."""

    def merge(self, other: "Metric") -> None:
        """Add what another metric counted, such as that of another process.

        Raises:
            TypeError: It is of another kind.
        """
        if type(other) is not type(self):
            raise TypeError(f"{type(self).__name__} cannot merge a {type(other).__name__}")
        self.absorb(other)

    def compute(self, predictions: Any = None, references: Any = None) -> dict[str, float]:
        """Return the numbers of all that was added, and forget it.

        A number that is not defined for the data (a correlation with a constant) is NaN.

        Raises:
            DataError: Nothing was added that has a label.
        """
        if predictions is not None:
            self.add_batch(predictions, references)
        if self.count == 0:
            raise DataError(
                f"{type(self).__name__} has nothing to measure: there are no examples, or every "
                f"label is {IGNORED}"
            )
        results = {name: float(value) for name, value in self.results().items()}
        self.reset()
        return results if self.only is None else {name: results[name] for name in self.only}

    def __call__(self, prediction: Any) -> dict[str, float]:
        """Return the numbers of an `EvalPrediction`, or of (predictions, labels)."""
        predictions, labels, *_ = prediction
        fresh = copy.copy(self)
        fresh.reset()
        return fresh.compute(predictions, labels)

    def preprocess(self, logits: Any, labels: Any) -> Any:
        """Return the part of the logits that is needed: for ``preprocess_logits_for_metrics``.

        With it an evaluation keeps as little as it can.
        """
        return logits

    def limited(self, names: Sequence[str] | None) -> Self:
        """Return this metric with these of its numbers only."""
        self.only = names
        return self


def first_output(values: Any) -> Any:
    """Return the first of a tuple of a model's outputs; what is no such tuple as it is."""
    parts = cast("Sequence[Any]", values if isinstance(values, tuple) else ())
    return parts[0] if parts and np.ndim(parts[0]) > 0 else cast("Any", values)


def as_array(values: Any, what: str = "predictions") -> Array:
    """Return values as an array; of a tuple of a model's outputs, the first.

    Raises:
        DataError: They are ragged, or have NaN.
    """
    values = first_output(values)
    if isinstance(values, Tensor):
        values = (values.float() if values.is_floating_point() else values).detach().cpu().numpy()
    try:
        array: Array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{what} have rows of different length; pad them with {IGNORED}") from error
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise DataError(f"{what} have NaN: the model's numbers are damaged, or training diverged")
    return array


def decided(predictions: Array, references: Array) -> tuple[Array, Array]:
    """Return (items,) predicted and true classes of what is labelled.

    Args:
        predictions: Classes, in the shape of `references`; or logits, with classes as last axis.
        references: Classes; those that are -100 are left out.
    """
    if predictions.ndim == references.ndim + 1:
        predictions = predictions.argmax(-1)
    if predictions.shape != references.shape:
        raise DataError(
            f"predictions are {predictions.shape} and labels {references.shape}; wanted the same "
            "shape, or one more axis of logits"
        )
    labelled = references != IGNORED
    return predictions[labelled].astype(int), references[labelled].astype(int)


def ratio(part: Any, whole: Any) -> Any:
    """Return ``part / whole`` where there is a whole, and 0 where there is none."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def f_score(precision: Any, recall: Any) -> Any:
    """Return the harmonic mean of precision and recall, 0 if both are."""
    return ratio(2 * precision * recall, precision + recall)


def same_length(predictions: Sequence[Any], references: Sequence[Any]) -> None:
    """Raise for predictions that have not one reference each."""
    if len(predictions) != len(references):
        raise DataError(
            f"there are {len(predictions)} predictions and {len(references)} references; wanted "
            "one for each"
        )


def choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise for a value that is not one of those known."""
    known = [*known]
    if value not in known:
        raise ConfigError(
            f"{name} is {value!r}{nearest(value, known)}; it must be one of {', '.join(known)}"
        )
