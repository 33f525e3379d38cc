"""What BERT was trained with: masked words, and whether a text follows another."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from regard.config import Config
from regard.data.pretraining import next_sentence_pairs
from regard.models.auto import AutoModelForPreTraining
from regard.text.tokenizer import Tokenizer
from regard.training.metrics.language import PairForesight
from regard.training.metrics.metric import Metric
from regard.training.tasks.language_modeling import MaskedLM
from regard.training.tasks.task import Prepared

#: Where a sentence ends, in text that has several in a line.
_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, kw_only=True)
class MaskedLMWithNextSentence(MaskedLM):
    """Masked words and next sentences (Devlin et al. 2019, section 3.1).

    A text is a document: in plain files what stands between blank lines. Its lines are its
    sentences; a text of one line is cut behind ``.``, ``!`` and ``?``. The pairs are drawn once,
    from `PORTION` documents at a time; the masks differ from pass to pass.

    Attributes:
        random_next: The share of the pairs whose second part is from another document.
        short: The share of the pairs that are made shorter.
    """

    name: ClassVar[str] = "masked-lm-nsp"
    auto = AutoModelForPreTraining

    by: str = "paragraph"
    random_next: float = 0.5
    short: float = 0.1

    def cutter(self, processor: Any, config: Config) -> "Pairs":
        """Return what makes pairs of documents."""
        return Pairs(processor, self.length(processor, config), self.random_next, self.short)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return perplexity and accuracy of words, and the accuracy of next sentences."""
        return PairForesight()


@dataclass(frozen=True)
class Pairs:
    """Makes pairs of segments of documents; see `next_sentence_pairs`.

    Attributes:
        tokenizer: Makes the tokens.
        length: Tokens of a pair at most.
        random_next: The share of the pairs whose second part is from another document.
        short: The share of the pairs that are made shorter.
    """

    tokenizer: Tokenizer
    length: int
    random_next: float
    short: float

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return the pairs of a batch of documents, as a function of these alone."""
        documents: list[list[list[int]]] = []
        for text in batch["text"]:
            lines = [line for line in str(text).splitlines() if line.strip()]
            sentences = lines if len(lines) > 1 else _END.split(str(text).strip())
            documents.append(self.tokenizer(sentences, add_special_tokens=False)["input_ids"])
        pairs = next_sentence_pairs(
            documents,
            self.tokenizer,
            self.length,
            random_next_probability=self.random_next,
            short_probability=self.short,
            generator=torch.Generator().manual_seed(sum(map(len, documents))),
        )
        return {name: pairs.column(name) for name in pairs.column_names}
