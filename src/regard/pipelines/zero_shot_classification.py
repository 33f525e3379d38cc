"""Labels that are named at the time of asking, with no training."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.batch import TokenBatch
from regard.errors import listing
from regard.pipelines.job import Job, TextJob, as_numpy, check_text
from regard.pipelines.matching import Matcher
from regard.pipelines.reading import Cut, Product, Reader
from regard.pipelines.sentence_encoder import Embedding, cosine

#: Cosines lie close together; the models were trained with a softmax over 20 times the cosine
#: (sentence-transformers' MultipleNegativesRankingLoss), so the same factor makes probabilities.
SCALE = 20.0
#: What a model of entailment is asked (Yin et al. 2019).
HYPOTHESIS = "This example is {}."


class ZeroShotClassificationPipeline(Matcher):
    """Scores labels by the cosine between a text and a sentence about each label.

    With a model of entailment (NLI) it is how far the text entails that sentence (Yin et al. 2019,
    section 4).
    """

    task: ClassVar[str] = "zero-shot-classification"

    def __init__(self, model: Any, tokenizer: Any, *args: Any, **options: Any) -> None:
        super().__init__(model, tokenizer, *args, **options)
        self.entailment = entailment(self.labels) if self.cross_encoder is not None else None

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride] - another task, another call
        self,
        sequences: str | Iterable[str],
        candidate_labels: str | Sequence[str] | None = None,
        hypothesis_template: str | None = None,
        multi_label: bool = False,
    ) -> Any:
        """Return ``{"sequence", "labels", "scores"}`` per text, the best label first.

        Args:
            sequences: One text, a list, or a stream of texts.
            candidate_labels: The labels, as a list or separated by commas.
            hypothesis_template: A sentence in which ``{}`` stands for the label. For models of
                entailment the default is "This example is {}."; for others it is the bare label: of
                five it was the best on average over questions and reviews (0.51 and 0.69 right,
                where that sentence has 0.41 and 0.66).
            multi_label: False: scores sum to 1. True: each is by itself, the cosine, at least 0, or
                how probable it is that the label is entailed and not contradicted.
        """
        if candidate_labels is None:
            raise TypeError("zero-shot-classification needs candidate_labels, such as ['a', 'b']")
        template = hypothesis_template or (HYPOTHESIS if self.entailment is not None else "{}")
        if "{}" not in template:
            raise ValueError(f"hypothesis_template needs a {{}}; found {template!r}")
        labels = read_labels(candidate_labels)
        claims = [template.replace("{}", label) for label in labels]
        return self.answer(sequences, self._job(labels, claims, multi_label))

    def _job(self, labels: list[str], claims: list[str], multi_label: bool) -> Job[str]:
        if self.entailment is not None:
            return _Entailment(
                labels=labels,
                claims=claims,
                multi_label=multi_label or len(labels) == 1,
                reader=self.reader(),
                head=self.cross_encoder,
                columns=self.entailment,
            )
        embedding = self.job()
        return _Closeness(
            embedding.reader,
            embedding=embedding,
            labels=labels,
            targets=self.encode(claims),
            multi_label=multi_label,
        )


@dataclass(frozen=True, kw_only=True)
class _Closeness(TextJob):
    embedding: Embedding
    labels: list[str]
    targets: Any
    multi_label: bool

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the vector of each window."""
        return self.embedding.forward(batch)

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> Any:
        """Return the labels, the closest first."""
        vector = self.embedding.answer(given, cut, found)
        cosines = cosine(vector[None], self.targets)[0]
        scores = np.clip(cosines, 0, 1) if self.multi_label else softmax(SCALE * cosines)
        return _ranked(given, self.labels, scores)


@dataclass(frozen=True, kw_only=True)
class _Entailment(Job[str]):
    labels: list[str]
    claims: list[str]
    multi_label: bool
    reader: Reader
    head: Any
    columns: tuple[int, int]

    @property
    def spread(self) -> int:
        """Each text makes a window with each label."""
        return len(self.labels)

    def check(self, item: Any) -> str:
        """Return a text."""
        return check_text(item)

    def cut(self, inputs: Sequence[str]) -> Sequence[Cut | ValueError]:
        """Return the windows of each text with the claim about each label."""
        return self.reader.products(inputs, self.claims, part_first=True)

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the logits of contradiction and of entailment for each window."""
        return as_numpy(self.head.logits(batch))[:, self.columns]

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> Any:
        """Return the labels, the likeliest first; windows of a text count by their tokens."""
        said = iter(found)
        logits = np.empty((len(self.labels), 2))
        for number, part in enumerate(cast("Product", cut).parts):
            sizes = [len(window.ids) for window in part.windows]
            windows = [*itertools.islice(said, len(sizes))]
            logits[number] = np.average(windows, 0, sizes)
        scores = softmax(logits)[:, 1] if self.multi_label else softmax(logits[:, 1])
        return _ranked(given, self.labels, scores)


def _ranked(given: str, labels: Sequence[str], scores: Any) -> Mapping[str, Any]:
    best: list[int] = np.argsort(-scores, kind="stable").tolist()
    return {
        "sequence": given,
        "labels": [labels[i] for i in best],
        "scores": [float(scores[i]) for i in best],
    }


def entailment(labels: Sequence[str]) -> tuple[int, int]:
    """Return which labels of a model say contradiction and entailment.

    Without one that says contradiction, it is the first or the last, which entailment is not.

    Raises:
        TypeError: No label says entailment.
    """
    names = [label.lower() for label in labels]
    says = next((i for i, name in enumerate(names) if name.startswith("entail")), None)
    if says is None or len(names) < 2:
        raise TypeError(
            f"the model classifies texts as {listing(labels)}, which tells nothing of other "
            "labels; take a sentence encoder, or a model of entailment, whose config.json names a "
            "label entailment"
        )
    against = next((i for i, name in enumerate(names) if name.startswith("contra")), None)
    return against if against is not None else (len(names) - 1 if says == 0 else 0), says


def read_labels(given: str | Sequence[str]) -> list[str]:
    """Return labels that are a list, or separated by commas."""
    names = given.split(",") if isinstance(given, str) else given
    labels = [name.strip() for name in names if name.strip()]
    if not labels:
        raise ValueError("candidate_labels must name at least one label")
    return labels


def softmax(scores: Any) -> Any:
    """Return probabilities of scores (..., labels)."""
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)
