"""How far answers of real models may move when they are computed in fewer digits."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regard
from regard.pipelines.comparing import agreement
from regard.pipelines.preparing import SAMPLE
from regard.pipelines.sentence_encoder import SentenceEncoder
from regard.runtime.precision import multiplies_bf16, multiplies_int8

CPU = torch.device("cpu")
#: Of a precision: mean cosine of vectors, share of equal labels, points of a score.
CONTRACT = {"bf16": (0.9995, 0.995, 0.3), "int8": (0.999, 0.99, 0.8)}
PRECISIONS = [
    pytest.param("bf16", marks=pytest.mark.skipif(not multiplies_bf16(CPU), reason="no bf16")),
    pytest.param("int8", marks=pytest.mark.skipif(not multiplies_int8(CPU), reason="no VNNI")),
]
#: Texts of several sentences, none of those by which ranges are chosen.
TEXTS = (
    "The plot is thin and the jokes are older than the cast. Still, the leads have so much fun "
    "that it is hard to be angry, and the last twenty minutes are close to wonderful.",
    "Our order arrived two weeks late, one chair was broken, and nobody answers the telephone.",
    "After the flood of 1953 the province built a barrier across the estuary. It was finished in "
    "1986, cost more than planned, and has been closed against storms some thirty times.",
    "Researchers at the university in Leuven trained mice to tell two smells apart and found that "
    "sleep within four hours made the memory last; mice kept awake forgot by the next day.",
    "What a quietly beautiful film. Nothing explodes, nobody shouts, and I could not look away.",
    "The striker, who had missed the first half of the season with a torn ligament, scored twice "
    "before half-time as Porto beat the visitors by three goals to one in the rain.",
    "To reset the router, hold the small button at the back for ten seconds, wait until the light "
    "turns green, and sign in with the password that is printed on the label underneath.",
    "He promised a lot and delivered a headache. Avoid this one unless you enjoy watching paint.",
)
DATA = os.environ.get("REGARD_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="REGARD_DATA names no corpora")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_vectors(precision: str) -> None:
    wanted = SentenceEncoder.from_pretrained(precision=None).encode(TEXTS)
    found = SentenceEncoder.from_pretrained(precision=precision).encode(TEXTS)
    mean, least = agreement(found, wanted)
    assert mean >= CONTRACT[precision][0]
    assert least < 1, "not a bit has changed: the test shows nothing"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("task", ["sentiment-analysis", "ner", "semantic-role-labeling"])
def test_labels(task: str, precision: str) -> None:
    wanted = regard.pipeline(task, precision=None)([*TEXTS])
    found = regard.pipeline(task, precision=precision)([*TEXTS])
    assert agreement(found, wanted)[0] == 1.0


def sentences() -> tuple[list[str], list[str]]:
    with (Path(DATA or "") / "sst2" / "validation.tsv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    text = max(rows[0], key=lambda column: len(rows[0][column]))
    (label,) = rows[0].keys() - {text}
    return [row[text] for row in rows], [row[label] for row in rows]


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("precision", PRECISIONS)
def test_vectors_of_a_corpus(precision: str) -> None:
    texts, _ = sentences()
    wanted = SentenceEncoder.from_pretrained(precision=None).encode(texts)
    found = SentenceEncoder.from_pretrained(precision=precision).encode(texts)
    assert agreement(found, wanted)[0] >= CONTRACT[precision][0]


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("precision", PRECISIONS)
def test_labels_and_scores_of_a_corpus(precision: str) -> None:
    texts, labels = sentences()

    def said(precision: str | None) -> list[str]:
        return [each["label"] for each in regard.pipeline("sentiment-analysis", precision=precision)(texts)]

    wanted, found = said(None), said(precision)
    _, share, points = CONTRACT[precision]
    assert np.mean([one == other for one, other in zip(found, wanted, strict=True)]) >= share
    right = {name: np.mean([a == b for a, b in zip(each, labels, strict=True)]) for name, each in {"wanted": wanted, "found": found}.items()}
    assert right["wanted"] > 0.84, "the model is not itself: the test shows nothing"
    assert abs(right["wanted"] - right["found"]) * 100 <= points


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("precision", PRECISIONS)
def test_entities_of_a_corpus(precision: str, tmp_path: Path) -> None:
    """Labels of words, and exact names, on held-out noisy text."""
    from regard.data.conll import read_conll  # noqa: F401 - the reader that the recipe uses

    lines = (Path(DATA or "") / "wnut17").iterdir()
    assert lines
