"""``regard recommend``: which model to take, measured on one's own data and machine."""

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.cli import options
from regard.cli import training_options as told
from regard.cli.answers import Output
from regard.cli.io import Column, counted, emit, scaled, tell, verb, write_facts, write_table

if typing.TYPE_CHECKING:
    from regard.selection.survey import Recommendation, Survey

COLUMNS = (
    Column("Model"),
    Column("Score", 6, right=True),
    Column("+-", 5, right=True),
    Column("ms", 6, right=True),
    Column("Per s", 6, right=True),
    Column("MB", 5, right=True),
    Column("Params", 6, right=True),
    Column("Tokens", 6, right=True),
)
#: What was done, at more length than records have it.
METHODS = {
    "as trained": "as it was trained",
    "linear": "a linear model of its vectors, cross-validated",
    "cosine": "cosines of its vectors",
    "reads pairs": "reads each query with each document",
}


Task = Annotated[
    str,
    typer.Option("--task", "-t", help="Such as text-classification, sentence-similarity, ranking."),
]
Data = Annotated[str, typer.Option("--data", "-d", help="A file of examples, or a folder.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="A candidate: a name, a folder, or a folder of models; may be repeated.",
        show_default="embedded ones",
    ),
]
Latency = Annotated[
    float | None, typer.Option(metavar="MS", help="Milliseconds for one example at most.")
]
Memory = Annotated[float | None, typer.Option(metavar="MB", help="Megabytes of memory at most.")]
Steps = Annotated[
    int | None,
    typer.Option(metavar="STEPS", help="Train each candidate for so many steps instead."),
]
Folds = Annotated[int, typer.Option(help="Parts that are held out, one after the other.")]
Examples = Annotated[int, typer.Option(help="Examples to measure on at most.")]
Seed = Annotated[int, typer.Option(help="Of folds, examples and training.")]


@verb
def recommend(
    context: typer.Context,
    task: Task,
    data: Data,
    model: Models = None,
    latency: Latency = None,
    memory: Memory = None,
    fine_tune: Steps = None,
    folds: Folds = 5,
    max_examples: Examples = 1000,
    seed: Seed = 42,
    columns: told.Columns = None,
    data_format: told.DataFormat = None,
    set_: told.Set = None,
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    debug: options.Debug = False,
) -> None:
    """Measure models on your examples and machine, and say which to take.

    A model that was trained for the task, and knows its labels, is scored as it is. Of others
    a linear model of their vectors is cross-validated, which takes seconds; for similarity and
    ranking cosines are enough; other tasks need --fine-tune. Time is that of one example, and
    examples in a second 32 at once; memory is what the process of each candidate grows by.

        regard recommend --task text-classification --data reviews.tsv --latency 20
    """
    output = Output(as_json, as_csv)
    from regard.selection.candidates import candidates

    survey = _survey(context.params)
    found: list[Recommendation] = []
    names = candidates(survey.terms, model)
    for number, name in enumerate(names, 1):
        tell(f"{number} of {len(names)}: {name}")
        found.append(survey.measure(name))
    found = survey.ordered(found)
    if all(each.score is None for each in found):
        raise ValueError("; ".join(_said(each) for each in found))
    if as_json or as_csv:
        output.write([[dataclasses.asdict(each) for each in found]])
        return
    count = counted(len(survey.terms.examples), "example")
    _show(f"{survey.terms.task.name}, {count}", found)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(recommend)


def _survey(given: Mapping[str, Any]) -> "Survey":
    """Return the survey that the options of the command ask for."""
    from regard.selection.survey import Asked
    from regard.training.settings import named_values

    names = [field.name for field in dataclasses.fields(Asked)]
    asked: dict[str, Any] = {name: given[name] for name in names if name in given}
    asked["columns"] = told.columns_of(given["columns"])
    asked["options"] = named_values(given["set_"] or [], "--set")
    return Asked(**asked).survey()


def _show(title: str, found: Sequence["Recommendation"]) -> None:
    metric = next(each.metric for each in found if each.metric)
    names = _short([each.model for each in found])
    rows = [_cells(name, each) for name, each in zip(names, found, strict=True)]
    write_table(f"{title}: {metric}", COLUMNS, rows)
    told: dict[str, dict[str, str]] = {"Scored": {}, "Out of the question": {}}
    for name, each in zip(names, found, strict=True):
        if each.method is not None:
            told["Scored"][name] = METHODS.get(each.method, f"after {each.method} of training")
        if each.reason:
            told["Out of the question"][name] = each.reason
    emit("\n")
    write_facts({title: facts for title, facts in told.items() if facts})
    if not found[0].reason:
        emit(f"\n{found[0].command}\n")


def _said(each: "Recommendation") -> str:
    return each.reason if each.model in each.reason else f"{each.model}: {each.reason}"


def _short(models: Sequence[str]) -> list[str]:
    """Return what the models are called, without what stands before it where that is no loss."""
    last = [Path(model).name or model for model in models]
    return last if len({*last}) == len(last) else [*models]


def _cells(name: str, each: "Recommendation") -> tuple[str, ...]:
    return (
        name,
        _number(each.score, 4),
        _number(each.spread, 3),
        _number(each.latency, 2),
        _number(each.throughput, 1),
        _number(each.memory, 0),
        "" if each.parameters is None else scaled(each.parameters),
        "" if each.longest is None else f"{each.longest:,}",
    )


def _number(value: Any, digits: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"
