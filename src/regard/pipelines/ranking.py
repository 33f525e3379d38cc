"""Documents in the order of how well they answer a query."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.batch import TokenBatch
from regard.pipelines.job import Job, TextJob, as_numpy, check_text
from regard.pipelines.matching import Matcher
from regard.pipelines.passages import (
    Passages,
    best_places,
    check_top_k,
    embed_passages,
    hit,
    window_places,
)
from regard.pipelines.reading import Cut, Product, Reader
from regard.pipelines.sentence_encoder import Embedding, normalized
from regard.pipelines.text_classification import FUNCTIONS
from regard.pipelines.zero_shot_classification import softmax


class RankingPipeline(Matcher):
    """Ranks documents by a bi-encoder, or by a cross-encoder if the model is one.

    Args:
        model: An encoder; or a classifier of pairs with one label, or with two of which the second
            says that the document answers the query.
        tokenizer: The model's tokenizer.
        options: As for `SentenceEncoder`.
    """

    task: ClassVar[str] = "ranking"

    def __init__(self, model: Any, tokenizer: Any, *args: Any, **options: Any) -> None:
        super().__init__(model, tokenizer, *args, **options)
        if self.cross_encoder is not None and len(self.labels) > 2:
            raise TypeError(
                f"{self.task} takes a classifier with one label, or with two of which the second "
                f"means relevant; this one has {len(self.labels)}"
            )

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self,
        query: str | Iterable[str],
        documents: Iterable[str],
        top_k: int | None = None,
    ) -> Any:
        """Return ``[{"index", "score", "text"}]`` of the documents, best first.

        The score is the cosine of the vectors; of a cross-encoder the probability, 0 to 1. A
        document of several windows counts by its best one, and ``"start"`` and ``"end"`` say which
        characters that shows.

        Args:
            query: A text, a list of them, or a stream.
            documents: The texts to rank, the same for all queries.
            top_k: How many documents to return; None is all.

        Raises:
            TypeError: A document is no text, whatever ``on_error`` is: it has no place to stand in.
        """
        check_top_k(top_k)
        texts = [check_text(each, f"document {i}") for i, each in enumerate(documents)]
        job = self.read_together(texts, top_k) if self.cross_encoder else self.near(texts, top_k)
        return self.answer(query, job)

    def near(self, texts: list[str], top_k: int | None) -> "Job[str]":
        """Return what ranks by the vectors of `texts`, which are made now."""
        passages: list[Passages] = [*self.run(texts, embed_passages(self))]
        counts = [len(each.places) for each in passages]
        embedding = self.job()
        return _ByVectors(
            embedding.reader,
            texts=texts,
            top_k=top_k,
            embedding=embedding,
            passages=passages,
            vectors=np.concatenate([each.vectors for each in passages]) if texts else None,
            starts=np.cumsum([0, *counts[:-1]]),
        )

    def read_together(self, texts: list[str], top_k: int | None) -> "Job[str]":
        """Return what ranks by reading each query with each of `texts`."""
        return _ByReading(texts=texts, top_k=top_k, reader=self.reader(), head=self.cross_encoder)


@dataclass(frozen=True, kw_only=True)
class _ByVectors(TextJob):
    texts: list[str]
    top_k: int | None
    embedding: Embedding
    passages: list[Passages]
    vectors: Any
    starts: Any

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the vector of each window of a query."""
        return self.embedding.forward(batch)

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the documents, the closest first."""
        if not self.texts:
            return []
        query = normalized(self.embedding.answer(given, cut, found).astype(np.float32))
        scores = self.vectors @ query
        best = np.maximum.reduceat(scores, self.starts)
        return [self._hit(int(i), scores) for i in best_places(best, self.top_k)]

    def _hit(self, index: int, scores: Any) -> dict[str, Any]:
        places = self.passages[index].places
        windows = scores[self.starts[index] :][: len(places)]
        window = int(windows.argmax())
        place = places[window] if len(places) > 1 else None
        return hit(index, float(windows[window]), self.texts[index], place)


@dataclass(frozen=True, kw_only=True)
class _ByReading(Job[str]):
    texts: list[str]
    top_k: int | None
    reader: Reader
    head: Any

    @property
    def spread(self) -> int:
        """Each query makes a window of each document."""
        return max(len(self.texts), 1)

    def check(self, item: Any) -> str:
        """Return a query that leaves room for documents."""
        query = check_text(item)
        longest = max(self.texts, key=len, default="")[: 8 * self.reader.max_length]
        self.reader.pairs([(query, longest)])
        return query

    def cut(self, inputs: Sequence[str]) -> Sequence[Cut | ValueError]:
        """Return the windows of each query with all documents."""
        return self.reader.products(inputs, self.texts, offsets=True)

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return how relevant each window is, 0 to 1."""
        logits = as_numpy(self.head.logits(batch))
        if logits.shape[-1] == 1:
            return FUNCTIONS["sigmoid"](logits[:, 0])
        return softmax(logits)[:, 1]

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the documents, the most relevant first."""
        parts, said = cast("Product", cut).parts, iter(found)
        scores = [np.array([*itertools.islice(said, len(part.windows))]) for part in parts]
        best = np.array([each.max() for each in scores])
        ranked: list[int] = best_places(best, self.top_k).tolist()
        return [self._hit(i, parts[i], scores[i]) for i in ranked]

    def _hit(self, index: int, part: Cut, scores: Any) -> dict[str, Any]:
        text, window = self.texts[index], int(scores.argmax())
        place = window_places(part, len(text))[window] if len(part.windows) > 1 else None
        return hit(index, float(scores[window]), text, place)
