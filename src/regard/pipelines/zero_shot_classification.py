"""Labels that are named at the time of asking, with no training."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from regard.pipelines.pipeline import answer, as_texts
from regard.pipelines.sentence_encoder import SentenceEncoder, cosine

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
        labels = _labels(candidate_labels)
        if "{}" not in hypothesis_template:
            raise ValueError(f"hypothesis_template needs a {{}}; found {hypothesis_template!r}")
        targets = self.encode([hypothesis_template.replace("{}", label) for label in labels])

        def score(batch: Any) -> Iterable[Any]:
            cosines = cosine(self._forward(batch), targets)
            return np.clip(cosines, 0, 1) if multi_label else _softmax(SCALE * cosines)

        texts = as_texts(sequences)
        return answer(sequences, self._results(texts, labels, score))

    def _results(self, texts: Iterable[str], labels: list[str], score: Any) -> Iterator[Any]:
        kept, read = itertools.tee(texts)
        for text, scores in zip(kept, self.run(read, score), strict=True):
            best = np.argsort(-scores, kind="stable")
            yield {
                "sequence": text,
                "labels": [labels[i] for i in best],
                "scores": [float(scores[i]) for i in best],
            }


def _labels(given: str | Sequence[str]) -> list[str]:
    names = given.split(",") if isinstance(given, str) else given
    labels = [name.strip() for name in names if name.strip()]
    if not labels:
        raise ValueError("candidate_labels must name at least one label")
    return labels


def _softmax(scores: Any) -> Any:
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)
