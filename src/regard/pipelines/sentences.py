"""Texts as words of sentences, with the predicates that somebody named."""

import dataclasses
import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tokenizers import Encoding

from regard.pipelines.job import check_text
from regard.text.sentences import sentence_spans
from regard.text.words import word_spans


@dataclass(frozen=True)
class Sentences:
    """A text as its words.

    Attributes:
        text: The text.
        words: Characters of each word.
        ends: For each sentence the word after its last.
        predicates: The numbers of the words that are some; None where that is to be found.
        scores: How sure that is, where the model found them.
        encoding: The tokens of the words.
    """

    text: str
    words: list[tuple[int, int]]
    ends: list[int]
    predicates: list[int] | None
    scores: list[float] | None = None
    encoding: Encoding | None = None

    def firsts(self, encoding: Encoding) -> dict[int, int]:
        """Return the first token of each word that has tokens."""
        owners = cast("list[int]", encoding.word_ids)
        return {word: token for token, word in reversed([*enumerate(owners)])}

    def sentence(self, word: int) -> tuple[int, int]:
        """Return the first word of the sentence of a word, and the word after its last."""
        number = bisect_right(self.ends, word)
        return (self.ends[number - 1] if number else 0), self.ends[number]


def read_sentences(item: Any) -> Sentences:
    """Return what a call was given as words of sentences.

    Raises:
        TypeError: It is no text, and no words.
        ValueError: A predicate is no word of it.
    """
    predicates = None
    if isinstance(item, Mapping):
        given = cast("Mapping[str, Any]", item)
        if ("text" in given) == ("words" in given):
            raise ValueError(
                f"an input needs 'text' or 'words'; found {', '.join(given) or 'none'}"
            )
        item, predicates = given.get("text", given.get("words")), given.get("predicates")
    if isinstance(item, list | tuple):
        read = _of_words([check_text(word, "a word") for word in cast("Sequence[Any]", item)])
    else:
        text = check_text(item, "a text or words")
        sentences = [(a, word_spans(text[a:b])) for a, b in sentence_spans(text)]
        words = [(a + start, a + end) for a, each in sentences for start, end in each]
        ends = [*itertools.accumulate(len(each) for _, each in sentences)]
        read = Sentences(text, words, ends, None)
    if predicates is None:
        return read
    places = {_place(each, read.words) for each in predicates}
    return dataclasses.replace(read, predicates=sorted(places))


def _of_words(words: Sequence[str]) -> Sentences:
    """Return words as one sentence."""
    ends = [*itertools.accumulate(len(word) + 1 for word in words)]
    places = [(end - 1 - len(word), end - 1) for end, word in zip(ends, words, strict=True)]
    return Sentences(" ".join(words), places, [len(words)] if words else [], None)


def _place(given: Any, words: Sequence[tuple[int, int]]) -> int:
    """Return the number of the word that a predicate is."""
    if isinstance(given, int):
        if 0 <= given < len(words):
            return given
        raise ValueError(f"predicate {given} is no word; there are {len(words)}, from 0")
    try:
        start, end = given
    except (TypeError, ValueError):
        raise ValueError(f"predicate {given!r}; wanted a word's number, or (start, end)") from None
    found = next((n for n, (a, b) in enumerate(words) if a < end and start < b), None)
    if found is None:
        raise ValueError(f"predicate {given!r}: no word has characters {start} to {end}")
    return found
