"""``regard train``: a model for a task, from a file of examples."""

import shlex
import typing
from pathlib import Path

import typer

from regard.cli import options
from regard.cli import training_options as told
from regard.cli.io import counted, emit, scaled, to_json, verb, write_facts
from regard.cli.scores import by_task, json_tasks, write_metrics
from regard.errors import listing
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.training.job import Run
    from regard.training.plan import Plan


@verb
def train(
    context: typer.Context,
    task: told.Task = None,
    model: options.Model = None,
    data: told.Data = None,
    output: told.Output = None,
    config: told.ConfigFile = None,
    validation: told.Validation = None,
    validation_split: told.Split = None,
    columns: told.Columns = None,
    data_format: told.DataFormat = None,
    max_length: told.MaxLength = None,
    epochs: told.Epochs = None,
    max_steps: told.MaxSteps = None,
    batch_size: told.BatchSize = None,
    learning_rate: told.LearningRate = None,
    warmup_ratio: told.WarmupRatio = None,
    weight_decay: told.WeightDecay = None,
    seed: told.Seed = None,
    set_: told.Set = None,
    from_config: told.FromConfig = None,
    tokenizer: told.TokenizerSource = None,
    resume: told.Resume = False,
    dry_run: told.DryRun = False,
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Train a model for a task.

    A folder with files called train and validation is taken as that; else a tenth of the examples
    is held out. After each pass the model is evaluated and saved, and the best one is kept in
    --output, with a report. --set takes every other field of TrainingArguments and every option of
    the task: --set optim=adafactor --set per_device_train_tokens=4096 --set doc_stride=64.

        regard train --task text-classification --data sst2 --output model

    A file of settings may have several tasks (tasks: NAME: {task: ..., data: ...}): one encoder
    learns all of them.
    """
    with uncollected():
        from regard.training.job import open_run
        from regard.training.settings import read_settings

    run = open_run(read_settings(told.settings_of(context.params), config))
    if dry_run:
        _show_plan(run, as_json=as_json)
        return
    metrics = _trained(run, resume=resume)
    if run.trainer.is_world_process_zero():
        _show_result(run, metrics, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(train)


def _trained(run: "Run", *, resume: bool) -> dict[str, float]:
    try:
        return run.train(True if resume else None)
    except FloatingPointError as error:
        raise ValueError(str(error)) from error


def _show_plan(run: "Run", *, as_json: bool) -> None:
    from regard.training.plan import plan_of

    plan = plan_of(run)
    if as_json:
        emit(to_json(vars(plan)) + "\n")
        return
    write_facts(
        {
            "Model": _model_facts(plan, run),
            "Data": _data_facts(plan),
            "Steps": _step_facts(plan, run),
            "Memory": {
                **{name: scaled(size, "B") for name, size in plan.memory.items()},
                "together": scaled(sum(plan.memory.values()), "B"),
            },
        }
    )


def _model_facts(plan: "Plan", run: "Run") -> dict[str, str]:
    parts = ", ".join(f"{name} {scaled(count)}" for name, count in plan.trained.items())
    labels, trained = [*plan.labels], sum(plan.trained.values())
    facts = {
        "class": f"{plan.model} for {plan.task}, on {plan.device}",
        "parameters": f"{plan.parameters:,}, of which {trained:,} train: {parts}",
        "folder": run.trainer.args.output_dir,
    }
    return facts | ({"labels": f"{len(labels)}: {listing(labels)}"} if labels else {})


def _data_facts(plan: "Plan") -> dict[str, str]:
    lengths = plan.lengths
    return {
        **{name: counted(count, "row") for name, count in plan.examples.items()},
        "tokens": f"{plan.tokens:,} in one pass",
        "lengths": f"{lengths['mean']:.1f} on average, half up to {lengths['median']:.0f}, the "
        f"longest {lengths['longest']:.0f}",
        "limit": f"{lengths['limit']:.0f}, which {counted(plan.at_limit, 'row')} reached",
    }


def _step_facts(plan: "Plan", run: "Run") -> dict[str, str]:
    args = run.trainer.args
    size = args.per_device_train_tokens or args.per_device_train_batch_size
    unit = "token" if args.per_device_train_tokens else "example"
    each = size * args.gradient_accumulation_steps * run.trainer.processes.world_size
    return {
        "steps": f"{plan.steps:,}, {plan.steps_in_epoch:,} in one pass, of {counted(each, unit)}",
        "rate": f"{args.learning_rate:g} after {counted(plan.warmup, 'step')}, then "
        f"{args.lr_scheduler_type}",
        "loss": f"{plan.first_loss:.4f} before training, of the largest batch",
    }


def _show_result(run: "Run", metrics: dict[str, float], *, as_json: bool) -> None:
    output = run.trainer.args.output_dir
    best = run.trainer.state.best_global_step
    found = by_task(metrics, run.parts)
    if as_json:
        kinds = {name: part.task.name for name, part in run.parts.items()}
        emit(to_json({"output": output, "best_step": best, **json_tasks(kinds, found)}) + "\n")
        return
    step = run.trainer.state.global_step
    for name, each in found.items():
        if each:
            of = f"{name}, e" if name else "E"
            write_metrics(f"{of}valuation of step {best or step} of {step}", each)
            emit("\n")
    files = {"model": output}
    if (Path(output) / "report.md").exists():
        files["report"] = str(Path(output) / "report.md")
    write_facts({"Files": files})
    emit(f"\nregard predict --model {shlex.quote(output)} --file FILE\n")
