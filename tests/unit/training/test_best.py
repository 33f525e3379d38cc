"""Which evaluation is the best one: a metric that is no number never is."""

import math

import pytest

from regard.training.callbacks import EarlyStoppingCallback, is_better
from regard.training.trainer import Trainer

from .runs import arguments, examples, heard, model, pad

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "greater", "best", "step"),
    [
        ([NAN, 0.3, 0.2, NAN], True, 0.3, 2),
        ([NAN, 0.3, 0.2, NAN], False, 0.2, 3),
        ([0.1, NAN, 0.2, 0.2], True, 0.2, 3),
        ([NAN, NAN, NAN, NAN], True, None, None),
    ],
)
def test_what_is_no_number_is_never_best_and_any_number_beats_it(
    values, greater, best, step, tmp_path
):
    run = trainer(tmp_path, values, greater_is_better=greater, load_best_model_at_end=True)
    with heard() as notices:
        run.train()
    assert (run.state.best_metric, run.state.best_global_step) == (best, step)
    told = [each for each in notices if "score" in each]
    first = values.index(NAN) + 1
    assert told == [f"score is not a number at step {first}; it is never best"]


def test_early_stopping_counts_what_is_no_number_as_no_better(tmp_path):
    patient = EarlyStoppingCallback(2)
    run = trainer(tmp_path, [NAN, 0.1, NAN, NAN, 0.9], callbacks=[patient], max_steps=5)
    run.train()
    assert (run.state.global_step, patient.best) == (4, 0.1)


def test_better_by_more_than_a_threshold():
    assert is_better(0.5, NAN, greater=True, by=1.0)  # a run saved before this was so
    assert is_better(0.5, 0.7, greater=False, by=0.1)
    assert not is_better(0.5, 0.5, greater=True)
    assert not is_better(0.75, 0.5, greater=True, by=0.25)


def trainer(folder, values, callbacks=(), **changes):
    scores = iter(values)
    usual = {
        "max_steps": 4,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 1,
        "metric_for_best_model": "score",
        "greater_is_better": True,
    }
    return Trainer(
        model(),
        arguments(folder, **usual | changes),
        train_dataset=examples(),
        eval_dataset=examples(3, seed=2),
        data_collator=pad,
        compute_metrics=lambda _: {"score": next(scores)},
        callbacks=callbacks,
    )
