"""Learning from plain text: words hidden, words replaced, spans cut out, and each next word."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from regard.config import Config
from regard.data.collate import RandomCollator
from regard.data.corruption import DataCollatorForDenoising, DataCollatorForSpanCorruption
from regard.data.examples import Examples
from regard.data.loading import load_dataset
from regard.data.masking import DataCollatorForLanguageModeling
from regard.data.stream import ExampleStream
from regard.errors import ConfigError, DataError, listing, nearest
from regard.models.auto import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
)
from regard.models.electra_pretraining import AutoModelForJointPreTraining
from regard.text.encoding import BatchEncoding
from regard.text.tokenizer import Tokenizer
from regard.training.metrics.language import Detection, Foresight
from regard.training.metrics.metric import Metric
from regard.training.tasks.task import Column, Prepared, Task

#: Texts whose tokens are made at a time.
PORTION = 1000


@dataclass(frozen=True, kw_only=True)
class LanguageModeling(Task):
    """Learning from plain text, which has no labels.

    A text, whatever its length, becomes rows of `max_length` tokens at most, each in the special
    tokens of the model. Nothing is padded inside of the models, so short rows cost no more than
    they are long; and no row sees another, so texts keep apart.

    Attributes:
        by: What a text is in plain files: ``"line"``, ``"paragraph"`` (blank lines are between
            them) or ``"document"`` (each file is one).
        streaming: Read while training, for data larger than memory: give ``max_steps``, and
            ``validation`` or a ``validation_split`` of 0.
        shuffle_buffer: Texts among which the next one is drawn while streaming.
    """

    columns: ClassVar[tuple[Column, ...]] = (Column("text", ("document", "content", "sentence")),)

    by: str = "line"
    streaming: bool = False
    shuffle_buffer: int = 10_000

    def read(self, path: Any, file_format: str | None = None) -> Any:
        """Read texts; a folder of texts in folders is one of texts, and their labels are none."""
        plain = isinstance(path, str | Path) and Path(path).is_dir() and file_format is None
        kind = "text" if plain else file_format
        options = {"by": self.by} if self._is_plain(path, kind) else {}
        return load_dataset(path, kind, streaming=self.streaming, **options)

    def named(
        self, examples: Any, given: Mapping[str, str] | None = None, *, labelled: bool = True
    ) -> Any:
        """Return the texts under their usual name; a stream has the columns of its first."""
        if not isinstance(examples, ExampleStream):
            return super().named(examples, given, labelled=labelled)
        first = next(iter(examples), None)
        if first is None:
            raise DataError("there is no text in the data")
        found = super().named(Examples({n: [v] for n, v in first.items()}), given)
        place = (given or {}).get("text") or _place(first, found)
        text = partial(_renamed, place)
        return examples.map(text, batched=True, remove_columns=[n for n in first if n != "text"])

    def from_texts(self, texts: Sequence[str]) -> Examples:
        """Raise: what is learned is no answer to a text."""
        raise self.no_answers()

    def split(self, examples: Any, fraction: float, seed: int) -> tuple[Any, Any]:
        """Return two parts drawn at random, which a stream has not."""
        if isinstance(examples, ExampleStream):
            raise ConfigError(
                "nothing can be held out of a stream: name a file by validation, or set "
                "validation_split=0"
            )
        return super().split(examples, fraction, seed)

    def prepare(self, examples: Any, processor: Any, config: Config) -> Prepared:
        """Return rows of tokens."""
        if len(processor) > vars(config).get("vocab_size", len(processor)):
            raise ConfigError(
                f"the tokenizer has {len(processor)} tokens, and the model's vocab_size is "
                f"{vars(config)['vocab_size']}; set it to {len(processor)} in its config.json"
            )
        cut = self.cutter(processor, config)
        if isinstance(examples, ExampleStream):
            examples = examples.shuffle(0, self.shuffle_buffer)
        rows = examples.map(cut, batched=True, batch_size=PORTION, remove_columns=["text"])
        return Prepared(rows, examples)

    def cutter(self, processor: Any, config: Config) -> Callable[[Any], dict[str, Any]]:
        """Return what makes rows of tokens of a batch of texts."""
        return Cutter(processor, self.length(processor, config))

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return perplexity, and the share of the tokens that are foreseen."""
        return Foresight()

    def _is_plain(self, path: Any, kind: str | None) -> bool:
        name = str(path).removesuffix(".gz")
        return kind == "text" or (kind is None and name.endswith(".txt"))


@dataclass(frozen=True)
class Cutter:
    """Makes rows of tokens of texts.

    Attributes:
        tokenizer: Its special tokens stand around each row.
        length: Tokens of a row at most, special ones included.
        ends: Whether a text ends with the token for that, where the tokenizer puts none itself.
    """

    tokenizer: Tokenizer
    length: int
    ends: bool = False

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return the rows, each with the number of its text."""
        before, after = self.frame()
        room = self.length - len(before) - len(after)
        if room < 1:
            raise DataError(f"max_length={self.length} has no room for text")
        end = self.tokenizer.eos_token_id
        tail = [end] if self.ends and end is not None and end not in after else []
        rows: list[list[int]] = []
        owners: list[int] = []
        texts = [str(text) for text in batch["text"]]
        for owner, found in enumerate(self.tokenizer.encode_batch(texts, offsets=False)):
            ids = [*found.ids[len(before) : len(found.ids) - len(after)], *tail]
            pieces = [ids[start : start + room] for start in range(0, len(ids), room)]
            rows += [[*before, *piece, *after] for piece in pieces]
            owners += [owner] * len(pieces)
        return {"input_ids": rows, "overflow_to_sample_mapping": owners}

    def frame(self) -> tuple[list[int], list[int]]:
        """Return the special tokens before and after a row."""
        probe = self.tokenizer.build_inputs_with_special_tokens([-1])
        place = probe.index(-1)
        return probe[:place], probe[place + 1 :]


@dataclass(frozen=True, kw_only=True)
class MaskedLM(LanguageModeling):
    """Masked words are to be found again (Devlin et al. 2019, section 3.1).

    Attributes:
        mask_probability: The share of the tokens that are chosen.
        whole_words: Choose words, each with all its tokens.
    """

    name: ClassVar[str] = "masked-lm"
    auto = AutoModelForMaskedLM

    mask_probability: float = 0.15
    whole_words: bool = False

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what hides words, other ones in every pass."""
        return DataCollatorForLanguageModeling(
            processor, mlm_probability=self.mask_probability, whole_word_mask=self.whole_words
        )


@dataclass(frozen=True, kw_only=True)
class CausalLM(LanguageModeling):
    """Each next token is to be told (Radford et al. 2019, section 2), and where a text ends."""

    name: ClassVar[str] = "causal-lm"
    auto = AutoModelForCausalLM
    usual_length = 1024

    def processor(self, source: str | Path, **options: Any) -> Any:
        """Load the tokenizer; where it has no token for padding, the one that ends texts does."""
        found = super().processor(source, **options)
        if found.pad_token is None:
            found.pad_token = found.eos_token
        return found

    def cutter(self, processor: Any, config: Config) -> Cutter:
        """Return what makes rows, with the token that ends texts."""
        return Cutter(processor, self.length(processor, config), ends=True)

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what makes labels of the tokens."""
        return DataCollatorForLanguageModeling(processor, mlm=False)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return perplexity, and of texts in memory the cost of a character.

        The end of a text counts as one, as in a file of lines.
        """
        if isinstance(data.examples, ExampleStream):
            return Foresight(shift=True)
        tokens = sum(map(len, data.dataset.column("input_ids")))
        characters = sum(len(str(text)) + 1 for text in data.examples.column("text"))
        return Foresight(shift=True, tokens_per_character=tokens / characters)


@dataclass(frozen=True, kw_only=True)
class Denoising(LanguageModeling):
    """A corrupted text is to be written as it was (Lewis et al. 2020, section 2.2).

    Attributes:
        mask_probability: The share of the tokens that masks stand for.
        poisson_lambda: Tokens that a mask stands for on average.
        permute_sentences: Whether sentences change places.
    """

    name: ClassVar[str] = "denoising"
    auto = AutoModelForSeq2SeqLM

    mask_probability: float = 0.3
    poisson_lambda: float = 3.0
    permute_sentences: bool = True

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what corrupts texts, otherwise in every pass."""
        return DataCollatorForDenoising(
            processor, self.mask_probability, self.poisson_lambda, self.permute_sentences
        )


@dataclass(frozen=True, kw_only=True)
class SpanCorruption(LanguageModeling):
    """Spans that were cut out are to be written (Raffel et al. 2020, section 3.1.4).

    Attributes:
        noise_density: The share of the tokens that are cut out.
        mean_span_length: Tokens of a span on average.
    """

    name: ClassVar[str] = "span-corruption"
    auto = AutoModelForSeq2SeqLM

    noise_density: float = 0.15
    mean_span_length: float = 3.0

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what cuts out spans, other ones in every pass."""
        return DataCollatorForSpanCorruption(processor, self.noise_density, self.mean_span_length)


@dataclass(frozen=True, kw_only=True)
class ReplacedTokenDetection(MaskedLM):
    """Words that a small generator made up are to be told (Clark et al. 2020); of an ELECTRA."""

    name: ClassVar[str] = "replaced-token-detection"
    auto = AutoModelForJointPreTraining

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what hides words, and draws the numbers by which the generator writes."""
        # All that is chosen is masked (section 2).
        hide = DataCollatorForLanguageModeling(
            processor,
            mlm_probability=self.mask_probability,
            mask_replace_prob=1.0,
            random_replace_prob=0.0,
            whole_word_mask=self.whole_words,
        )
        return WithSampling(hide)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return what the discriminator finds, and how often the generator is right."""
        return Detection()


@dataclass(frozen=True)
class WithSampling(RandomCollator):
    """Adds ``sampling``, a random number for each token."""

    collator: DataCollatorForLanguageModeling

    def __call__(self, features: Any, generator: torch.Generator | None = None) -> BatchEncoding:
        """Return the batch of some examples."""
        batch = self.collator(features, generator)
        batch["sampling"] = torch.rand(batch["input_ids"].shape, generator=generator)
        return batch


def _place(row: Mapping[str, Any], found: Examples) -> str:
    """Return the name in the data of what was found to be the text."""
    text = found.column("text")[0]
    return next(name for name, value in row.items() if value is text)


def _renamed(place: str, batch: Mapping[str, Any]) -> dict[str, Any]:
    if place not in batch:
        raise DataError(
            f"no column {place!r}{nearest(place, batch)}; the columns are {listing(batch)}"
        )
    return {"text": batch[place]}
