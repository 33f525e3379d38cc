"""A search index in a folder: vectors as safetensors, texts as JSON lines, and what they are."""

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, overload

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors_numpy

from regard.checkpoints.files import read_json_object
from regard.checkpoints.write import write_together
from regard.errors import CheckpointError, CheckpointNotFoundError
from regard.pipelines.nearest import Graph
from regard.pipelines.sentence_encoder import SentenceEncoder, normalized

ABOUT, VECTORS, TEXTS = "index.json", "vectors.safetensors", "texts.jsonl"
FORMAT = "regard search index 1"
#: Texts whose vectors tell one model from another, of the same name or not.
PROBES = ("a", "The river is wide.", "12 % of 3,400", "Où est la gare ?", "not bad at all")
#: The least cosine between vectors of the same model in different number formats.
SAME = 0.999


class Storable(Protocol):
    """What an index is made of."""

    encoder: SentenceEncoder
    vectors: Any
    starts: NDArray[Any]
    places: Any
    texts: Sequence[str]
    graph: Graph | None


@dataclass(frozen=True)
class Stored:
    """What a folder holds.

    Attributes:
        model: The name of the model, for messages.
        vectors: (windows, width), mapped into memory.
        starts: (documents + 1,) the first window of each document.
        places: (windows, 2) the characters that each window shows.
        probes: The vectors of `PROBES`.
        texts: The documents, read when they are asked for.
        graph: What `Graph.to_array` gave, or None.
    """

    model: str
    vectors: Any
    starts: NDArray[Any]
    places: Any
    probes: Any
    texts: Sequence[str]
    graph: Any


class StoredTexts(Sequence[str]):
    """The texts of a file of JSON lines, read when they are asked for.

    Args:
        path: The file.
        ends: (texts,) where in it each line ends.
    """

    def __init__(self, path: Path, ends: Any) -> None:
        self.path, self.ends = path, ends
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if len(ends) else b""

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self.ends[place - 1]) if place else 0
        try:
            return str(json.loads(self._bytes[start : int(self.ends[place])])["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.path}, line {place + 1}: damaged ({error})") from error


def save(index: Storable, folder: Path) -> None:
    """Write an index, whole or not at all."""
    ends: list[int] = []
    about: dict[str, Any] = {
        "format": FORMAT,
        "model": getattr(index.encoder.model, "name_or_path", ""),
        "width": int(index.vectors.shape[1]),
        "documents": len(index.texts),
        "windows": len(index.vectors),
        "approximate": index.graph is not None,
    }

    def write_texts(path: Path) -> None:
        with path.open("wb") as file:
            for text in index.texts:
                line = json.dumps({"text": text}, ensure_ascii=False)
                file.write(f"{line}\n".encode())
                ends.append(file.tell())
        about[TEXTS] = path.stat().st_size

    def write_vectors(path: Path) -> None:
        arrays = {name: getattr(index, name) for name in ("vectors", "starts", "places")}
        arrays |= {"probes": _probe(index.encoder), "ends": np.array(ends, np.int64)}
        if index.graph is not None:
            arrays["graph"] = index.graph.to_array()
        safetensors_numpy.save_file(
            {name: np.ascontiguousarray(each) for name, each in arrays.items()}, path
        )
        about[VECTORS] = path.stat().st_size

    def write_about(path: Path) -> None:
        path.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    write_together(folder, {TEXTS: write_texts, VECTORS: write_vectors, ABOUT: write_about})


def load(folder: Path) -> Stored:
    """Read an index.

    Raises:
        CheckpointNotFoundError: There is none.
        CheckpointError: It is damaged.
    """
    if not (folder / ABOUT).is_file():
        raise CheckpointNotFoundError(f"{folder}: no search index here; there is no {ABOUT}")
    about = read_json_object(folder / ABOUT)
    if about.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder / ABOUT}: format is {about.get('format')!r}; wanted {FORMAT!r}"
        )
    for name in (TEXTS, VECTORS):
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != about.get(name):
            raise CheckpointError(
                f"{folder / name}: wanted {about.get(name)} bytes, found {size}; build it again"
            )
    arrays = _read_arrays(folder / VECTORS)
    _check(folder, about, arrays)
    texts = StoredTexts(folder / TEXTS, arrays.pop("ends"))
    graph = arrays.pop("graph", None)
    return Stored(str(about.get("model")), **arrays, texts=texts, graph=graph)


def check_encoder(parts: Stored, encoder: SentenceEncoder, folder: Path) -> None:
    """Raise `CheckpointError` where vectors come from another model than an index's."""
    mine = _probe(encoder)
    same = mine.shape == parts.probes.shape and (mine * parts.probes).sum(1).min() >= SAME
    if not same:
        raise CheckpointError(
            f"{folder}: its vectors, of {parts.vectors.shape[1]} numbers, were made with "
            f"{parts.model!r}; {getattr(encoder.model, 'name_or_path', '')!r} makes others, of "
            f"{mine.shape[1]}. Load the index with the encoder that it was built with"
        )


def _probe(encoder: SentenceEncoder) -> Any:
    return normalized(encoder.encode(list(PROBES)).astype(np.float32))


def _read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of a safetensors file, mapped into memory."""
    try:
        # torch maps the file; NumPy's reader would copy it.
        with cast("Any", safe_open)(path, framework="pt") as content:
            return {name: content.get_tensor(name).numpy() for name in content.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error}); build it again") from error


def _check(folder: Path, about: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Raise `CheckpointError` where parts do not fit together."""
    windows, documents, width = (about.get(name) for name in ("windows", "documents", "width"))
    right: dict[str, Any] = {
        "vectors": ((windows, width), np.dtype(np.float32)),
        "starts": (((documents or 0) + 1,), np.dtype(np.int64)),
        "places": ((windows, 2), np.dtype(np.int64)),
        "probes": ((len(PROBES), width), np.dtype(np.float32)),
        "ends": ((documents,), np.dtype(np.int64)),
    }
    found = {name: (each.shape, each.dtype) for name, each in arrays.items() if name != "graph"}
    if found != right:
        raise CheckpointError(f"{folder / VECTORS}: holds {found}; wanted {right}; build it again")
    for name, last in (("starts", windows), ("ends", about[TEXTS])):
        steps = np.diff(arrays[name], prepend=0)
        if len(steps) and ((steps < 0).any() or arrays[name][-1] != last):
            raise CheckpointError(f"{folder / VECTORS}: {name} are no places; build it again")
