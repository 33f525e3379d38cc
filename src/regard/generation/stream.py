"""`TextStream`: the text of a continuation, piece by piece while it is decoded."""

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch

from regard.generation.config import GenerationConfig
from regard.generation.decode import Decoding
from regard.generation.generate import make_ready
from regard.generation.pieces import Reads, TextPieces, UntilStop
from regard.generation.ready import check_streamable
from regard.generation.rows import Row
from regard.models.generative import Generative


class TextStream:
    """An iterator of pieces of text, which decodes as far as it is read.

        with TextStream(model, tokenizer, ids, max_new_tokens=100) as stream:
            for piece in stream: ...

    ``async for`` does the same in a thread, so that an event loop goes on. No piece ends within a
    character; joined they are the text. A stop string and what may be the beginning of one is held
    back, and the one that ends the text is no part of it. Closing ends the decoding and lets its
    cache go, also from another thread and in the middle of a step, after which it then takes
    effect; leaving the ``with``, and cancelling the task that waits for a piece, close it.

    Args:
        model: Continues the text, or writes what the source is turned into.
        tokenizer: Decodes tokens, and finds `stop_strings`.
        input_ids: The prompt, or the source.
        generation_config: Replaces the model's own.
        skip_special_tokens: Whether special tokens leave no text.
        options: As for ``model.generate``.

    Attributes:
        reason: Why it ended: ``"end"`` (an end token), ``"length"``, ``"string"`` (a stop string),
            ``"time"``, ``"criterion"``, ``"closed"``; an empty text while it goes on.
        tokens: The tokens so far, without those of the prompt.

    Raises:
        ValueError: More than one text would be decoded at once, or options that do not fit.
    """

    def __init__(
        self,
        model: Generative,
        tokenizer: Reads,
        input_ids: Sequence[int],
        generation_config: GenerationConfig | None = None,
        *,
        skip_special_tokens: bool = True,
        **options: Any,
    ) -> None:
        config = generation_config or model.generation_config
        options = {"tokenizer": tokenizer, **options}
        with torch.inference_mode():
            ready = make_ready(model, [[*map(int, input_ids)]], config, options)
        check_streamable(ready.rows, ready.decoding.search)
        strings = ready.config.stop_strings or ()
        self._row: Row = ready.rows[0]
        self._decoding: Decoding | None = ready.decoding
        self._stop = UntilStop([strings] if isinstance(strings, str) else strings)
        self._pieces = TextPieces(tokenizer, skip_special_tokens=skip_special_tokens)
        self._pieces.push(self._row.ids)  # the prompt, for what follows it
        self._told = 0
        self._lock, self._closed = threading.Lock(), False
        self.reason = ""

    @property
    def tokens(self) -> list[int]:
        """The tokens so far, without those of the prompt."""
        return self._row.new

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        piece = self._next()
        if not piece:
            raise StopIteration
        return piece

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        try:
            piece = await asyncio.to_thread(self._next)
        except asyncio.CancelledError:
            self.close()
            raise
        if not piece:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """End the decoding, and let its cache go; a step that is under way is finished first."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._end("closed")
            finally:
                self._lock.release()

    async def aclose(self) -> None:
        """Close it, from a coroutine."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self) -> str:
        """Return the next piece, or an empty text at the end."""
        with self._lock:
            piece = self._decode()
        if self._closed:  # while the lock was held
            self.close()
        return piece

    @torch.inference_mode()
    def _decode(self) -> str:
        """Decode until there is a piece; return an empty text when there will be none."""
        while self._decoding is not None and not self._closed:
            try:
                ended = self._step(self._decoding)
            except BaseException:
                self._end("closed")
                raise
            new, self._told = self.tokens[self._told :], len(self.tokens)
            piece = self._stop.push(self._pieces.push(new)) if new else ""
            if ended:
                piece += self._last()
            if piece:
                return piece
        return ""

    def _step(self, decoding: Decoding) -> bool:
        """Decode a token; return whether it was the last."""
        row = self._row
        if not self.tokens and row.limit <= row.prompt:
            row.ended = "length"  # max_new_tokens=0
        elif not self.tokens:
            decoding.admit([row])
        else:
            decoding.step()
        return bool(row.ended)

    def _last(self) -> str:
        """End; return what was held back."""
        self._end(self._row.ended)
        return self._stop.push(self._pieces.rest()) + self._stop.rest()

    def _end(self, reason: str) -> None:
        self._decoding = None
        self.reason = self.reason or reason
