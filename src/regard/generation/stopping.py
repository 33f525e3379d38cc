"""Stops: when a text has ended. A stop is a frozen value that maps a row to whether it has."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from regard.generation.rows import Row, Texts


class Decodes(Protocol):
    """What stops need of a tokenizer."""

    def decode(self, token_ids: Any, skip_special_tokens: bool = ..., /) -> str:
        """Return the text of token ids."""
        ...


@dataclass(frozen=True)
class EndToken:
    """At an end token."""

    tokens: frozenset[int]

    def __call__(self, row: Row) -> str:
        """Return why the row has ended, or an empty text."""
        return "end" if row.ids[-1] in self.tokens else ""


@dataclass(frozen=True)
class Length:
    """At the row's limit."""

    def __call__(self, row: Row) -> str:
        """Return why the row has ended, or an empty text."""
        return "length" if len(row.ids) >= row.limit else ""


@dataclass(frozen=True)
class Time:
    """After a moment, in seconds of `time.monotonic`."""

    until: float

    def __call__(self, row: Row) -> str:
        """Return why the row has ended, or an empty text."""
        return "time" if time.monotonic() >= self.until else ""


@dataclass(frozen=True)
class Strings:
    """When the continuation's text has one of these, and its last token is part of it."""

    strings: tuple[str, ...]
    tokenizer: Decodes

    def __call__(self, row: Row) -> str:
        """Return why the row has ended, or an empty text."""
        # Every token of a text holds at least one byte, but for special ones, which are skipped.
        longest = max(len(each.encode()) for each in self.strings)
        new = row.new[-longest - 8 :]
        before = self.tokenizer.decode(new[:-1], True)
        text = self.tokenizer.decode(new, True)
        # What is new of it: a character may have been half there.
        pairs = enumerate(zip(before, text, strict=False))
        seen = next((place for place, (old, now) in pairs if old != now), len(before))
        ended = any(text.find(each, max(0, seen - len(each) + 1)) >= 0 for each in self.strings)
        return "string" if ended else ""


@dataclass(frozen=True)
class Criterion:
    """A caller's own: takes (rows, length) ids and scores, returns whether each row has ended."""

    function: Callable[[Tensor, Any], Any]
    device: torch.device

    def __call__(self, row: Row) -> str:
        """Return why the row has ended, or an empty text."""
        answer = self.function(Texts([row], self.device).padded, None)
        ended = bool(answer.all()) if isinstance(answer, Tensor) else bool(answer)
        return "criterion" if ended else ""


Stop = Callable[[Row], str]


def reason(row: Row, stops: tuple[Stop, ...]) -> str:
    """Return why a row has ended, by the first stop that says so, or an empty text."""
    for stop in stops:
        if why := stop(row):
            return why
    return ""
