"""``regard evaluate``: how good a trained model is on examples with answers."""

import typing
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from regard.cli import options
from regard.cli import training_options as told
from regard.cli.io import counted, emit, to_json, verb
from regard.cli.scores import json_metrics, plain, write_metrics
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.data.examples import Examples
    from regard.training.trained import Opened

#: Name, task with its model, and the examples to measure it on.
Measured = tuple[str, "Opened", "Examples"]


@verb
def evaluate(
    model: told.TrainedModel,
    data: told.Data = None,
    task: told.TrainedTask = None,
    config: told.RunFile = None,
    columns: told.Columns = None,
    data_format: told.DataFormat = None,
    set_: told.Set = None,
    batch_size: told.Together = 64,
    on_cpu: told.OnCpu = False,
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Measure a trained model on a file of examples with answers.

    The task is the one that the model was trained for; of a model of several tasks, --task names
    one. Of a folder with files called train and validation the latter is taken. --set changes an
    option of the task. With --config, the settings of a run (settings.json beside the model), every
    task is measured on what that run was evaluated on.
    """
    if (data is None) == (config is None):
        raise typer.BadParameter("give a file of examples, or --config", param_hint="--data")
    with uncollected():
        from regard.training.settings import named_values
        from regard.training.trained import computing

    args = computing(batch_size, use_cpu=on_cpu)
    chosen = named_values(set_ or [], "--set")
    if config is None:
        found = _of_file(model, task, chosen, args, (data, columns, data_format))
    elif task or columns or data_format or chosen:
        raise typer.BadParameter("says all itself; leave out the rest", param_hint="--config")
    else:
        found = _of_run(model, config, args)
    tasks: dict[str, Any] = {}
    for name, opened, examples in found:
        metrics, kind = plain(opened.evaluate(examples)), opened.task.name
        count = len(examples)
        tasks[name] = {"task": kind, "examples": count, "metrics": json_metrics(metrics)}
        if not as_json:
            emit("\n" if len(tasks) > 1 else "")
            title = f"{name}: {kind}" if name else kind
            write_metrics(f"{title}, {counted(count, 'example')}", metrics)
    if as_json:
        facts = tasks.get("", {"tasks": tasks})
        emit(to_json({"model": model, **facts}) + "\n")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(evaluate)


def _of_file(
    model: str, task: str | None, chosen: Mapping[str, Any], args: Any, where: tuple[Any, Any, Any]
) -> Iterator[Measured]:
    """Yield the one task that a file is of."""
    from regard.training.splits import find_splits
    from regard.training.trained import open_model

    data, columns, data_format = where
    splits = find_splits(data)
    place = splits.training if splits.validation is None else splits.validation
    opened = open_model(model, task, chosen, args)
    examples = opened.task.read(place, data_format)
    yield "", opened, opened.task.named(examples, told.columns_of(columns))


def _of_run(model: str, config: str, args: Any) -> Iterator[Measured]:
    """Yield every task of a run with what the run was evaluated on."""
    from regard.training.job import held_out
    from regard.training.settings import read_settings
    from regard.training.trained import open_model

    settings = read_settings({"output_dir": model}, config)
    for name, each in settings.tasks.items():
        opened = open_model(model, name or None, {}, args)
        examples = held_out(opened.task, settings, name)
        if examples is None:
            raise ValueError(f"{config}: no data to evaluate {name or each.task.name} on")
        yield name, opened, examples
