"""What is left to read after a run: ``report.md`` with its picture, and ``metrics.json``."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from regard.checkpoints.write import write_together
from regard.errors import ConfigError, DataError, notices
from regard.runtime.memory import memory_peak
from regard.training.arguments import TrainingArguments
from regard.training.callbacks import TrainerCallback
from regard.training.curves import MOST, draw
from regard.training.inspection import Inspection, inspect

REPORT_FILE, METRICS_FILE, CURVES_FILE = "report.md", "metrics.json", "curves.svg"
#: Classes of a confusion matrix that is still a table to read.
MOST_CLASSES = 15
#: Characters of an example that are shown.
MOST_TEXT = 300
_SPEEDS = ("runtime", "samples_per_second", "steps_per_second")
History = Sequence[Mapping[str, Any]]


class ReportCallback(TrainerCallback):
    """Writes a report into ``output_dir`` when training ends.

    Args:
        examples: Examples of the evaluation data that are looked at for the confusion matrix and
            the worst ones: one forward for each, at the end; 0 leaves these out.
        worst: How many of the worst are shown.
    """

    def __init__(self, examples: int = 1000, worst: int = 10) -> None:
        self.examples, self.worst = examples, worst
        self.tokens: Any = 0
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Begin to count tokens and memory."""
        self.tokens = 0
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        # A compiled model would be compiled with the hook in it.
        if not args.torch_compile:
            self._hook = run["model"].register_forward_pre_hook(self._count, with_kwargs=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Write the report; where that cannot be, say so: the run itself is good."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if not state.is_world_process_zero:
            return
        try:
            self._write(run["trainer"], state, Path(args.output_dir))
        except (OSError, ConfigError, DataError) as error:
            notices.warning("the report could not be written: %s", error)

    def _write(self, trainer: Any, state: Any, folder: Path) -> None:
        found = inspect(trainer, self.examples, self.worst)
        facts = self._facts(trainer, state)
        files = {
            METRICS_FILE: json.dumps(_plain(facts | as_facts(found)), indent=2) + "\n",
            REPORT_FILE: as_markdown(facts, found),
        }
        panels = curves_of(state.log_history)
        if panels:
            files[CURVES_FILE] = draw(panels)
        write_together(folder, {name: partial(_write_text, text) for name, text in files.items()})

    def _count(self, module: Any, inputs: Any, named: Mapping[str, Any]) -> None:
        """Count the tokens of a forward, without waiting for the device."""
        tokens = named.get("attention_mask", named.get("input_ids"))
        if module.training and isinstance(tokens, torch.Tensor):
            is_mask = named.get("attention_mask") is tokens
            self.tokens = self.tokens + (tokens.sum() if is_mask else tokens.numel())

    def _facts(self, trainer: Any, state: Any) -> dict[str, Any]:
        """Return what the report says, but for what `inspect` finds."""
        history = cast("History", state.log_history)
        evaluations = [logs for logs in history if any(n.startswith("eval_") for n in logs)]
        ends = [logs for logs in history if "train_runtime" in logs]
        summary: Mapping[str, Any] = ends[-1] if ends else {}
        parameters = [*trainer.model.parameters()]
        seconds = float(summary.get("train_runtime", 0.0))
        tokens = int(self.tokens) * trainer.processes.world_size
        return {
            "model": type(trainer.model).__name__,
            "parameters": sum(each.numel() for each in parameters),
            "trained_parameters": sum(each.numel() for each in parameters if each.requires_grad),
            "data": data_sizes(trainer),
            "settings": changed_settings(trainer.args),
            "steps": state.global_step,
            "epochs": state.epoch,
            "best": best_of(state, evaluations),
            "last": measured(evaluations[-1]) if evaluations else {},
            "train_loss": summary.get("train_loss"),
            "seconds": seconds,
            "samples_per_second": summary.get("train_samples_per_second"),
            "tokens_per_second": round(tokens / seconds, 1) if tokens and seconds else None,
            "peak_memory_mib": peak_memory(),
            "history": [*history],
        }


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, "utf-8")


def changed_settings(args: TrainingArguments) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    usual = TrainingArguments().to_dict()
    return {name: value for name, value in args.to_dict().items() if value != usual[name]}


def data_sizes(trainer: Any) -> dict[str, int | None]:
    """Return how many examples each dataset has; None for a stream."""
    parts: dict[str, Any] = {"train": trainer.train_dataset}
    evaluated = trainer.eval_dataset
    if isinstance(evaluated, Mapping) and "input_ids" not in evaluated:
        named = cast("Mapping[str, Any]", evaluated).items()
        parts |= {f"eval {name}": each for name, each in named}
    else:
        parts["eval"] = evaluated
    given = {name: part for name, part in parts.items() if part is not None}
    return {name: len(p) if hasattr(p, "__len__") else None for name, p in given.items()}


def measured(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of an evaluation, with its step, without its speed."""
    names = [n for n in logs if n.startswith("eval_") and not n.endswith(_SPEEDS)]
    return {"step": logs.get("step"), **{name: logs[name] for name in names}}


def best_of(state: Any, evaluations: History) -> dict[str, Any]:
    """Return the best evaluation: as the run judged, or else the one with the lowest loss."""
    step = state.best_global_step
    if step is None:
        with_loss = [e for e in evaluations if math.isfinite(e.get("eval_loss", math.inf))]
        if not with_loss:
            return {}
        step = min(with_loss, key=lambda logs: logs["eval_loss"])["step"]
    same = [measured(logs) for logs in evaluations if logs.get("step") == step]
    return {name: value for logs in same for name, value in logs.items()}


def curves_of(history: History) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return the panels of the picture: losses, metrics up to 1, and the others.

    Of metrics that are always the same (accuracy and micro F1) only the first has a curve.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for logs in history:
        for name, value in logs.items():
            wanted = name == "loss" or (name.startswith("eval_") and not name.endswith(_SPEEDS))
            if wanted and isinstance(value, int | float):
                curves.setdefault(name, []).append((logs["step"], value))
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, points in curves.items():
        is_loss = name.endswith("loss")
        small = all(abs(y) <= 1 for _, y in points if math.isfinite(y))
        title = "Loss" if is_loss else "Metrics" if small else "Metrics beyond 1"
        panel = panels.setdefault(title, {})
        if not any(
            np.allclose(points, other) for other in panel.values() if len(points) == len(other)
        ):
            panel["train_loss" if name == "loss" else name] = points
    return {
        f"{title} (the first {MOST} of {len(each)})" if len(each) > MOST else title: each
        for title, each in panels.items()
    }


def peak_memory() -> float | None:
    """Return the most memory that was in use, in MiB: of the GPU, or else of the process."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    peak = memory_peak()
    return None if peak is None else round(peak / 2**20, 1)


def as_markdown(facts: Mapping[str, Any], found: Mapping[str, Inspection]) -> str:
    """Return the report; `found` as `inspect` returns it."""
    size = f"{facts['parameters']:,} parameters, {facts['trained_parameters']:,} of them trained"
    sizes = {n: "a stream" if c is None else f"{c:,}" for n, c in facts["data"].items()}
    run = {
        "Steps": f"{facts['steps']:,} ({facts['epochs']:.4g} epochs)",
        "Time": f"{facts['seconds']:,.1f} s",
        "Examples per second": facts["samples_per_second"],
        "Tokens per second": facts["tokens_per_second"],
        "Peak memory": facts["peak_memory_mib"] and f"{facts['peak_memory_mib']:,} MiB",
        "Mean training loss": facts["train_loss"],
        **{f"Examples ({name})": count for name, count in sizes.items()},
    }
    known = {name: value for name, value in run.items() if value is not None}
    parts = [f"# {facts['model']}\n\n{size}.", table(("Run", ""), [*known.items()])]
    if curves_of(facts["history"]):
        parts.append(f"![Curves of loss and metrics]({CURVES_FILE})")
    if facts["last"]:
        best, last = facts["best"], facts["last"]
        head = ("Metric", f"best: step {best.get('step', '-')}", f"last: step {last['step']}")
        names = [name for name in last if name != "step"]
        rows = [(name, best.get(name, "-"), last[name]) for name in names]
        parts.append("## Metrics\n\n" + table(head, rows))
    for name, each in found.items():
        parts += _errors(name, each)
    settings = [(name, json.dumps(value)) for name, value in facts["settings"].items()]
    title = "## Settings that differ from the defaults\n\n"
    parts.append(title + table(("Name", "Value"), settings))
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown; what cells hold is shown as it is, whatever it is."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    text = f"{value:.5g}" if isinstance(value, float) else " ".join(str(value).split())
    text = text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
    # What Markdown takes for its own; an underscore in a word it leaves alone.
    return re.sub(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", escape(text, quote=False))


def _errors(name: str, found: Inspection) -> list[str]:
    parts: list[str] = []
    title = f"of the first {found.examples:,} examples of the evaluation data"
    title += f" of {_cell(name)}" if name else ""
    if found.confusion is not None:
        names, counts = found.names, found.confusion
        if len(names) <= MOST_CLASSES:
            head = ("label \\ predicted", *names)
            rows = [(name, *map(int, row)) for name, row in zip(names, counts, strict=True)]
        else:
            wrong = counts * ~np.eye(len(counts), dtype=bool)
            order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CLASSES]
            places = [divmod(int(flat), len(counts)) for flat in order]
            head = ("label", "predicted", "times")
            rows = [(names[i], names[j], int(wrong[i, j])) for i, j in places if wrong[i, j]]
        parts.append(f"## Confusions, {title}\n\n" + table(head, rows))
    if found.worst:
        columns = ("loss", "label", "predicted", "text", "example")
        rows = [[each[name] for name in columns] for each in found.worst]
        parts.append(f"## Worst examples, {title}\n\n" + table(columns, rows))
    return parts


def as_facts(found: Mapping[str, Inspection]) -> dict[str, Any]:
    """Return what metrics.json says of the examples; several data sets stand under their names."""
    if [*found] == [""]:
        return _of_one(found[""])
    return {"inspected": {name: _of_one(each) for name, each in found.items()}} if found else {}


def _of_one(found: Inspection) -> dict[str, Any]:
    confusion = None if found.confusion is None else found.confusion.tolist()
    return {
        "inspected_examples": found.examples,
        "classes": found.names,
        "confusion": confusion,
        "worst": found.worst,
    }


def _plain(value: Any) -> Any:
    """Return values as JSON has them, where a number that is not finite is null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("Sequence[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
