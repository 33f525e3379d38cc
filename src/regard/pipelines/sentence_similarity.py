"""How close the meanings of texts are."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from regard.pipelines.sentence_encoder import SentenceEncoder, cosine


class SentenceSimilarityPipeline(SentenceEncoder):
    """Compares one text with others by the cosine of their vectors."""

    task: ClassVar[str] = "sentence-similarity"

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self,
        source_sentence: str | Mapping[str, Any] | Sequence[str],
        sentences: str | Sequence[str] | None = None,
    ) -> Any:
        """Return the cosine, -1 to 1, of `source_sentence` with each of `sentences`.

        A mapping ``{"source_sentence": ..., "sentences": [...]}`` in place of both will do. A
        single sentence gives a single number, and a list of source sentences a list of results.
        """
        if isinstance(source_sentence, Mapping):
            return self(source_sentence["source_sentence"], source_sentence["sentences"])
        if sentences is None:
            raise TypeError("sentence-similarity compares: give a text and the texts to compare")
        others = [sentences] if isinstance(sentences, str) else [*sentences]
        sources = [source_sentence] if isinstance(source_sentence, str) else [*source_sentence]
        vectors = self.encode([*sources, *others])
        scores: list[list[float]] = cosine(
            vectors[: len(sources)], vectors[len(sources) :]
        ).tolist()
        found = [each[0] for each in scores] if isinstance(sentences, str) else scores
        return found[0] if isinstance(source_sentence, str) else found
