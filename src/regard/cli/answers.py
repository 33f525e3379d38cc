"""From lines to answers: inputs that know their place, and answers as JSON, table or CSV."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import typer

from regard.cli import options
from regard.cli.io import (
    Column,
    Record,
    counted,
    emit,
    open_texts,
    portions,
    read_lines,
    shorten,
    tell,
    to_json,
    write_records,
)
from regard.errors import notices

#: An input and the answer to it.
_Answered = tuple[Any, Any]
#: Digits of a number that are shown.
DIGITS = 6


class Inputs:
    """Inputs from arguments, a file or stdin; what is wrong with some is told, the rest go on.

    Args:
        arguments: Texts.
        file: Has more, one in a line; - is stdin, and so is giving neither.
        as_json: Whether each is JSON; so it is in a file called .jsonl.
    """

    def __init__(
        self, arguments: Sequence[str] | None, file: str | None, *, as_json: bool = False
    ) -> None:
        self._given, self._source, self._name = open_texts(arguments, file)
        self._json = as_json or (file or "").endswith(".jsonl")
        self.bad = 0

    def tell(self, place: str, error: object) -> None:
        """Say what is wrong with an input."""
        self.bad += 1
        tell(f"{place}: {error}")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield each input after the place that it has."""
        for number, text in enumerate(self._given, 1):
            yield from self._read(f"text {number}", text)
        if self._source is None:
            return
        blank = total = 0
        with self._source as file:
            for number, text in read_lines(file):
                total += 1
                if isinstance(text, str) and not text.strip():
                    blank += 1
                else:
                    yield from self._read(f"{self._name}, line {number}", text)
        if total == blank and not self._given:
            raise ValueError(f"{self._name}: there is no text in it; wanted one per line")
        if blank:
            notices.warning("%s: skipped %s", self._name, counted(blank, "blank line"))

    def answers(self, call: Callable[[list[Any]], Iterable[Any]]) -> Iterator[list[_Answered]]:
        """Yield portions of (input, answer), leaving out inputs that have none."""
        from regard.pipelines.job import Failure

        # Arguments are there at once; lines are answered as they come.
        given: Iterable[tuple[str, Any]] = [*self] if self._source is None else self
        for portion in portions(given):
            found: list[_Answered] = []
            answers = call([item for _, item in portion])
            for (place, item), answer in zip(portion, answers, strict=True):
                if isinstance(answer, Failure):
                    self.tell(place, answer.error)
                else:
                    found.append((item, answer))
            yield found

    def end(self) -> None:
        """Leave with exit code 1 if an input was bad."""
        if self.bad:
            tell(f"{counted(self.bad, 'input')} could not be answered")
            raise typer.Exit(1)

    def _read(self, place: str, text: str | ValueError) -> Iterator[tuple[str, Any]]:
        if isinstance(text, str) and self._json:
            try:
                yield place, json.loads(text)
            except ValueError as error:
                self.tell(place, f"not JSON ({error})")
        elif isinstance(text, str):
            yield place, text
        else:
            self.tell(place, text)


@dataclass(frozen=True)
class Output:
    """How answers are written: as a table unless something else is asked for."""

    as_json: bool = False
    as_csv: bool = False

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise typer.BadParameter("--json and --csv exclude each other")

    def write(
        self, records: Iterable[Iterable[Record]], fields: Sequence[str] | None = None
    ) -> None:
        """Write portions of records as they come.

        Args:
            records: Each a JSON object, or a row.
            fields: The columns; by default the names of the first portion.
        """
        begun = False
        for portion in records:
            rows = [_rounded(record) for record in portion]
            if self.as_json:
                emit("".join(f"{to_json(row)}\n" for row in rows))
                continue
            if not rows:
                continue
            fields = fields or [*dict.fromkeys(name for row in rows for name in row)]
            if self.as_csv:
                emit(_csv(rows, fields, header=not begun))
            else:
                _write_table(rows, fields, header=not begun)
            begun = True

    def write_answers(
        self, answers: Iterable[list[_Answered]], given: str = "input", said: str = "output"
    ) -> None:
        """Write portions of (input, answer): one JSON object for each, a row for each finding.

        Args:
            answers: Answers are mappings, lists of them, or values.
            given: What the input is called.
            said: What an answer is called in JSON that is no mapping.
        """
        if self.as_json:
            self.write([_object(*pair, given, said) for pair in portion] for portion in answers)
        else:
            self.write([*_rows(portion, given, said)] for portion in answers)


def answer_texts(
    task: str,
    inputs: Inputs,
    asked: Mapping[str, Any],
    where: tuple[str | None, str | None, str | None, str | None, str],
    output: Output,
    said: str,
) -> None:
    """Do a task that answers text by text.

    Args:
        task: Its name.
        inputs: The texts.
        asked: What the pipeline's call is told.
        where: Model, revision, device, type of the weights and precision.
        output: How answers are written.
        said: What the answer to a text is called.
    """
    model, revision, device, dtype, precision = where
    kind = options.task_class(task, model, asked)
    pipeline = options.load_task(kind, model, revision, device, dtype, precision)
    output.write_answers(inputs.answers(lambda texts: pipeline(texts, **asked)), "text", said)
    inputs.end()


def _object(item: Any, answer: Any, given: str, said: str) -> Record:
    if isinstance(answer, Mapping):
        return {given: item, **cast("Mapping[str, Any]", answer)}
    return {given: item, said: answer}


def _rows(portion: Iterable[_Answered], given: str, said: str) -> Iterator[Record]:
    """Yield a row for each part of an answer, and one where there is none."""
    for item, answer in portion:
        parts: list[Any] = [answer]
        if isinstance(answer, list):
            found = cast("list[Any]", answer)
            parts = found if all(isinstance(part, Mapping) for part in found) else [found]
        for part in parts or [{}]:
            yield _object(item, part, given, said)


def _rounded(value: Any) -> Any:
    """Return a value that JSON knows, numbers with few digits."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        named = cast("Mapping[str, Any]", value)
        return {name: _rounded(each) for name, each in named.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in cast("Iterable[Any]", value)]
    return _rounded(value.tolist()) if hasattr(value, "tolist") else value


def _csv(rows: Sequence[Record], fields: Sequence[str], *, header: bool) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if header:
        table.writerow(fields)
    table.writerows([_cell(row.get(name)) for name in fields] for row in rows)
    return text.getvalue()


def _write_table(rows: Sequence[Record], fields: Sequence[str], *, header: bool) -> None:
    columns = [_column(name, [row.get(name) for row in rows]) for name in fields]

    def cells(row: Record) -> list[str]:
        return [shorten(_seen(row.get(name))) for name in fields]

    write_records([rows], columns, cells, as_json=False, header=header)


def _column(name: str, values: Sequence[Any]) -> Column:
    """Return a column; numbers take little space."""
    title = name.replace("_", " ").capitalize()
    number = all(isinstance(value, int | float | None) for value in values)
    least = 9 if any(isinstance(value, float) for value in values) else 6
    return Column(title, max(least, len(title)) if number else None, right=number)


def _seen(value: Any) -> str:
    """Return what people look for in a value: of what has parts, the words, without numbers."""
    if isinstance(value, Mapping):
        parts = [*cast("Mapping[str, Any]", value).values()]
        words = [_seen(part) for part in parts if isinstance(part, str | Mapping | list)]
        return " ".join(filter(None, words)) or _cell(value)
    found: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [None]
    if all(isinstance(part, Mapping) for part in found):
        nested = any(isinstance(part, list) for each in found for part in each.values())
        return ("; " if nested else ", ").join(map(_seen, found))
    return _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{DIGITS}f}"
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
