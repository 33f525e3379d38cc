"""Documents as passages: a vector for each window, so that a long text is found by a part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.batch import TokenBatch
from regard.pipelines.job import TextJob
from regard.pipelines.reading import Cut
from regard.pipelines.sentence_encoder import Embedding, SentenceEncoder, normalized


@dataclass(frozen=True)
class Passages:
    """The windows of a document.

    Attributes:
        vectors: (windows, width), each of length 1.
        places: The characters (first, after the last) that each shows.
    """

    vectors: Any
    places: list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class PassageEmbedding(TextJob):
    """One vector per window of each document."""

    embedding: Embedding
    offsets: bool = True

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the vector of each window."""
        return self.embedding.forward(batch)

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> Passages:
        """Return what the windows of a document show, and where."""
        vectors = normalized(np.stack(found).astype(np.float32, copy=False))
        return Passages(vectors, window_places(cut, len(given)))


def embed_passages(encoder: SentenceEncoder) -> PassageEmbedding:
    """Return what makes vectors of the windows of documents."""
    embedding = encoder.job()
    return PassageEmbedding(encoder.reader(), embedding=embedding)


def window_places(cut: Cut, length: int) -> list[tuple[int, int]]:
    """Return the characters that each window of a text of `length` shows."""
    if len(cut.windows) == 1:
        return [(0, length)]
    offsets = cut.encoding.offsets
    return [(offsets[each.start][0], offsets[each.end - 1][1]) for each in cut.windows]


def best_places(scores: Any, count: int | None) -> Any:
    """Return the places of the `count` best of `scores` (n,), best first; of equals the first."""
    places = np.arange(len(scores))
    if count is not None and count < len(scores):
        least = np.partition(scores, -count)[-count]
        above = np.flatnonzero(scores > least)
        equal = np.flatnonzero(scores == least)[: count - len(above)]
        places = np.sort(np.concatenate([above, equal]))
    return places[np.argsort(-scores[places], kind="stable")]


def hit(index: int, score: float, text: str, place: tuple[int, int] | None) -> dict[str, Any]:
    """Return what a search says of a document; `place` where only a part of it matched."""
    found: dict[str, Any] = {"index": index, "score": score, "text": text}
    return found if place is None else {**found, "start": place[0], "end": place[1]}


def check_top_k(top_k: int | None) -> None:
    """Raise `ValueError` for what is no number of results."""
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}; wanted at least 1, or None for all")
