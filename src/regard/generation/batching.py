"""Continuous batching: requests join and leave the batch between any two steps.

So nobody waits for the longest text of a batch (Yu et al. 2022, "Orca", section 3.1). A request
gets the tokens that `generate` gives it alone: its rules, stops and random numbers are its own.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor

from regard.attention.varlen import PAGE, reads_pages
from regard.batch import TokenBatch
from regard.generation.config import GenerationConfig
from regard.generation.decode import Decoding, Step, Tokens
from regard.generation.generate import Begun, begin
from regard.generation.jobs import Apart, Job
from regard.models.generative import Generative


class GenerationScheduler:
    """Requests that are decoded together, by one thread that calls `step` or `run`.

    Those of the highest priority come first, then those that came first; none is overtaken for
    being long.

    Args:
        model: Continues the texts.
        slots: How many requests are decoded at once.
        tokens: How long these may become together, prompts and sources included; None sets no
            bound.
        page_size: Tokens of a page of the cache, whose memory then follows the tokens there are;
            0 for slots as long as the longest text. None is pages where attention reads them,
            which flash attention does on CUDA, and slots elsewhere.
        step: What reads a token of each row in place of the model, such as
            `regard.runtime.graphs.DecodeGraphs`.
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
        if slots < 1 or (tokens is not None and tokens < 1):
            raise ValueError(f"slots={slots}, tokens={tokens}: both must be at least 1")
        if page_size is not None and page_size < 0:
            raise ValueError(f"page_size={page_size}: must be 0 for no pages, or at least 1")
        self.model, self.slots, self.tokens = model, slots, tokens
        if page_size is None:
            page_size = PAGE if reads_pages(next(model.parameters())) else 0
        self.page_size, self._step = page_size, step
        self.active: list[Job] = []
        self._waiting: list[tuple[int, int, Job]] = []
        self._numbers = count()
        self._begin_anew()

    @property
    def busy(self) -> bool:
        """Whether a request waits or is decoded."""
        return bool(self.active or self._waiting)

    def submit(
        self,
        input_ids: Sequence[int] | Tensor,
        generation_config: GenerationConfig | None = None,
        *,
        priority: int = 0,
        on_token: Callable[[int], object] | None = None,
        **options: Any,
    ) -> Job:
        """Add a request, which the next step may begin.

        Args:
            input_ids: Tokens of one prompt, or of an encoder-decoder's source; not padded.
            generation_config: Replaces the model's own.
            priority: Higher goes first.
            on_token: Called with each token, by the thread that decodes; an error of it ends the
                request.
            options: Those of ``model.generate``, but for those of several texts per prompt, of the
                cache and of what is returned. `max_time` counts from now.

        Raises:
            TypeError: An option that nothing knows.
            ValueError: An option that a request cannot have, or more tokens than there is room for.
        """
        job = self.prepare(input_ids, generation_config, on_token, options)
        self.add(job, priority)
        return job

    def prepare(
        self,
        input_ids: Sequence[int] | Tensor,
        config: GenerationConfig | None,
        on_token: Callable[[int], object] | None,
        options: dict[str, Any],
    ) -> Job:
        """Check a request and return its job, which is not yet added; any thread may."""
        ids = cast("list[int]", input_ids.tolist()) if isinstance(input_ids, Tensor) else input_ids
        begun = begin(self.model, [[*ids]], config, options)
        _check(begun)
        job = Job(begun, on_token)
        if self.tokens is not None and job.size > self.tokens:
            raise ValueError(
                f"the request may grow to {job.size} tokens, and there is room for {self.tokens}; "
                "pass a smaller max_new_tokens"
            )
        return job

    def add(self, job: Job, priority: int = 0) -> None:
        """Let a prepared job wait for its turn."""
        heapq.heappush(self._waiting, (-priority, next(self._numbers), job))

    @torch.inference_mode()
    def step(self) -> list[Job]:
        """Give each request a token, begin those there is room for; return those that ended."""
        ended = self._drop()
        try:
            if self._decoding.rows:
                self._decoding.step()
            fresh = self._next_jobs()
            if fresh:
                self._admit(fresh)
        except BaseException as error:
            lost = self._lose(error)
            if not isinstance(error, Exception):
                raise
            return ended + lost
        return ended + self._publish()

    def run(self) -> Iterator[Job]:
        """Step until no request is left, and yield each as it ends."""
        while self.busy:
            yield from self.step()

    def _admit(self, jobs: list[Job]) -> None:
        """Read prompts, and of an encoder-decoder the sources, into free slots."""
        self.active += jobs
        begun = [job for job in jobs if job.row.limit > job.row.prompt]
        for job in jobs:
            if job not in begun:  # max_new_tokens=0
                job.row.ended = "length"
        first = len(self._decoding.rows)
        if begun and self.model.reads_source:
            sources = [job.row.source for job in begun]
            batch = TokenBatch.from_sequences(sources, device=self.model.device)
            self.model.remember(batch, self._decoding.cache, first)
        if begun:
            self._decoding.admit([job.row for job in begun])

    def _next_jobs(self) -> list[Job]:
        """Take from the queue what there is room for."""
        free = self.slots - len(self._decoding.rows)
        going = (job.size for job in self.active if not job.row.ended)
        room = float("inf") if self.tokens is None else self.tokens - sum(going)
        fresh: list[Job] = []
        while self._waiting and len(fresh) < free and self._waiting[0][2].size <= room:
            job = heapq.heappop(self._waiting)[2]
            room -= job.size
            fresh.append(job)
        return fresh

    def _drop(self) -> list[Job]:
        """End requests that were cancelled; return them."""
        dropped = [entry[2] for entry in self._waiting if entry[2].cancelled]
        if dropped:
            self._waiting = [entry for entry in self._waiting if not entry[2].cancelled]
            heapq.heapify(self._waiting)
        going = [job for job in self.active if job.cancelled]
        for job in dropped + going:
            job.fail(CancelledError("the request was cancelled"))
        if going:
            self.active = [job for job in self.active if not job.cancelled]
            self._decoding.retire()
        return dropped + going

    def _publish(self) -> list[Job]:
        """Hand out new tokens and results; return the jobs that have ended."""
        for job in self.active:
            error = self._apart.errors.pop(id(job.row), None)
            if error is not None:
                job.fail(error)
                continue
            try:
                job.publish()
            except Exception as own:  # the caller's own function may raise anything
                job.fail(own)
        ended = [job for job in self.active if job.row.ended]
        self.active = [job for job in self.active if not job.row.ended]
        if any(row.ended for row in self._decoding.rows):
            self._decoding.retire()
        return ended

    def _lose(self, error: BaseException) -> list[Job]:
        """End all requests that are being decoded with an error that concerns all."""
        lost, self.active = self.active, []
        for job in lost:
            job.fail(error)
        self._begin_anew()
        return lost

    def _begin_anew(self) -> None:
        self._apart = Apart()
        cache = self.model.new_cache(page_size=self.page_size or None)
        self._decoding = Decoding(self.model, cache, self._apart, step=self._step)


def _check(begun: Begun) -> None:
    """Raise `ValueError` for what one of many requests cannot ask for."""
    config, request = begun.config, begun.request
    alone = type(begun.search) is Tokens and begun.search.copies == 1
    if not alone or not config.use_cache or request.past_key_values is not None:
        raise ValueError(
            "a request continues one text by greedy search or sampling, over the scheduler's own "
            "cache: leave out num_beams, penalty_alpha, num_return_sequences, assistant_model, "
            "prompt_lookup_num_tokens, use_cache and past_key_values; for several texts submit as "
            "many requests with seeds of their own"
        )
    if config.return_dict_in_generate:
        raise ValueError("a request gives its tokens alone; leave out return_dict_in_generate")
