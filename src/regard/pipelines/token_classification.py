"""Labels for the words of a text: named entities, parts of speech."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.batch import TokenBatch
from regard.errors import nearest
from regard.models.auto import AutoModelForTokenClassification
from regard.models.heads import TokenClassification
from regard.pipelines.job import TextJob, per_sequence
from regard.pipelines.pipeline import Pipeline, head_of
from regard.pipelines.reading import Cut
from regard.pipelines.tags import STRATEGIES, spans, words
from regard.pipelines.zero_shot_classification import softmax


class TokenClassificationPipeline(Pipeline):
    """Finds what a model was trained to find in texts, with its place.

    Args:
        model: A model with a head over tokens.
        tokenizer: The model's tokenizer.
        aggregation_strategy: Of calls that give none.
        options: As for `Pipeline`.
    """

    task: ClassVar[str] = "token-classification"
    default_model: ClassVar[str | None] = None
    auto = AutoModelForTokenClassification

    def __init__(
        self, model: Any, tokenizer: Any, *, aggregation_strategy: str = "none", **options: Any
    ) -> None:
        super().__init__(model, tokenizer, **options)
        self.aggregation_strategy = check_strategy(aggregation_strategy)

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """Return the options of `from_pretrained` that are the constructor's."""
        return super().own_options() | {"aggregation_strategy"}

    def __call__(
        self,
        inputs: str | Iterable[str],
        aggregation_strategy: str | None = None,
        ignore_labels: Sequence[str] = ("O",),
        *,
        stride: int | None = None,
    ) -> Any:
        """Return for each text a list of what was found, in order.

        Without aggregation one dict per token, ``{"entity", "score", "index", "word", "start",
        "end"}``; with it one per span, ``{"entity_group", "score", "word", "start", "end"}``.
        ``start`` and ``end`` are characters, and the word of a span is the text between them.

        Args:
            inputs: A text, a list, or a stream of texts.
            aggregation_strategy: ``"none"``; or how a word of several tokens gets its label:
                ``"simple"`` and ``"first"`` from its first token, ``"max"`` from the surest,
                ``"average"`` from all. No word is ever split. Only ``"simple"`` lets all tokens
                count in the score.
            ignore_labels: Labels that are no finding.
            stride: Tokens that neighbouring windows of a long text share.
        """
        return self.answer(inputs, self.job(aggregation_strategy, ignore_labels, stride))

    def job(
        self,
        aggregation_strategy: str | None = None,
        ignore_labels: Sequence[str] = ("O",),
        stride: int | None = None,
    ) -> "Tagging":
        """Return what labels the words of texts; arguments as for a call."""
        head = head_of(self.model, TokenClassification, self.task)
        return Tagging(
            self.reader(stride=stride),
            offsets=True,
            head=cast("TokenClassification", head),
            names=head.config.id2label or {},
            strategy=check_strategy(aggregation_strategy or self.aggregation_strategy),
            ignored=frozenset(ignore_labels),
        )


@dataclass(frozen=True, kw_only=True)
class Tagging(TextJob):
    """Labels of words; see `TokenClassificationPipeline`."""

    head: TokenClassification
    names: Mapping[int, str]
    strategy: str
    ignored: frozenset[str]

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the logits (tokens, labels) of each window."""
        return per_sequence(self.head.logits(batch), batch.layout)

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what is in a text."""
        scores = token_scores(cut, found)
        if self.strategy == "none":
            return self._tokens(cut, scores)
        encoding = cut.encoding
        places = [trimmed(given, *place) for place in encoding.offsets]
        labelled = words(self.strategy, scores, encoding.word_ids, places, self.names)
        return [
            {
                "entity_group": span.label,
                "score": span.score,
                "word": given[span.start : span.end],
                "start": span.start,
                "end": span.end,
            }
            for span in spans(labelled)
            if span.label not in self.ignored
        ]

    def _tokens(self, cut: Cut, scores: Any) -> list[dict[str, Any]]:
        # Lists that the Rust encoding makes anew each time it is asked.
        tokens, offsets = cut.encoding.tokens, cut.encoding.offsets
        first = cut.windows[0].first
        best: list[int] = scores.argmax(-1).tolist()
        return [
            {
                "entity": self.names[label],
                "score": float(scores[place][label]),
                "index": first + place,
                "word": tokens[place],
                "start": offsets[place][0],
                "end": offsets[place][1],
            }
            for place, label in enumerate(best)
            if self.names[label] not in self.ignored
        ]


def token_scores(cut: Cut, found: Sequence[Any]) -> Any:
    """Return the probabilities (tokens, labels) of a text's tokens, each from its own window."""
    logits = [found[window][place] for window, place in cut.owners()]
    return softmax(np.stack(logits)) if logits else np.empty((0, found[0].shape[-1]))


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the characters of a token as people count them.

    Some tokenizers count white space to it, and those that drop accents leave out the marks that
    combine with its last letter.
    """
    piece = text[start:end]
    stripped = piece.strip()
    if not stripped:
        return start, end
    start += len(piece) - len(piece.lstrip())
    end = start + len(stripped)
    while end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return start, end


def check_strategy(name: str) -> str:
    """Return the name of an aggregation strategy, or raise `ValueError` naming the nearest."""
    known = ("none", *STRATEGIES)
    if name not in known:
        raise ValueError(
            f"aggregation_strategy={name!r}{nearest(name, known)}; wanted one of {', '.join(known)}"
        )
    return name
