"""Texts that belong together: pairs that say the same, and groups."""

import importlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from regard.pipelines.job import check_text
from regard.pipelines.passages import best_places, check_top_k
from regard.pipelines.sentence_encoder import SentenceEncoder, normalized

#: Texts that are compared with as many at once: 16 MB of cosines.
BLOCK = 2048


class GroupingPipeline(SentenceEncoder):
    """A task that compares all texts of a call with each other."""

    together: ClassVar[bool] = True

    def read(self, texts: Iterable[str]) -> tuple[list[str], Any]:
        """Return texts, and vectors (texts, width) of length 1.

        Raises:
            TypeError: One is no text, whatever ``on_error`` is: texts are told by their numbers.
        """
        if isinstance(texts, str):
            raise TypeError(f"{self.task} compares texts with each other: give several")
        kept = [check_text(text, f"text {number}") for number, text in enumerate(texts)]
        return kept, normalized(self.encode(kept).astype(np.float32, copy=False))


class ParaphraseMiningPipeline(GroupingPipeline):
    """Finds the pairs of texts that say the same."""

    task: ClassVar[str] = "paraphrase-mining"

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self, texts: Iterable[str], threshold: float = 0.75, top_k: int = 100_000
    ) -> list[dict[str, Any]]:
        """Return ``{"score", "first", "second", "first_text", "second_text"}``, the closest first.

        ``first`` and ``second`` are numbers of texts, the smaller one first. Memory is that of the
        vectors and of `top_k` pairs.

        Args:
            texts: Several texts, or a stream.
            threshold: The least cosine of a pair.
            top_k: Pairs at most.
        """
        check_top_k(top_k)
        kept, vectors = self.read(texts)
        scores, firsts, seconds = close_pairs(vectors, threshold, top_k)
        pairs = zip(scores.tolist(), firsts.tolist(), seconds.tolist(), strict=True)
        return [
            {
                "score": score,
                "first": first,
                "second": second,
                "first_text": kept[first],
                "second_text": kept[second],
            }
            for score, first, second in pairs
        ]


class ClusteringPipeline(GroupingPipeline):
    """Finds groups of texts of one meaning."""

    task: ClassVar[str] = "clustering"

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self,
        texts: Iterable[str],
        threshold: float = 0.75,
        min_size: int = 2,
        clusters: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return ``{"center", "text", "indices", "texts"}`` of each cluster, the largest first.

        ``center`` is the number of the central text, ``text`` that text; ``indices`` and ``texts``
        are all of the cluster, those nearest to its centre first. By threshold, a text that has no
        others near it is in no cluster.

        Args:
            texts: Several texts, or a stream.
            threshold: The least cosine of a text and its cluster's centre (the community detection
                of Reimers and Gurevych's sentence-transformers).
            min_size: Texts of a cluster at least.
            clusters: Make this many by k-means instead, each text in one; needs scikit-learn.
        """
        kept, vectors = self.read(texts)
        if clusters is None:
            found = [*communities(vectors, threshold, min_size)]
        else:
            found = k_means(vectors, clusters)
        members = sorted((each.tolist() for each in found), key=lambda each: -len(each))
        return [
            {
                "center": indices[0],
                "text": kept[indices[0]],
                "indices": indices,
                "texts": [kept[i] for i in indices],
            }
            for indices in members
        ]


def close_pairs(vectors: Any, threshold: float, top_k: int) -> tuple[Any, Any, Any]:
    """Return cosines (n,) and both numbers of the `top_k` pairs from `threshold` on.

    The best come first; of equal pairs those with the smaller numbers come first.
    """
    best: tuple[Any, Any, Any] = (np.empty(0, np.float32), np.empty(0, int), np.empty(0, int))
    for first in range(0, len(vectors), BLOCK):
        for second in range(first, len(vectors), BLOCK):
            scores = vectors[first : first + BLOCK] @ vectors[second : second + BLOCK].T
            if first == second:
                scores[np.tril_indices(len(scores))] = -np.inf  # each pair once, none with itself
            rows, columns = np.nonzero(scores >= threshold)
            found = (scores[rows, columns], rows + first, columns + second)
            best = _merged(best, found, top_k)
    order = np.lexsort((best[2], best[1], -best[0]))
    return best[0][order], best[1][order], best[2][order]


def _merged(one: tuple[Any, Any, Any], other: tuple[Any, Any, Any], top_k: int) -> Any:
    joined = [np.concatenate(parts) for parts in zip(one, other, strict=True)]
    kept = best_places(joined[0], top_k)
    return tuple(part[kept] for part in joined)


def communities(vectors: Any, threshold: float, min_size: int) -> Iterator[Any]:
    """Yield the numbers of texts within `threshold` of a centre, those nearest to it first.

    Texts with the most neighbours are centres first, unless they are in a community already.
    Neighbours are computed twice and never kept: of texts all alike there would be too many.

    Args:
        vectors: (texts, width) of length 1.
        threshold: The least cosine.
        min_size: Texts of a community at least.
    """
    size = max(BLOCK * BLOCK // max(len(vectors), 1), 1)
    counts = np.zeros(len(vectors), int)
    for start in range(0, len(vectors), size):
        cosines = vectors[start : start + size] @ vectors.T
        counts[start : start + size] = (cosines >= threshold).sum(1)
    centres = np.argsort(-counts, kind="stable")
    centres = centres[counts[centres] >= max(min_size, 1)]
    free = np.ones(len(vectors), bool)
    for start in range(0, len(centres), size):
        chosen = centres[start : start + size]
        chosen = chosen[free[chosen]]
        for centre, cosines in zip(chosen, vectors[chosen] @ vectors.T, strict=True):
            near = np.flatnonzero((cosines >= threshold) & free)
            if not free[centre] or len(near) < min_size:
                continue
            free[near] = False
            cosines[centre] = np.inf  # a copy of it is as near
            yield near[np.argsort(-cosines[near], kind="stable")]


def k_means(vectors: Any, clusters: int) -> list[Any]:
    """Return the numbers of the texts of each cluster, those nearest to its mean first.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: There are not so many texts.
    """
    if not 1 <= clusters <= len(vectors):
        raise ValueError(f"clusters is {clusters}; wanted 1 to {len(vectors)}, the number of texts")
    try:
        module = importlib.import_module("sklearn.cluster")
    except ModuleNotFoundError as error:
        raise ImportError(
            "a number of clusters needs scikit-learn: pip install 'regard[clustering]'; by "
            "threshold nothing else is needed"
        ) from error
    labels = module.KMeans(n_clusters=clusters, n_init=10, random_state=0).fit_predict(vectors)
    found: list[Any] = []
    for label in range(clusters):
        members = np.flatnonzero(labels == label)
        mean = vectors[members].mean(0)
        found.append(members[np.argsort(-(vectors[members] @ mean), kind="stable")])
    return [each for each in found if len(each)]
