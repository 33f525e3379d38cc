"""One vector per text."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch

from regard.batch import TokenBatch
from regard.checkpoints.files import CheckpointFolder
from regard.models.encoder import EncoderModel, TextBase
from regard.models.model import PreTrainedModel
from regard.pipelines.job import Failure, TextJob, as_numpy
from regard.pipelines.pipeline import Pipeline
from regard.pipelines.pooling import SentencePooling
from regard.pipelines.reading import Cut
from regard.text.tokenizer import Tokenizer


class SentenceEncoder(Pipeline):
    """Encodes texts as vectors whose cosine tells how close their meanings are.

    Args:
        model: An encoder; its pooler is not used.
        tokenizer: The model's tokenizer.
        pooling: How token vectors become one.
        options: As for `Pipeline`.
    """

    task: ClassVar[str] = "sentence-embedding"
    takes = EncoderModel

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        pooling: SentencePooling | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, **options)
        self.pooling = pooling or SentencePooling()
        if self.pooling.max_length:
            self.max_length = min(self.max_length, self.pooling.max_length)

    @classmethod
    def read_settings(cls, folder: CheckpointFolder) -> dict[str, Any]:
        """Return the pooling that the checkpoint's modules.json describes."""
        return {"pooling": SentencePooling.read(folder)}

    def encode(self, texts: str | Iterable[str]) -> Any:
        """Return an array (texts, width), or (width,) for a single text.

        Raises:
            TypeError: A text is none, whatever ``on_error`` is: an array has no place for it.
        """
        if isinstance(texts, str):
            return next(self.stream([texts]))
        width = self.model.get_input_embeddings().embedding_dim * len(self.pooling.modes)
        double = self.model.dtype == torch.float64
        kind = np.dtype((np.float64 if double else np.float32, (width,)))
        # Straight into the array that is returned: there is never a second one.
        count = len(texts) if isinstance(texts, Sized) else -1
        return np.fromiter(map(_succeeded, self.stream(texts)), kind, count)

    __call__ = encode

    def stream(self, texts: Iterable[str]) -> Iterator[Any]:
        """Yield one array (width,) per text, reading on as they are taken."""
        return self.run(texts, self.job())

    def job(self) -> "Embedding":
        """Return what makes vectors of texts."""
        reader = self.reader(stride=self.stride or 0)
        return Embedding(reader, model=cast("TextBase", self.model), pooling=self.pooling)


@dataclass(frozen=True, kw_only=True)
class Embedding(TextJob):
    """One vector per text: that of its window, or the mean of those of several.

    Windows count by their tokens, so where token vectors are averaged it is their mean over the
    whole text.
    """

    model: TextBase
    pooling: SentencePooling

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the vector of each window, of any length."""
        pool = dataclasses.replace(self.pooling, normalize=False)
        return as_numpy(pool(self.model.encode(batch), batch.layout))

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> Any:
        """Return the vector of the text."""
        vector = found[0]
        if len(found) > 1:
            sizes = [len(window.ids) for window in cut.windows]
            vector = np.average(found, 0, sizes).astype(vector.dtype)
        if not self.pooling.normalize:
            return vector
        return vector / max(float(np.sqrt(vector @ vector)), 1e-12)


def _succeeded(vector: Any) -> Any:
    if isinstance(vector, Failure):
        raise TypeError(f"input {vector.index}: {vector.error}")
    return vector


def cosine(left: Any, right: Any) -> Any:
    """Return the cosines (n, m) between vectors (n, width) and (m, width)."""
    return normalized(left) @ normalized(right).T


def normalized(vectors: Any) -> Any:
    """Return vectors (..., width) with length 1; those of length 0 stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
