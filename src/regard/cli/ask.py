"""``regard ask``: questions that a text answers."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from regard.cli import options, writing
from regard.cli.answers import Inputs, Output
from regard.cli.io import verb

Questions = Annotated[
    list[str] | None, typer.Option("--question", "-q", help="A question; repeatable.")
]
Context = Annotated[str | None, typer.Option("--context", "-c", help="The text with the answer.")]
ContextFile = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", help="The text with the answer, UTF-8, as a whole; repeatable."),
]
Top = Annotated[int | None, typer.Option("--top", "-n", min=1, help="Answers to each question.")]


@verb
def ask(
    questions: Questions = None,
    context: Context = None,
    file: ContextFile = None,
    top: Top = None,
    set_: options.Set = None,
    model: options.AnyModel = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    debug: options.Debug = False,
) -> None:
    """Find the answers to questions in a text, as short as a text has them.

    The text is --context, --file, or standard input as a whole; of any length.
    """
    output, asked = Output(as_json, as_csv), options.call_options(set_, top_k=top)
    if not questions:
        raise typer.BadParameter("ask something: --question TEXT", param_hint="--question")
    texts = writing.read_documents([context] if context else None, file)
    inputs = Inputs(questions, None)
    kind = options.task_class("question-answering", model, asked)
    pipeline = options.load_task(kind, model, revision, device, dtype, precision)
    found = itertools.chain.from_iterable(
        _named(inputs.answers(_caller(pipeline, asked, text)), name if len(texts) > 1 else None)
        for name, text in texts
    )
    output.write_answers(found, "question", "answers")
    inputs.end()


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(ask)


def _caller(pipeline: Any, asked: dict[str, Any], text: str) -> Any:
    """Return what answers questions by a text."""

    def call(questions: list[str]) -> Any:
        return pipeline([{"question": each, "context": text} for each in questions], **asked)

    return call


def _named(answers: Iterable[list[Any]], name: str | None) -> Iterator[list[Any]]:
    """Yield questions and answers, which say in which file they are if it has a `name`."""
    for portion in answers:
        for _, answer in portion if name else []:
            each: dict[str, Any]
            for each in cast("list[Any]", answer) if isinstance(answer, list) else [answer]:
                each["file"] = name
        yield portion
