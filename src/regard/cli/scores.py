"""How the verbs that train and evaluate show numbers."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from regard.cli.io import Column, emit, write_facts, write_table

#: Numbers that tell of speed, not of quality.
SPEED = ("runtime", "samples_per_second", "steps_per_second")
EACH = ("precision", "recall", "f1")
COLUMNS = (Column("Label"), *(Column(name, 10, right=True) for name in EACH))


def plain(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics by their own names, without speed."""
    named = {name.removeprefix("eval_"): value for name, value in metrics.items()}
    return {name: value for name, value in named.items() if name not in SPEED and name != "epoch"}


def by_task(metrics: Mapping[str, float], tasks: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the metrics of each of several tasks, and under ``""`` those of all together."""
    found: dict[str, dict[str, float]] = {name: {} for name in tasks} | {"": {}}
    # Longest first: of tasks "mood" and "mood_2" the second has eval_mood_2_loss.
    names = sorted(found, key=len, reverse=True)
    for metric, value in metrics.items():
        plain_name = metric.removeprefix("eval_")
        owner = next(name for name in names if not name or plain_name.startswith(f"{name}_"))
        found[owner][plain_name.removeprefix(f"{owner}_") if owner else plain_name] = value
    return {name: plain(each) for name, each in found.items()}


def json_tasks(
    kinds: Mapping[str, str], metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return the metrics of `by_task` as JSON: flat for a task without a name."""
    told = {
        name: {"task": kind, "metrics": json_metrics(metrics[name])} for name, kind in kinds.items()
    }
    together = json_metrics(metrics.get("", {}))
    return told.get("", {"metrics": together, "tasks": told})


def json_metrics(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON has them, where what is not defined or infinite is null."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def write_metrics(title: str, metrics: Mapping[str, float]) -> None:
    """Write metrics as a list, and those of single labels as a table."""
    labels = [
        name.removeprefix("f1_")
        for name in metrics
        if name.startswith("f1_") and f"precision_{name.removeprefix('f1_')}" in metrics
    ]
    single = {f"{name}_{label}" for name in EACH for label in labels}
    whole = {name: shown(value) for name, value in metrics.items() if name not in single}
    write_facts({title: whole})
    if labels:
        emit("\n")
        rows = [(each, *(shown(metrics[f"{name}_{each}"]) for name in EACH)) for each in labels]
        write_table("Labels", COLUMNS, rows)


def shown(value: float) -> str:
    """Return a number as people compare it."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
