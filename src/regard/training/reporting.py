"""What a run shows while it goes: a line on the terminal, and loggers that people have."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regard.errors import ConfigError, nearest
from regard.training.arguments import TrainingArguments
from regard.training.callbacks import TrainerCallback

#: Numbers of a log that a line shows: of each label of many, precision, recall and F1 are too many.
SHOWN = 12
#: Parameters that MLflow takes at once.
_PARAMETERS = 100


def usual_callbacks(args: TrainingArguments, first: bool) -> list[TrainerCallback]:
    """Return the callbacks that every run has, on the process that shows and writes."""
    if not first:
        return []
    shown: list[TrainerCallback] = [] if args.disable_tqdm else [ProgressCallback()]
    return [*shown, *(LOGGERS[name][1]() for name in loggers(args.report_to))]


def loggers(asked: str | list[str] | None) -> list[str]:
    """Return the loggers to use: those asked for; by default a report, and TensorBoard if there.

    Raises:
        ConfigError: One is unknown, or not installed; says how to install it.
    """
    if asked is None:
        return ["report", *(["tensorboard"] if _installed("tensorboard") else [])]
    if asked == "all":
        return [name for name in LOGGERS if _installed(name)]
    names = [asked] if isinstance(asked, str) else asked
    names = [name for name in names if name != "none"]
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"report_to knows no {name!r}{nearest(name, LOGGERS)}; known: "
                f"{', '.join(LOGGERS)}, all, none"
            )
        if not _installed(name):
            raise ConfigError(f"report_to={name!r} needs a package: pip install {name}")
    return names


class ProgressCallback(TrainerCallback):
    """A bar on a terminal, and every log as one line."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.task: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Show the bar, where someone looks."""
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.task = self.bar.add_task("training", total=state.max_steps)
        self.bar.update(self.task, completed=state.global_step)
        self.bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Write a line."""
        line = as_line(state.global_step, run["logs"])
        if self.bar is not None:
            self.bar.console.print(line, highlight=False)
        else:
            sys.stderr.write(line + "\n")

    def on_train_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def as_line(step: int, logs: Mapping[str, Any]) -> str:
    """Return ``step 20 · epoch 0.31 · loss 0.6931 · ...``."""
    ordered = {name: logs[name] for name in ("epoch", "loss") if name in logs} | dict(logs)
    parts = [f"{name} {_short(value)}" for name, value in ordered.items()]
    if len(parts) > SHOWN:
        parts = [*parts[:SHOWN], f"{len(parts) - SHOWN} more"]
    return " · ".join([f"step {step}", *parts])


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:.5g}"


class TensorBoardCallback(TrainerCallback):
    """Writes every number that is logged for TensorBoard."""

    def __init__(self) -> None:
        self.writer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Open the log, and note the settings."""
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = args.logging_dir or str(Path(args.output_dir) / "runs" / (args.run_name or ""))
        self.writer = SummaryWriter(folder, purge_step=state.global_step or None)
        self.writer.add_text("args", f"```json\n{args.to_json_string()}```")

    def on_log(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Write the numbers."""
        if self.writer is not None:
            for title, value in titled(run["logs"]).items():
                self.writer.add_scalar(title, value, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Close the log."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class WandbCallback(TrainerCallback):
    """Sends every number that is logged to Weights & Biases."""

    module = "wandb"

    def __init__(self) -> None:
        self.client: Any = None
        self.own = False

    def current(self, client: Any) -> Any:
        """Return the run that goes on in this process, or None."""
        return client.run

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Begin a run of its own, or go on with the one that the caller began."""
        self.client = importlib.import_module(self.module)
        self.own = self.current(self.client) is None
        if self.own:
            project = Path(args.output_dir).resolve().name
            self.client.init(project=project, name=args.run_name, config=args.to_dict())

    def on_log(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Send the numbers."""
        if self.client is not None:
            self.client.log(titled(run["logs"]), step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """End the run, if it is its own."""
        if self.client is not None and self.own:
            self.client.finish()
        self.client = None


class TrackioCallback(WandbCallback):
    """The same for trackio, which has the same calls."""

    module = "trackio"

    def current(self, client: Any) -> Any:
        """Return the run that goes on in this process, or None."""
        return client.context_vars.current_run.get()


class MLflowCallback(TrainerCallback):
    """Sends every number that is logged to MLflow."""

    def __init__(self) -> None:
        self.client: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Begin a run, within the one that the caller began."""
        self.client = importlib.import_module("mlflow")
        self.client.start_run(run_name=args.run_name, nested=self.client.active_run() is not None)
        settings = [*args.to_dict().items()]
        for start in range(0, len(settings), _PARAMETERS):
            some = settings[start : start + _PARAMETERS]
            self.client.log_params({name: str(value)[:250] for name, value in some})

    def on_log(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Send the numbers, under names that MLflow takes."""
        if self.client is not None:
            named = numbers_of(run["logs"]).items()
            numbers = {re.sub(r"[^\w\-. :]", "_", name): value for name, value in named}
            self.client.log_metrics(numbers, step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """End the run."""
        if self.client is not None:
            self.client.end_run()
            self.client = None


def numbers_of(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be drawn of a log."""
    return {name: value for name, value in logs.items() if isinstance(value, int | float)}


def titled(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a log sorted by what they tell of: ``eval/loss``, else ``train/loss``.

    ``train_loss``, the mean of a run, is ``train/train_loss`` and no point of the curve.
    """
    return {_title(name): value for name, value in numbers_of(logs).items()}


def _title(name: str) -> str:
    part, _, rest = name.partition("_")
    return f"{part}/{rest}" if rest and part in ("eval", "test") else f"train/{name}"


def _report() -> TrainerCallback:
    # It looks into the evaluation of a trainer, which is made with what is in this file.
    from regard.training.report import ReportCallback

    return ReportCallback()


#: Name -> the package that it needs, and its callback.
LOGGERS: Mapping[str, tuple[str, Callable[[], TrainerCallback]]] = {
    "report": ("regard", _report),
    "tensorboard": ("tensorboard", TensorBoardCallback),
    "wandb": ("wandb", WandbCallback),
    "trackio": ("trackio", TrackioCallback),
    "mlflow": ("mlflow", MLflowCallback),
}


def _installed(name: str) -> bool:
    return importlib.util.find_spec(LOGGERS[name][0]) is not None
