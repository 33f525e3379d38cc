"""`GenerationEngine`: continuous batching in a thread, for a server's many."""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from regard.generation.batching import GenerationScheduler
from regard.generation.config import GenerationConfig
from regard.generation.decode import Step
from regard.generation.jobs import Job
from regard.models.generative import Generative


class GenerationEngine:
    """A `GenerationScheduler` in a thread of its own, for any number of threads that ask.

    A context manager: leaving it waits for the requests that are there.

    Args:
        model: Continues the texts; leave it alone while the engine runs.
        slots: As for `GenerationScheduler`.
        tokens: As for `GenerationScheduler`.
        page_size: As for `GenerationScheduler`.
        step: As for `GenerationScheduler`.
    """

    def __init__(
        self,
        model: Generative,
        *,
        slots: int = 32,
        tokens: int | None = None,
        page_size: int | None = None,
        step: Step | None = None,
    ) -> None:
        self._scheduler = GenerationScheduler(
            model, slots=slots, tokens=tokens, page_size=page_size, step=step
        )
        self._inbox: deque[tuple[Job, int]] = deque()
        self._changed, self._closed = Condition(), False
        self._jobs: list[Job] = []
        self._thread = Thread(target=self._work, name="regard-engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        input_ids: Sequence[int] | Tensor,
        generation_config: GenerationConfig | None = None,
        *,
        priority: int = 0,
        on_token: Callable[[int], object] | None = None,
        **options: Any,
    ) -> Job:
        """Add a request; see `GenerationScheduler.submit`.

        Raises:
            RuntimeError: The engine was closed.
        """
        job = self._scheduler.prepare(input_ids, generation_config, on_token, options)
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine was closed and takes no more requests")
            self._inbox.append((job, priority))
            self._changed.notify()
        return job

    def close(self, *, cancel: bool = False) -> None:
        """Take no more requests, and wait until those that are there have ended.

        `cancel` ends them before the next step.
        """
        with self._changed:
            self._closed = True
            for job in self._jobs if cancel else ():
                job.cancel()
            for job, _ in self._inbox if cancel else ():
                job.cancel()
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(cancel=error is not None)

    def _work(self) -> None:
        scheduler = self._scheduler
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._inbox or scheduler.busy or self._closed)
                for job, priority in self._inbox:
                    scheduler.add(job, priority)
                    self._jobs.append(job)
                self._inbox.clear()
                if not scheduler.busy:
                    return
            ended = scheduler.step()
            with self._changed:
                self._jobs = [job for job in self._jobs if job not in ended]
