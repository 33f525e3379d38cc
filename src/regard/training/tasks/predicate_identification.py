"""Which words of a sentence are predicates: the first half of labeling semantic roles."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from regard.config import Config
from regard.data.examples import Examples
from regard.data.files import plain_suffix
from regard.data.loading import SUFFIXES, load_dataset
from regard.models.tasks import PREDICATE
from regard.training.metrics.metric import Metric
from regard.training.metrics.spans import Spans
from regard.training.tasks.task import Column, Prepared
from regard.training.tasks.token_classification import TokenClassification
from regard.training.tasks.words import word_labels

#: The label of all other words.
OTHER = "O"


@dataclass(frozen=True, kw_only=True)
class PredicateIdentification(TokenClassification):
    """``V`` for each word that is a predicate, and ``O`` for the others.

    CoNLL-U with roles says it: a word with a sense is one. Other formats have ``tokens`` and
    ``tags``.
    """

    name: ClassVar[str] = "predicate-identification"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("tokens", ("words",)),
        Column("tags", ("labels",), label=True),
    )
    units: ClassVar[tuple[str, ...]] = ("tokens",)

    def read(self, path: Any, file_format: str | None = None) -> Examples:
        """Read examples, of CoNLL-U with a tag for each word."""
        known = SUFFIXES.get(plain_suffix(Path(path))) if isinstance(path, str | Path) else None
        if "conllu" not in (file_format, known):
            return load_dataset(path, file_format)
        read = load_dataset(path, "conllu")
        return read.with_column("tags", [_tags(sentence) for sentence in read])

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return precision, recall and F1 of predicates."""
        names = (config.id2label or {}).items()
        return Spans({n: f"S-{tag}" if tag == PREDICATE else OTHER for n, tag in names})

    def best(self, config: Config) -> str:
        """Return F1 of predicates."""
        return "f1"

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return ``tags``, one for each word, and ``predicates``: the numbers of their words."""
        return [
            {"tags": tags, "predicates": [i for i, tag in enumerate(tags) if tag == PREDICATE]}
            for tags in word_labels(predictions, data, config, OTHER)
        ]


def _tags(sentence: Mapping[str, Any]) -> list[str]:
    predicates = {*sentence["predicates"]}
    return [PREDICATE if i in predicates else OTHER for i in range(len(sentence["tokens"]))]
