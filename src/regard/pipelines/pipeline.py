"""`Pipeline`: what tasks over encoders share: any form of input, batches by tokens, in order."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from regard.adapters.adapter import attached, merge_and_unload
from regard.batch import TokenBatch
from regard.checkpoints.files import CheckpointFolder, find_checkpoint, source_options
from regard.checkpoints.shipped import usual_model
from regard.data.sampling import token_batches
from regard.models.auto import AutoModel, family_of
from regard.models.encoder import TextModel
from regard.models.heads import EncoderHead
from regard.models.model import PreTrainedModel
from regard.pipelines.job import Job
from regard.pipelines.preparing import longest_input, prepare_model
from regard.pipelines.reading import Cut, Reader, Window
from regard.pipelines.running import LONG, OnError, Progress, Runner
from regard.text.families import AutoTokenizer
from regard.text.tokenizer import Tokenizer

#: What does a task for which no model is named.
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
#: Tokens in one forward on a processor: enough to fill a matrix product. Half of it takes 2 to 4 %
#: longer, for small and large models in all precisions (docs/performance.md), and more takes more
#: memory; to look for the best on each machine would find its noise.
BATCH_TOKENS = 3072
#: On an accelerator 3,072 are computed in less time than it takes to ask for them: BERT-base needs
#: 0.52 TFLOP, two milliseconds, and hundreds of kernels.
ACCELERATOR_TOKENS = 16_384


class Pipeline(Runner):
    """A model and its tokenizer, ready for a task.

    One input gives one result, a list (or a column of a table) a list, and any other iterable (a
    generator, an open file) an iterator that reads on as results are taken.

    A text that is longer than a window is read in several, which overlap; what they say is put
    together, so that nothing is cut off.

    Args:
        model: An encoder, or a model with a head, in evaluation mode.
        tokenizer: The model's tokenizer.
        batch_tokens: Tokens in one forward; by default what the model's device needs.
        batch_size: Windows in one forward at most.
        max_length: Tokens of a window, special ones included. The default is what both tokenizer
            and model can take.
        stride: Tokens that neighbouring windows share; by default a quarter of a window.
        on_error: What an input does that cannot be answered: ``"raise"`` an error, or
            ``"return"`` a `Failure` in its place while the others are answered.
        defaults: Options of the task's calls, for those calls that do not say them.
    """

    #: The model where none is named; None is a shipped one for the task, if there is any.
    default_model: ClassVar[str | None] = MINILM
    #: What a model must be.
    takes: ClassVar[type[PreTrainedModel]] = TextModel
    #: What loads the model; None is the family's base.
    auto: ClassVar[type[AutoModel] | None] = None

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        batch_tokens: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        stride: int | None = None,
        on_error: OnError = "raise",
        **defaults: Any,
    ) -> None:
        super().__init__(on_error, defaults)
        for name, size in (("batch_size", batch_size), ("batch_tokens", batch_tokens)):
            if size is not None and size < 1:
                raise ValueError(f"{name} is {size}; it must be at least 1")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch_tokens, self.batch_size = batch_tokens, batch_size
        self.max_length = max_length or longest_input(model, tokenizer)
        self.stride = stride

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str | int | torch.device | None = None,
        tokenizer: str | Path | Tokenizer | None = None,
        precision: str | None = "auto",
        **options: Any,
    ) -> Self:
        """Load model and tokenizer.

        Args:
            name: A folder or model name; where there is a default, it is embedded and needs no
                network.
            device: Such as ``"cuda"``; -1 is the processor, 0 the first GPU.
            tokenizer: Another than the checkpoint's, or its name.
            precision: What it multiplies in, see `regard.optimize`; None leaves the model as it is.
            options: The constructor's, and those of `PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: No model is named, and there is no default for the task.
            TypeError: The model cannot do the task.
        """
        name = name or cls.default_model or usual_model(cls.task)
        if name is None:
            raise ValueError(f"name a model for {cls.task}: there is no embedded one for it")
        known = cls.own_options().union(cls.call_options())
        own = {key: options.pop(key) for key in [*options] if key in known}
        source = source_options(options)
        if not isinstance(tokenizer, Tokenizer):
            tokenizer = AutoTokenizer.from_pretrained(tokenizer or name, **source)
        model = cls.load_model(name, source, options)
        if not isinstance(model, cls.takes):
            raise TypeError(f"{name} is a {type(model).__name__}, which cannot do {cls.task}")
        if attached(model) is not None:
            merge_and_unload(model)  # the same answers, without products of its own
        prepare_model(model, device, precision, tokenizer)
        return cls(model, tokenizer, **cls.read_settings(find_checkpoint(name, **source)) | own)

    @classmethod
    def load_model(
        cls, name: str | Path, source: Mapping[str, Any], options: dict[str, Any]
    ) -> Any:
        """Return the model of a checkpoint that the task needs."""
        if cls.auto is not None:
            return cls.auto.from_pretrained(name, **options)
        base = family_of(name, **source).base
        if "add_pooling_layer" in base.constructor_options():
            options = {"add_pooling_layer": False} | options
        return base.from_pretrained(name, **options)

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """Return the options of `from_pretrained` that are the constructor's."""
        return frozenset({"batch_tokens", "batch_size", "max_length", "stride", "on_error"})

    @classmethod
    def read_settings(cls, folder: CheckpointFolder) -> dict[str, Any]:
        """Return the constructor's arguments that a checkpoint's own files set."""
        return {}

    def reader(self, max_length: int | None = None, stride: int | None = None) -> Reader:
        """Return what cuts texts into windows; arguments replace the pipeline's own."""
        length = self.max_length if max_length is None else min(max_length, self.max_length)
        return Reader(self.tokenizer, length, self.stride if stride is None else stride)

    def work(self, inputs: Sequence[Any], job: Job[Any], shown: bool) -> Iterator[Any]:
        """Yield the answers to inputs that were checked; a terminal may be `shown` progress.

        In the place of an answer that there is none for stands why.
        """
        cuts = job.cut(inputs)
        windows = [window for cut in cuts if isinstance(cut, Cut) for window in cut.windows]
        found = iter(self._forward(windows, job, shown))
        for given, cut in zip(inputs, cuts, strict=True):
            if isinstance(cut, Cut):
                yield job.answer(given, cut, [*itertools.islice(found, len(cut.windows))])
            else:
                yield cut

    def _forward(self, windows: Sequence[Window], job: Job[Any], shown: bool) -> list[Any]:
        """Return what the model says of each window."""
        found: list[Any] = [None] * len(windows)
        lengths = [len(window.ids) for window in windows]
        budget = self.batch_tokens or usual_tokens(self.model.device)
        batches = [*token_batches(lengths, budget)]
        if self.batch_size is not None:
            batches = [part for batch in batches for part in _parts(batch, self.batch_size)]
        first = 0 if shown and len(batches) >= LONG else None

        with Progress(self.task, first, len(windows)) as told, torch.inference_mode():
            for batch in batches:
                packed = TokenBatch.from_sequences(
                    [windows[i].ids for i in batch],
                    [windows[i].segments for i in batch],
                    device=self.model.device,
                )
                for index, result in zip(batch, job.forward(packed), strict=True):
                    found[index] = result
                told.advance(len(batch))
        return found


def usual_tokens(device: torch.device) -> int:
    """Return how many tokens one forward takes on a device, unless somebody says otherwise."""
    return BATCH_TOKENS if device.type == "cpu" else ACCELERATOR_TOKENS


def head_of(model: PreTrainedModel, kind: type[EncoderHead], task: str) -> EncoderHead:
    """Return a model as the head that a task needs.

    Raises:
        TypeError: It is another.
    """
    if isinstance(model, kind):
        return model
    raise TypeError(f"{type(model).__name__} cannot do {task}: wanted a {kind.__name__} head")


def _parts(batch: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(batch), size):
        yield batch[start : start + size]
