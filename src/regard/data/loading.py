"""`load_dataset`: any file of examples by its path."""

import re
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from regard.data.conll import conll_source
from regard.data.conllu import conllu_source
from regard.data.examples import Examples
from regard.data.files import opened, plain_suffix
from regard.data.json_files import json_source, jsonl_source
from regard.data.parquet import parquet_source
from regard.data.plain_text import folder_source, parallel_source, text_source
from regard.data.sources import Source, collect
from regard.data.squad import squad_source
from regard.data.tables import csv_source, tsv_source
from regard.errors import DataError, nearest

if TYPE_CHECKING:
    from regard.data.stream import ExampleStream

FORMATS: dict[str, Callable[..., Source]] = {
    "csv": csv_source,
    "tsv": tsv_source,
    "json": json_source,
    "jsonl": jsonl_source,
    "parquet": parquet_source,
    "conll": conll_source,
    "conllu": conllu_source,
    "squad": squad_source,
    "text": text_source,
    "folder": folder_source,
    "parallel": parallel_source,
}

#: What a file's suffix, before ``.gz``, says of its format.
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".conll": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".conllu": "conllu",
    ".conllup": "conllu",
    ".txt": "text",
}

#: Characters at the start of a JSON file that tell its form.
_SNIFFED = 1 << 16

Path_ = str | Path


@overload
def load_dataset(
    path: Path_ | Sequence[Path_] | Mapping[str, Path_],
    file_format: str | None = None,
    *,
    streaming: Literal[False] = False,
    **options: Any,
) -> Examples: ...
@overload
def load_dataset(
    path: Path_ | Sequence[Path_] | Mapping[str, Path_],
    file_format: str | None = None,
    *,
    streaming: Literal[True],
    **options: Any,
) -> "ExampleStream": ...
def load_dataset(
    path: Path_ | Sequence[Path_] | Mapping[str, Path_],
    file_format: str | None = None,
    *,
    streaming: bool = False,
    **options: Any,
) -> "Examples | ExampleStream":
    """Read labelled or plain text from a file, a folder, or several files.

        load_dataset("train.tsv")
        load_dataset("reviews.csv", columns={"text": "review", "label": "stars"})
        load_dataset("ner.conll", columns={"tokens": 0, "tags": 3})
        load_dataset({"en": "train.en.gz", "de": "train.de.gz"})

    Args:
        path: A file, gzipped or not; a list of files of one format, read one after the other; a
            folder with one folder of texts per class, or of texts; or a file for each language.
        file_format: ``"csv"``, ``"tsv"``, ``"json"``, ``"jsonl"``, ``"parquet"``, ``"conll"``,
            ``"conllu"``, ``"squad"``, ``"text"``, ``"folder"`` or ``"parallel"``; None goes by the
            name of the file, and for ``.json`` by how it begins.
        streaming: Read while iterating, for files larger than memory. JSON that is not in lines is
            held whole all the same.
        options: What the format's own function takes, such as ``columns`` and ``encoding``: see
            `read_csv`, `read_conll` and the others.

    Returns:
        `Examples`, or with `streaming` an `ExampleStream`.

    Raises:
        DataError: The format is unknown, or the content is not as it says: the message names file,
            line and the fix.
        TypeError: The format has no such option.
        OSError: There is no such file.
    """
    paths = [path] if isinstance(path, str | Path | Mapping) else list(path)
    sources = [_source(each, file_format, options) for each in paths]
    if not streaming:
        return collect(sources)
    from regard.data.stream import ExampleStream  # needs torch, which reading alone does not

    return ExampleStream.from_sources(sources)


def _source(
    path: Path_ | Mapping[str, Path_], file_format: str | None, options: Mapping[str, Any]
) -> Source:
    name = file_format or _format(path)
    if name not in FORMATS:
        raise DataError(
            f"file_format={name!r}; wanted one of {', '.join(FORMATS)}{nearest(name, FORMATS)}"
        )
    known = list(signature(FORMATS[name]).parameters)[1:]
    for option in options:
        if option not in known:
            raise TypeError(
                f"the format {name!r} has no option {option!r}{nearest(option, known)}; it has "
                f"{', '.join(known)}"
            )
    return FORMATS[name](path, **options)


def _format(path: Path_ | Mapping[str, Path_]) -> str:
    """Return the format that the name of a file, or its beginning, tells."""
    if isinstance(path, Mapping):
        return "parallel"
    file = Path(path)
    if file.is_dir():
        return "folder" if any(each.is_dir() for each in file.iterdir()) else "text"
    if not file.exists():
        hub = "" if file.suffix else (
            f"; a data set of the Hub is read with `datasets` and given as it is: "
            f"datasets.load_dataset({str(path)!r})"
        )  # fmt: skip
        raise FileNotFoundError(f"{file}: no such file{hub}")
    suffix = plain_suffix(file)
    if suffix == ".json":
        return _json_format(file)
    if suffix not in SUFFIXES:
        raise DataError(
            f"{file}: the name does not tell the format; pass file_format=, one of "
            f"{', '.join(FORMATS)}"
        )
    return SUFFIXES[suffix]


def _json_format(file: Path) -> str:
    with opened(file) as text:
        start = text.read(_SNIFFED)
    if re.match(r'\s*\{.*"paragraphs"\s*:', start, re.DOTALL):
        return "squad"
    lines = start.split("\n", 2)
    objects = len(lines) > 1 and all(re.match(r"\s*\{.*\}\s*$", line) for line in lines[:2])
    return "jsonl" if objects else "json"
