"""CoNLL columns: one word per line with its tags, sentences apart by blank lines."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from regard.data.files import numbered_lines
from regard.data.sources import Source, SourceRow, reader
from regard.errors import DataError

#: ``# text = ...`` and ``# newdoc``, as opposed to a word ``#`` or a hashtag with its tag.
_COMMENT = re.compile(r"# ?(\S+ ?= |\S+ ?=$|newdoc\b|newpar\b|\S+ id = )")


@dataclass(frozen=True)
class Sentence:
    """A sentence as it stands in a file.

    Attributes:
        lines: The line of each word.
        words: The columns of each word.
        comments: ``{"sent_id": ...}`` from the comment lines before it.
    """

    lines: list[int]
    words: list[list[str]]
    comments: Mapping[str, str]


def sentences(path: Path, encoding: str) -> Iterator[Sentence]:
    """Yield the sentences of a file; comments and ``-DOCSTART-`` lines belong to none.

    Columns are apart by tabs where the file's first word has one, else by spaces.
    """
    split: Callable[[str], list[str]] | None = None
    lines: list[int] = []
    words: list[list[str]] = []
    comments: dict[str, str] = {}
    for number, line in numbered_lines(path, encoding):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                yield Sentence(lines, words, comments)
            lines, words, comments = [], [], {}
        elif not words and _is_comment(line):
            name, _, value = line[1:].partition("=")
            comments[name.strip()] = value.strip()
        else:
            split = split or (_split_tabs if "\t" in line else _split_spaces)
            lines.append(number)
            words.append(split(line))
    if words:
        yield Sentence(lines, words, comments)


def conll_source(
    path: str | Path, *, columns: Mapping[str, int] | None = None, encoding: str = "utf-8"
) -> Source:
    """Read sentences of words with tags, such as CoNLL-2003's and WNUT's.

    Args:
        path: The file, gzipped or not.
        columns: Name and number (from 0, or from -1 backwards) of each column to take. The default
            is ``{"tokens": 0, "tags": -1}``, and ``{"tokens": 1, "tags": 2}`` in files whose first
            column counts the words.
        encoding: The encoding of the text.

    Raises:
        DataError: A word has too few columns, or is empty; the message names file and line.
    """
    file = Path(path)
    if columns is None:
        first = next(sentences(file, encoding), None)
        columns = _usual_columns(first.words if first else [])
    return Source(tuple(columns), partial(_tagged, file, encoding, dict(columns)))


def _tagged(file: Path, encoding: str, columns: Mapping[str, int]) -> Iterator[SourceRow]:
    wanted = list(columns.values())
    width = max((c + 1 if c >= 0 else -c for c in wanted), default=1)
    # A word without a tag would give its own text as the tag, counted from the end.
    width = max(width, len({*wanted}))
    name = str(file)
    for sentence in sentences(file, encoding):
        for line, fields in zip(sentence.lines, sentence.words, strict=True):
            if len(fields) < width or not all(fields[column] for column in wanted):
                raise DataError(_incomplete(f"{file}, line {line}", fields, columns))
        yield name, sentence.lines[0], [[f[column] for f in sentence.words] for column in wanted]


def _incomplete(where: str, fields: Sequence[str], columns: Mapping[str, int]) -> str:
    shown = " | ".join(fields)
    return (
        f"{where}: {len(fields)} columns ({shown[:40]}), of which one is empty or missing; wanted "
        f"{', '.join(f'{name!r} in column {column}' for name, column in columns.items())}; pass "
        f"columns={{'tokens': ..., 'tags': ...}} if they are elsewhere"
    )


def _usual_columns(words: Sequence[Sequence[str]]) -> dict[str, int]:
    counted = [str(number + 1) for number in range(len(words))]
    if words and len(words[0]) > 2 and [fields[0] for fields in words] == counted:
        return {"tokens": 1, "tags": 2}
    return {"tokens": 0, "tags": -1}


def _is_comment(line: str) -> bool:
    return _COMMENT.match(line) is not None


def _split_tabs(line: str) -> list[str]:
    return line.split("\t")


def _split_spaces(line: str) -> list[str]:
    # Other white space that Unicode knows may stand inside a word.
    return [field for field in line.split(" ") if field]


read_conll = reader(conll_source)
