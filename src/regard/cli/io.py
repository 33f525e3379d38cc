"""What the verbs share: reading texts, writing results, and the boundary where errors end."""

import functools
import io
import itertools
import json
import logging
import os
import sys
import time
import typing
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

import typer

from regard.errors import notices
from regard.runtime.memory import memory_peak

if typing.TYPE_CHECKING:
    from rich.console import RenderableType

#: Texts of a stream that are answered together at most; as many as the pipelines sort together.
PORTION = 1024
#: Columns of a table at most: wider lines are hard to follow with the eye.
WIDEST = 120
#: Characters of a text that a table shows.
SHOWN = 160

Record = Mapping[str, Any]
_Options = ParamSpec("_Options")
_Item = TypeVar("_Item")


def verb(function: Callable[_Options, None]) -> Callable[_Options, None]:
    """Wrap a verb so that what goes wrong ends as one line on stderr and an exit code.

    Wrong input exits with 1, Ctrl-C with 130, a closed pipe quietly. An option ``debug`` lets the
    traceback through, and tells what the work took; errors that nobody expects always come with
    their traceback.
    """

    @functools.wraps(function)
    def run(*arguments: _Options.args, **options: _Options.kwargs) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that lacks a character gets its escape instead of an error.
            sys.stdout.reconfigure(errors="backslashreplace")
        begun = time.perf_counter()
        try:
            with _notices_on_stderr():
                function(*arguments, **options)
            sys.stdout.flush()
            if options.get("debug"):
                tell(_cost(time.perf_counter() - begun))
        except BrokenPipeError:
            _let_output_go()
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except (ImportError, OSError, TypeError, ValueError) as error:
            if options.get("debug"):
                raise
            tell(f"error: {_message(error)}")
            raise typer.Exit(1) from error

    return run


def read_texts(arguments: Sequence[str] | None, file: str | None) -> Iterable[str]:
    """Return the arguments as a list, or a stream of them and the lines of `file`.

    ``-``, as the file or the only argument, is stdin; so is giving neither, unless that would wait
    for someone to type. Lines are read as they are taken; blank ones are skipped and counted.

    Raises:
        BadParameter: There is nothing to read.
        ValueError: A text is not UTF-8, or there is none at all.
        OSError: The file cannot be opened.
    """
    given, source, name = open_texts(arguments, file)
    return given if source is None else _stream(given, source, name)


def open_texts(
    arguments: Sequence[str] | None, file: str | None
) -> tuple[list[str], AbstractContextManager[BinaryIO] | None, str]:
    """Return the arguments, the file or stream that is to be read too, and its name."""
    given = [*(arguments or [])]
    if given == ["-"] and file is None:
        given, file = [], "-"
    for text in given:
        if not _is_unicode(text):
            raise ValueError(f"not UTF-8: {text!r}; check the terminal's encoding")
    if file is None and given:
        return given, None, ""
    if file is None and sys.stdin.isatty():
        raise typer.BadParameter(
            "nothing to read: give texts as arguments, --file PATH with one text per line, "
            "or pipe lines into the command",
            param_hint="TEXT",
        )
    if file is None or file == "-":
        return given, nullcontext(sys.stdin.buffer), "stdin"
    # Opened here, not when the first line is taken: a missing file is told before a model loads.
    return given, Path(file).open("rb"), file


def portions(texts: Iterable[_Item], first: int = 1) -> Iterator[list[_Item]]:
    """Cut a stream into lists of `first`, then twice as many, up to `PORTION`; keep a list whole.

    A slow stream gets its first answer at once, a fast one is soon computed at full speed.
    """
    if isinstance(texts, list):
        yield texts
        return
    size, stream = first, iter(texts)
    while portion := [*itertools.islice(stream, size)]:
        yield portion
        size = min(2 * size, PORTION)


@dataclass(frozen=True)
class Column:
    """A column of a table; without a `width` it takes the space that the others leave."""

    title: str
    width: int | None = None
    right: bool = False


def write_records(
    records: Iterable[Iterable[Record]],
    columns: Sequence[Column],
    cells: Callable[[Any], Sequence[str]],
    *,
    as_json: bool,
    header: bool = True,
) -> None:
    """Write records as they come, as JSON lines or as rows of one table.

    Args:
        records: Portions of records; each portion is written when it is there.
        columns: The table's columns. Widths are fixed, so that portions line up.
        cells: Turns a record into the text of each column.
        as_json: JSON lines instead of a table.
        header: Whether the first portion of a table is under the names of its columns.
    """
    for number, portion in enumerate(records):
        if as_json:
            emit("".join(f"{to_json(record)}\n" for record in portion))
        else:
            emit(_draw(_table(columns, map(cells, portion), header=header and number == 0)))


def write_facts(sections: Mapping[str, Mapping[str, str]]) -> None:
    """Write titled lists of names and values, one below the other."""
    from rich.table import Table
    from rich.text import Text

    widest = max(len(name) for facts in sections.values() for name in facts)
    for number, (title, facts) in enumerate(sections.items()):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=widest, no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in facts.items():
            grid.add_row(name, Text(printable(value)))
        emit(("\n" if number else "") + _draw(Text(title, style="bold")) + _draw(grid, indent=2))


def write_table(title: str, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Write a titled table; for results that come in a stream see `write_records`."""
    from rich.text import Text

    emit(_draw(Text(title, style="bold")) + _draw(_table(columns, rows, header=True), indent=2))


def to_json(record: Record, indent: int | None = None) -> str:
    """Return JSON as people read it; escaped where the output cannot show every character."""
    escape = not (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(record, ensure_ascii=escape, allow_nan=False, indent=indent)


def emit(text: str) -> None:
    """Write to stdout now, so that whoever reads a pipe sees results as they are made."""
    sys.stdout.write(text)
    sys.stdout.flush()


def tell(line: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{line}\n")


def shorten(text: str) -> str:
    """Return the text as a table shows it: on one line, harmless, cut where it is very long."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3].rstrip()}..."


def printable(text: str) -> str:
    """Replace control characters: text from a file must not command the terminal.

    What the output cannot show is escaped here already, so that columns stay in line.
    """
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def counted(number: int, what: str) -> str:
    """Return ``1 text``, ``2 texts``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def scaled(number: float, unit: str = "") -> str:
    """Return ``90.9 MB`` for 90,865,664 and the unit ``B``: three digits, decimal prefixes."""
    rounded = float(f"{number:.3g}")
    if rounded < 1000:
        return f"{rounded:g} {unit}".rstrip()
    power = min((len(str(int(rounded))) - 1) // 3, 6)
    value = rounded / 1000**power
    return f"{value:.{3 - len(str(int(value)))}f} {'kMGTPE'[power - 1]}{unit}"


def _stream(given: list[str], source: Any, name: str) -> Iterator[str]:
    """Yield what was `given`, then the lines of `source`."""
    yield from given
    blank = total = 0
    with source as file:
        for number, text in read_lines(file):
            if isinstance(text, ValueError):
                raise ValueError(f"{name}, line {number}: {text}") from text
            total += 1
            if text.strip():
                yield text
            else:
                blank += 1
    if blank:
        notices.warning("%s: skipped %s", name, counted(blank, "blank line"))
    if total == blank and not given:
        raise ValueError(f"{name}: there is no text in it; wanted one per line")


def read_lines(file: BinaryIO) -> Iterator[tuple[int, str | ValueError]]:
    """Yield numbered lines without their ends, or what is wrong with them.

    Other separators that Unicode knows belong to a text.
    """
    for number, line in enumerate(file, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield (
                number,
                ValueError(
                    f"not UTF-8 ({error.reason} at byte {error.start + 1} of the line); save the "
                    "file as UTF-8"
                ),
            )
        else:
            yield number, text.removesuffix("\n").removesuffix("\r")


def _is_unicode(text: str) -> bool:
    # Python smuggles undecodable bytes of arguments in as lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, header: bool) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True, show_header=header
    )
    for column in columns:
        table.add_column(
            column.title,
            width=column.width,
            ratio=None if column.width else 1,
            justify="right" if column.right else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _draw(content: "RenderableType", indent: int = 0) -> str:
    """Return what rich would print here: with colours on a terminal, without in a pipe or file."""
    from rich.console import Console
    from rich.padding import Padding

    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    with console.capture() as captured:
        console.print(Padding(content, (0, 0, 0, indent)) if indent else content)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


@contextmanager
def _notices_on_stderr() -> Generator[None]:
    """Show the library's notices as plain lines on stderr while a verb runs."""
    handler = logging.StreamHandler(sys.stderr)
    notices.addHandler(handler)
    try:
        yield
    finally:
        notices.removeHandler(handler)


def _let_output_go() -> None:
    """Point stdout at nothing: its reader has gone, and Python flushes it once more at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _cost(seconds: float) -> str:
    """Return what a verb took; the peak of its memory where the system says it."""
    peak = memory_peak()
    return f"took {seconds:.1f} s" + ("" if peak is None else f", peak memory {scaled(peak, 'B')}")


def _message(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error}; `regard doctor` tells what is missing and how to get it"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
