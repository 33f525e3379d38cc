"""Search by meaning in texts that were read before."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from regard.pipelines import stored_index
from regard.pipelines.job import Failure, check_text, shaped
from regard.pipelines.nearest import Found, Graph, best_window, nearest_exact, owners
from regard.pipelines.passages import check_top_k, embed_passages, hit
from regard.pipelines.sentence_encoder import SentenceEncoder, normalized

#: Queries that are compared at once.
TOGETHER = 64


class SearchIndex:
    """Texts and their vectors, of which those nearest to a query are found.

    Args:
        encoder: What makes the vectors; the embedded one by default.
        approximate: Whether to search a graph of neighbours (Malkov and Yashunin 2018), which is
            faster from about a hundred thousand texts on and may miss some, instead of comparing
            with every vector. Needs ``pip install 'regard[search]'``.
    """

    def __init__(
        self, encoder: SentenceEncoder | None = None, *, approximate: bool = False
    ) -> None:
        self.encoder = encoder or SentenceEncoder.from_pretrained()
        width = self.encoder.encode("a").shape[0]
        self.vectors: Any = np.empty((0, width), np.float32)
        self.starts: NDArray[Any] = np.zeros(1, np.int64)
        self.places: Any = np.empty((0, 2), np.int64)
        self.texts: Sequence[str] = []
        self.graph = Graph(width) if approximate else None

    @classmethod
    def build(
        cls,
        texts: Iterable[str],
        encoder: SentenceEncoder | None = None,
        *,
        approximate: bool = False,
    ) -> "SearchIndex":
        """Return an index of `texts`; other arguments as for the class."""
        index = cls(encoder, approximate=approximate)
        index.add(texts)
        return index

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, texts: Iterable[str]) -> None:
        """Add texts, which get the next numbers; a stream is read as it is encoded.

        A long text has a vector for each of its windows.

        Raises:
            TypeError: One is no text; then none is added.
        """
        kept: list[str] = []
        given = (kept.append(check_text(text, f"text {i}")) or text for i, text in enumerate(texts))
        found = self.encoder.run(given, embed_passages(self.encoder))
        vectors, counts, places = [self.vectors], list[int](), [self.places]
        while part := [*itertools.islice(found, 1024)]:
            vectors.append(np.concatenate([each.vectors for each in part]))
            places.append(np.concatenate([np.array(each.places, np.int64) for each in part]))
            counts += [len(each.places) for each in part]
        if not kept:
            return
        added = np.concatenate(vectors[1:])
        if self.graph is not None:
            self.graph.add(added)
        self.vectors = np.concatenate([self.vectors, added]) if len(self) else added
        self.places = np.concatenate(places)
        self.starts = np.concatenate([self.starts, self.starts[-1] + np.cumsum(counts)])
        self.texts = [*self.texts, *kept]

    def search(self, query: str | Iterable[str], top_k: int | None = 10) -> Any:
        """Return ``[{"index", "score", "text"}]`` of the nearest texts, best first.

        The score is the cosine. A text of several windows counts by its best one, and ``"start"``
        and ``"end"`` say which characters that shows.

        Args:
            query: A text, a list of them, or a stream.
            top_k: How many to return; None is all.
        """
        check_top_k(top_k)
        queries = [query] if isinstance(query, str) else query
        return shaped(query, self._search(queries, top_k or len(self)))

    def nearest(self, queries: Any, top_k: int) -> list[list[dict[str, Any]]]:
        """Return what `search` does, for the vectors (n, width) of queries."""
        if not len(self):
            return [[] for _ in queries]
        queries = normalized(np.asarray(queries, np.float32))
        if self.graph is None:
            found = nearest_exact(self, queries, top_k)
        else:
            found = self.graph.nearest(queries, top_k, lambda windows: owners(self.starts, windows))
        return [self._hits(query, each) for query, each in zip(queries, found, strict=True)]

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, whole or not at all, as safetensors and JSON lines."""
        stored_index.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, encoder: SentenceEncoder | None = None) -> "SearchIndex":
        """Read an index that `save` wrote; vectors and texts stay in the file until they are used.

        Args:
            folder: Where it is.
            encoder: What its vectors were made with; the embedded one by default.

        Raises:
            CheckpointError: There is none, it is damaged, or was made with another model.
        """
        parts = stored_index.load(Path(folder))
        index = cls(encoder)
        stored_index.check_encoder(parts, index.encoder, Path(folder))
        index.vectors, index.starts, index.places = parts.vectors, parts.starts, parts.places
        index.texts = parts.texts
        if parts.graph is not None:
            index.graph = Graph(parts.vectors.shape[1], parts.graph)
        return index

    def _search(self, queries: Iterable[str], top_k: int) -> Iterator[Any]:
        found = self.encoder.run(queries, self.encoder.job())
        while part := [*itertools.islice(found, TOGETHER)]:
            good = [each for each in part if not isinstance(each, Failure)]
            hits = iter(self.nearest(np.stack(good), top_k) if good else [])
            yield from (each if isinstance(each, Failure) else next(hits) for each in part)

    def _hits(self, query: Any, found: Found) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = []
        for document, score in found:
            window, count = best_window(self, document, query)
            place = self.places[self.starts[document] + window].tolist() if count > 1 else None
            hits.append(hit(document, score, self.texts[document], place))
        return hits


class SearchPipeline(SentenceEncoder):
    """Searches an index of texts by meaning; see `SearchIndex`."""

    task: ClassVar[str] = "search"

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self,
        query: str | Iterable[str],
        index: SearchIndex | str | Path | None = None,
        top_k: int | None = 10,
    ) -> Any:
        """Return ``[{"index", "score", "text"}]`` of the nearest texts; see `SearchIndex.search`.

        Args:
            query: A text, a list of them, or a stream.
            index: What `index` gave, or the folder that it was saved to.
            top_k: How many to return; None is all.
        """
        if index is None:
            raise TypeError("search needs an index: pass index=pipe.index(texts), or its folder")
        if isinstance(index, str | Path):
            index = SearchIndex.load(index, self)
        return index.search(query, top_k)

    def index(self, texts: Iterable[str], *, approximate: bool = False) -> SearchIndex:
        """Return an index of `texts`; see `SearchIndex`."""
        return SearchIndex.build(texts, self, approximate=approximate)
