"""Who does what to whom: for each predicate of a sentence the role of each word."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from regard.config import Config
from regard.data.examples import Examples
from regard.data.files import plain_suffix
from regard.data.labels import encode_labels
from regard.data.loading import SUFFIXES, load_dataset
from regard.data.mapping import OWNERS
from regard.errors import DataError
from regard.models.tasks import NOTHING, PREDICATE, has_segments
from regard.training.metrics.metric import Metric
from regard.training.metrics.spans import Spans
from regard.training.tasks.task import Column, Prepared, Task, label_fields
from regard.training.tasks.token_classification import TokenClassification
from regard.training.tasks.words import check_words, numbered, spread, word_labels, word_rows


@dataclass(frozen=True, kw_only=True)
class SemanticRoleLabeling(TokenClassification):
    """The role of each word, one example for each predicate; roles stand on head words.

    The model is told the predicate by segments: its tokens are of the second, all others of the
    first, as in the BERT baseline of AllenNLP. This names one word even where it stands twice. A
    model without segments (DistilBERT, RoBERTa, ModernBERT) gets the predicate's word as the second
    of two texts (Shi and Lin 2019, section 3.2).

    CoNLL-U is read with one example per predicate. Other formats have ``tokens``, ``predicate``
    (the number of its word, from 0) and ``roles`` (one per word, ``_`` for none).
    """

    name: ClassVar[str] = "semantic-role-labeling"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("tokens", ("words",)),
        Column("predicate", ("predicate_index", "verb")),
        Column("roles", ("labels", "tags"), label=True),
    )

    units: ClassVar[tuple[str, ...]] = ("tokens",)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        """Raise `DataError`: a text does not say which word the predicate is."""
        return Task.from_texts(self, texts)

    def read(self, path: Any, file_format: str | None = None) -> Examples:
        """Read examples, of CoNLL-U one for each predicate."""
        known = SUFFIXES.get(plain_suffix(Path(path))) if isinstance(path, str | Path) else None
        if "conllu" not in (file_format, known):
            return load_dataset(path, file_format)
        return load_dataset(path, "conllu", by="predicate")

    def config_for(self, examples: Examples, config: Config) -> dict[str, Any]:
        """Return the roles that occur."""
        return label_fields(examples.labels("roles"), config)

    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return tokens with the predicate marked, and a label for the first of each word."""
        check_words(examples, "roles")
        made = numbered(examples.cast("predicate", int))
        _check_predicates(made)
        if "roles" in examples.column_names:
            made = encode_labels(made, "roles", config.label2id or {})
        length, segments = self.length(processor, config), has_segments(config)

        def rows(batch: dict[str, list[Any]]) -> dict[str, Any]:
            sentences, predicates = batch["tokens"], batch["predicate"]
            if segments:
                made = word_rows(sentences, processor, length)
                made["token_type_ids"] = [
                    [int(word == predicates[owner]) for word in words]
                    for words, owner in zip(made["words"], made[OWNERS], strict=True)
                ]
            else:
                pairs = zip(sentences, predicates, strict=True)
                seconds = [[str(words[place])] for words, place in pairs]
                made = word_rows(sentences, processor, length, seconds)
            return spread(made, batch)

        return Prepared(made.map(rows, batched=True, remove_columns=made.column_names), examples)

    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return precision, recall and F1 of roles: of all but the predicate, and of each.

        A role is right if it stands on the right word. Senses of predicates, which the scorer of
        CoNLL-2009 counts too, are not predicted.
        """
        return Spans({number: _as_span(role) for number, role in (config.id2label or {}).items()})

    def best(self, config: Config) -> str:
        """Return F1 of roles."""
        return "f1"

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return ``roles``, one for each word, and ``arguments``: each role with its word."""
        found = word_labels(predictions, data, config, NOTHING)
        sentences = data.examples.column("tokens")
        return [
            {"roles": roles, "arguments": _arguments(words, roles)}
            for words, roles in zip(sentences, found, strict=True)
        ]


def _as_span(role: str) -> str:
    """Return a role as a span of one word, which is what the metric of spans counts."""
    return "O" if role in (NOTHING, PREDICATE) else f"S-{role}"


def _arguments(words: Sequence[Any], roles: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"role": role, "text": str(words[place]), "word": place}
        for place, role in enumerate(roles)
        if role not in (NOTHING, PREDICATE)
    ]


def _check_predicates(examples: Examples) -> None:
    for index, place in enumerate(examples.column("predicate")):
        count = len(examples.column("tokens")[index])
        if not 0 <= place < count:
            raise DataError(
                f"{examples.where(index)}: the predicate is word {place}; there are {count}, from 0"
            )
