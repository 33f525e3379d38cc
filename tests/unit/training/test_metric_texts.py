"""Answers, translations and summaries: against the field's own programs and hand-made cases."""

import itertools

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer

import regard
from regard.errors import DataError
from regard.training.metrics.answers import best_threshold, normalize, overlap

TEXTS = ["the cat sat on the mat", "hello there", ""]
GOLDS = ["a cat sat on the mat", "hello there general", "nothing"]


def test_bleu_and_chrf_are_sacrebleus():
    ours = regard.metrics_for("translation").compute(TEXTS, GOLDS)
    assert ours["bleu"] == pytest.approx(sacrebleu.corpus_bleu(TEXTS, [GOLDS]).score)
    assert ours["chrf"] == pytest.approx(sacrebleu.corpus_chrf(TEXTS, [GOLDS]).score)
    assert 0 < ours["bleu"] < ours["chrf"] < 100
    perfect = regard.load_metric("sacrebleu").compute(GOLDS[:1], GOLDS[:1])
    assert perfect == {"bleu": pytest.approx(100)}


def test_references_may_be_several_and_not_equally_many():
    several = [[GOLDS[0], TEXTS[0]], [GOLDS[1]], [GOLDS[2]]]
    ours = regard.load_metric("bleu").compute(TEXTS, several)["bleu"]
    filled = [[g[0] for g in several], [g[-1] for g in several]]
    assert ours == pytest.approx(sacrebleu.corpus_bleu(TEXTS, filled).score)
    with pytest.raises(DataError, match="empty list of references"):
        regard.load_metric("bleu").compute(["a"], [[]])


def test_options_reach_sacrebleu():
    ours = regard.load_metric("chrf", chrf={"word_order": 2}).compute(TEXTS, GOLDS)["chrf"]
    assert ours == pytest.approx(sacrebleu.corpus_chrf(TEXTS, [GOLDS], word_order=2).score)


def test_rouge_is_its_scorers_mean():
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    wanted = [scorer.score(gold, text) for gold, text in zip(GOLDS, TEXTS, strict=True)]
    ours = regard.load_metric("rouge").compute(TEXTS, GOLDS)
    for name in ("rouge1", "rouge2", "rougeL"):
        assert ours[name] == pytest.approx(np.mean([each[name].fmeasure for each in wanted]))
    # By hand: 5 of 6 words, 2 of 2 and 3, none.
    assert ours["rouge1"] == pytest.approx((5 / 6 + 0.8 + 0) / 3)


@pytest.mark.parametrize("name", ["bleu", "chrf", "rouge"])
def test_texts_stream(name):
    metric, other = regard.load_metric(name), regard.load_metric(name)
    metric.add_batch(TEXTS[:1], GOLDS[:1])
    other.add_batch(TEXTS[1:], GOLDS[1:])
    metric.merge(other)
    assert metric.compute() == pytest.approx(regard.load_metric(name).compute(TEXTS, GOLDS))


class Words:
    def decode(self, ids, skip_special_tokens):
        return " ".join(f"w{i}" for i in ids if i > 0 or not skip_special_tokens)


def test_ids_become_text():
    ids, labels = np.array([[1, 2, 3, 4, 0]]), np.array([[1, 2, 3, 4, -100]])
    assert regard.load_metric("bleu", tokenizer=Words())((ids, labels))["bleu"] == pytest.approx(
        100
    )
    with pytest.raises(DataError, match="tokenizer="):
        regard.load_metric("bleu").compute(ids, labels)
    with pytest.raises(DataError, match="generate text first"):
        regard.load_metric("bleu", tokenizer=Words()).compute(np.zeros((1, 5, 9)), labels)


def test_answers_by_hand():
    predictions = ["The Norman!", "in 1066 AD", "wrong"]
    golds = [["norman"], {"text": ["1066", "the year 1066"]}, {"answers": {"text": ["right"]}}]
    # Words shared: all; 1 of 3 and 1 of 1 (F1 1/2), 1 of 3 and 2 (2/5); none.
    ours = regard.load_metric("squad").compute(predictions, golds)
    assert ours == pytest.approx({"exact_match": 100 / 3, "f1": 50})


def test_normalised_answers():
    assert normalize("  The  Cat's, an  Apple. ") == "cats apple"
    assert normalize("theatre a-b") == "theatre ab"
    assert overlap("", "") == overlap("the", "a") == 1
    assert overlap("", "x") == overlap("x", "") == 0
    assert overlap("b b c", "b d") == pytest.approx(2 / 5)


def test_answers_go_by_id():
    predictions = [{"id": "2", "prediction_text": "two"}, {"id": "1", "prediction_text": "one"}]
    golds = [{"id": "1", "answers": {"text": ["one"]}}, {"id": "2", "answers": {"text": ["two"]}}]
    assert regard.load_metric("squad").compute(predictions, golds)["exact_match"] == 100
    with pytest.raises(DataError, match="question '1' has no prediction"):
        regard.load_metric("squad").compute(predictions[:1] * 2, golds)


def with_scores(texts, scores):
    pairs = zip(texts, scores, strict=True)
    return [{"prediction_text": t, "no_answer_probability": s} for t, s in pairs]


def test_questions_without_an_answer():
    predictions = with_scores(["yes", "guess", "", "no"], [0.1, 0.9, 0.5, 0.6])
    golds = [["yes"], [], [], ["no"]]
    ours = regard.load_metric("squad_v2").compute(predictions, golds)
    assert (ours["exact_match"], ours["HasAns_f1"], ours["NoAns_f1"]) == (75, 100, 50)
    assert (ours["best_f1"], ours["best_f1_thresh"]) == (100, 0.6)
    ours = regard.load_metric("squad_v2", no_answer_threshold=0.6).compute(predictions, golds)
    assert (ours["exact_match"], ours["best_f1"]) == (100, 100)
    ours = regard.load_metric("squad_v2", no_answer_threshold=0.55).compute(predictions, golds)
    assert (ours["HasAns_exact"], ours["NoAns_exact"]) == (50, 100)


def test_the_best_threshold_is_the_best_of_all():
    random = np.random.default_rng(1)
    for _ in range(50):
        f1, answerable = random.random(6).round(1), random.random(6) > 0.5
        scores = random.integers(0, 4, 6).astype(float)  # with ties
        f1 = np.where(answerable, f1, f1 > 0.5)
        means = [np.where(scores > t, ~answerable, f1).mean() for t in [-1, *scores]]
        best, threshold = best_threshold(f1, answerable, scores)
        assert best == pytest.approx(max(means))
        assert np.where(scores > threshold, ~answerable, f1).mean() == pytest.approx(best)


EXAMPLES = [
    {"id": "a", "context": "Anna lives in Rome", "answers": {"text": ["Rome"]}},
    {"id": "b", "context": "Bob sleeps", "answers": {"text": []}},
]
#: The first context is in two windows; place 0 stands for no answer.
FEATURES = [
    {"example_id": "a", "offset_mapping": [None, (0, 4), (5, 10)]},
    {"example_id": "a", "offset_mapping": [None, (11, 13), (14, 18)]},
    {"example_id": "b", "offset_mapping": [None, (0, 3), (4, 10)]},
]


def logits(best):
    """Return start and end logits whose best places are given for each window, with a score."""
    start, end = np.zeros((3, 3)), np.zeros((3, 3))
    for row, (first, last, score) in enumerate(best):
        start[row, first] = end[row, last] = score
    return start, end


def test_answers_are_read_from_windows():
    metric = regard.load_metric("squad", examples=EXAMPLES, features=FEATURES)
    labels = (np.zeros(3, int), np.zeros(3, int))
    ours = metric((logits([(1, 1, 1), (2, 2, 3), (0, 0, 5)]), labels))
    assert ours["exact_match"] == 100
    answered = metric((logits([(1, 1, 1), (2, 2, 3), (1, 2, 2)]), labels))
    assert (answered["HasAns_exact"], answered["NoAns_exact"]) == (100, 0)
    assert answered["best_f1"] == 100, "the first was surer than the second"


def test_the_best_span_is_the_best_of_all():
    metric = regard.load_metric("squad", examples=[], features=[], max_answer_length=3)
    random = np.random.default_rng(2)
    offsets = [None, *((i, i + 1) for i in range(6))]
    for _ in range(50):
        start, end = random.normal(size=(2, 7))
        pairs = [(s, e) for s, e in itertools.product(range(1, 7), repeat=2) if 0 <= e - s < 3]
        first, last = max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])
        score, span = metric._best_span(start, end, offsets)
        assert span == (first - 1, last)
        assert score == pytest.approx(start[first] + end[last])


def test_a_trainer_needs_the_windows():
    with pytest.raises(DataError, match=r"examples=\.\.\., features="):
        regard.metrics_for("question-answering")(((np.zeros((1, 2)),) * 2, (np.zeros(1),) * 2))
    short = regard.load_metric("squad", examples=EXAMPLES, features=FEATURES[:2])
    with pytest.raises(DataError, match="2 features and 3 rows"):
        short((logits([(0, 0, 1)] * 3), None))
