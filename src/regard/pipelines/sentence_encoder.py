"""One vector per text."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from regard.batch import TokenBatch
from regard.checkpoints.files import CheckpointFolder
from regard.models.encoder import EncoderModel
from regard.pipelines.pipeline import Pipeline, as_numpy, as_texts
from regard.pipelines.pooling import SentencePooling
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

    def __init__(
        self,
        model: EncoderModel,
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
        """Return an array (texts, width), or (width,) for a single text."""
        vectors = [*self.stream(as_texts(texts))]
        if isinstance(texts, str):
            return vectors[0]
        width = self.model.get_input_embeddings().embedding_dim * len(self.pooling.modes)
        return np.stack(vectors) if vectors else np.empty((0, width), np.float32)

    __call__ = encode

    def stream(self, texts: Iterable[str]) -> Iterator[Any]:
        """Yield one array (width,) per text, reading on as they are taken."""
        return self.run(texts, self._forward)

    def _forward(self, batch: TokenBatch) -> Any:
        return as_numpy(self.pooling(self.model.encode(batch), batch.layout))


def cosine(left: Any, right: Any) -> Any:
    """Return the cosines (n, m) between vectors (n, width) and (m, width)."""
    left = left / np.maximum(np.linalg.norm(left, axis=-1, keepdims=True), 1e-12)
    right = right / np.maximum(np.linalg.norm(right, axis=-1, keepdims=True), 1e-12)
    return left @ right.T
