"""``regard predict``: what a trained model says of examples."""

import csv
import io
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from regard.checkpoints.write import write_text
from regard.cli import options
from regard.cli import training_options as told
from regard.cli.io import Column, counted, emit, read_texts, shorten, verb, write_records
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.data.examples import Examples
    from regard.training.trained import Opened

Row = Mapping[str, Any]
#: How tables are written, by the suffix of the file.
SEPARATORS = {".csv": ",", ".tsv": "\t"}


@verb
def predict(
    model: told.TrainedModel,
    texts: told.Texts = None,
    file: told.ExampleFile = None,
    output: told.Rows = None,
    task: told.TrainedTask = None,
    columns: told.Columns = None,
    data_format: told.DataFormat = None,
    set_: told.Set = None,
    batch_size: told.Together = 64,
    on_cpu: told.OnCpu = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Let a trained model answer: labels, roles, answers, texts.

    The task is the one that the model was trained for. Every row of the result has the example and
    what the model says. Answers that the file has are passed over. A model of several tasks answers
    texts for all of them at once; --task names one.
    """
    if output is not None and output.suffix not in (*SEPARATORS, ".jsonl"):
        wanted = "wanted .csv, .tsv or .jsonl"
        raise ValueError(f"{output}: the name does not tell the format; {wanted}")
    with uncollected():
        from regard.training.settings import named_values
        from regard.training.trained import computing, open_model, open_together

    chosen = named_values(set_ or [], "--set")
    args = computing(batch_size, use_cpu=on_cpu)
    plain = _is_plain(file, data_format)
    simple = task is None and plain and not (chosen or columns)
    together = open_together(model, args) if simple else None
    if together is not None:
        rows = together.predict([*read_texts(texts, file)])
    else:
        opened = open_model(model, task, chosen, args)
        if plain:
            examples = opened.task.from_texts([*read_texts(texts, file)])
        else:
            examples = _examples(opened, texts, file, data_format, told.columns_of(columns))
        rows = opened.predict(examples)
    if output is not None:
        _save(output, rows)
        emit(f"{output}: {counted(len(rows), 'row')}\n")
        return
    write_records([rows], _columns(rows), _cells, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(predict)


def _is_plain(file: str | None, data_format: str | None) -> bool:
    """Whether examples are texts, of the command or one in each line of a file."""
    from regard.data.files import plain_suffix

    if file is None or file == "-":
        return data_format is None
    texts = plain_suffix(Path(file)) in ("", ".txt") and not Path(file).is_dir()
    return texts and data_format is None


def _examples(
    opened: "Opened",
    texts: Sequence[str] | None,
    file: str | None,
    data_format: str | None,
    columns: Mapping[str, str],
) -> "Examples":
    """Return what to predict, of a file with columns."""
    if texts:
        raise typer.BadParameter("give texts or a file with columns, not both", param_hint="TEXT")
    task = opened.task
    return task.named(task.read(Path(file or ""), data_format), columns, labelled=False)


def _save(output: Path, rows: Sequence[Row]) -> None:
    if output.suffix == ".jsonl":
        write_text(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    text = io.StringIO()
    names = [*rows[0]]
    table = csv.writer(text, delimiter=SEPARATORS[output.suffix], lineterminator="\n")
    table.writerow(names)
    table.writerows([_cell(row[name]) for name in names] for row in rows)
    write_text(output, text.getvalue())


def _cell(value: Any) -> str:
    """Return a value for a table; lists and mappings as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _columns(rows: Sequence[Row]) -> list[Column]:
    """Return a column of the table for each name; numbers take little space."""
    return [
        Column(name, 10 if isinstance(value, float | int) else None, isinstance(value, float | int))
        for name, value in rows[0].items()
    ]


def _cells(row: Any) -> tuple[str, ...]:
    return tuple(
        f"{value:.4f}" if isinstance(value, float) else shorten(_cell(value))
        for value in row.values()
    )
