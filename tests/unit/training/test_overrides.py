"""Trainers of people's own, written for any version of the field, train and measure alike."""

import pytest
import torch

from regard.training.trainer import Trainer

from .runs import TAMED, arguments, examples, history, model, pad, weights


class Plain(Trainer):
    """Overrides nothing."""


class Loss(Trainer):
    """The loss alone, as in version 2."""

    def compute_loss(self, model, inputs):
        return model(**inputs).loss


class LossAndOutputs(Trainer):
    """As in versions 3 and 4."""

    def compute_loss(self, model, inputs, return_outputs=False):
        outputs = model(**inputs)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


class LossOfTheBase(Trainer):
    """As in versions 3 and 4, and asks the base."""

    def compute_loss(self, model, inputs, return_outputs=False):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        return (loss, outputs) if return_outputs else loss


class LossAndMore(Trainer):
    """Takes whatever comes."""

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        return super().compute_loss(model, inputs, return_outputs, **kwargs)


class Step(Trainer):
    """As in versions 2 to 4.45."""

    def training_step(self, model, inputs):
        return super().training_step(model, inputs)


class StepToday(Trainer):
    """As since version 4.46."""

    def training_step(self, model, inputs, num_items_in_batch):
        return super().training_step(model, inputs, num_items_in_batch)


class StepAndMore(Trainer):
    """Takes whatever comes."""

    def training_step(self, model, inputs, *args, **kwargs):
        return super().training_step(model, inputs, *args, **kwargs)


class StepAndLoss(Step, LossAndOutputs):
    """Both of before."""


OTHERS = [
    *(Loss, LossAndOutputs, LossOfTheBase, LossAndMore),
    *(Step, StepToday, StepAndMore, StepAndLoss),
]


def ended(kind, folder):
    run = kind(
        # Without dropout, for one that returns no outputs is asked for them in another forward.
        model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        arguments(folder, max_steps=4, save_strategy="no", gradient_accumulation_steps=3, **TAMED),
        train_dataset=examples(7),  # so that batches and steps are of different sizes
        eval_dataset=examples(5, seed=2),
        data_collator=pad,
        compute_metrics=lambda prediction: {"mean": float(prediction.predictions.mean())},
    )
    run.train()
    run.evaluate()
    return run


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.__name__)
def test_overrides_of_every_version_train_and_measure_as_the_trainer_itself(kind, tmp_path):
    wanted, found = ended(Plain, tmp_path / "plain"), ended(kind, tmp_path / "own")
    for name, value in weights(wanted).items():
        torch.testing.assert_close(weights(found)[name], value, rtol=0, atol=1e-6)
    for log, other in zip(history(found), history(wanted), strict=True):
        assert log == pytest.approx(other, abs=1e-5)
