"""Pipelines against the reference's: same logits in, same labels, groups and offsets out."""

from pathlib import Path
from typing import Any

import pytest
import transformers

import regard

from .labelled import save_labelled_bert

#: The reference takes a word with combining marks, whose token is shorter, for part of another.
MARKED = "Cafe\u0301 re\u0301sume\u0301"
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
#: Subwords, punctuation, emoji, right-to-left, combining marks, other scripts, very long words.
TEXTS = [
    "Angela Merkel visited Paris-Charles-de-Gaulle in O'Hare's U.S. office.",
    "  Unbelievably   antidisestablishmentarianistically\tspaced \n words  ",
    "I 💜 emojis 👩‍👩‍👧‍👦 and flags 🇩🇪!!!",
    "שלום עולם مرحبا بالعالم",
    "naïve Ångström Zürich ﬁnance",
    "東京は日本の首都です。 Москва — столица России.",
    "x" * 150 + " tiny " + "ab" * 40,
    "a",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small random models that disagree with themselves within words, with a real vocabulary."""
    place = tmp_path_factory.mktemp("models")
    heads = ("TokenClassification", "SequenceClassification")
    save_labelled_bert({head: place / head for head in heads}, LABELS)
    return place


def _same(ours: Any, theirs: Any) -> None:
    """Compare results but for the case and the spaces of words, which ours take from the text."""
    assert type(ours) is type(theirs)
    if isinstance(ours, list):
        assert len(ours) == len(theirs), (ours, theirs)
        for one, other in zip(ours, theirs, strict=True):
            _same(one, other)
        return
    assert [*ours] == [*theirs]
    for key in ours.keys() - {"score", "word"}:
        assert ours[key] == theirs[key], key
    assert ours["score"] == pytest.approx(float(theirs["score"]), abs=1e-5)


@pytest.mark.parametrize("strategy", ["none", "first", "max", "average"])
def test_words_are_labelled_as_by_the_reference(folder: Path, strategy: str) -> None:
    """Every strategy that keeps words whole there too."""
    place = str(folder / "TokenClassification")
    ours = regard.pipeline("ner", place, aggregation_strategy=strategy)
    theirs = transformers.pipeline("ner", place, aggregation_strategy=strategy)
    expected = theirs(TEXTS)
    _same(ours(TEXTS), expected)
    _same(ours(TEXTS[0]), theirs(TEXTS[0]))
    every: dict[str, Any] = {"ignore_labels": []}
    _same(
        ours(TEXTS, **every),
        transformers.pipeline("ner", place, aggregation_strategy=strategy, **every)(TEXTS),
    )


def test_simple_splits_no_word(folder: Path) -> None:
    """Where the reference gives one word to two entities, ours gives it to one."""
    place = str(folder / "TokenClassification")
    ours = regard.pipeline("ner", place, aggregation_strategy="simple")(TEXTS)
    theirs = transformers.pipeline("ner", place, aggregation_strategy="simple")(TEXTS)

    def cut_words(found: list[list[dict[str, Any]]]) -> int:
        return sum(
            text[span["start"] - 1 : span["start"] + 1].isalnum() and span["start"] > 0
            for text, spans in zip(TEXTS[:2], found, strict=False)
            for span in spans
        )

    assert cut_words(theirs) > 0, "the reference splits no word here: the test shows nothing"
    assert cut_words(ours) == 0
    for text, spans in zip(TEXTS, ours, strict=True):
        assert all(text[span["start"] : span["end"]] == span["word"] for span in spans)


@pytest.mark.parametrize("strategy", ["simple", "first", "max", "average"])
def test_marks_join_no_words(folder: Path, strategy: str) -> None:
    """Words stay two, with all of their marks."""
    place = str(folder / "TokenClassification")
    every = {"aggregation_strategy": strategy, "ignore_labels": []}
    found = regard.pipeline("ner", place)(MARKED, **every)
    assert all(span["word"] in (MARKED, *MARKED.split()) for span in found)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 2},
        {"top_k": None},
        {"function_to_apply": "sigmoid"},
        {"function_to_apply": "none", "top_k": 3},
    ],
    ids=str,
)
def test_texts_are_labelled_as_by_the_reference(folder: Path, options: dict[str, Any]) -> None:
    """One text, a list, a pair."""
    place = str(folder / "SequenceClassification")
    ours = regard.pipeline("sentiment-analysis", place)
    theirs = transformers.pipeline("sentiment-analysis", place)
    _same(ours(TEXTS, **options), theirs(TEXTS, **options))
    _same(ours(TEXTS[0], **options), theirs(TEXTS[0], **options))
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    _same(ours(pair, **options), theirs(pair, **options))
