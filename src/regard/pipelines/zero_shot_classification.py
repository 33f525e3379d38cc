"""Labels that are named at the time of asking, with no training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from regard.batch import TokenBatch
from regard.pipelines.job import TextJob
from regard.pipelines.reading import Cut
from regard.pipelines.sentence_encoder import Embedding, SentenceEncoder, cosine

#: Cosines lie close together; the models were trained with a softmax over 20 times the cosine
#: (sentence-transformers' MultipleNegativesRankingLoss), so the same factor makes probabilities.
SCALE = 20.0


class ZeroShotClassificationPipeline(SentenceEncoder):
    """Scores labels by the cosine between a text and a sentence about each label."""

    task: ClassVar[str] = "zero-shot-classification"

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self,
        sequences: str | Iterable[str],
        candidate_labels: str | Sequence[str],
        hypothesis_template: str = "{}",
        multi_label: bool = False,
    ) -> Any:
        """Return ``{"sequence", "labels", "scores"}`` per text, the best label first.

        Args:
            sequences: One text, a list, or a stream of texts.
            candidate_labels: The labels, as a list or separated by commas.
            hypothesis_template: A sentence in which ``{}`` stands for the label. The bare label is
                the default: of five it was the best on average over questions and reviews (0.51 and
                0.69 right, where "This example is {}." has 0.41 and 0.66).
            multi_label: False: scores sum to 1. True: each is the cosine itself, at least 0.
        """
        labels = read_labels(candidate_labels)
        if "{}" not in hypothesis_template:
            raise ValueError(f"hypothesis_template needs a {{}}; found {hypothesis_template!r}")
        targets = self.encode([hypothesis_template.replace("{}", label) for label in labels])
        embedding = self.job()
        job = _Closeness(
            embedding.reader,
            embedding=embedding,
            labels=tuple(labels),
            targets=targets,
            multi_label=multi_label,
        )
        return self.answer(sequences, job)


@dataclass(frozen=True, kw_only=True)
class _Closeness(TextJob):
    embedding: Embedding
    labels: tuple[str, ...]
    targets: Any
    multi_label: bool

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the vector of each window."""
        return self.embedding.forward(batch)

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> Any:
        """Return the labels, the closest first."""
        vector = self.embedding.answer(given, cut, found)
        cosines = cosine(vector[None], self.targets)[0]
        scores = np.clip(cosines, 0, 1) if self.multi_label else softmax(SCALE * cosines)
        best: list[int] = np.argsort(-scores, kind="stable").tolist()
        return {
            "sequence": given,
            "labels": [self.labels[i] for i in best],
            "scores": [float(scores[i]) for i in best],
        }


def read_labels(given: str | Sequence[str]) -> list[str]:
    """Return labels that are a list, or separated by commas."""
    names = given.split(",") if isinstance(given, str) else given
    labels = [name.strip() for name in names if name.strip()]
    if not labels:
        raise ValueError("candidate_labels must name at least one label")
    return labels


def softmax(scores: Any) -> Any:
    """Return probabilities of scores (..., labels)."""
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)
