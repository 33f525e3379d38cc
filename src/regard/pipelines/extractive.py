"""Summaries made of a text's own sentences."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from regard.pipelines.job import shaped
from regard.pipelines.sentence_encoder import SentenceEncoder
from regard.text.sentences import split_sentences

#: Sentences of a summary.
SENTENCES = 3
#: What likeness to sentences that were picked costs, beside likeness to all: 0 to 1. Carbonell
#: and Goldstein (1998) leave the balance open; this keeps copies out, and little else.
REDUNDANCY = 0.3


class ExtractiveSummarizationPipeline(SentenceEncoder):
    """Picks the sentences that are nearest to what all say, without saying it twice.

    A sentence is good when its vector is near to the mean of all (Rossiello et al. 2017), and less
    so the nearer it is to one that was chosen (Carbonell and Goldstein 1998, section 2). Nothing
    is written that the text does not say.
    """

    task: ClassVar[str] = "summarization"

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self,
        documents: str | Iterable[str],
        *,
        sentences: int = SENTENCES,
        redundancy: float = REDUNDANCY,
    ) -> Any:
        """Return ``[{"summary_text": ...}]`` for a text, a list of such dicts for a list.

        Args:
            documents: One text, a list, or a stream of texts.
            sentences: How many to pick; they stay in the order of the text.
            redundancy: What likeness to a sentence that was picked costs, 0 to 1.

        Raises:
            ValueError: A text has no words, or a number is out of bounds.
        """
        if sentences < 1 or not 0 <= redundancy <= 1:
            raise ValueError(
                f"sentences={sentences} must be at least 1, and redundancy={redundancy} 0 to 1"
            )
        texts = [documents] if isinstance(documents, str) else documents
        found = self._summaries(texts, sentences, redundancy)
        return [next(found)] if isinstance(documents, str) else shaped(documents, found)

    def _summaries(
        self, documents: Iterable[str], count: int, redundancy: float
    ) -> Iterator[dict[str, str]]:
        for number, document in enumerate(documents):
            sentences = split_sentences(document)
            if not sentences:
                raise ValueError(f"text {number} is empty: there is nothing to summarize")
            picked = range(len(sentences))
            if len(sentences) > count:
                picked = sorted(central(self.encode(sentences), count, redundancy))
            yield {"summary_text": " ".join(sentences[place] for place in picked)}


def central(vectors: Any, count: int, redundancy: float) -> list[int]:
    """Return `count` places of vectors (n, width) near to their mean, and not to each other."""
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    mean = vectors.mean(0)
    near = vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    likest = np.zeros(len(vectors))
    free = np.ones(len(vectors), dtype=bool)
    picked: list[int] = []
    for _ in range(min(count, len(vectors))):
        worth = np.where(free, (1 - redundancy) * near - redundancy * likest, -np.inf)
        best = int(worth.argmax())
        picked.append(best)
        free[best] = False
        likest = np.maximum(likest, vectors @ vectors[best])
    return picked
