"""Spans against seqeval, and against what conlleval's script prints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval import metrics as seqeval

import regard
from regard.errors import DataError
from regard.training.metrics.spans import read_spans

LABELS = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))]
IOB = [label for label in LABELS if label[0] in "OBI"]


def sentences(labels):
    pair = st.tuples(st.sampled_from(labels), st.sampled_from(labels))
    return st.lists(st.lists(pair, min_size=1, max_size=8), min_size=1, max_size=4)


@pytest.mark.filterwarnings("ignore")
@given(sentences(LABELS))
def test_any_labels_are_counted_as_seqeval_does(pairs):
    predicted = [[each[0] for each in sentence] for sentence in pairs]
    true = [[each[1] for each in sentence] for sentence in pairs]
    ours = regard.load_metric("seqeval").compute(predicted, true)
    wanted = {
        "precision": seqeval.precision_score(true, predicted, zero_division=0),
        "recall": seqeval.recall_score(true, predicted, zero_division=0),
        "f1": seqeval.f1_score(true, predicted, zero_division=0),
        "accuracy": seqeval.accuracy_score(true, predicted),
    }
    report = seqeval.classification_report(true, predicted, output_dict=True, zero_division=0)
    for kind in ("PER", "LOC"):
        if kind in report:
            wanted[f"precision_{kind}"] = report[kind]["precision"]
            wanted[f"recall_{kind}"] = report[kind]["recall"]
            wanted[f"f1_{kind}"] = report[kind]["f1-score"]
    assert ours == pytest.approx(wanted)


def conlleval_spans(labels):
    """The published rules of conlleval for IOB: (tag before, tag) that open and close a span."""
    opens = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}
    closes = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
    found, start, before, kind_before = [], None, "O", ""
    for place, label in enumerate([*labels, "O"]):
        tag, _, kind = label.partition("-")
        other = kind != kind_before
        if (before, tag) in closes or (before != "O" and other):
            found.append((kind_before, start, place - 1))
        if (before, tag) in opens or (tag != "O" and other):
            start = place
        before, kind_before = tag, kind
    return found


@given(st.lists(st.sampled_from(IOB), max_size=10))
def test_iob_is_read_as_conlleval_does(labels):
    assert [*read_spans(labels)] == conlleval_spans(labels)


SAME = [("PER", 0, 1), ("PER", 2, 2), ("LOC", 4, 6)]


@pytest.mark.parametrize(
    "labels",
    [
        "I-PER I-PER B-PER O I-LOC I-LOC I-LOC",  # IOB1
        "B-PER I-PER B-PER O B-LOC I-LOC I-LOC",  # IOB2
        "I-PER E-PER I-PER O I-LOC I-LOC I-LOC",  # IOE1
        "I-PER E-PER E-PER O I-LOC I-LOC E-LOC",  # IOE2
        "B-PER E-PER S-PER O B-LOC I-LOC E-LOC",  # IOBES
        "B-PER L-PER U-PER O B-LOC I-LOC L-LOC",  # BILOU
    ],
)
def test_every_scheme_says_the_same(labels):
    assert [*read_spans(labels.split())] == SAME


def test_a_hand_counted_case():
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["O", "O"]]
    assert regard.load_metric("ner").compute(predicted, true) == pytest.approx(
        {
            "precision": 1 / 2,
            "recall": 1 / 3,
            "f1": 0.4,
            "accuracy": 4 / 6,
            "precision_PER": 1 / 2,
            "recall_PER": 1.0,
            "f1_PER": 2 / 3,
            "precision_LOC": 0.0,
            "recall_LOC": 0.0,
            "f1_LOC": 0.0,
        }
    )


def test_numbers_with_padding_are_the_names_without_it():
    names = dict(enumerate(["O", "B-PER", "I-PER"]))
    labels = np.array([[1, -100, 2, 0], [0, 1, -100, -100]])
    predicted = np.array([[1, 0, 2, 1], [0, 1, 1, 1]])
    ours = regard.load_metric("seqeval", id2label=names)((np.eye(3)[predicted], labels))
    by_name = regard.load_metric("seqeval").compute(
        [["B-PER", "I-PER", "B-PER"], ["O", "B-PER"]], [["B-PER", "I-PER", "O"], ["O", "B-PER"]]
    )
    assert ours == by_name
    for labelled in ([*names.values()], {name: number for number, name in names.items()}):
        metric = regard.load_metric("seqeval", id2label=labelled)
        other = regard.load_metric("seqeval", id2label=labelled)
        metric.add_batch(predicted[:1], labels[:1])
        other.add_batch(predicted[1:], labels[1:])
        metric.merge(other)
        assert metric.compute() == ours


def test_no_span_at_all_gives_zero():
    ours = regard.load_metric("seqeval").compute([["O", "O"]], [["O", "O"]])
    assert ours == {"precision": 0, "recall": 0, "f1": 0, "accuracy": 1}


def test_a_type_that_training_did_not_have():
    ours = regard.load_metric("seqeval").compute([["O"]], [["B-NEW"]])
    assert (ours["recall_NEW"], ours["precision_NEW"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "predictions", "labels", "message"),
    [
        ({}, np.zeros((1, 2), int), np.zeros((1, 2), int), "id2label"),
        ({"id2label": ["O"]}, np.array([[1]]), np.array([[0]]), "1 is no label"),
        ({}, [["O"]], [["O", "O"]], "1 predictions and 2 references"),
        ({}, [["O"]], [["NOUN"]], "'NOUN' is not of spans"),
        ({"id2label": ["O"]}, np.zeros((1, 2)), np.zeros(2, int), r"\(sentences, tokens\)"),
    ],
)
def test_what_does_not_fit_is_said(options, predictions, labels, message):
    with pytest.raises(DataError, match=message):
        regard.load_metric("seqeval", **options).compute(predictions, labels)


def test_tags_that_are_no_spans_are_classes():
    config = regard.BertConfig(id2label={0: "NOUN", 1: "VERB", 2: "X"})
    metric = regard.metrics_for("token-classification", config)
    assert metric((np.array([[0, 1]]), np.array([[0, -100]])))["accuracy"] == 1
    config = regard.BertConfig(id2label={0: "O", 1: "B-PER"})
    metric = regard.metrics_for("token-classification", config)
    assert metric((np.array([[0, 1]]), np.array([[0, 1]])))["f1_PER"] == 1
