"""The options of the verbs that train and measure models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

#: Options of the command itself, which are no settings of a run.
OWN = ("columns", "set_", "config", "resume", "dry_run", "as_json", "debug")

Task = Annotated[
    str | None,
    typer.Option("--task", "-t", help="Such as text-classification.", show_default=False),
]
TrainedTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        "-t",
        help="Of a model of several tasks, the name of one; of others, what to take it for.",
        show_default="the model's",
    ),
]
Data = Annotated[
    str | None,
    typer.Option("--data", "-d", help="A file of examples, or a folder.", show_default=False),
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="Folder for the model.", show_default=False)
]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML or JSON with these settings; options count more.",
        show_default=False,
    ),
]
RunFile = Annotated[
    str | None,
    typer.Option("--config", "-c", help="Settings of a run, such as its settings.json."),
]
Validation = Annotated[
    str | None,
    typer.Option(help="A file to evaluate on.", show_default="validation.* in the folder"),
]
Split = Annotated[
    float | None,
    typer.Option(
        "--validation-split",
        min=0,
        max=0.99,
        help="Share of the examples to hold out instead; 0 for none.",
        show_default="0.1",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=COLUMN",
        help="What the data calls a column: text=body,label=stars.",
        show_default="found by usual names",
    ),
]
DataFormat = Annotated[
    str | None,
    typer.Option(help="How to read the data, such as csv or conll.", show_default="by its name"),
]
MaxLength = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of an example at most.", show_default="512, or the model's"),
]
Epochs = Annotated[float | None, typer.Option(help="Passes over the data.", show_default="3")]
MaxSteps = Annotated[int | None, typer.Option(help="Steps, not epochs.", show_default=False)]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Examples at once.", show_default="32")]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", "--lr", help="At its highest.", show_default="5e-5"),
]
WarmupRatio = Annotated[
    float | None,
    typer.Option(help="Part of the steps in which the rate rises.", show_default="0.1"),
]
WeightDecay = Annotated[
    float | None, typer.Option(help="How strongly weights are drawn to zero.", show_default="0")
]
Seed = Annotated[int | None, typer.Option(help="Of weights, dropout and order.", show_default="42")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other training argument, or option of the task.",
        show_default=False,
    ),
]
FromConfig = Annotated[
    str | None,
    typer.Option(help="A config.json: begin with random weights.", show_default=False),
]
TokenizerSource = Annotated[
    str | None,
    typer.Option("--tokenizer", help="A folder or name.", show_default="the model's"),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest whole checkpoint in --output.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do none of it.")]
Together = Annotated[int, typer.Option("--batch-size", min=1, help="Examples at once.")]
OnCpu = Annotated[bool, typer.Option("--cpu", help="Leave a GPU alone.")]
TrainedModel = Annotated[
    str, typer.Option("--model", "-m", help="What `regard train` saved.", show_default=False)
]
Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; - reads them from standard input."),
]
ExampleFile = Annotated[
    str | None,
    typer.Option(
        "--file",
        "-f",
        help="Examples in any format, such as csv, jsonl or conll; or one text per line.",
        show_default=False,
    ),
]
Rows = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A file: csv, tsv or jsonl.", show_default=False),
]


def columns_of(given: Sequence[str] | None) -> dict[str, str]:
    """Return ``text=body,label=stars`` as a mapping."""
    from regard.training.settings import named_texts

    return named_texts([part for each in given or [] for part in each.split(",")], "--columns")


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that options say, by name; those of ``--set`` count less."""
    from regard.training.settings import named_values

    told = {name: value for name, value in given.items() if name not in OWN and value is not None}
    columns = columns_of(given.get("columns"))
    return (
        named_values(given.get("set_") or [], "--set")
        | told
        | ({"columns": columns} if columns else {})
    )
