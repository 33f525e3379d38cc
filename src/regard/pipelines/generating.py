"""`GenerationPipeline`: what tasks that write text share."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from regard.checkpoints.files import source_options
from regard.config import Config
from regard.generation.config import LATER, GenerationConfig
from regard.generation.generate import Request, make_ready
from regard.generation.pieces import TextPieces
from regard.generation.rows import Row
from regard.generation.stream import TextStream
from regard.models.auto import AutoConfig, AutoModel, AutoModelForCausalLM, family
from regard.models.decoder import CausalEncoder
from regard.models.generative import Generative
from regard.pipelines.preparing import prepare_model
from regard.runtime.optimize import precision_of
from regard.runtime.precision import Precision
from regard.text.families import AutoTokenizer
from regard.text.tokenizer import Tokenizer

#: Texts that are decoded together. They wait for no one: who has ended leaves the batch.
BATCH_SIZE = 8
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
#: The options that are those of ``model.generate``.
OPTIONS = frozenset(
    {field.name for kind in (GenerationConfig, Request) for field in dataclasses.fields(kind)}
    | {*LATER, "generation_config"}
)


class GenerationPipeline:
    """A model that writes text and its tokenizer, ready for a task.

    Args:
        model: A decoder or an encoder-decoder, in evaluation mode.
        tokenizer: The model's tokenizer.
        batch_size: Texts that are decoded together.
        options: Options of ``model.generate`` for every call, which a call's own replace.
    """

    task: ClassVar[str]
    default_model: ClassVar[str | None] = SMOLLM2
    auto: ClassVar[type[AutoModel]] = AutoModelForCausalLM

    def __init__(
        self,
        model: Generative,
        tokenizer: Tokenizer,
        *,
        batch_size: int = BATCH_SIZE,
        **options: Any,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.options = options

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
            TypeError: The model does not write texts.
        """
        name = name or cls.default_model
        if name is None:
            raise ValueError(f"name a model for {cls.task}: there is no embedded one for it")
        own = {key: options.pop(key) for key in [*options] if key in cls.own_options()}
        check_kind(name, cls.choose_model(name, options), options)
        if not isinstance(tokenizer, Tokenizer):
            source = source_options(options)
            tokenizer = AutoTokenizer.from_pretrained(tokenizer or name, **source)
        model = cls.choose_model(name, options).from_pretrained(name, **options)
        if not isinstance(model, Generative):
            raise TypeError(f"{name} is a {type(model).__name__}, which does not write texts")
        prepare_model(model, device, precision)
        return cls(model, tokenizer, **own)

    @property
    def precision(self) -> Precision | None:
        """What the model multiplies in; None: in its own type, for nothing was changed."""
        return precision_of(self.model)

    @classmethod
    def fitting(cls, model: Any, options: dict[str, Any]) -> type[Any]:
        """Return the class that does the task with a model and `options`: this one, for most."""
        return cls

    @classmethod
    def choose_model(cls, name: str | Path, options: Mapping[str, Any]) -> type[AutoModel]:
        """Return what loads the model."""
        return cls.auto

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """Return the options of `from_pretrained` that are the constructor's."""
        return OPTIONS | {"batch_size"}

    def decode(
        self, prompts: Iterable[list[int]], options: Mapping[str, Any]
    ) -> Iterator[list[Row]]:
        """Yield for each prompt, or source, its continuations."""
        given: dict[str, Any] = {"tokenizer": self.tokenizer, **self.options, **options}
        config = given.pop("generation_config", None)
        seed, stream, done = given.get("seed"), iter(prompts), 0
        while batch := [*itertools.islice(stream, self.batch_size)]:
            if isinstance(seed, int):
                given["seed"] = seed + done  # as if all were one batch
            with torch.inference_mode():
                rows = make_ready(self.model, batch, config, given).run()
            done += len(rows)
            each = len(rows) // len(batch)
            yield from (rows[n * each : (n + 1) * each] for n in range(len(batch)))

    def stream_ids(self, ids: Sequence[int], options: Mapping[str, Any]) -> TextStream:
        """Return the stream of one continuation."""
        return TextStream(self.model, self.tokenizer, ids, **{**self.options, **options})

    def written(self, row: Row) -> str:
        """Return the text of a continuation, without special tokens."""
        pieces = TextPieces(self.tokenizer)
        pieces.push(row.ids[: row.prompt])
        return pieces.push(row.new) + pieces.rest()

    def check_length(self, ids: Sequence[int], number: int, fix: str) -> None:
        """Raise `ValueError` for a text that is longer than the model can read."""
        context, hard = self.model.context()
        if hard and len(ids) >= context + self.model.reads_source:
            raise ValueError(
                f"text {number} has {len(ids)} tokens and the model reads at most {context}; {fix}"
            )


def check_kind(name: str | Path, auto: type[AutoModel], options: Mapping[str, Any]) -> None:
    """Raise `TypeError` for a checkpoint of a family that does not write, before it is loaded."""
    config: Config = options.get("config") or AutoConfig.from_pretrained(
        name, **source_options(options)
    )
    kind = family(config.model_type).heads.get(auto.head or "")
    told = options.get("is_decoder") or vars(config).get("is_decoder")
    if kind is not None and (told or not issubclass(kind, CausalEncoder)):
        return
    if auto is AutoModelForCausalLM:
        raise TypeError(
            f"{name} ({config.model_type}) continues no text; name a model that does, such as "
            f"{SMOLLM2}"
        )
    raise TypeError(
        f"{name} ({config.model_type}) turns no text into another; name an encoder-decoder that "
        "does, such as Helsinki-NLP/opus-mt-en-de"
    )
