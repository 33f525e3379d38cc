"""Vectors of every token."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

from regard.batch import TokenBatch
from regard.pipelines.pipeline import Pipeline, answer, as_numpy, as_texts


class FeatureExtractionPipeline(Pipeline):
    """Gives the last hidden vectors of each text, special tokens included.

    For one vector per text see `SentenceEncoder`.
    """

    task: ClassVar[str] = "feature-extraction"

    def __call__(self, texts: str | Iterable[str]) -> Any:
        """Return an array (1, tokens, width) per text."""
        return answer(texts, self.run(as_texts(texts), self._forward))

    def _forward(self, batch: TokenBatch) -> list[Any]:
        hidden = as_numpy(self.model.encode(batch))
        layout = batch.layout
        starts = cast("list[int]", layout.offsets.tolist())
        rows = cast("list[int]", layout.rows.tolist())
        return [hidden[None, starts[i] : starts[i + 1]] for i in rows]
