"""Metrics of order and of numbers: ROC-AUC, Pearson, Spearman, errors."""

from typing import Any

import numpy as np

from regard.errors import DataError
from regard.training.metrics.metric import IGNORED, Array, Metric, as_array


class Collecting(Metric):
    """A metric that needs all values at once: it keeps them."""

    def reset(self) -> None:
        """Forget everything that was added."""
        self.predictions: list[Array] = []
        self.references: list[Array] = []

    @property
    def count(self) -> int:
        """How many labelled examples were added."""
        return sum(map(len, self.references))

    def absorb(self, other: Any) -> None:
        """Add what another one kept."""
        self.predictions = [*self.predictions, *other.predictions]
        self.references = [*self.references, *other.references]

    def kept(self) -> tuple[Array, Array]:
        """Return all predictions and all references."""
        return np.concatenate(self.predictions), np.concatenate(self.references)


class Regression(Collecting):
    """``pearsonr``, ``spearmanr`` (ties share their mean rank), ``mse`` and ``mae``.

    The correlations are NaN where predictions or references are all the same.
    """

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Keep a batch: (examples,) or (examples, 1) numbers and as many references."""
        numbers, targets = as_array(predictions), as_array(references, "labels")
        if numbers.size != targets.size:
            raise DataError(
                f"predictions are {numbers.shape} and labels {targets.shape}; a regression needs "
                "one number for each label"
            )
        self.predictions.append(numbers.reshape(-1).astype(float))
        self.references.append(targets.reshape(-1).astype(float))

    def results(self) -> dict[str, float]:
        """Return all numbers."""
        numbers, targets = self.kept()
        errors = numbers - targets
        return {
            "pearsonr": correlation(numbers, targets),
            "spearmanr": correlation(mean_ranks(numbers), mean_ranks(targets)),
            "mse": float((errors**2).mean()),
            "mae": float(np.abs(errors).mean()),
        }


class RocAuc(Collecting):
    """``roc_auc``: how likely a positive is scored above a negative (Hanley and McNeil 1982).

    With two classes it is that of class 1, with more the mean over each class against the rest,
    and of several labels at once the mean over the labels. Classes without any positive or
    without any negative are left out of the mean; without others it is NaN.
    """

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Keep a batch.

        Args:
            predictions: (examples,) scores of class 1, or (examples, classes) logits.
            references: (examples,) classes, or (examples, labels) 0 and 1; -100 is left out.
        """
        scores, labels = as_array(predictions).astype(float), as_array(references, "labels")
        if scores.ndim == 2 and scores.shape[1] == 1 and labels.ndim == 1:
            scores = scores[:, 0]
        fits = scores.shape == labels.shape or scores.shape[:-1] == labels.shape
        if not fits or scores.ndim > 2:
            raise DataError(
                f"predictions are {scores.shape} and labels {labels.shape}; wanted one score or "
                "one row of logits for each label"
            )
        if labels.ndim == 1:
            labelled = labels != IGNORED
            scores, labels = scores[labelled], labels[labelled]
            classes = 2 if scores.ndim == 1 else scores.shape[1]
            if not np.isin(labels, np.arange(classes)).all():
                raise DataError(f"labels must be classes from 0 to {classes - 1}, or {IGNORED}")
        self.predictions.append(scores)
        self.references.append(labels)

    def results(self) -> dict[str, float]:
        """Return the area."""
        scores, labels = self.kept()
        if labels.ndim == 2:
            columns = [(scores[:, i], labels[:, i]) for i in range(labels.shape[1])]
            areas = [area(s[y != IGNORED], y[y != IGNORED] == 1) for s, y in columns]
        elif scores.ndim == 1:
            areas = [area(scores, labels == 1)]
        elif scores.shape[1] == 2:
            areas = [area(scores[:, 1] - scores[:, 0], labels == 1)]
        else:
            # Logits of different examples are not on one scale; probabilities are.
            odds = np.exp(scores - scores.max(1, keepdims=True))
            odds /= odds.sum(1, keepdims=True)
            areas = [area(odds[:, i], labels == i) for i in range(scores.shape[1])]
        defined = [each for each in areas if not np.isnan(each)]
        return {"roc_auc": sum(defined) / len(defined) if defined else float("nan")}


def area(scores: Array, positive: Array) -> float:
    """Return the area under the ROC curve, from the ranks of the positives (Mann-Whitney's U)."""
    yes = int(positive.sum())
    no = len(positive) - yes
    if not yes or not no:
        return float("nan")
    return float((mean_ranks(scores)[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def mean_ranks(values: Array) -> Array:
    """Return the rank of each value, from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]


def correlation(a: Array, b: Array) -> float:
    """Return Pearson's correlation, NaN if either is constant."""
    if not np.ptp(a) or not np.ptp(b):
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    # To a scale of 1 first: squares could leave the range of floats.
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    value = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return min(1.0, max(-1.0, value))
