"""Each metric against a second implementation, or against counts by hand."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as reference

import regard
from regard.errors import ConfigError, DataError
from regard.training.metrics.loading import ALIASES, METRICS, TASKS
from regard.training.metrics.ranking import correlation

RANDOM = np.random.default_rng(0)


def in_parts(metric, predictions, labels, parts=3):
    """Return the numbers of batches that were counted by two metrics, one merged into the other."""
    other = copy.deepcopy(metric)
    places = np.array_split(np.arange(len(labels)), parts)
    for number, place in enumerate(places):
        counter = other if number % 2 else metric
        counter.add_batch(predictions[place], labels[place])
    metric.merge(other)
    return metric.compute()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
def test_classification_is_sklearns(classes, average):
    logits = RANDOM.normal(size=(60, classes))
    labels = RANDOM.integers(0, classes, 60)
    predicted = logits.argmax(-1)
    how = average or ("binary" if classes == 2 else "macro")
    ours = regard.load_metric("classification", average=average)((logits, labels))
    wanted = {
        "accuracy": reference.accuracy_score(labels, predicted),
        "precision": reference.precision_score(labels, predicted, average=how, zero_division=0),
        "recall": reference.recall_score(labels, predicted, average=how, zero_division=0),
        "f1": reference.f1_score(labels, predicted, average=how, zero_division=0),
        "f1_macro": reference.f1_score(labels, predicted, average="macro", zero_division=0),
        "f1_micro": reference.f1_score(labels, predicted, average="micro", zero_division=0),
        "matthews_correlation": reference.matthews_corrcoef(labels, predicted),
    }
    assert ours == pytest.approx(wanted, abs=1e-12)
    streamed = in_parts(regard.load_metric("classification", average=average), logits, labels)
    assert streamed == ours
    assert all(type(value) is float for value in ours.values())


def test_classes_that_never_occur_are_left_out_of_the_mean():
    labels, predicted = np.array([0, 1, 0, 1]), np.array([0, 1, 3, 1])
    ours = regard.load_metric("f1_macro", num_labels=9).compute(predicted, labels)
    wanted = reference.f1_score(labels, predicted, average="macro", zero_division=0)
    assert ours == {"f1_macro": pytest.approx(wanted)}


def test_one_class_only():
    ours = regard.load_metric("classification").compute(np.zeros(4, int), np.zeros(4, int))
    assert (ours["accuracy"], ours["f1"], ours["matthews_correlation"]) == (1, 1, 0)
    binary = regard.load_metric("f1", num_labels=2).compute(np.zeros(4, int), np.zeros(4, int))
    assert binary == {"f1": 0.0}, "class 1 was never there"


def test_padding_counts_for_nothing():
    labels = np.array([[0, 1, -100], [2, -100, -100]])
    logits = np.eye(3)[[[0, 2, 1], [2, 0, 0]]]
    assert regard.load_metric("accuracy")((logits, labels)) == {"accuracy": pytest.approx(2 / 3)}


def test_a_trainers_call_keeps_nothing():
    metric = regard.load_metric("accuracy")
    assert metric((np.array([1, 1]), np.array([1, 0]))) == {"accuracy": 0.5}
    assert metric((np.array([1, 1]), np.array([1, 1]))) == {"accuracy": 1.0}
    assert metric.compute(np.array([0]), np.array([1])) == {"accuracy": 0.0}
    assert metric.compute(np.array([1]), np.array([1])) == {"accuracy": 1.0}


def test_metrics_of_two_kinds_do_not_merge():
    with pytest.raises(TypeError, match="Classification cannot merge a Regression"):
        regard.load_metric("accuracy").merge(regard.load_metric("mse"))


def test_tensors_and_lists_are_taken():
    logits, labels = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).bfloat16(), torch.tensor([1, 1])
    assert regard.load_metric("accuracy").compute(logits, labels) == {"accuracy": 0.5}
    assert regard.load_metric("accuracy").compute([1, 0], [1, 1]) == {"accuracy": 0.5}


def test_the_first_of_several_outputs_counts():
    logits, states = np.array([[1.0, 2.0]]), np.zeros((1, 5, 4))
    assert regard.load_metric("accuracy")(((logits, states), np.array([1]))) == {"accuracy": 1.0}


@pytest.mark.parametrize("name", ["accuracy", "seqeval", "roc_auc", "perplexity", "regression"])
def test_nothing_labelled_is_an_error(name):
    options = {"id2label": {0: "O"}} if name == "seqeval" else {}
    metric = regard.load_metric(name, **options)
    with pytest.raises(DataError, match="nothing to measure"):
        metric.compute()


def test_only_unlabelled_tokens_are_an_error():
    with pytest.raises(DataError, match="nothing to measure"):
        regard.load_metric("accuracy").compute(np.zeros((2, 3)), np.full((2, 3), -100))


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), "label 3 is no class: they are 0 to 2"),
        (np.zeros(2, int), np.array([0, -1]), "label -1 is no class"),
        (np.zeros((2, 3)), np.array([0, 1, 2]), r"predictions are \(2,\) and labels \(3,\)"),
        (np.full((2, 3), np.nan), np.array([0, 1]), "NaN"),
        ([[1, 2], [3]], np.array([0, 1]), "different length"),
    ],
)
def test_what_does_not_fit_is_said(predictions, labels, message):
    with pytest.raises(DataError, match=message):
        regard.load_metric("accuracy").compute(predictions, labels)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_several_labels_are_sklearns(average):
    logits, labels = RANDOM.normal(size=(50, 4)), RANDOM.integers(0, 2, (50, 4))
    labels[:, 3] = 0
    logits[:, 3] = -1
    predicted = logits > 0
    ours = regard.load_metric("multilabel", average=average)((logits, labels.astype(float)))
    how = {"average": average, "zero_division": 0}
    assert ours == pytest.approx(
        {
            "accuracy": reference.accuracy_score(labels, predicted),
            "precision": reference.precision_score(labels, predicted, **how),
            "recall": reference.recall_score(labels, predicted, **how),
            "f1": reference.f1_score(labels, predicted, **how),
            "f1_macro": reference.f1_score(labels, predicted, average="macro", zero_division=0),
            "f1_micro": reference.f1_score(labels, predicted, average="micro", zero_division=0),
        }
    )
    assert in_parts(regard.load_metric("multilabel", average=average), logits, labels) == ours
    assert regard.load_metric("multilabel", average=average)((predicted, labels)) == ours


def test_unlabelled_places_of_several_labels():
    labels = np.array([[1, -100], [-100, -100], [0, 1]])
    ours = regard.load_metric("multilabel")((np.array([[1.0, 1], [1, 1], [1, 1]]), labels))
    assert (ours["accuracy"], ours["precision"], ours["recall"]) == (0.5, pytest.approx(2 / 3), 1)
    with pytest.raises(DataError, match="0 or 1"):
        regard.load_metric("multilabel").compute(np.ones((1, 2)), np.array([[2, 0]]))


def test_roc_auc_is_sklearns():
    labels = RANDOM.integers(0, 2, 80)
    scores = RANDOM.normal(size=80).round(1)  # with ties
    wanted = reference.roc_auc_score(labels, scores)
    logits = np.stack([-scores, scores], 1)
    for given in (scores, scores[:, None], logits):
        assert regard.load_metric("roc_auc")((given, labels)) == {"roc_auc": pytest.approx(wanted)}
    logits, labels = RANDOM.normal(size=(80, 4)), RANDOM.integers(0, 4, 80)
    odds = torch.tensor(logits).softmax(-1).numpy()
    wanted = reference.roc_auc_score(labels, odds, multi_class="ovr")
    assert in_parts(regard.load_metric("auc"), logits, labels)["roc_auc"] == pytest.approx(wanted)
    several = RANDOM.integers(0, 2, (80, 4))
    wanted = reference.roc_auc_score(several, logits)
    assert regard.load_metric("auc")((logits, several))["roc_auc"] == pytest.approx(wanted)


def test_roc_auc_of_one_class():
    assert math.isnan(regard.load_metric("roc_auc")((np.ones(3), np.ones(3)))["roc_auc"])
    logits, labels = RANDOM.normal(size=(40, 3)), RANDOM.integers(0, 2, 40)
    odds = torch.tensor(logits).softmax(-1).numpy()
    wanted = np.mean([reference.roc_auc_score(labels == i, odds[:, i]) for i in (0, 1)])
    assert regard.load_metric("roc_auc")((logits, labels))["roc_auc"] == pytest.approx(wanted)
    with pytest.raises(DataError, match="classes from 0 to 2"):
        regard.load_metric("roc_auc").compute(logits, labels + 2)


def test_correlations_are_scipys():
    numbers = RANDOM.normal(size=50).round(1)
    targets = (numbers + RANDOM.normal(size=50)).round(1)
    ours = in_parts(regard.load_metric("regression"), numbers[:, None], targets)
    assert ours["pearsonr"] == pytest.approx(stats.pearsonr(numbers, targets)[0])
    assert ours["spearmanr"] == pytest.approx(stats.spearmanr(numbers, targets)[0])
    assert ours["mse"] == pytest.approx(reference.mean_squared_error(targets, numbers))
    assert ours["mae"] == pytest.approx(reference.mean_absolute_error(targets, numbers))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_correlation_has_no_unit(scale):
    numbers = np.array([1.0, 2.0, 4.0]) * scale
    assert correlation(numbers, np.array([1.0, 2.0, 4.0])) == pytest.approx(1)


def test_a_constant_correlates_with_nothing():
    ours = regard.load_metric("regression").compute(np.ones(3), np.arange(3.0))
    assert math.isnan(ours["pearsonr"])
    assert math.isnan(ours["spearmanr"])
    assert ours["mae"] == pytest.approx(2 / 3)


def test_perplexity_is_the_exponential_of_torchs_loss():
    logits = torch.randn(4, 6, 11, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24).reshape(4, 6) % 11
    labels[1, 2:] = -100
    own = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    following = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    )
    for metric, loss in (
        (regard.load_metric("perplexity"), own),
        (regard.metrics_for("text-generation"), following),
    ):
        wanted = pytest.approx(float(loss.exp()), rel=1e-5)
        assert metric((logits.numpy(), labels.numpy())) == {"perplexity": wanted}
        kept = metric.preprocess(logits, labels)
        assert kept.shape == labels.shape
        assert metric((kept.numpy(), labels.numpy())) == {"perplexity": wanted}
        assert in_parts(metric, logits.numpy(), labels.numpy()) == {"perplexity": wanted}


def test_a_boundless_perplexity_is_infinite():
    assert regard.load_metric("ppl").compute([[-1000.0]], [[1]]) == {"perplexity": math.inf}


def test_unknown_names_get_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        regard.load_metric("accuracies")
    with pytest.raises(ConfigError, match="did you mean 'text-classification'"):
        regard.metrics_for("text-clasification")
    with pytest.raises(ConfigError, match="average is 'macros'; did you mean 'macro'"):
        regard.load_metric("f1", average="macros")


def test_every_name_makes_a_metric():
    for name in [*METRICS, *ALIASES]:
        assert isinstance(regard.load_metric(name), regard.Metric)
    for task in TASKS:
        assert isinstance(regard.metrics_for(task), regard.Metric)
    assert set(ALIASES.values()) <= set(METRICS)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"num_labels": 3}, "Classification"),
        ({"num_labels": 1}, "Regression"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "MultiLabel"),
    ],
)
def test_the_configuration_says_what_is_predicted(settings, kind):
    config = regard.BertConfig(**settings)
    assert type(regard.metrics_for("text-classification", config)).__name__ == kind


def test_results_are_json():
    ours = regard.metrics_for("text-classification")((np.eye(3), np.arange(3)))
    assert json.loads(json.dumps(ours)) == ours


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    with pytest.raises(ConfigError, match="pip install sacrebleu"):
        regard.load_metric("bleu")
