"""``regard benchmark``: how fast a task is here in each precision, and what that costs."""

import dataclasses
from typing import Annotated

import typer

from regard.cli import options
from regard.cli.io import Column, counted, emit, read_texts, tell, to_json, verb, write_table

COLUMNS = (
    Column("Precision"),
    Column("Texts/s", 8, right=True),
    Column("Median", 8, right=True),
    Column("Times", 6, right=True),
)
ACCURACY = (Column("Agrees", 9, right=True), Column("Least", 9, right=True))


@verb
def benchmark(
    texts: options.Texts = None,
    file: options.File = None,
    task: Annotated[
        str, typer.Option("--task", "-t", help="A task of `regard run`, or sentence-embedding.")
    ] = "sentence-embedding",
    model: options.AnyModel = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each precision.")] = 5,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="Compare answers with the model's as it is loaded.")
    ] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Measure a task in every precision that this processor is fast in, in turns.

    Without texts, sentences of many kinds are taken. Texts/s are those of the fastest turn, and of
    the one in the middle. With --accuracy, answers are compared with those of the model as it is
    loaded: the mean and the least cosine of vectors, or the share of labels, words and places that
    are the same. `--precision` of other verbs sets what they compute in.
    """
    from regard.pipelines.comparing import compare
    from regard.pipelines.preparing import SAMPLE

    given = [*read_texts(texts, file)] if texts or file else [*SAMPLE] * 8
    found = compare(task, model, given, rounds, accuracy=accuracy)
    if as_json:
        for row in found:
            emit(to_json(dataclasses.asdict(row) | {"texts": len(given)}) + "\n")
        return
    count, usual = len(given), found[0].fastest
    rows = [
        (
            row.precision,
            f"{count / row.fastest:.1f}",
            f"{count / row.median:.1f}",
            f"{usual / row.fastest:.2f}",
            _shown(row.agreement),
            _shown(row.least),
        )
        for row in found
    ]
    tell(f"{task}, {counted(count, 'text')}, {counted(rounds, 'turn')} each")
    columns = COLUMNS + ACCURACY if accuracy else COLUMNS
    write_table("Precisions", columns, [row[: len(columns)] for row in rows])


def _shown(part: float | None) -> str:
    return "" if part is None else f"{part:.5f}"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(benchmark)
