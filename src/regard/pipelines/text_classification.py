"""Labels for whole texts: sentiment, topics, entailment."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.batch import TokenBatch
from regard.errors import nearest
from regard.models.auto import AutoModelForSequenceClassification
from regard.models.heads import SequenceLabels
from regard.pipelines.job import TextJob, as_numpy, check_pair, check_text
from regard.pipelines.pipeline import Pipeline, head_of
from regard.pipelines.reading import Cut
from regard.pipelines.zero_shot_classification import ZeroShotClassificationPipeline, softmax

#: How what windows say becomes one: from (windows, labels) and the share of each window.
MERGES: Mapping[str, Callable[[Any, Any], Any]] = {
    "mean": lambda scores, shares: shares @ scores,
    "max": lambda scores, shares: scores.max(0),
    "vote": lambda scores, shares: shares @ (scores == scores.max(1, keepdims=True)),
}
#: What makes scores of logits.
FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "softmax": softmax,
    "sigmoid": lambda logits: 1 / (1 + np.exp(-logits)),
    "none": lambda logits: logits,
}
_PROBLEMS = {"regression": "none", "multi_label_classification": "sigmoid"}


class TextClassificationPipeline(Pipeline):
    """Scores the labels that a model was trained for.

    Args:
        model: A model with a head over whole texts.
        tokenizer: The model's tokenizer.
        options: As for `Pipeline`.
    """

    task: ClassVar[str] = "text-classification"
    default_model: ClassVar[str | None] = None
    auto = AutoModelForSequenceClassification

    @classmethod
    def fitting(cls, model: Any, options: Mapping[str, Any]) -> type[Pipeline]:
        """Return this class, or the one that takes its labels from `options`."""
        return ZeroShotClassificationPipeline if "candidate_labels" in options else cls

    def __call__(
        self,
        inputs: str | Mapping[str, str] | Iterable[Any],
        top_k: int | None = -1,
        function_to_apply: str | None = None,
        *,
        merge: str = "mean",
        return_all_scores: bool | None = None,
    ) -> Any:
        """Return ``{"label", "score"}``, the best label of each input.

        Args:
            inputs: A text, a pair ``{"text": ..., "text_pair": ...}``, a list of them, or a stream.
                As people know it, a single text gives a list of one result.
            top_k: How many labels of each input, as a list; None for all.
            function_to_apply: ``"softmax"``, ``"sigmoid"`` or ``"none"``; the default is what the
                model was trained with.
            merge: How a text of several windows is scored: the ``"mean"`` or ``"max"`` of their
                scores, or the share of windows that ``"vote"`` for a label. Windows count by their
                tokens.
            return_all_scores: Older name for ``top_k=None``.
        """
        if return_all_scores is not None:
            top_k = None if return_all_scores else -1
        if top_k is not None and top_k != -1 and top_k < 1:
            raise ValueError(f"top_k is {top_k}; wanted at least 1, or None for all labels")
        found = self.answer(inputs, self.job(top_k, function_to_apply, merge))
        return [found] if isinstance(inputs, str) and top_k == -1 else found

    def job(
        self, top_k: int | None = -1, function_to_apply: str | None = None, merge: str = "mean"
    ) -> "Labelling":
        """Return what labels texts; arguments as for a call."""
        head = head_of(self.model, SequenceLabels, self.task)
        names = head.config.id2label or {}
        return Labelling(
            self.reader(),
            head=cast("SequenceLabels", head),
            names=tuple(names[number] for number in range(len(names))),
            top_k=top_k,
            function=scoring_function(function_to_apply, head.config),
            merge=_chosen("merge", merge, MERGES),
        )


@dataclass(frozen=True, kw_only=True)
class Labelling(TextJob):
    """Labels of texts or pairs; see `TextClassificationPipeline`."""

    head: SequenceLabels
    names: tuple[str, ...]
    top_k: int | None
    function: Callable[[Any], Any]
    merge: Callable[[Any, Any], Any]

    def check(self, item: Any) -> Any:
        """Return a text, or a pair of texts."""
        if isinstance(item, Mapping) and "text_pair" not in item:
            return check_text(cast("Mapping[str, Any]", item).get("text"))
        if isinstance(item, Mapping | tuple):
            return check_pair(cast("object", item), ("text", "text_pair"))
        return check_text(item)

    def cut(self, inputs: Sequence[Any]) -> Sequence[Cut | ValueError]:
        """Return the windows of each."""
        cuts: dict[int, Cut | ValueError] = {}
        single = [i for i, each in enumerate(inputs) if isinstance(each, str)]
        paired = [i for i, each in enumerate(inputs) if not isinstance(each, str)]
        for read, places in ((self.reader.texts, single), (self.reader.pairs, paired)):
            if places:
                found = read([inputs[i] for i in places], offsets=self.offsets)
                cuts.update(zip(places, found, strict=True))
        return [cuts[i] for i in range(len(inputs))]

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the logits of each window."""
        return as_numpy(self.head.logits(batch))

    def answer(self, given: Any, cut: Cut, found: Sequence[Any]) -> Any:
        """Return the labels, the best first, or the best alone."""
        scores = self.function(np.stack(found))
        if len(found) == 1:
            (merged,) = scores
        else:
            sizes = np.array([len(window.ids) for window in cut.windows], np.float32)
            merged = self.merge(scores, sizes / sizes.sum())
        order = np.argsort(-merged, kind="stable")
        best: list[int] = order[: 1 if self.top_k == -1 else self.top_k].tolist()
        ranked: list[dict[str, Any]] = [
            {"label": self.names[i], "score": float(merged[i])} for i in best
        ]
        return ranked[0] if self.top_k == -1 else ranked


def scoring_function(name: str | None, config: Any) -> Callable[[Any], Any]:
    """Return what makes scores of logits: that of `FUNCTIONS`, or what a model was trained with."""
    known = _PROBLEMS.get(config.problem_type or "")
    usual = known or ("sigmoid" if config.num_labels == 1 else "softmax")
    return _chosen("function_to_apply", name or usual, FUNCTIONS)


def _chosen(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        choices = ", ".join(map(repr, known))
        raise ValueError(f"{what}={name!r}{nearest(name, known)}; wanted one of {choices}")
    return known[name]
