"""CoNLL-U: sentences with their syntax, and the semantic roles of the Universal PropBanks."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from regard.data.conll import Sentence, sentences
from regard.data.sources import Source, SourceRow, reader
from regard.errors import DataError

#: Columns of CoNLL-U; then come the predicate's sense, and for each predicate a column of roles.
_WIDTH = 10
_SENSE = 10
_NOTHING = ("_", "")

_SYNTAX = {"tokens": 1, "lemmas": 2, "upos": 3, "xpos": 4, "heads": 6, "deprels": 7}
_WHOLE = (*_SYNTAX, "predicates", "senses", "roles", "sent_id")
_EACH = ("tokens", "predicate", "sense", "roles", "sent_id")


def conllu_source(path: str | Path, *, by: str = "sentence", encoding: str = "utf-8") -> Source:
    """Read CoNLL-U, with or without semantic roles.

    Roles stand on the head words of the arguments: the first column after the ten of CoNLL-U has
    the sense of each predicate, and then one column per predicate has the role of each word, ``_``
    where it has none. Ranges of words (``3-4``) and empty words (``10.1``) are passed over.

    Args:
        path: The file, gzipped or not.
        by: ``"sentence"``: ``tokens``, ``lemmas``, ``upos``, ``xpos``, ``heads`` (from 1; 0 for the
            root), ``deprels``, ``predicates`` (their words, from 0), ``senses``, ``roles`` (one
            list per predicate) and ``sent_id``. ``"predicate"``: an example for each predicate,
            with ``tokens``, ``predicate``, ``sense``, ``roles`` and ``sent_id``.
        encoding: The encoding of the text.

    Raises:
        DataError: A line has too few columns, or a sentence not as many columns of roles as
            predicates; the message names file and line.
    """
    if by not in ("sentence", "predicate"):
        raise DataError(f"by={by!r}; wanted 'sentence' or 'predicate'")
    names = _WHOLE if by == "sentence" else _EACH
    return Source(names, partial(_rows, Path(path), encoding, by == "predicate"))


def _rows(file: Path, encoding: str, each: bool) -> Iterator[SourceRow]:
    for sentence in sentences(file, encoding):
        whole = _parsed(file, sentence)
        if not each:
            yield str(file), sentence.lines[0], [whole[name] for name in _WHOLE]
            continue
        for number, word in enumerate(whole["predicates"]):
            values = (whole["tokens"], word, whole["senses"][number], whole["roles"][number])
            yield str(file), sentence.lines[0], [*values, whole["sent_id"]]


def _parsed(file: Path, sentence: Sentence) -> dict[str, Any]:
    both = zip(sentence.lines, sentence.words, strict=True)
    numbered = [(line, fields) for line, fields in both if fields[0].isdecimal()]
    for expected, (line, fields) in enumerate(numbered, 1):
        if len(fields) < _WIDTH:
            raise DataError(
                f"{file}, line {line}: {len(fields)} columns; CoNLL-U has {_WIDTH}, apart by tabs"
            )
        if int(fields[0]) != expected:
            raise DataError(f"{file}, line {line}: word {fields[0]}; wanted word {expected}")
    words = [fields for _, fields in numbered]
    found: dict[str, Any] = {name: [f[i] for f in words] for name, i in _SYNTAX.items()}
    found["heads"] = [int(head) if head.isdecimal() else -1 for head in found["heads"]]
    found["predicates"] = [i for i, fields in enumerate(words) if _sense(fields)]
    found["senses"] = [_sense(words[i]) for i in found["predicates"]]
    found["roles"] = _roles(file, numbered, len(found["predicates"]))
    found["sent_id"] = sentence.comments.get("sent_id", "")
    return found


def _sense(fields: Sequence[str]) -> str:
    sense = fields[_SENSE] if len(fields) > _SENSE else ""
    return "" if sense in _NOTHING else sense


def _roles(
    file: Path, numbered: Sequence[tuple[int, Sequence[str]]], predicates: int
) -> list[list[str]]:
    """Return for each predicate the role of each word."""
    for line, fields in numbered:
        roles = fields[_SENSE + 1 :]
        # Where nothing is a predicate, some files end the line with an empty column.
        if len(roles) != predicates and any(role not in _NOTHING for role in roles[predicates:]):
            raise DataError(_miscounted(file, line, len(roles), predicates))
        if len(roles) < predicates:
            raise DataError(_miscounted(file, line, len(roles), predicates))
    return [
        [fields[_SENSE + 1 + number] or "_" for _, fields in numbered]
        for number in range(predicates)
    ]


def _miscounted(file: Path, line: int, roles: int, predicates: int) -> str:
    return (
        f"{file}, line {line}: {roles} columns of roles, and the sentence has {predicates} "
        f"predicates (words with a sense in column {_SENSE + 1}); wanted one column for each"
    )


read_conllu = reader(conllu_source)
