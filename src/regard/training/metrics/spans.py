"""Named entities and other spans: precision, recall and F1 as CoNLL's script counts them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from regard.errors import DataError, listing
from regard.training.metrics.metric import (
    IGNORED,
    Metric,
    as_array,
    f_score,
    first_output,
    ratio,
    same_length,
)

#: Prefixes that open a span, and that close one: of IOB, IOE, IOBES and BILOU.
OPENING, CLOSING = "BSU", "ESLU"
Labels = Mapping[int, str] | Mapping[str, int] | Sequence[str]


class Spans(Metric):
    """``precision``, ``recall``, ``f1`` of whole spans, and ``accuracy`` of tokens.

    Also ``precision_PER``, ``recall_PER``, ``f1_PER`` for each type. A span is right if its ends
    and its type are, as in conlleval (Tjong Kim Sang and Buchholz 2000). IOB1, IOB2, IOE1, IOE2,
    IOBES and BILOU are read without being told which; a sequence that breaks its scheme is read
    as conlleval does: an ``I-`` without a ``B-`` opens a span. Without any span F1 is 0.

    Args:
        id2label: The label of each number (or ``label2id``, or a list); not needed where labels
            are given as text.
    """

    def __init__(self, id2label: Labels | None = None) -> None:
        self.names = None if id2label is None else label_names(id2label)
        for name in self.names.values() if self.names else ():
            split_label(name)
        super().__init__()

    def reset(self) -> None:
        """Forget everything that was added."""
        self.right: Counter[str] = Counter()
        self.predicted: Counter[str] = Counter()
        self.true: Counter[str] = Counter()
        self.tokens, self.right_tokens = 0, 0

    @property
    def count(self) -> int:
        """How many labelled tokens were added."""
        return self.tokens

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch of sentences.

        Args:
            predictions: (sentences, tokens, labels) logits, (sentences, tokens) numbers, or lists
                of label names.
            references: (sentences, tokens) numbers, where tokens that are -100 are left out; or
                lists of label names.
        """
        if _is_text(references):
            pairs = [*zip(predictions, references, strict=False)]
            same_length(predictions, references)
        else:
            pairs = self._named(predictions, references)
        for predicted, true in pairs:
            same_length(predicted, true)
            found, wanted = set(read_spans(predicted)), set(read_spans(true))
            self.predicted.update(kind for kind, *_ in found)
            self.true.update(kind for kind, *_ in wanted)
            self.right.update(kind for kind, *_ in found & wanted)
            self.tokens += len(true)
            self.right_tokens += sum(a == b for a, b in zip(predicted, true, strict=True))

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        self.right, self.predicted = self.right + other.right, self.predicted + other.predicted
        self.true = self.true + other.true
        self.tokens += other.tokens
        self.right_tokens += other.right_tokens

    def preprocess(self, logits: Any, labels: Any) -> Any:
        """Return the predicted labels, and no logits."""
        return first_output(logits).argmax(-1)

    def results(self) -> dict[str, float]:
        """Return all numbers."""
        results = _scores(self.right.total(), self.predicted.total(), self.true.total())
        results["accuracy"] = self.right_tokens / self.tokens
        for kind in sorted(self.true | self.predicted):
            scores = _scores(self.right[kind], self.predicted[kind], self.true[kind])
            results |= {f"{name}_{kind}": value for name, value in scores.items() if kind}
        return results

    def _named(self, predictions: Any, references: Any) -> list[tuple[list[str], list[str]]]:
        """Return predicted and true labels of each sentence by name, without the unlabelled."""
        names = self.names
        if names is None:
            raise DataError("labels are numbers: give the metric id2label=model.config.id2label")
        scores, labels = as_array(predictions), as_array(references, "labels")
        chosen = scores.argmax(-1) if scores.ndim == labels.ndim + 1 else scores
        if chosen.shape != labels.shape or labels.ndim != 2:
            raise DataError(
                f"predictions are {scores.shape} and labels {labels.shape}; wanted labels as "
                "(sentences, tokens), and predictions the same or with one more axis of logits"
            )
        known = labels != IGNORED
        numbers = {int(n) for n in {*chosen[known].tolist(), *labels[known].tolist()}}
        unknown = sorted(numbers - set(names))
        if unknown:
            raise DataError(f"{unknown[0]} is no label: id2label has {listing(map(str, names))}")
        rows = zip(chosen, labels, known, strict=True)
        return [
            ([names[int(n)] for n in row[mask]], [names[int(n)] for n in true[mask]])
            for row, true, mask in rows
        ]


def read_spans(labels: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield (type, first token, last token) for each span of a sentence.

    A token belongs to the span of the one before it, unless a prefix opens or closes a span
    between them or their types differ: this reads every scheme, and for IOB it is what conlleval
    does.
    """
    start, before, kind_before = 0, "O", ""
    for place, label in enumerate([*labels, "O"]):
        prefix, kind = split_label(label)
        joined = "O" not in (prefix, before) and kind == kind_before
        if not joined or prefix in OPENING or before in CLOSING:
            if before != "O":
                yield kind_before, start, place - 1
            start = place
        before, kind_before = prefix, kind


def split_label(label: str) -> tuple[str, str]:
    """Return ``("B", "PER")`` of ``"B-PER"``.

    Raises:
        DataError: The label is of no scheme of spans.
    """
    prefix, _, kind = label.partition("-")
    if prefix not in ("O", "I", *OPENING, *CLOSING) or (prefix == "O" and kind):
        raise DataError(
            f"the label {label!r} is not of spans: wanted O, B-TYPE, I-TYPE, E-TYPE or S-TYPE; for "
            'labels of single tokens use load_metric("accuracy")'
        )
    return prefix, kind


def is_span_label(label: str) -> bool:
    """Whether a label is of a scheme of spans."""
    prefix, dash, _ = label.partition("-")
    return label == "O" or (bool(dash) and prefix in ("I", *OPENING, *CLOSING))


def label_names(labels: Labels) -> dict[int, str]:
    """Return number -> name, from ``id2label``, ``label2id`` or a list of names."""
    if not isinstance(labels, Mapping):
        return dict(enumerate(labels))
    items = cast("Mapping[Any, Any]", labels).items()
    if all(isinstance(value, int) for _, value in items):
        return {value: str(name) for name, value in items}
    return {int(number): str(name) for number, name in items}


def _is_text(sentences: Any) -> bool:
    """Whether these are lists of names, and not an array of numbers."""
    rows = cast("Sequence[Any]", sentences if isinstance(sentences, list | tuple) else ())
    lists = [cast("Sequence[Any]", row) for row in rows if isinstance(row, list | tuple)]
    return any(isinstance(label, str) for row in lists for label in row[:1])


def _scores(right: int, predicted: int, true: int) -> dict[str, float]:
    precision, recall = ratio(right, predicted), ratio(right, true)
    f1 = float(f_score(precision, recall))
    return {"precision": float(precision), "recall": float(recall), "f1": f1}
