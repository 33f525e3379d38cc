import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from regard.errors import CheckpointError, ConfigError
from regard.models.bert import BertForSequenceClassification
from regard.training.callbacks import TrainerCallback
from regard.training.checkpoint import checkpoints

from .runs import examples, model, same, trainer, weights

DECAY = 0.7


class Reference(TrainerCallback):
    """Torch's own average beside ours, and the weights that training had."""

    def on_train_begin(self, args, state, control, **run):
        average = get_ema_multi_avg_fn(DECAY)
        self.average = AveragedModel(run["model"], multi_avg_fn=average)

    def on_step_end(self, args, state, control, **run):
        self.average.update_parameters(run["model"])
        self.last = {n: p.detach().clone() for n, p in run["model"].named_parameters()}


def named(net):
    return dict(net.named_parameters())


def test_the_average_is_torchs_and_the_run_is_as_without(tmp_path):
    plain = trainer(tmp_path / "plain")
    plain.train()
    reference = Reference()
    run = trainer(tmp_path / "run", ema_decay=DECAY, callbacks=[reference])
    run.train()
    assert same(reference.last, {n: p.detach() for n, p in named(plain.model).items()})
    expected = named(reference.average.module)
    for name, each in named(run.model).items():
        torch.testing.assert_close(each, expected[name], rtol=1e-6, atol=1e-7)
    assert not same(weights(run), weights(plain))


def test_evaluated_and_saved_is_the_average(tmp_path):
    seen = {}

    class Look(Reference):
        def on_evaluate(self, args, state, control, **run):
            seen[state.global_step] = run["metrics"]["eval_loss"]
            # Outside of the evaluation the model is the one that trains.
            assert same({n: p.detach() for n, p in run["model"].named_parameters()}, self.last)

    run = trainer(
        tmp_path,
        ema_decay=DECAY,
        callbacks=[Look()],
        eval_strategy="steps",
        eval_steps=1,
        eval_dataset=examples(5, seed=2),
    )
    run.train()
    assert len(seen) == 7
    for folder in checkpoints(tmp_path):
        saved = BertForSequenceClassification.from_pretrained(folder)
        found = trainer(tmp_path / "eval", model=saved, eval_dataset=examples(5, seed=2)).evaluate()
        assert found["eval_loss"] == pytest.approx(seen[int(folder.name[11:])], abs=1e-6)
    last = BertForSequenceClassification.from_pretrained(checkpoints(tmp_path)[-1])
    assert same(last.state_dict(), weights(run))


def test_runs_with_and_without_do_not_go_on_as_each_other(tmp_path):
    trainer(tmp_path / "with", max_steps=2, ema_decay=DECAY).train()
    trainer(tmp_path / "without", max_steps=2).train()
    with pytest.raises(CheckpointError, match="was saved with ema_decay"):
        trainer(tmp_path / "with").train(resume_from_checkpoint=True)
    with pytest.raises(CheckpointError, match="was saved without ema_decay"):
        trainer(tmp_path / "without", ema_decay=DECAY).train(resume_from_checkpoint=True)


def test_half_precision_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"in torch\.bfloat16 the average would stand still"):
        trainer(tmp_path, model=model().bfloat16(), ema_decay=DECAY).train()


def test_an_error_in_an_evaluation_leaves_the_weights_of_training(tmp_path):
    class StopError(Exception):
        pass

    def fail(*_):
        raise StopError

    run = trainer(
        tmp_path, ema_decay=DECAY, eval_strategy="steps", eval_steps=2, save_strategy="no"
    )
    run.eval_dataset = examples(4)
    reference = Reference()
    run.add_callback(reference)
    run.preprocess_logits_for_metrics, run.compute_metrics = fail, lambda _: {}
    with pytest.raises(StopError):
        run.train()
    assert same({n: p.detach() for n, p in named(run.model).items()}, reference.last)
