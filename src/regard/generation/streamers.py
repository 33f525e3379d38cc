"""What ``model.generate(..., streamer=...)`` takes, under the names that the field has for it."""

import queue
import sys
from typing import Any, Self, cast

from torch import Tensor

from regard.generation.pieces import Reads, TextPieces


class TextStreamer:
    """Writes the text to standard output while it is decoded.

    Override `on_finalized_text` to do something else with it. `TextStream` is the same the other
    way round: it decodes as far as it is read.

    Args:
        tokenizer: Decodes tokens.
        skip_prompt: Whether to leave out the prompt.
        options: ``skip_special_tokens``, False unless given.
    """

    def __init__(self, tokenizer: Reads, skip_prompt: bool = False, **options: Any) -> None:
        self.skip_prompt = skip_prompt
        self.pieces = TextPieces(tokenizer, **{"skip_special_tokens": False, **options})
        self.begun = False

    def put(self, value: Tensor) -> None:
        """Take the prompt, (1, length), or a token that follows, (1,)."""
        ids = cast("list[int]", value.flatten().tolist())
        piece = self.pieces.push(ids)
        if piece and (self.begun or not self.skip_prompt):
            self.on_finalized_text(piece)
        self.begun = True

    def end(self) -> None:
        """Write what was held back."""
        self.begun = False
        self.on_finalized_text(self.pieces.rest(), stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Do something with a piece of text that is sure."""
        sys.stdout.write(text + "\n" * stream_end)
        sys.stdout.flush()


class TextIteratorStreamer(TextStreamer):
    """An iterator of pieces of text that another thread decodes.

    Args:
        tokenizer: Decodes tokens.
        skip_prompt: Whether to leave out the prompt.
        timeout: Seconds to wait for a piece before `queue.Empty` is raised; None waits.
        options: As for `TextStreamer`.
    """

    def __init__(
        self,
        tokenizer: Reads,
        skip_prompt: bool = False,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **options)
        self.timeout = timeout
        self.queue: queue.Queue[str | None] = queue.Queue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Let the iterator have a piece."""
        if text:
            self.queue.put(text)
        if stream_end:
            self.queue.put(None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        piece = self.queue.get(timeout=self.timeout)
        if piece is None:
            raise StopIteration
        return piece
