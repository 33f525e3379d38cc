"""SQuAD: answers out of the windows of a context, exact match and F1."""

import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from regard.errors import DataError
from regard.training.metrics.metric import Array, Metric, as_array, same_length


class Judged(NamedTuple):
    """One question: scores of its answer, whether it has one, and how sure "no answer" is."""

    exact: float
    f1: float
    answerable: bool
    no_answer: float


class Answers(Metric):
    """``exact_match`` and ``f1`` in percent, as SQuAD's scripts count.

    Rajpurkar et al. 2016, section 6.1, and Rajpurkar et al. 2018.

    Where some questions have no answer: ``HasAns_exact``, ``HasAns_f1``, ``NoAns_exact`` and
    ``NoAns_f1`` too; and where predictions say how sure "no answer" is, ``best_f1`` with the
    threshold that gives it, ``best_f1_thresh``.

    Args:
        examples: With ``id``, ``context`` and ``answers``; needed to read a Trainer's logits.
        features: The windows of these, from `question_answering_windows`, as evaluated.
        no_answer_threshold: "No answer" is the answer where it is surer than this. By default it
            is where the prediction is empty; of a Trainer's logits, where it scores higher than
            the answer, provided that some question has none.
        n_best: How many starts and ends of each window are tried.
        max_answer_length: Tokens of an answer at most.
    """

    percent: ClassVar[bool] = True

    def __init__(
        self,
        examples: Iterable[Mapping[str, Any]] | None = None,
        features: Iterable[Mapping[str, Any]] | None = None,
        *,
        no_answer_threshold: float | None = None,
        n_best: int = 20,
        max_answer_length: int = 30,
    ) -> None:
        self.examples, self.features = examples, features
        self.no_answer_threshold = no_answer_threshold
        self.n_best, self.max_answer_length = n_best, max_answer_length
        super().__init__()

    def reset(self) -> None:
        """Forget everything that was added."""
        self.judged: list[Judged] = []

    @property
    def count(self) -> int:
        """How many questions were added."""
        return len(self.judged)

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch of questions.

        Args:
            predictions: Answers as text; or dicts with ``prediction_text``, and perhaps
                ``no_answer_probability`` and ``id``.
            references: For each question its answers: texts, ``{"text": [...]}`` or a dict that
                has this as ``answers``, and perhaps ``id``. None at all: there is no answer.
        """
        same_length(predictions, references)
        for predicted, true in zip(_in_order(predictions, references), references, strict=True):
            is_dict = isinstance(predicted, Mapping)
            given = cast("dict[str, Any]", predicted if is_dict else {"prediction_text": predicted})
            text, golds = given["prediction_text"], _golds(true)
            self.judged.append(
                Judged(
                    max(float(normalize(text) == normalize(gold)) for gold in golds),
                    max(overlap(text, gold) for gold in golds),
                    golds != [""],
                    float(given.get("no_answer_probability", np.nan)),
                )
            )

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        self.judged = [*self.judged, *other.judged]

    def results(self) -> dict[str, float]:
        """Return all numbers."""
        exact, f1, answerable, no_answer = (np.array(c) for c in zip(*self.judged, strict=True))
        raw = f1
        if self.no_answer_threshold is not None:
            refused = no_answer > self.no_answer_threshold
            exact, f1 = (np.where(refused, ~answerable, each) for each in (exact, f1))
        results = {"exact_match": 100 * exact.mean(), "f1": 100 * f1.mean()}
        if not answerable.all():
            for name, part in (("HasAns", answerable), ("NoAns", ~answerable)):
                if part.any():
                    results[f"{name}_exact"] = 100 * exact[part].mean()
                    results[f"{name}_f1"] = 100 * f1[part].mean()
            if not np.isnan(no_answer).any():
                best, threshold = best_threshold(raw, answerable, no_answer)
                results |= {"best_f1": 100 * best, "best_f1_thresh": threshold}
        return results

    def __call__(self, prediction: Any) -> dict[str, float]:
        """Return the numbers of an `EvalPrediction` with start and end logits."""
        if self.examples is None or self.features is None:
            raise DataError(
                "answers are text, and a Trainer gives logits of windows: "
                'load_metric("squad", examples=..., features=...) reads them'
            )
        predictions, *_ = prediction
        examples = [*self.examples]
        start, end = (as_array(each) for each in predictions[:2])
        texts = self.read(start, end, examples)
        golds = [example["answers"] for example in examples]
        threshold = self.no_answer_threshold
        if threshold is None and any(_golds(gold) == [""] for gold in golds):
            threshold = 0.0
        fresh = Answers(no_answer_threshold=threshold).limited(self.only)
        return fresh.compute(texts, golds)

    def read(self, start: Array, end: Array, examples: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the best answer to each question (Devlin et al. 2019, section 4.3).

        Its ``no_answer_probability`` is the score of "no answer" less that of the answer.

        Args:
            start: (windows, tokens) logits of the answer's first token.
            end: The same of its last one.
            examples: The questions.
        """
        windows: dict[Any, list[tuple[float, float, tuple[int, int] | None]]] = defaultdict(list)
        features = [*(self.features or ())]
        if len(features) != len(start):
            raise DataError(f"there are {len(features)} features and {len(start)} rows of logits")
        for row, feature in enumerate(features):
            found = self._best_span(start[row], end[row], feature["offset_mapping"])
            windows[feature["example_id"]].append((float(start[row][0] + end[row][0]), *found))
        answers: list[dict[str, Any]] = []
        for example in examples:
            if example["id"] not in windows:
                raise DataError(f"no feature is of question {example['id']!r}")
            best = max(windows[example["id"]], key=lambda window: window[1])
            nothing = min(window[0] for window in windows[example["id"]])
            first, last = best[2] or (0, 0)
            text = example["context"][first:last]
            sure = nothing - best[1]
            answers.append({"prediction_text": text, "no_answer_probability": sure})
        return answers

    def _best_span(
        self, start: Array, end: Array, offsets: Sequence[tuple[int, int] | None]
    ) -> tuple[float, tuple[int, int] | None]:
        """Return the score and the characters of the best answer in one window."""
        inside = np.array([i for i, span in enumerate(offsets) if span is not None], int)
        firsts = inside[np.argsort(-start[inside], kind="stable")[: self.n_best]]
        lasts = inside[np.argsort(-end[inside], kind="stable")[: self.n_best]]
        scores = start[firsts][:, None].astype(float) + end[lasts][None]
        lengths = lasts[None] - firsts[:, None] + 1
        scores = np.where((lengths < 1) | (lengths > self.max_answer_length), -np.inf, scores)
        if not scores.size or np.isneginf(scores.max()):
            return -np.inf, None
        row, column = np.unravel_index(scores.argmax(), scores.shape)
        first, last = offsets[int(firsts[row])], offsets[int(lasts[column])]
        span = None if first is None or last is None else (first[0], last[1])
        return float(scores.max()), span


def normalize(text: str) -> str:
    """Return text in lower case, without punctuation, articles and superfluous space."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def overlap(predicted: str, gold: str) -> float:
    """Return the F1 of the words of two answers; of an empty one, whether both are."""
    ours, theirs = normalize(predicted).split(), normalize(gold).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))


def best_threshold(f1: Array, answerable: Array, no_answer: Array) -> tuple[float, float]:
    """Return the best mean F1, and the smallest threshold of "no answer" that gives it."""
    order = np.argsort(no_answer, kind="stable")
    # Answering one more question gains its F1, and loses the 1 of a right "no answer".
    gains = (f1 - ~answerable)[order]
    sums = np.concatenate([[0.0], np.cumsum(gains)]) + (~answerable).sum()
    ranked = no_answer[order]
    # Questions of the same score are answered together, or not.
    possible = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    best = int(np.where(possible, sums, -np.inf).argmax())
    threshold = ranked[best - 1] if best else np.nextafter(ranked[0], -np.inf)
    return float(sums[best] / len(f1)), float(threshold)


def _golds(reference: Any) -> list[str]:
    """Return the answers that remain something when normalised; one empty one if none does."""
    while isinstance(reference, Mapping):
        fields = cast("Mapping[str, Any]", reference)
        reference = fields["answers"] if "answers" in fields else fields["text"]
    texts = [reference] if isinstance(reference, str) else [*cast("Iterable[str]", reference)]
    return [text for text in texts if normalize(text)] or [""]


def _in_order(predictions: Sequence[Any], references: Sequence[Any]) -> Sequence[Any]:
    """Return the predictions in the order of the references, where both have ids."""
    if not all(isinstance(e, Mapping) and "id" in e for e in (*predictions, *references)):
        return predictions
    by_id = {each["id"]: each for each in predictions}
    for reference in references:
        if reference["id"] not in by_id:
            raise DataError(f"question {reference['id']!r} has no prediction")
    return [by_id[reference["id"]] for reference in references]
