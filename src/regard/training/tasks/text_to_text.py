"""A text for a text: translation and summaries."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from regard.config import Config
from regard.data.collate import DataCollatorForSeq2Seq
from regard.data.examples import Examples
from regard.models.auto import AutoModelForSeq2SeqLM
from regard.training.evaluation import prefixed
from regard.training.metrics.loading import metrics_for
from regard.training.metrics.metric import Metric
from regard.training.metrics.texts import Perplexity
from regard.training.tasks.task import Column, Prepared, Task


@dataclass(frozen=True, kw_only=True)
class TextToText(Task):
    """A text for a text; checkpoints are compared by loss, and the trained model by what it writes.

    Attributes:
        prefix: What stands before every text, such as ``"summarize: "`` for T5.
        max_new_tokens: Tokens that are written at most.
        num_beams: How many beginnings are followed at a time while writing.
    """

    auto = AutoModelForSeq2SeqLM

    prefix: str = ""
    max_new_tokens: int = 128
    num_beams: int = 1

    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return tokens of the text, and those of the target as labels."""
        length, prefix = self.length(processor, config), self.prefix

        def tokens(batch: dict[str, list[Any]]) -> Any:
            texts = [f"{prefix}{text}" for text in batch["text"]]
            targets = [*map(str, batch["target"])] if "target" in batch else None
            return processor(texts, text_target=targets, truncation=True, max_length=length)

        return Prepared(examples.map(tokens, batched=True), examples)

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what pads texts, and targets with -100."""
        return DataCollatorForSeq2Seq(processor)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return perplexity: how well the model foresees the target's tokens."""
        metrics_for(self.name)  # a package that `evaluate` lacks is missed now, not after training
        return Perplexity()

    def evaluate(self, trainer: Any, data: Prepared) -> dict[str, float]:
        """Return loss, perplexity, and how close to the targets is what the model writes."""
        found = trainer.evaluate(data.dataset)
        texts = [row["target"] for row in self.predict(trainer, data)]
        targets = [*map(str, data.examples.column("target"))]
        return found | prefixed(metrics_for(self.name).compute(texts, targets), "eval")

    def predict(self, trainer: Any, data: Prepared) -> list[dict[str, Any]]:
        """Return ``target``, what the model writes for each text."""
        model, processor = trainer.model, trainer.processing_class
        options = self.writing(processor)
        found: dict[int, str] = {}
        loader = trainer.get_test_dataloader(data.dataset)
        model.eval()
        whole, half = trainer.replicas.whole(model), trainer.autocast(evaluating=True)
        with whole, trainer.averaged(), half:
            for numbers, inputs in zip(loader.batch_sampler.current, loader, strict=True):
                given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
                written = model.generate(**trainer.on_device(given), **options)
                texts = processor.batch_decode(written, skip_special_tokens=True)
                found |= dict(zip(numbers, texts, strict=True))
        everyone = chain.from_iterable(part.items() for part in trainer.processes.gather(found))
        return [{"target": text} for _, text in sorted(everyone)]

    def writing(self, processor: Any) -> dict[str, Any]:
        """Return the options of ``model.generate``."""
        return {"max_new_tokens": self.max_new_tokens, "num_beams": self.num_beams}


@dataclass(frozen=True, kw_only=True)
class Translation(TextToText):
    """A text in another language; parallel files are read as columns with the files' suffixes.

    Attributes:
        source_language, target_language: What the tokenizer of a model for many languages is
            told, such as ``"en_XX"``.
    """

    name: ClassVar[str] = "translation"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("text", ("source", "src")),
        Column("target", ("translation", "tgt"), label=True),
    )

    source_language: str | None = None
    target_language: str | None = None

    def processor(self, source: str | Path, **options: Any) -> Any:
        """Load the tokenizer, for these languages."""
        asked = {"src_lang": self.source_language, "tgt_lang": self.target_language}
        given = {name: language for name, language in asked.items() if language is not None}
        return super().processor(source, **options, **given)

    def writing(self, processor: Any) -> dict[str, Any]:
        """Return the options of ``model.generate``: a target begins with its language.

        That is the first token where the tokenizer ends labels with the language (mBART: the model
        starts with what stands at the end), and else the one after it (mBART-50).
        """
        options = super().writing(processor)
        if self.target_language is None:
            return options
        language = processor.convert_tokens_to_ids(self.target_language)
        first = processor(text_target="")["input_ids"][0]
        place = "forced_bos_token_id" if first == language else "decoder_start_token_id"
        return options | {place: language}


@dataclass(frozen=True, kw_only=True)
class Summarization(TextToText):
    """A short text that says what a long one does."""

    name: ClassVar[str] = "summarization"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("text", ("document", "article", "dialogue")),
        Column("target", ("summary", "highlights"), label=True),
    )
