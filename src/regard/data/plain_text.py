"""Texts in files: lines, paragraphs, documents, folders of classes, and line-aligned languages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path

from regard.data.files import numbered_lines, read_all
from regard.data.sources import EmptyRows, Source, SourceRow, reader
from regard.data.tables import tsv_source
from regard.errors import DataError, listing

TEXT_FILES = ("*.txt", "*.txt.gz")


def text_source(path: str | Path, *, by: str = "line", encoding: str = "utf-8") -> Source:
    """Read plain text; the one column is ``text``.

    Args:
        path: The file, gzipped or not, or a folder of ``.txt`` files, read in the order of names.
        by: ``"line"``; ``"paragraph"``: what stands between blank lines, line ends included; or
            ``"document"``: each file is one. Blank lines are no examples.
        encoding: The encoding of the text.

    Raises:
        DataError: The text has another encoding; the message names file, line and byte.
    """
    units = {"line": _lines, "paragraph": _paragraphs, "document": _document}
    if by not in units:
        raise DataError(f"by={by!r}; wanted 'line', 'paragraph' or 'document'")
    files = text_files(Path(path)) if Path(path).is_dir() else [Path(path)]
    return Source(("text",), partial(_each, files, units[by], encoding))


def folder_source(path: str | Path, *, encoding: str = "utf-8") -> Source:
    """Read a folder with one folder of ``.txt`` files per class.

    The columns are ``text``, a whole file, and ``label``, the name of its folder.

    Args:
        path: The folder. Files that lie in it directly belong to no class and are passed over.
        encoding: The encoding of the texts.

    Raises:
        DataError: There are no such folders, or a link leads out of the folder.
    """
    root = Path(path)
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    files = {folder: text_files(folder, root) for folder in folders}
    if not any(files.values()):
        raise DataError(
            f"{root}: no folder in it has {' or '.join(TEXT_FILES)} files; wanted one folder per "
            f"class, named like the class"
        )
    pairs = [(file, folder.name) for folder in folders for file in files[folder]]
    return Source(("text", "label"), partial(_classes, pairs, encoding))


def parallel_source(
    files: Mapping[str, str | Path] | str | Path,
    *,
    languages: Sequence[str] | None = None,
    encoding: str = "utf-8",
    empty_rows: str = "error",
) -> Source:
    """Read texts in several languages, line by line; one column per language.

    Args:
        files: A file for each language, as ``{"en": "train.en.gz", "de": "train.de.gz"}``, or one
            file with the languages in columns that are apart by tabs.
        languages: The languages in a file with columns, in order.
        encoding: The encoding of the texts.
        empty_rows: ``"error"``, or ``"skip"`` to pass over lines that are empty in a language.

    Raises:
        DataError: The files have different numbers of lines, or a line is empty in one of them.
    """
    if isinstance(files, Mapping):
        if len(files) < 2:
            raise DataError(f"parallel text in {listing(files) or 'no file'}; wanted two languages")
        paths = {language: Path(path) for language, path in files.items()}
        rows = partial(_aligned, paths, encoding)
        return Source(tuple(paths), partial(_full, rows, next(iter(paths.values())), empty_rows))
    if languages is None:
        raise DataError(
            f"{files}: a file for each language is given as {{'en': ..., 'de': ...}}; for one file "
            f"with columns say what they are: languages=('en', 'de')"
        )
    table = tsv_source(
        files, columns=languages, header=False, encoding=encoding, empty_rows=empty_rows
    )
    return Source(table.names, partial(_full, table.rows, Path(files), empty_rows))


def text_files(folder: Path, root: Path | None = None) -> list[Path]:
    """Return the text files below a folder, sorted.

    Raises:
        DataError: A link leads out of `root`, or there is no text file in a folder without one.
    """
    found = {file for pattern in TEXT_FILES for file in folder.rglob(pattern) if file.is_file()}
    inside = (root or folder).resolve()
    for file in found:
        if not file.resolve().is_relative_to(inside):
            raise DataError(f"{file}: a link out of {inside}; copy the file into the folder")
    if root is None and not found:
        raise DataError(f"{folder}: no {' or '.join(TEXT_FILES)} file in it")
    return sorted(found)


def _each(
    files: Sequence[Path], unit: Callable[[Path, str], Iterator[SourceRow]], encoding: str
) -> Iterator[SourceRow]:
    for file in files:
        yield from unit(file, encoding)


def _lines(file: Path, encoding: str) -> Iterator[SourceRow]:
    for number, line in numbered_lines(file, encoding):
        if line.strip():
            yield str(file), number, [line]


def _paragraphs(file: Path, encoding: str) -> Iterator[SourceRow]:
    start, lines = 0, list[str]()
    for number, line in numbered_lines(file, encoding):
        if line.strip():
            start = start if lines else number
            lines.append(line)
        elif lines:
            yield str(file), start, ["\n".join(lines)]
            lines = []
    if lines:
        yield str(file), start, ["\n".join(lines)]


def _document(file: Path, encoding: str) -> Iterator[SourceRow]:
    text = read_all(file, encoding)
    if text.strip():
        yield str(file), 0, [text]


def _classes(pairs: Sequence[tuple[Path, str]], encoding: str) -> Iterator[SourceRow]:
    for file, label in pairs:
        text = read_all(file, encoding)
        if not text.strip():
            raise DataError(f"{file}: the file is empty; delete it, or write its text")
        yield str(file), 0, [text, label]


def _aligned(paths: Mapping[str, Path], encoding: str) -> Iterator[SourceRow]:
    name = str(next(iter(paths.values())))
    files = zip_longest(*(numbered_lines(path, encoding) for path in paths.values()))
    for count, lines in enumerate(files, 1):
        if None in lines:
            raise DataError(_uneven(paths, encoding))
        yield name, count, [text for _, text in lines]


def _full(
    rows: Callable[[], Iterator[SourceRow]], file: Path, empty_rows: str
) -> Iterator[SourceRow]:
    """Yield the rows that have a text in every language."""
    empty = EmptyRows(file, empty_rows)
    for row in rows():
        if all(text.strip() for text in row[2]):
            empty.content_follows()
            yield row
        else:
            empty.found(row[1])
    empty.close()


def _uneven(paths: Mapping[str, Path], encoding: str) -> str:
    counts = {p: sum(1 for _ in numbered_lines(p, encoding)) for p in paths.values()}
    shown = " and ".join(f"{path} has {count} lines" for path, count in counts.items())
    return f"{shown}; parallel text needs as many lines in each, line by line the same sentence"


read_text = reader(text_source)
read_folder = reader(folder_source)
read_parallel = reader(parallel_source)
