"""`Runner`: what all pipelines that answer input by input share, whatever they read."""

import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from regard.errors import nearest
from regard.pipelines.job import Failure, Inputs, is_one, shaped
from regard.runtime.memory import Trimmer, keep_freed
from regard.runtime.optimize import precision_of
from regard.runtime.precision import Precision

#: Inputs of a stream that are worked on together.
CHUNK = 1024
#: The same of a list, which is there as a whole.
CHUNK_OF_LIST = 16 * CHUNK
#: Batches of one chunk, or chunks of a stream, from which on a terminal shows progress.
LONG = 16

OnError = Literal["raise", "return"]
_Call = Callable[..., Any]


class Runner:
    """Works through inputs in chunks, and gives answers in order, errors in their places.

    To make one sets how this process keeps freed memory: see `keep_freed`.

    Args:
        on_error: What an input does that cannot be answered: ``"raise"`` an error, or
            ``"return"`` a `Failure` in its place while the others are answered.
        defaults: Options of calls that do not say them.
    """

    task: ClassVar[str]
    #: Whether all inputs of a call make one answer.
    together: ClassVar[bool] = False

    def __init__(self, on_error: OnError, defaults: Mapping[str, Any]) -> None:
        if on_error not in ("raise", "return"):
            raise ValueError(f"on_error={on_error!r}; wanted 'raise' or 'return'")
        known = self.call_options()
        for name in defaults:
            if name not in known:
                raise TypeError(
                    f"{self.task} has no option {name!r}{nearest(name, known)}; those of a call "
                    f"are {', '.join(known)}"
                )
        self.on_error, self.defaults = on_error, {**defaults}
        keep_freed()
        self._trimmer = Trimmer()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = _with_defaults(cls.__call__)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Return the answers; see each task."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a call does")

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, **options: Any) -> Self:
        """Load what the task needs; see each task."""
        raise NotImplementedError(f"{cls.__name__} does not say what it loads")

    @property
    def precision(self) -> Precision | None:
        """What the model multiplies in; None: in its own type, for nothing was changed."""
        return precision_of(vars(self)["model"])

    @classmethod
    def call_options(cls) -> tuple[str, ...]:
        """Return what a call can be told by name."""
        parameters = inspect.signature(cls.__call__).parameters.values()
        return tuple(each.name for each in parameters if each.kind not in _MANY)[1:]

    @classmethod
    def fitting(cls, model: Any, options: Mapping[str, Any]) -> "type[Any]":
        """Return the class that does the task with a model and `options`: this one, for most."""
        return cls

    def answer(self, given: Any, job: Inputs[Any]) -> Any:
        """Return the results of `job` in the shape of what was `given`; see `shaped`."""
        return shaped(given, self.run([given] if is_one(given) else given, job))

    def run(self, items: Iterable[Any], job: Inputs[Any]) -> Iterator[Any]:
        """Yield the result of each input, in order."""
        known = isinstance(items, Sized)
        size = max((CHUNK_OF_LIST if known else CHUNK) // job.spread, 1)
        stream, done = iter(items), 0
        with Progress(self.task, None if known else LONG) as told:
            while chunk := [*itertools.islice(stream, size)]:
                yield from self._run_chunk(chunk, job, done, known)
                done += len(chunk)
                told.advance(len(chunk))
                self._trimmer.look()

    def work(self, inputs: Sequence[Any], job: Any, shown: bool) -> Iterable[Any]:
        """Return the answers to inputs that were checked; a terminal may be `shown` progress.

        A `ValueError` in the place of an answer says why there is none.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it works")

    def _run_chunk(
        self, items: Sequence[Any], job: Inputs[Any], done: int, shown: bool
    ) -> list[Any]:
        results: list[Any] = [None] * len(items)
        given: dict[int, Any] = {}
        for number, item in enumerate(items):
            try:
                given[number] = job.check(item)
            except (TypeError, ValueError, OSError) as error:
                results[number] = self._failed(done + number, error)
        for number, answer in zip(given, self.work([*given.values()], job, shown), strict=True):
            none = isinstance(answer, ValueError)
            results[number] = self._failed(done + number, answer) if none else answer
        return results

    def _failed(self, number: int, error: Exception) -> Failure:
        if self.on_error == "return":
            return Failure(number, str(error))
        kind = type(error) if type(error) in (TypeError, ValueError) else ValueError
        raise kind(f"input {number}: {error}") from error


class Progress:
    """A bar on a terminal, from the `first` step on; None shows none."""

    def __init__(self, title: str, first: int | None, total: int | None = None) -> None:
        self.title, self.total, self.done, self.steps = title, total, 0, 0
        self.first = first if sys.stderr.isatty() else None
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Count what is done."""
        self.done, self.steps = self.done + count, self.steps + 1
        if self.first is None or self.steps < self.first:
            return
        if self._bar is None:
            self._bar = _bar(self.total)
            self._bar.add_task(self.title, total=self.total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self.done)


def _bar(total: int | None) -> Any:
    """Return a bar; where the end is not known, it says how many and how fast."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if total is not None:
        return Progress(console=console, transient=True)
    text = TextColumn("{task.description}")
    return Progress(
        text, MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True
    )


_MANY = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def _with_defaults(call: _Call) -> _Call:
    """Return a call that takes what it is not told from the pipeline's `defaults`."""
    names = [*inspect.signature(call).parameters][1:]

    @functools.wraps(call)
    def run(self: Runner, *given: Any, **options: Any) -> Any:
        told = {*names[: len(given)], *options}
        rest = {n: v for n, v in self.defaults.items() if n in names and n not in told}
        return call(self, *given, **rest, **options)

    return run
