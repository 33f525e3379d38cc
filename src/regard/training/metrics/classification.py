"""One class of several, or several labels at once: accuracy, precision, recall, F1, MCC."""

from typing import Any

import numpy as np

from regard.errors import DataError
from regard.training.metrics.metric import (
    IGNORED,
    Array,
    Metric,
    as_array,
    choice,
    decided,
    f_score,
    first_output,
    ratio,
)


class Classification(Metric):
    """Metrics of one class for each item (a text, or a token), all from the confusion matrix.

    ``accuracy``, ``precision``, ``recall``, ``f1``, ``f1_macro``, ``f1_micro``,
    ``matthews_correlation`` (for more than two classes Gorodkin 2004). A class that is neither
    predicted nor a label is left out of macro means; one that is only one of them has F1 0.

    Args:
        average: What precision, recall and f1 are of: ``"binary"`` (of class 1), ``"macro"``,
            ``"micro"`` or ``"weighted"`` by label counts; by default binary for two classes and
            macro for more.
        num_labels: How many classes there are; by default as many as there are logits, or as were
            seen.
    """

    def __init__(self, average: str | None = None, num_labels: int | None = None) -> None:
        if average is not None:
            choice("average", average, ("binary", "macro", "micro", "weighted"))
        self.average, self.num_labels = average, num_labels
        super().__init__()

    def reset(self) -> None:
        """Forget everything that was added."""
        size = self.num_labels or 0
        self.confusion: Array = np.zeros((size, size), np.int64)

    @property
    def count(self) -> int:
        """How many labelled items were added."""
        return int(self.confusion.sum())

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch.

        Args:
            predictions: (..., classes) logits, or classes in the shape of `references`.
            references: Classes; -100 is left out.

        Raises:
            DataError: A label is no class of the model's.
        """
        scores, labels = as_array(predictions), as_array(references, "labels")
        classes = self.num_labels
        if scores.ndim == labels.ndim + 1:
            classes = scores.shape[-1]
        predicted, true = decided(scores, labels)
        for what, found in (("label", true), ("prediction", predicted)):
            wrong = found[(found < 0) | (found >= (classes or np.inf))]
            if len(wrong):
                known = f"0 to {classes - 1}" if classes else "0 and up"
                raise DataError(f"the {what} {wrong[0]} is no class: they are {known}")
        self._grow(
            max(classes or 0, *(int(each.max(initial=-1)) + 1 for each in (true, predicted)))
        )
        np.add.at(self.confusion, (true, predicted), 1)

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        size = len(other.confusion)
        self._grow(size)
        self.confusion[:size, :size] += other.confusion

    def preprocess(self, logits: Any, labels: Any) -> Any:
        """Return the predicted classes, and no logits; so give ``num_labels``."""
        return first_output(logits).argmax(-1)

    def results(self) -> dict[str, float]:
        """Return all numbers."""
        right, predicted, true = _margins(self.confusion)
        averages = ("macro", "micro", "weighted")
        usual = self.average or ("binary" if len(right) == 2 else "macro")
        if usual == "binary" and len(right) > 2:
            raise DataError(f"average='binary' is for two classes; there are {len(right)}: 'macro'")
        scores = averaged(right, predicted, true, usual)
        f1 = {name: averaged(right, predicted, true, name)["f1"] for name in averages}
        return {
            "accuracy": right.sum() / true.sum(),
            **scores,
            "f1_macro": f1["macro"],
            "f1_micro": f1["micro"],
            "matthews_correlation": _matthews(right, predicted, true),
        }

    def _grow(self, size: int) -> None:
        missing = size - len(self.confusion)
        if missing > 0:
            self.confusion = np.pad(self.confusion, (0, missing))


class MultiLabel(Metric):
    """Metrics of several labels at once: each logit above 0 (probability above 1/2) is a yes.

    ``f1``, ``precision`` and ``recall`` (micro), ``f1_macro``, ``f1_micro``, and ``accuracy``, the
    part of the examples with every label right.

    Args:
        threshold: Logit above which a label is predicted.
        average: What precision, recall and f1 are: ``"micro"`` or ``"macro"``.
    """

    def __init__(self, threshold: float = 0.0, average: str = "micro") -> None:
        choice("average", average, ("micro", "macro"))
        self.threshold, self.average = threshold, average
        super().__init__()

    def reset(self) -> None:
        """Forget everything that was added."""
        self.right: Array = np.zeros(0, np.int64)
        self.predicted, self.true = self.right, self.right
        self.whole, self._count = 0, 0

    @property
    def count(self) -> int:
        """How many examples were added that have a label, be it a no."""
        return self._count

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch.

        Args:
            predictions: (examples, labels) float logits, or 0 and 1 as integers or booleans.
            references: (examples, labels) 0 and 1; -100 is left out.
        """
        scores, labels = as_array(predictions), as_array(references, "labels")
        if scores.shape != labels.shape or scores.ndim != 2:
            raise DataError(
                f"predictions are {scores.shape} and labels {labels.shape}; several labels need "
                "both as (examples, labels)"
            )
        if not np.isin(labels, (0, 1, IGNORED)).all():
            raise DataError("labels must be 0 or 1 (or -100) for each of several labels")
        known = labels != IGNORED
        yes = (scores > self.threshold if scores.dtype.kind == "f" else scores > 0) & known
        true = labels == 1
        self._add((yes & true).sum(0), yes.sum(0), true.sum(0))
        any_known = known.any(1)
        self.whole += int(((yes == true) | ~known).all(1)[any_known].sum())
        self._count += int(any_known.sum())

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        if len(other.right):
            self._add(other.right, other.predicted, other.true)
        self.whole, self._count = self.whole + other.whole, self._count + other.count

    def results(self) -> dict[str, float]:
        """Return all numbers."""
        counts = (self.right, self.predicted, self.true)
        return {
            "accuracy": self.whole / self.count,
            **averaged(*counts, self.average, absent=True),
            "f1_macro": averaged(*counts, "macro", absent=True)["f1"],
            "f1_micro": averaged(*counts, "micro")["f1"],
        }

    def _add(self, right: Array, predicted: Array, true: Array) -> None:
        if len(self.right) not in (0, len(right)):
            raise DataError(f"there were {len(self.right)} labels, and now {len(right)}")
        if not len(self.right):
            self.right = self.predicted = self.true = np.zeros(len(right), np.int64)
        self.right = self.right + right
        self.predicted, self.true = self.predicted + predicted, self.true + true


def averaged(
    right: Array, predicted: Array, true: Array, average: str, *, absent: bool = False
) -> dict[str, float]:
    """Return precision, recall and f1 from counts per class.

    Args:
        right: (classes,) items of the class that were predicted as it.
        predicted: (classes,) items that were predicted as the class.
        true: (classes,) items of the class.
        average: ``"binary"``, ``"macro"``, ``"micro"`` or ``"weighted"``.
        absent: Whether a class that never occurs counts in macro means, with 0.
    """
    if average == "micro":
        right, predicted, true = (np.array([each.sum()]) for each in (right, predicted, true))
    precision, recall = ratio(right, predicted), ratio(right, true)
    scores = {"precision": precision, "recall": recall, "f1": f_score(precision, recall)}
    if average == "binary":
        return {name: float(each[1]) if len(each) > 1 else 0.0 for name, each in scores.items()}
    weights = true if average == "weighted" else (predicted + true > 0) | absent
    return {
        name: float(ratio((each * weights).sum(), weights.sum())) for name, each in scores.items()
    }


def _margins(confusion: Array) -> tuple[Array, Array, Array]:
    return confusion.diagonal(), confusion.sum(0), confusion.sum(1)


def _matthews(right: Array, predicted: Array, true: Array) -> float:
    """Return the correlation of labels and predictions; 0 if either has one class only."""
    # Python's integers: products of four counts leave 64 bits.
    p, t = [int(n) for n in predicted], [int(n) for n in true]
    total = sum(t)
    shared = int(right.sum()) * total - sum(a * b for a, b in zip(p, t, strict=True))
    spread = (total**2 - sum(n * n for n in p)) * (total**2 - sum(n * n for n in t))
    return shared / spread**0.5 if spread else 0.0
