"""Where examples came from, so that every message can name file and line."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """Where an example came from: ``train.tsv, line 7``."""

    file: str
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        # A number 0 of a file is the whole of it; in memory it is the first example.
        counted = bool(self.number) or not self.file
        parts = [self.file] * bool(self.file) + [f"{self.unit} {self.number}"] * counted
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Origin:
    """The place of each of many examples, held in arrays so that millions cost little.

    Attributes:
        files: The files that the examples came from.
        file: (examples,) which of them.
        number: (examples,) which line there; 0 where the whole file is one example.
        unit: What is counted: lines, rows or questions.
    """

    files: tuple[str, ...]
    file: NDArray[np.int32]
    number: NDArray[np.int64]
    unit: str = "line"

    @classmethod
    def in_memory(cls, count: int) -> "Origin":
        """Return the origin of examples that are in no file: they are counted from 0."""
        return cls(("",), np.zeros(count, np.int32), np.arange(count), "example")

    def __getitem__(self, index: int) -> Place:
        """Return the place of one example."""
        return Place(self.files[self.file[index]], int(self.number[index]), self.unit)

    @classmethod
    def joined(cls, parts: Sequence["Origin"]) -> "Origin":
        """Return the origin of examples that follow one another."""
        starts = [0, *accumulate(len(part.files) for part in parts)]
        files = [name for part in parts for name in part.files]
        file = [part.file + start for part, start in zip(parts, starts, strict=False)]
        units = {part.unit for part in parts}
        return cls(
            tuple(files),
            np.concatenate(file).astype(np.int32),
            np.concatenate([part.number for part in parts]),
            units.pop() if len(units) == 1 else "example",
        )

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> "Origin":
        """Return the origin of the examples `indices`."""
        index = np.asarray(indices, np.int64)
        return Origin(self.files, self.file[index], self.number[index], self.unit)
