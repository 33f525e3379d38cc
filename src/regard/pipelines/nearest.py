"""The nearest of many vectors: all of them compared, or through a graph of neighbours."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from regard.pipelines.passages import best_places

#: Vectors that are compared at once: their scores stay small, and a matrix product is well filled.
BLOCK = 16384
#: Neighbours of each node of a graph (Malkov and Yashunin 2018, section 4.1, where it is M).
NEIGHBOURS = 32
#: Candidates that are kept in mind, as the graph grows and in a search (ibid., ef).
CANDIDATES = 128


class Passaged(Protocol):
    """Documents of one or more vectors.

    Attributes:
        vectors: (windows, width) of length 1, those of a document one after the other.
        starts: (documents + 1,) the first window of each document, and how many there are.
    """

    vectors: Any
    starts: NDArray[Any]


#: Returns for one query the documents and their scores, best first.
Found = list[tuple[int, float]]


def nearest_exact(index: Passaged, queries: Any, top_k: int) -> list[Found]:
    """Return the `top_k` documents with the best windows for each of `queries` (n, width)."""
    nothing: tuple[Any, Any] = np.empty(0, np.int64), np.empty(0, np.float32)
    best = [nothing] * len(queries)
    for first, last in _blocks(index.starts):
        start, end = int(index.starts[first]), int(index.starts[last])
        scores: Any = queries @ np.asarray(index.vectors[start:end]).T
        if last - first < end - start:
            scores = np.maximum.reduceat(scores, index.starts[first:last] - start, axis=1)
        for number in range(len(queries)):
            row = scores[number]
            places = best_places(row, top_k)
            documents = np.concatenate([best[number][0], first + places])
            merged = np.concatenate([best[number][1], row[places]])
            # Earlier blocks come first, so that of equals the first document is kept.
            order = best_places(merged, top_k)
            best[number] = documents[order], merged[order]
    return [[*zip(ids.tolist(), scores.tolist(), strict=True)] for ids, scores in best]


def best_window(index: Passaged, document: int, query: Any) -> tuple[int, int]:
    """Return which window of a document is nearest to a query, and how many it has."""
    start, end = index.starts[document], index.starts[document + 1]
    return int((index.vectors[start:end] @ query).argmax()), int(end - start)


def _blocks(starts: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield (first, after the last) documents whose vectors fill a block."""
    first, count = 0, len(starts) - 1
    while first < count:
        last = int(owners(starts, starts[first] + BLOCK))
        last = min(max(last, first + 1), count)
        yield first, last
        first = last


def owners(starts: NDArray[Any], windows: Any) -> Any:
    """Return the documents that have these windows."""
    return cast("Any", np).searchsorted(starts, windows, side="right") - 1


class Graph:
    """A hierarchical navigable small world (Malkov and Yashunin 2018), by faiss.

    Args:
        width: Of the vectors.
        content: What `to_array` gave, or None for an empty one.

    Raises:
        ImportError: faiss is not installed.
        ValueError: `content` is damaged, or of another width.
    """

    def __init__(self, width: int, content: Any = None) -> None:
        self._faiss = faiss()
        if content is None:
            self._graph = self._faiss.IndexHNSWFlat(
                width, NEIGHBOURS, self._faiss.METRIC_INNER_PRODUCT
            )
            self._graph.hnsw.efConstruction = CANDIDATES
        else:
            try:
                self._graph = self._faiss.deserialize_index(np.asarray(content))
            except RuntimeError as error:
                raise ValueError(f"the graph is damaged ({error})") from error
        if self._graph.d != width:
            raise ValueError(f"the graph is of vectors of {self._graph.d} numbers, not {width}")

    def __len__(self) -> int:
        return self._graph.ntotal

    def add(self, vectors: Any) -> None:
        """Add vectors (n, width), which get the next numbers."""
        self._graph.add(np.ascontiguousarray(vectors))

    def to_array(self) -> Any:
        """Return the graph as bytes."""
        return self._faiss.serialize_index(self._graph)

    def nearest(self, queries: Any, top_k: int, owner: Callable[[Any], Any]) -> list[Found]:
        """Return about the `top_k` nearest documents; `owner` tells whose a window is.

        Where windows of few documents crowd out the others, more windows are asked for.
        """
        count = min(top_k, len(self))
        while True:
            self._graph.hnsw.efSearch = max(2 * count, CANDIDATES)
            scores, windows = self._graph.search(np.ascontiguousarray(queries), count)
            rows = zip(scores, windows, strict=True)
            found = [_by_document(row, owner(ids[ids >= 0])) for row, ids in rows]
            if count == len(self) or all(len(each) >= top_k for each in found):
                return [each[:top_k] for each in found]
            count = min(2 * count, len(self))


def _by_document(scores: Any, documents: Any) -> Found:
    """Return each document once, with the first of its scores."""
    best: dict[int, float] = {}
    for document, score in zip(documents.tolist(), scores.tolist(), strict=False):
        best.setdefault(document, score)
    return [*best.items()]


def faiss() -> Any:
    """Return the module, or raise `ImportError` that says how to get it."""
    try:
        return importlib.import_module("faiss")
    except ModuleNotFoundError as error:
        raise ImportError(
            "approximate search needs faiss: pip install 'regard[search]'; exact search needs "
            "nothing else"
        ) from error
