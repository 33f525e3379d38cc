"""`Ready`: texts that can be decoded; whoever wants their tokens one by one begins here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from regard.generation.config import GenerationConfig
from regard.generation.decode import Decoding, Search, Tokens
from regard.generation.rows import Row


class Streamer(Protocol):
    """What gets the tokens of a text as they come; the field's protocol."""

    def put(self, value: Tensor) -> None:
        """Take the prompt, (1, length), or a token that follows, (1,)."""
        ...

    def end(self) -> None:
        """Take note that there are no more."""
        ...


@dataclass(frozen=True, eq=False)
class Ready:
    """Texts that can be decoded, and the loop that will do it.

    Attributes:
        decoding: The loop, which has read nothing but sources yet.
        rows: The texts.
        config: How they are decoded.
        width: Columns that the prompts take.
        streamer: Gets the tokens as they come, or None.
    """

    decoding: Decoding
    rows: list[Row]
    config: GenerationConfig
    width: int
    streamer: Streamer | None = None

    def run(self) -> list[Row]:
        """Decode all texts; return them in the order of the output."""
        try:
            return self._done()
        finally:
            if self.streamer is not None:
                self.streamer.end()

    def _done(self) -> list[Row]:
        search, wanted = self.decoding.search, self.config.num_return_sequences
        if all(row.limit <= row.prompt for row in self.rows):  # max_new_tokens=0
            return [row for row in self.rows if row.number % search.copies < wanted]
        return search.results(self._ended())

    def _ended(self) -> list[Row]:
        """Decode until all rows have ended."""
        if self.streamer is not None:
            self.streamer.put(torch.tensor([self.rows[0].ids]))
        done = self.decoding.admit(self.rows)
        told = self._tell(0)
        for ended in self.decoding.run():
            done += ended
            told = self._tell(told)
        return done

    def _tell(self, told: int) -> int:
        """Stream what came after the first `told` tokens: one, or more where some were guessed."""
        if self.streamer is None:
            return 0
        new = self.rows[0].new
        for token in new[told:]:
            self.streamer.put(torch.tensor([token]))
        return len(new)


def check_streamable(rows: Sequence[Row], search: Search) -> None:
    """Raise `ValueError` unless there is one text, whose tokens are sure as soon as they come."""
    if len(rows) > 1 or not isinstance(search, Tokens):
        raise ValueError(
            "streaming is for one prompt that is continued once: leave out num_beams, "
            "num_return_sequences and penalty_alpha, which are sure of no token before the end, "
            "and stream each prompt by itself"
        )
