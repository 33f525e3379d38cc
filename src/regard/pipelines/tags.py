"""From labels of tokens to spans of text: whole words, then runs of words."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Begin a span, and end one, in the schemes of the field: IOB2, IOBES and BILOU.
_BEGINS, _ENDS, _PREFIXES = frozenset("BSU"), frozenset("ESLU"), frozenset("BIESLU")


@dataclass(frozen=True)
class Word:
    """A word with a label.

    Attributes:
        label: What it was labelled.
        score: How sure that is, 0 to 1.
        start: Its first character in the text.
        end: The character after its last.
        weight: How much its score counts in that of a span.
    """

    label: str
    score: float
    start: int
    end: int
    weight: int = 1


@dataclass
class Span:
    """A run of words that are one thing.

    Attributes:
        label: What it is, without prefix.
        words: What it is made of.
    """

    label: str
    words: list[Word] = field(default_factory=list[Word])

    @property
    def start(self) -> int:
        """The first character."""
        return self.words[0].start

    @property
    def end(self) -> int:
        """The character after the last."""
        return self.words[-1].end

    @property
    def score(self) -> float:
        """The mean over its words."""
        scores, weights = zip(*((word.score, word.weight) for word in self.words), strict=True)
        return float(np.average(scores, weights=weights))


def split_label(label: str) -> tuple[str, str]:
    """Return prefix and kind: ``("B", "PER")`` for ``B-PER``, ``("", "PER")`` for ``PER``."""
    if len(label) > 2 and label[1] in "-_" and label[0] in _PREFIXES:
        return label[0], label[2:]
    return "", label


def spans(labelled: Iterable[Word]) -> list[Span]:
    """Join neighbours with labels of one kind, unless a prefix says that a new span begins."""
    found: list[Span] = []
    ended = True
    for word in labelled:
        prefix, kind = split_label(word.label)
        if ended or prefix in _BEGINS or found[-1].label != kind:
            found.append(Span(kind))
        found[-1].words.append(word)
        ended = prefix in _ENDS
    return found


def words(
    strategy: str,
    scores: Any,
    word_ids: Sequence[int | None],
    offsets: Sequence[tuple[int, int]],
    names: Mapping[int, str],
) -> Iterator[Word]:
    """Yield the words of a text with their labels.

    Args:
        strategy: One of `STRATEGIES`.
        scores: (tokens, labels) probabilities.
        word_ids: The word of each token; None is a word by itself.
        offsets: The characters of each token.
        names: Number to label.
    """
    for start, end in runs(word_ids):
        of_word = STRATEGIES[strategy](scores[start:end])
        label = int(of_word.argmax())
        weight = end - start if strategy == "simple" else 1
        place = offsets[start][0], offsets[end - 1][1]
        yield Word(names[label], float(of_word[label]), *place, weight)


def _simple(scores: Any) -> Any:
    found = np.zeros_like(scores[0])
    first = int(scores[0].argmax())
    found[first] = scores[:, first].mean()
    return found


#: How the scores (labels,) of a word come from those of its tokens (tokens, labels): its first
#: token's; those of the token that is surest; the mean; the first token's label with all tokens'
#: mean score for it.
STRATEGIES: Mapping[str, Callable[[Any], Any]] = {
    "first": lambda scores: scores[0],
    "max": lambda scores: scores[scores.max(1).argmax()],
    "average": lambda scores: scores.mean(0),
    "simple": _simple,
}


def runs(word_ids: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yield the (first token, token after the last) of each word."""
    start = 0
    for place in range(1, len(word_ids) + 1):
        same = place < len(word_ids) and word_ids[place] == word_ids[start]
        if not same or word_ids[start] is None:
            yield start, place
            start = place
