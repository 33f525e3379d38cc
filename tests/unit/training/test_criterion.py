"""Smoothing, class weights and focal loss against torch and the formulas of the papers."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import regard
from regard import CrossEntropy
from regard.outputs import Loss
from regard.training.criterion import balanced_weights

LOGITS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, -100, 3, 3, 2, 0, -100, 1])
WEIGHTS = torch.tensor([0.01, 0.2, 0.05, 0.03], dtype=torch.float64)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_means_are_torchs(smoothing, weights):
    found = CrossEntropy(smoothing, 0.0, weights)(LOGITS, LABELS).mean()
    expected = F.cross_entropy(LOGITS, LABELS, weights, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_smoothing_by_hand():
    """Szegedy et al. 2016, section 7: the truth is 0.9 of the label and 0.1 of all alike."""
    labelled = LABELS != -100
    truths = 0.9 * F.one_hot(LABELS[labelled], 4) + 0.1 / 4
    expected = -(truths * LOGITS[labelled].log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(CrossEntropy(0.1)(LOGITS, LABELS).mean(), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_focal_loss_by_hand(gamma, weights):
    """Lin et al. 2017, equation 5; the weights divide, as in torch's weighted mean."""
    labelled = LABELS != -100
    labels = LABELS[labelled]
    weight = torch.ones(4, dtype=torch.float64) if weights is None else weights
    certainty = LOGITS[labelled].softmax(-1)[torch.arange(len(labels)), labels]
    losses = -weight[labels] * (1 - certainty) ** gamma * certainty.log()
    found = CrossEntropy(0.0, gamma, weights)(LOGITS, LABELS).mean()
    torch.testing.assert_close(found, losses.sum() / weight[labels].sum())


def test_what_is_certain_has_a_finite_slope():
    logits = torch.tensor([[60.0, 0.0], [0.0, 1.0]], requires_grad=True)
    CrossEntropy(gamma=0.5)(logits, torch.tensor([0, -100])).mean().backward()
    assert logits.grad.isfinite().all()


def test_a_mean_over_nothing_is_zero():
    nothing = torch.full((9,), -100)
    for criterion in (CrossEntropy(), CrossEntropy(weights=WEIGHTS), CrossEntropy(gamma=1.0)):
        loss = criterion(LOGITS, nothing)
        assert loss.mean() == 0
        assert loss.over((0.0,)) == 0


def test_losses_of_two_parts_divide_each_by_its_own():
    loss = Loss((torch.tensor(6.0),), (torch.tensor(3),)) + Loss(
        (torch.tensor(1.0),), (torch.tensor(4),)
    )
    assert loss.mean() == 2.25
    assert (loss / 2).mean() == 1.125
    assert loss.over((12, 8)) == 0.5 + 0.125


def test_weights_must_fit_the_classes():
    with pytest.raises(regard.ConfigError, match="there are 4 class weights for 3 classes"):
        CrossEntropy(weights=WEIGHTS)(LOGITS[:, :3], LABELS)


def test_labels_that_no_class_has_are_named_with_weights_too(tiny_config):
    model = regard.BertForSequenceClassification(tiny_config("bert", num_labels=4))
    model.criterion = CrossEntropy(weights=WEIGHTS)
    batch = {"input_ids": torch.ones(1, 3, dtype=torch.long), "labels": torch.tensor([7])}
    assert model.label_counts(batch) == (0.0,)
    with pytest.raises(ValueError, match="example 0 has label 7; this model has 4 labels"):
        model(**batch)


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0, 1, 1, 2, 2, 2, 2]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    for column in ("label", "labels", "label_ids"):
        data = [{column: label} for label in labels]
        assert balanced_weights(data, 3) == pytest.approx(expected)
    tokens = [{"labels": [-100, 0, 1]}, {"labels": torch.tensor([1, 2, 2, 2, 2, -100])}]
    assert balanced_weights(tokens, 3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (iter([]), "counts the labels of a train_dataset that has a length"),
        (None, "counts the labels of a train_dataset"),
        ([{"label": 0}], "no training example has label 1, 2"),
        ([{"label": 3}], "example 0 has label 3; this model has 3 labels"),
        ([{"label": -1}], "example 0 has label -1"),
        ([{"label": 0.5}], "counts classes; the labels are numbers"),
        ([{"text": ""}], "example 0 has none of labels, label, label_ids"),
    ],
)
def test_what_cannot_be_balanced(data, message):
    with pytest.raises(regard.ConfigError, match=message):
        balanced_weights(data, 3)


class Seen(regard.TrainerCallback):
    """Notes what the model's loss is in training, and may fail there."""

    def __init__(self, *, fails=False):
        self.found, self.fails = None, fails

    def on_step_end(self, args, state, control, model=None, **run):
        self.found = model.criterion
        if self.fails:
            raise RuntimeError("out of luck")


def test_the_trainer_sets_what_the_arguments_say_and_takes_it_off(tiny_config, tmp_path):
    def trained(fails=False, **options):
        data = [{"input_ids": [1, 2], "label": label} for label in (0, 0, 0, 1)]
        model = regard.BertForSequenceClassification(tiny_config("bert", num_labels=2))
        usual = {"use_cpu": True, "report_to": "none", "max_steps": 1}
        args = regard.TrainingArguments(tmp_path, **usual, **options)
        seen = Seen(fails=fails)
        trainer = regard.Trainer(model, args, train_dataset=data, callbacks=[seen])
        with pytest.raises(RuntimeError) if fails else nullcontext():
            trainer.train()
        assert "criterion" not in vars(model)
        return seen.found

    assert trained() is regard.BertForSequenceClassification.criterion
    given = {"label_smoothing_factor": 0.1, "focal_gamma": 1.5}
    found = trained(class_weights="balanced", **given)
    assert (found.smoothing, found.gamma) == (0.1, 1.5)
    torch.testing.assert_close(found.weights, torch.tensor([4 / 6, 2.0]))
    found = trained(fails=True, class_weights=[1.0, 0.0])
    assert found.weights.tolist() == [1.0, 0.0]


def test_an_evaluation_counts_as_in_training_and_leaves_a_loss_of_ones_own(tiny_config, tmp_path):
    model = regard.BertForSequenceClassification(tiny_config("bert", num_labels=2))
    data = [{"input_ids": [1, 2], "label": 0}, {"input_ids": [1, 2], "label": 1}]
    model.eval().classifier.bias.data[0] = 2.0
    own = model.criterion = CrossEntropy(gamma=2.0)
    args = regard.TrainingArguments(
        tmp_path, use_cpu=True, report_to="none", class_weights=[1.0, 0.0]
    )
    found = regard.Trainer(model, args, eval_dataset=data).evaluate()["eval_loss"]
    assert model.criterion is own
    logits = model(input_ids=torch.tensor([[1, 2]])).logits
    assert found == pytest.approx(float(F.cross_entropy(logits, torch.tensor([0])).detach()))


def test_a_model_that_is_made_anew_has_it_too(tiny_config, tmp_path):
    made = []

    def model_init():
        made.append(regard.BertForSequenceClassification(tiny_config("bert", num_labels=2)))
        return made[-1]

    args = regard.TrainingArguments(
        tmp_path, use_cpu=True, report_to="none", max_steps=1, class_weights=[1.0, 3.0]
    )
    data = [{"input_ids": [1, 2], "label": 0}, {"input_ids": [1, 2], "label": 1}]
    seen = Seen()
    trainer = regard.Trainer(args=args, train_dataset=data, model_init=model_init, callbacks=[seen])
    trainer.train()
    assert trainer.model is made[1]
    assert seen.found.weights.tolist() == [1.0, 3.0]
