"""`Job`: one of many requests, and what waits for its tokens; `Apart`: rows that fail alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from threading import Condition
from typing import cast

import torch
from torch import Tensor

from regard.generation.decode import Record, Tokens
from regard.generation.generate import Begun
from regard.generation.rows import Row

#: Why a row ended that did not come to its end.
CANCELLED, FAILED = "cancelled", "error"


class Job:
    """One request. Threads may share it; ``for token in job`` waits for tokens as they come.

    Attributes:
        tokens: The continuation so far.
        future: Its result is the whole continuation; `asyncio.wrap_future` awaits it.
    """

    def __init__(self, begun: Begun, on_token: Callable[[int], object] | None = None) -> None:
        self.tokens: list[int] = []
        self.future: Future[list[int]] = Future()
        self.future.set_running_or_notify_cancel()  # only `cancel` ends it early
        self.row, self.source = begun.rows[0], begun.source
        self.size = self.row.limit + len(self.row.source)
        self.cancelled = False
        self._on_token, self._changed = on_token, Condition()

    @property
    def ended(self) -> str:
        """Why it ended: ``"end"``, ``"length"``, ``"string"``, ...; empty while it goes on."""
        return self.row.ended if self.future.done() else ""

    def cancel(self) -> None:
        """End the request before the next step; `tokens` keeps what it has got."""
        self.cancelled = True

    def result(self, timeout: float | None = None) -> list[int]:
        """Wait for the whole continuation, at most `timeout` seconds, and return it.

        Raises:
            TimeoutError: It took longer.
            concurrent.futures.CancelledError: The request was cancelled.
            Exception: What went wrong with this request.
        """
        return self.future.result(timeout)

    def __iter__(self) -> Iterator[int]:
        place = 0
        while fresh := self._wait(place):
            yield from fresh
            place += len(fresh)
        self.result()

    def _wait(self, place: int) -> list[int]:
        """Wait for tokens from `place` on; return none when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.tokens) > place or self.future.done())
            return self.tokens[place:]

    def publish(self) -> None:
        """Give the row's new tokens to whoever waits, and the result once the row has ended."""
        fresh = self.row.new[len(self.tokens) :]
        with self._changed:
            self.tokens += fresh
            self._changed.notify_all()
        for token in fresh if self._on_token is not None else ():
            cast("Callable[[int], object]", self._on_token)(token)
        if self.row.ended:
            self._settle(None)

    def fail(self, error: BaseException) -> None:
        """End the request with an error."""
        self.row.ended = CANCELLED if isinstance(error, CancelledError) else FAILED
        self._settle(error)

    def _settle(self, error: BaseException | None) -> None:
        if self.future.done():
            return
        with self._changed:
            if error is None:
                self.future.set_result([*self.tokens])
            else:
                self.future.set_exception(error)
            self._changed.notify_all()


class Apart(Tokens):
    """Tokens of rows whose errors do not concern each other."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[int, Exception] = {}

    def choose(self, rows: list[Row], logits: Tensor, record: Record | None) -> Tensor:
        """Return the next tokens; a row for which that fails ends, with its error noted."""
        try:
            return super().choose(rows, logits, record)
        except Exception as error:
            if len(rows) == 1:
                self._fail(rows[0], error)
                return logits.new_zeros(1, dtype=torch.int64)
        each = enumerate(rows)
        return torch.cat([self.choose([row], logits[n : n + 1], record) for n, row in each])

    def extend(self, row: Row, token: int) -> None:
        """Let a row go on with a token, unless it has failed."""
        if row.ended:
            return
        try:
            super().extend(row, token)
        except Exception as error:  # a caller's own stop may raise anything
            self._fail(row, error)

    def _fail(self, row: Row, error: Exception) -> None:
        row.ended, self.errors[id(row)] = FAILED, error
