"""Candidates measured one after the other, on the same examples, and put in order."""

import dataclasses
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.data.examples import Examples
from regard.data.memory import as_examples
from regard.errors import ConfigError, DataError, notices
from regard.pipelines.tasks import TASKS as PIPELINES
from regard.selection.folds import fold_numbers
from regard.selection.headed import tuning
from regard.selection.ranked import answers
from regard.selection.subject import Terms
from regard.selection.tasks import Ranking, Similarity, check_examples, task_class
from regard.selection.worker import request_of
from regard.training.splits import find_splits
from regard.training.tasks.task import Task
from regard.training.tasks.text_regression import TextRegression

#: Examples that are measured on at most: enough to tell models apart, and a matter of minutes.
MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What a candidate is good for, and what it costs here; None is not known.

    Attributes:
        model: Its name or folder.
        score: How good it is by `metric`; more is better.
        metric: What is measured, such as ``"accuracy"``.
        spread: The standard deviation of the score over folds: smaller differences say little.
        method: What was done: ``"as trained"``, ``"linear"`` (a linear model of its vectors, which
            stay), ``"cosine"``, ``"reads pairs"``, or how many steps it was trained for.
        ready: Whether it does the task as it is; else it must be trained.
        latency: Milliseconds for one example alone, the median.
        throughput: Examples in a second, 32 at once, the median.
        memory: Megabytes that its process grew by at most while it loaded and answered.
        parameters: How many it has.
        longest: Tokens of the longest input that it reads at once.
        reason: Why it is out of the question, or ``""``.
        command: How to go on with it, or ``""``.
    """

    model: str
    score: float | None = None
    metric: str | None = None
    spread: float | None = None
    method: str | None = None
    ready: bool = False
    latency: float | None = None
    throughput: float | None = None
    memory: float | None = None
    parameters: int | None = None
    longest: int | None = None
    reason: str = ""
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """How candidates are measured and compared.

    Attributes:
        terms: The task and its examples.
        latency: Milliseconds for one example that are allowed, or None.
        memory: Megabytes that are allowed, or None.
        training: What ``regard train`` is told besides the model.
    """

    terms: Terms
    latency: float | None = None
    memory: float | None = None
    training: Sequence[str] = ()

    def measure(self, name: str) -> Recommendation:
        """Measure a candidate, in a process of its own."""
        found = _in_a_process(request_of(name, self.terms))
        made = Recommendation(model=name, **found)
        if made.reason:
            return made
        if made.score is None or math.isnan(made.score):
            reason = "no score: it says the same of every example"
            return dataclasses.replace(made, score=None, reason=reason)
        reason = "; ".join(self._over(made))
        return dataclasses.replace(made, reason=reason, command=self._command(made))

    def ordered(self, found: Iterable[Recommendation]) -> list[Recommendation]:
        """Return the best first: by score, then by time; those that are out come last."""
        return sorted(
            found,
            key=lambda each: (
                bool(each.reason),
                math.inf if each.score is None else -each.score,
                each.latency or 0,
            ),
        )

    def _over(self, made: Recommendation) -> Iterable[str]:
        """Yield the limits that a candidate does not keep."""
        limits = (("latency", self.latency, "ms"), ("memory", self.memory, "MB"))
        for name, allowed, unit in limits:
            value = getattr(made, name)
            if allowed is None:
                continue
            if value is None:
                yield f"its {name} cannot be measured on this system"
            elif value > allowed:
                yield f"{value:,.1f} {unit}, allowed are {allowed:g}"

    def _command(self, made: Recommendation) -> str:
        task = self.terms.task
        if not made.ready:
            words = ["regard", "train", "--model", made.model, *self.training]
            return f"{shlex.join(words)} --output OUT"
        model = shlex.quote(made.model)
        if isinstance(task, Ranking):
            return f"regard run ranking --model {model} --set documents=@FILE QUERY"
        if isinstance(task, Similarity) and made.method == "cosine":
            return f"regard run sentence-similarity --model {model} --set sentences=@FILE TEXT"
        if task.name in PIPELINES and not isinstance(task, TextRegression):
            return f"regard run {task.name} --model {model} --file FILE"
        return f"regard predict --model {model} --file FILE"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a survey is asked for; see `recommend`."""

    task: str
    data: Any
    latency: float | None = None
    memory: float | None = None
    folds: int = 5
    seed: int = 42
    fine_tune: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    data_format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    max_examples: int = MOST

    def survey(self) -> Survey:
        """Read the data, and say how candidates are measured.

        Raises:
            ConfigError: There is no such task or option, or a number is out of range.
            DataError: The data does not fit the task; names file and line.
        """
        self._check()
        kind = task_class(self.task)
        arguments: dict[str, Any] = {}
        if self.fine_tune is not None:
            known = kind.option_names()
            arguments = {name: self.options[name] for name in self.options if name not in known}
        own = {name: value for name, value in self.options.items() if name not in arguments}
        task = kind.with_options(own)
        if isinstance(task, Ranking) and self.fine_tune is not None:
            raise ConfigError("ranking is measured without training; leave fine_tune out")
        task, examples = self._examples(task)
        folds = [0] * len(examples)
        if not isinstance(task, Ranking | Similarity) or self.fine_tune is not None:
            folds = fold_numbers(task, examples, self.folds, self.seed)
        terms = Terms(task, examples, folds, self.seed, self.fine_tune, arguments)
        if self.fine_tune is not None:
            tuning(terms, "OUT")  # what is wrong with an argument is told now
        return Survey(
            terms=terms, latency=self.latency, memory=self.memory, training=self._training(task)
        )

    def _check(self) -> None:
        numbers = {"latency": self.latency, "memory": self.memory, "fine_tune": self.fine_tune}
        for name, value in {**numbers, "max_examples": self.max_examples}.items():
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}; it must be more than 0")

    def _examples(self, task: Task) -> tuple[Task, Examples]:
        """Return the examples that are measured on, and the task that knows them."""
        data = self.data
        if isinstance(data, str | Path):
            data = task.read(find_splits(data).training, self.data_format)
        examples = task.relabelled(task.named(as_examples(data), self.columns))
        if len(examples) > self.max_examples:
            notices.warning("measured on %d of %d examples", self.max_examples, len(examples))
            examples = examples.shuffle(self.seed)[: self.max_examples]
        check_examples(task, examples)
        if isinstance(task, Ranking) and not answers(examples):
            raise DataError("no 'label' is above 0, so no document answers a query")
        return task.settled(examples), examples

    def _training(self, task: Task) -> list[str]:
        """Return what `regard train` is to be told besides the model."""
        name = TextRegression.name if isinstance(task, Similarity) else task.name
        data = str(self.data) if isinstance(self.data, str | Path) else "FILE"
        columns = ",".join(f"{name}={column}" for name, column in self.columns.items())
        more = {"--columns": columns or None, "--data-format": self.data_format}
        words = ["--task", name, "--data", data]
        for option, value in more.items():
            words += [] if value is None else [option, value]
        for option, value in self.options.items():
            words += ["--set", f"{option}={value}"]
        return words


def _in_a_process(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a worker finds; of one that ends without a result, why."""
    with tempfile.TemporaryDirectory() as folder:
        told, result = Path(folder, "request.json"), Path(folder, "result.json")
        told.write_text(json.dumps(request, default=_plain), "utf-8")
        # What this process can import, that one can; -P keeps the working folder out otherwise.
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "regard.selection.worker", str(told), str(result)],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if result.exists():
            return json.loads(result.read_text("utf-8"))
    if done.returncode < 0:
        return {"reason": f"its process was ended by signal {-done.returncode}; out of memory?"}
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return {"reason": f"its process failed: {lines[-1] if lines else 'without a message'}"}


def _plain(value: Any) -> Any:
    """Return a value of a data set as JSON has it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
