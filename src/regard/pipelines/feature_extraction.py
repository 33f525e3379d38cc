"""Vectors of every token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.batch import TokenBatch
from regard.models.encoder import TextBase
from regard.pipelines.job import TextJob, per_sequence
from regard.pipelines.pipeline import Pipeline
from regard.pipelines.reading import Cut


class FeatureExtractionPipeline(Pipeline):
    """Gives the last hidden vectors of each text, special tokens included.

    For one vector per text see `SentenceEncoder`.
    """

    task: ClassVar[str] = "feature-extraction"
    takes = TextBase

    def __call__(self, texts: str | Iterable[str]) -> Any:
        """Return an array (1, tokens, width) per text; see `Pipeline` for the forms of `texts`."""
        return self.answer(texts, _Vectors(self.reader(), model=cast("TextBase", self.model)))


@dataclass(frozen=True, kw_only=True)
class _Vectors(TextJob):
    model: TextBase

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the vectors of each window."""
        return per_sequence(self.model.encode(batch), batch.layout)

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> Any:
        """Return each token's vector from its own window, special ones from the outer windows."""
        if len(found) == 1:
            return found[0][None]
        first, last = cut.windows[0], cut.windows[-1]
        tokens = [found[window][place] for window, place in cut.owners()]
        ending = found[-1][last.first + last.end - last.start :]
        return np.stack([*found[0][: first.first], *tokens, *ending])[None]
