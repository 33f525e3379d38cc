"""`Pipeline`: what all tasks share. Texts in any form, batches by tokens, results in order."""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from regard.batch import TokenBatch
from regard.checkpoints.files import CheckpointFolder, find_checkpoint, source_options
from regard.data.sampling import token_batches
from regard.layers.embeddings import LearnedPositions
from regard.models.auto import family_of
from regard.models.encoder import EncoderModel
from regard.text.families import AutoTokenizer
from regard.text.tokenizer import Tokenizer

#: Tokens in one forward: enough to fill a matrix product, and small enough for its results to stay
#: in the caches and below what malloc returns to the system (docs/performance.md).
BATCH_TOKENS = 1536
#: Texts that are tokenized and sorted together when a stream comes in.
CHUNK = 1024
#: Batches from which on a progress bar is shown on a terminal.
LONG = 16


class Pipeline:
    """A model and its tokenizer, ready for a task.

    A string gives one result, a list a list, and any other iterable (a generator, an open file) an
    iterator that reads on as results are taken.

    Args:
        model: An encoder, in evaluation mode.
        tokenizer: The model's tokenizer.
        batch_tokens: Tokens in one forward.
        max_length: Longest sequence in tokens; longer texts are cut, and the tokenizer says so.
            The default is what both tokenizer and model can take.
    """

    task: ClassVar[str]
    default_model: ClassVar[str] = "sentence-transformers/all-MiniLM-L6-v2"

    def __init__(
        self,
        model: EncoderModel,
        tokenizer: Tokenizer,
        *,
        batch_tokens: int = BATCH_TOKENS,
        max_length: int | None = None,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self.max_length = max_length or longest_input(model, tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str | int | torch.device | None = None,
        **options: Any,
    ) -> Self:
        """Load model and tokenizer.

        Args:
            name: A folder or model name; the default is embedded and needs no network.
            device: Such as ``"cuda"``; -1 is the processor, 0 the first GPU.
            options: As in `PreTrainedModel.from_pretrained`.
        """
        name = name or cls.default_model
        source = source_options(options)
        tokenizer = AutoTokenizer.from_pretrained(name, **source)
        base = family_of(name, **source).base
        if "add_pooling_layer" in base.constructor_options():
            options = {"add_pooling_layer": False} | options
        model = base.from_pretrained(name, **options)
        if not isinstance(model, EncoderModel):
            raise TypeError(f"{name} is a {type(model).__name__}, which is no text encoder")
        if device is not None:
            model.to("cpu" if device == -1 else device)
        return cls(model, tokenizer, **cls.read_settings(find_checkpoint(name, **source)))

    @classmethod
    def read_settings(cls, folder: CheckpointFolder) -> dict[str, Any]:
        """Return the constructor's arguments that a checkpoint's own files set."""
        return {}

    def run(
        self, texts: Iterable[str], forward: Callable[[TokenBatch], Sequence[Any]]
    ) -> Iterator[Any]:
        """Yield one result per text, in order.

        `forward` gets packed batches and returns one result per sequence, in their order.
        """
        for chunk in _chunks(texts, CHUNK):
            yield from self._run_chunk(chunk, forward)

    def _run_chunk(
        self, texts: list[str], forward: Callable[[TokenBatch], Sequence[Any]]
    ) -> list[Any]:
        encodings = self.tokenizer.encode_batch(texts, max_length=self.max_length, offsets=False)
        batches = [*token_batches([len(each) for each in encodings], self.batch_tokens)]
        results: list[Any] = [None] * len(texts)
        for batch in _progress(batches, self.task):
            packed = TokenBatch.from_sequences(
                [encodings[i].ids for i in batch],
                [encodings[i].type_ids for i in batch],
                device=self.model.device,
            )
            with torch.inference_mode():
                answers = forward(packed)
            for index, result in zip(batch, answers, strict=True):
                results[index] = result
        return results


def answer(given: str | Iterable[str], results: Iterator[Any]) -> Any:
    """Return `results` in the shape of what was `given`: one, a list, or an iterator."""
    if isinstance(given, str):
        return next(results)
    return [*results] if isinstance(given, Sequence) else results


def as_texts(given: str | Iterable[str]) -> Iterable[str]:
    """Return one text or many as many."""
    return [given] if isinstance(given, str) else given


def longest_input(model: EncoderModel, tokenizer: Tokenizer) -> int:
    """Return how many tokens both the model and its tokenizer take."""
    positions = model.embeddings.positions
    if isinstance(positions, LearnedPositions):
        return min(positions.usable, tokenizer.model_max_length)
    return tokenizer.model_max_length


def as_numpy(tensor: Tensor) -> Any:
    """Return a NumPy array, sharing memory where it can; bfloat16 becomes float32."""
    cpu = tensor.cpu()
    return (cpu.float() if cpu.dtype == torch.bfloat16 else cpu).numpy()


def _chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    # What is all there is sorted as a whole; only a stream is taken in pieces.
    if isinstance(texts, Sequence):
        if texts:
            yield [*texts]
        return
    stream = iter(texts)
    while chunk := [*itertools.islice(stream, size)]:
        yield chunk


def _progress(batches: list[list[int]], title: str) -> Iterator[list[int]]:
    if len(batches) < LONG or not sys.stderr.isatty():
        yield from batches
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=sum(map(len, batches)))
        for batch in batches:
            yield batch
            bar.advance(task, len(batch))
