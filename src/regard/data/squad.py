"""Questions about texts, as SQuAD stores them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from regard.data.json_files import parse_json
from regard.data.sources import Source, SourceRow, reader
from regard.errors import DataError

_NAMES = ("id", "title", "context", "question", "answers")


def squad_source(path: str | Path, *, encoding: str = "utf-8") -> Source:
    """Read SQuAD JSON, version 1.1 or 2.

    The columns are ``id``, ``title``, ``context``, ``question`` and ``answers``, a dict of two
    lists: ``text`` and ``answer_start``, in characters. Both are empty where the context has no
    answer (version 2) and where none is given.

    Args:
        path: The file, gzipped or not.
        encoding: The encoding of the text.

    Raises:
        DataError: The file is not of this form, an answer is not at its place in the context, or
            an id stands twice; the message names file, article and question.
    """
    file = Path(path)
    found: Any = parse_json(file, encoding)
    articles = _get(found, "data", list, str(file))
    return Source(_NAMES, partial(_rows, file, articles), "question")


def _rows(file: Path, articles: Sequence[Any]) -> Iterator[SourceRow]:
    number = 0
    seen: set[str] = set()
    for index, article in enumerate(articles, 1):
        title = (
            str(cast("dict[str, Any]", article).get("title", ""))
            if isinstance(article, dict)
            else ""
        )
        where = f"{file}, article {index} {title!r}"
        for context, question in _questions(article, where):
            number += 1
            name = str(_get(question, "id", (str, int), f"{where}, question {number}"))
            place = f"{where}, question {name!r}"
            if name in seen:
                raise DataError(f"{place}: the id stands twice; answers are counted by id")
            seen.add(name)
            answers = _answers(context, question, place)
            text = _get(question, "question", str, place)
            yield str(file), number, [name, title, context, text, answers]


def _questions(article: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield each question with its context."""
    for paragraph in _get(article, "paragraphs", list, where):
        context = _get(paragraph, "context", str, where)
        for question in _get(paragraph, "qas", list, where):
            yield context, question


def _answers(context: str, question: Mapping[str, Any], place: str) -> dict[str, list[Any]]:
    given: list[Any] = [] if question.get("is_impossible") else question.get("answers") or []
    texts = [_get(answer, "text", str, place) for answer in given]
    starts = [_get(answer, "answer_start", int, place) for answer in given]
    for text, start in zip(texts, starts, strict=True):
        if not text or start < 0 or not context.startswith(text, start):
            raise DataError(_misplaced(context, text, start, place))
    return {"text": texts, "answer_start": starts}


def _misplaced(context: str, text: str, start: int, place: str) -> str:
    found = [i for i in range(len(context)) if context.startswith(text, i)] if text else []
    near = min(found, key=lambda i: abs(i - start), default=None)
    where = "it is nowhere in it" if near is None else f"it is at {near}"
    there = context[max(start, 0) : max(start, 0) + max(len(text), 1)]
    return (
        f"{place}: the answer {text!r} is not at character {start} of the context, where "
        f"{there!r} is; {where}. Offsets count characters, not bytes"
    )


def _get(found: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """Return an entry of a JSON object that has the right type."""
    value = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    if not isinstance(value, kind):
        raise DataError(
            f"{where}: no {name!r} as SQuAD has it (data > paragraphs > context and qas > "
            f"question, id and answers > text and answer_start)"
        )
    return value


read_squad = reader(squad_source)
