"""What the verbs that write text share: their options, whole documents, and text as it comes."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from regard.cli.io import Record, counted, emit, printable, read_texts, tell

if TYPE_CHECKING:
    from regard.generation.stream import TextStream

#: Tokens of an answer where nothing else is asked for: a small model that does not find the end
#: would fill its context, which takes minutes.
LONGEST = 512

WritingModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A folder, or a name on the Hub.",
        show_default="embedded SmolLM2-135M-Instruct",
    ),
]
MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", "-n", min=1, help="Tokens to write at most.")
]
Temperature = Annotated[
    float | None,
    typer.Option(help="Draw the tokens, bolder above 1.", show_default="take the likeliest"),
]
TopP = Annotated[
    float | None,
    typer.Option(help="Draw from the likeliest tokens of this probability.", show_default=False),
]
Seed = Annotated[
    int | None, typer.Option(help="Of the random numbers.", show_default="another each time")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other option of generate, such as num_beams=4.",
        show_default=False,
    ),
]
Document = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", help="A text, UTF-8; - is standard input.", show_default=False),
]


def generate_options(
    set_: Sequence[str] | None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return the options of generate that a command line asks for; `set_` counts less.

    Raises:
        ValueError: A temperature of 0.
    """
    from regard.training.settings import named_values

    if temperature == 0:
        raise ValueError("--temperature 0 draws nothing; leave it out to take the likeliest tokens")
    drawn = temperature is not None or top_p is not None
    named: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "do_sample": True if drawn else None,
    }
    told = {name: value for name, value in named.items() if value is not None}
    return {**named_values(set_ or [], "--set"), **told}


def can_stream(options: Mapping[str, Any]) -> bool:
    """Whether the tokens of such texts are sure before the end."""
    alone = options.get("num_beams", 1) == 1 and options.get("num_return_sequences", 1) == 1
    return alone and not options.get("penalty_alpha")


def write_stream(stream: "Iterable[str]") -> None:
    """Write pieces of text as they come, and end the line."""
    for piece in stream:
        emit(shown(piece))
    emit("\n")


def shown(text: str) -> str:
    """Return text that does no harm to a terminal; tabs become spaces."""
    return printable(text.replace("\t", "    "))


def tell_end(stream: "TextStream", begun: float | None = None) -> None:
    """Say on stderr where a text was cut, and how fast it came since `begun`."""
    seconds = 0.0 if begun is None else time.perf_counter() - begun
    count = len(stream.tokens)
    if stream.reason == "length":
        tell(f"cut after {counted(count, 'token')}; for more: --max-new-tokens")
    if seconds and count:
        tell(f"{counted(count, 'token')}, {count / seconds:.1f} per second")


def read_documents(
    arguments: Sequence[str] | None, files: Sequence[Path] | None
) -> list[tuple[str, str]]:
    """Return names and texts: arguments, whole files, or all of standard input.

    Raises:
        BadParameter: There is nothing to read.
        ValueError: A file is not UTF-8, or has no text in it.
        OSError: It cannot be opened.
    """
    given = [*(arguments or [])]
    named = [str(file) for file in files or []]
    if given == ["-"] or not (given or named):
        given, named = [], [*named, "-"]
    if not files and named and sys.stdin.isatty():
        raise typer.BadParameter(
            "nothing to read: give texts as arguments, --file PATH, or pipe a text in",
            param_hint="TEXT",
        )
    texts = [*read_texts(given, None)] if given else []
    return [(text, text) for text in texts] + [(name, _read(name)) for name in named]


def _read(name: str) -> str:
    """Return the whole text of a file, or of standard input."""
    content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    name = "stdin" if name == "-" else name
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: not UTF-8 ({error.reason} at byte {error.start + 1}); save it as UTF-8"
        ) from error
    if not text.strip():
        raise ValueError(f"{name}: there is no text in it")
    return text


def records(
    pipeline: Callable[..., Iterable[Any]], texts: Iterable[list[str]], **asked: Any
) -> Iterator[Record]:
    """Yield each text with what is written for it, once for each answer, portion by portion."""
    for portion in texts:
        found = pipeline(iter(portion), **asked)
        for text, answer in zip(portion, found, strict=True):
            several = cast("list[Record]", answer if isinstance(answer, list) else [answer])
            yield from ({"text": text, **each} for each in several)
