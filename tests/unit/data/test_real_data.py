"""Real corpora, read from the folder that the variable ``REGARD_DATA`` names."""

import os
from collections import Counter
from pathlib import Path

import pytest

from regard.data.examples import Examples
from regard.data.labels import encode_labels
from regard.data.loading import load_dataset

FOLDER = Path(os.environ.get("REGARD_DATA", ""))
pytestmark = pytest.mark.skipif(
    "REGARD_DATA" not in os.environ, reason="REGARD_DATA names no folder of corpora"
)


def load(name, *args, **options) -> Examples:
    return load_dataset(FOLDER / name, *args, **options)


@pytest.mark.parametrize(
    ("name", "count", "column", "labels"),
    [
        ("sst2/train.tsv", 6920, "label", 2),
        ("sst2/validation.tsv", 872, "label", 2),
        ("sentence_polarity/train.tsv", 8115, "label", 2),
        ("movie_reviews/train.tsv", 1800, "label", 2),
        ("trec/train.tsv", 5452, "label", 6),
        ("sick/train.tsv", 4500, "entailment_judgment", 3),
        ("sick/validation.tsv", 500, "entailment_judgment", 3),
        ("wnut17/train.conll", 3394, "tags", 13),
        ("wnut17/validation.conll", 1009, "tags", 13),
        ("uner_en/train.iob2", 2001, "tags", 7),
    ],
)
def test_labelled_text(name, count, column, labels):
    examples = load(name)
    assert len(examples) == count
    found = examples.labels(column)
    assert len(found) == labels
    label2id = {label: number for number, label in enumerate(found)}
    assert len(encode_labels(examples, column, label2id)) == count
    for row in examples:
        words = row.get("tokens")
        assert words is None or len(words) == len(row["tags"])


def test_scores():
    scores = load("sick/train.tsv").cast("relatedness_score", float)["relatedness_score"]
    assert min(scores) >= 1
    assert max(scores) <= 5


def test_roles():
    examples = load("up_en/train.conllu")
    assert len(examples) == 2002
    predicates = load("up_en/train.conllu", by="predicate")
    assert len(predicates) == sum(map(len, examples["predicates"]))
    marked = [row["roles"][row["predicate"]] for row in predicates]
    assert Counter(marked).most_common(1)[0][0] == "V"


@pytest.mark.parametrize("language", ["en", "es"])
def test_questions(language):
    examples = load(f"xquad/{language}.train.json")
    assert len({row["title"] for row in examples}) == 38
    assert len(examples) == 970, "every answer stands at its place"


@pytest.mark.parametrize(("part", "count"), [("train", 29_000), ("val", 1014)])
def test_parallel_text(part, count):
    files = {code: FOLDER / f"multi30k/{part}.{code}.gz" for code in ("en", "de", "fr")}
    examples = load_dataset(files)
    assert len(examples) == count
    assert examples.column_names == ["en", "de", "fr"]


def test_plain_text():
    lines = load("tinyshakespeare/input.txt")
    assert len(lines) == 32_777
    whole = load("tinyshakespeare/input.txt", by="document")
    assert len(whole[0]["text"]) == 1_115_394
    assert [*load("tinyshakespeare/input.txt", streaming=True)] == [*lines]
