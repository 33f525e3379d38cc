import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Subset

from regard.errors import ConfigError
from regard.models.multitask import MultiTaskModel
from regard.training.callbacks import TrainerCallback
from regard.training.checkpoint import checkpoints
from regard.training.multitask import MultiTaskTrainer

from .runs import StopAt, arguments, equal_contents, examples, heard, history, same, weights
from .several import COUNTS, METRICS, TASKS, model, multi_trainer, several
from .test_distributed import start

STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def batches(run, epoch=0):
    loader = run.get_train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    loader.collate_fn.epoch = epoch
    return [*loader]


def drawn(run, epoch=0):
    loader = run.get_train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    task_of = loader.collate_fn.task_of
    return [
        (task_of(batch[0]), sorted({task_of(n) for n in batch}), batch)
        for batch in loader.batch_sampler
    ]


def test_every_batch_is_of_one_task_and_an_epoch_sees_every_example_once(tmp_path):
    run = multi_trainer(tmp_path)
    found = drawn(run)
    assert all(tasks == [task] for task, tasks, _ in found)
    assert sorted(n for *_, batch in found for n in batch) == [*range(sum(COUNTS.values()))]
    order = [task for task, *_ in found]
    assert order != sorted(order, key=[*COUNTS].index)
    assert drawn(run, 1) != found
    assert drawn(multi_trainer(tmp_path), 1) == drawn(run, 1)
    for batch in batches(run):
        assert batch["task"] in TASKS
        assert "noise" not in batch
        names = {"span": {"start_positions", "end_positions"}}.get(batch["task"], {"labels"})
        assert names <= {*batch}


@pytest.mark.parametrize("options", [{"group_by_length": True}, {"per_device_train_tokens": 18}])
def test_batches_are_made_inside_a_task(options, tmp_path):
    run = multi_trainer(tmp_path, **options)
    found = drawn(run)
    assert all(tasks == [task] for task, tasks, _ in found)
    assert sorted(n for *_, batch in found for n in batch) == [*range(sum(COUNTS.values()))]
    if "per_device_train_tokens" in options:
        tokens = [int(batch["attention_mask"].sum()) for batch in batches(run)]
        assert max(tokens) <= 18
        assert max(len(batch) for *_, batch in found) > 2


def test_an_infinite_temperature_draws_all_tasks_alike(tmp_path):
    run = multi_trainer(tmp_path, task_temperature=math.inf, per_device_train_batch_size=1)
    for epoch in range(3):
        order = [task for task, *_ in drawn(run, epoch)]
        assert [order.count(task) for task in COUNTS] == [6, 6, 6, 6]
    # Over two epochs every example of the largest task is drawn: 12 batches for 11 examples.
    seen = {
        n
        for epoch in (0, 1)
        for task, _, batch in drawn(run, epoch)
        for n in batch
        if task == "mood"
    }
    assert len(seen) == COUNTS["mood"]


class Recorder(TrainerCallback):
    def on_step_begin(self, args, state, control, **run):
        run["model"].eval()

    def on_pre_optimizer_step(self, args, state, control, **run):
        named = run["model"].named_parameters()
        self.gradients = {n: p.grad.clone() for n, p in named if p.grad is not None}


def one_step(folder, size, count, counts, **options):
    recorder = Recorder()
    own = model(**STILL).double()
    options |= {"per_device_train_batch_size": size, "gradient_accumulation_steps": count}
    run = multi_trainer(
        folder,
        model=own,
        train_dataset=several(counts=counts),
        callbacks=[recorder],
        **{"max_steps": 1, "learning_rate": 0, "max_grad_norm": 0, "save_strategy": "no"} | options,
    )
    return run.train().training_loss, recorder.gradients, run


@pytest.mark.parametrize("task", COUNTS)
@pytest.mark.parametrize("cut", [(4, 4), (1, 16)], ids=["4x4", "1x16"])
def test_a_step_of_one_task_does_not_depend_on_how_it_is_cut(task, cut, tmp_path):
    loss, gradients, _ = one_step(tmp_path / "whole", 16, 1, {task: 16})
    other, found, _ = one_step(tmp_path / "cut", *cut, {task: 16})
    assert other == pytest.approx(loss, abs=1e-10)
    assert found.keys() == gradients.keys()
    for name, wanted in gradients.items():
        assert (found[name] - wanted).abs().max() < 1e-10, name


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_step_of_all_tasks_is_the_mean_over_its_examples_of_each_tasks_mean(size, tmp_path):
    counts = {"mood": 8, "names": 4, "span": 4, "degree": 4}
    weighed = {"names": 3.0, "degree": 0.0}
    loss, gradients, run = one_step(tmp_path, size, 20 // size, counts, task_weights=weighed)
    own = model(**STILL).double().eval()
    expected = 0
    for task, rows in several(counts=counts).items():
        # In one forward, without a trainer.
        loader = run._task_collate({task: rows})
        batch = loader([*enumerate(rows)])
        expected = expected + own(**batch).loss * weighed.get(task, 1) * counts[task] / 20
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-10)
    for name, parameter in own.named_parameters():
        if parameter.grad is not None:
            assert (gradients[name] - parameter.grad).abs().max() < 1e-10, name


RUNS = {
    "plain": {},
    "uniform": {"task_temperature": math.inf, "per_device_train_batch_size": 3},
    "by length": {"group_by_length": True, "task_temperature": 2},
    "by tokens": {"per_device_train_tokens": 20, "task_weights": {"span": 0.5}},
}


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", RUNS)
def test_resumed_at_any_step_a_run_ends_with_the_same_bits(kind, every, tmp_path):
    options = RUNS[kind] | {"max_steps": 9}
    whole = multi_trainer(tmp_path / "whole", **options)
    whole.train()
    assert whole.state.epoch > 1
    saved = checkpoints(tmp_path / "whole")
    for folder in saved[1::every]:
        output = tmp_path / "again"
        output.mkdir()
        shutil.copytree(folder, output / folder.name)
        again = multi_trainer(output, model=model(seed=5), **options)
        torch.manual_seed(999)
        again.train(resume_from_checkpoint=str(output / folder.name))
        assert same(weights(again), weights(whole)), folder.name
        assert history(again) == history(whole), folder.name
        assert equal_contents(output / saved[-1].name, saved[-1]), folder.name
        shutil.rmtree(output)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    whole = multi_trainer(tmp_path / "whole")
    whole.train()
    multi_trainer(tmp_path / "cut", callbacks=[StopAt(3)]).train()
    again = multi_trainer(tmp_path / "cut")
    again.train(resume_from_checkpoint=True)
    assert same(weights(again), weights(whole))


def test_another_temperature_in_a_resumed_run_is_said(tmp_path):
    multi_trainer(tmp_path, callbacks=[StopAt(2)]).train()
    with heard() as notices:
        multi_trainer(tmp_path, task_temperature=3).train(resume_from_checkpoint=True)
    assert any("task_temperature 1.0 -> 3" in text for text in notices)


def test_every_task_is_measured_and_the_best_mean_is_kept(tmp_path):
    run = multi_trainer(
        tmp_path,
        eval_dataset=several(seed=9),
        compute_metrics=METRICS,
        main_metrics={"names": "recall"},
        metric_for_best_model="mean",
        load_best_model_at_end=True,
        eval_strategy="steps",
        eval_steps=1,
    )
    run.train()
    metrics = run.evaluate()
    main = [f"eval_{n}" for n in ("mood_accuracy", "names_recall", "span_exact", "degree_spearman")]
    assert metrics["eval_mean"] == pytest.approx(sum(metrics[name] for name in main) / 4)
    losses = [metrics[f"eval_{task}_loss"] for task in TASKS]
    assert metrics["eval_loss"] == pytest.approx(sum(losses) / 4)
    assert run.state.best_metric == max(
        log["eval_mean"] for log in run.state.log_history if "eval_mean" in log
    )
    only = run.evaluate({"names": several(seed=9)["names"]})
    assert only["eval_names_loss"] == metrics["eval_names_loss"]
    assert only["eval_mean"] == 0.5
    assert run.evaluate("mood")["eval_mood_loss"] == metrics["eval_mood_loss"]


@pytest.mark.parametrize("task", TASKS)
def test_the_loss_of_a_task_is_over_its_labels_whatever_the_batches(task, tmp_path):
    data = several(seed=9)
    run = multi_trainer(tmp_path, eval_dataset={task: data[task]}, per_device_eval_batch_size=2)
    collate = run._task_collate({task: data[task]})
    with torch.no_grad():
        whole = run.model.eval()(**collate([*enumerate(data[task])])).loss
    assert run.evaluate()[f"eval_{task}_loss"] == pytest.approx(whole.item(), rel=1e-5)


def test_predictions_of_a_task_come_in_the_order_of_its_data(tmp_path):
    run, rows = multi_trainer(tmp_path, compute_metrics=METRICS), several(seed=9)["mood"]
    found = run.predict(rows, task="mood")
    assert found.label_ids.tolist() == [row["label"] for row in rows]
    assert found.predictions.shape == (11, 3)
    assert "test_accuracy" in found.metrics
    with pytest.raises(ValueError, match="which task"):
        run.predict(rows)


def test_a_part_of_a_tasks_data_is_of_the_task(tmp_path):
    run = multi_trainer(tmp_path, eval_dataset=several(seed=9))
    part = Subset(run.eval_dataset["names"], range(2))
    assert run.config_of(part).num_labels == 4
    (batch,) = run.get_eval_dataloader(part)
    assert batch["task"] == "names"
    assert len(batch["input_ids"]) == 2
    with pytest.raises(ConfigError, match="does not say its task"):
        run.get_eval_dataloader(examples(3))


def test_the_report_of_a_run_says_of_every_task_where_it_errs(tmp_path):
    run = multi_trainer(tmp_path, eval_dataset=several(seed=9), report_to="report", max_steps=1)
    run.train()
    facts = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    inspected = facts["inspected"]
    # Spans are neither classes nor numbers.
    assert {name: len(each["worst"]) for name, each in inspected.items()} == {
        name: min(10, len(run.eval_dataset[name])) for name in ("mood", "names", "degree")
    }
    assert inspected["mood"]["confusion"] is not None
    assert inspected["degree"]["confusion"] is None
    report = (tmp_path / "report.md").read_text("utf-8")
    for name in ("mood", "names"):
        assert f"of the evaluation data of {name}\n\n| label" in report
    assert "## Worst examples" in report.split("of the evaluation data of names")[-1]


def test_what_diverges_is_named_by_task(tmp_path):
    own = model()
    with torch.no_grad():
        own.heads["span"].qa_outputs.bias.fill_(math.nan)
    run = multi_trainer(tmp_path, model=own, train_dataset={"span": several()["span"]})
    with pytest.raises(FloatingPointError, match=r"examples \[\d, \d, \d, \d\] of 'span'"):
        run.train()


def test_a_trained_model_is_saved_as_one_and_read_back(tmp_path):
    run = multi_trainer(tmp_path / "run", max_steps=2)
    run.train()
    run.save_model(tmp_path / "saved")
    found = MultiTaskModel.from_pretrained(tmp_path / "saved")
    assert same(found.state_dict(), run.model.state_dict())
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["tasks"] == TASKS


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"names 'moods'; did you mean 'mood'"):
        multi_trainer(tmp_path, train_dataset={"moods": []})
    with pytest.raises(ConfigError, match="task_weights names 'x'"):
        multi_trainer(tmp_path, task_weights={"x": 2}).train()
    with pytest.raises(ConfigError, match="must map tasks"):
        multi_trainer(tmp_path, train_dataset=examples())
    with pytest.raises(ConfigError, match="data sets with a length"):
        multi_trainer(tmp_path, train_dataset={"mood": iter(examples())})
    with pytest.raises(ConfigError, match="'span' makes no full batch"):
        multi_trainer(tmp_path, dataloader_drop_last=True, per_device_train_batch_size=5).train()
    with pytest.raises(ConfigError, match="nothing to train on"):
        multi_trainer(tmp_path, train_dataset=None).train()
    with pytest.raises(
        ConfigError, match="main_metrics of 'names' is 'f2'; its metrics are f1, recall"
    ):
        multi_trainer(
            tmp_path,
            eval_dataset=several(),
            compute_metrics=METRICS,
            main_metrics={"names": "f2"},
        ).evaluate()
    with pytest.raises(ConfigError, match="trains a MultiTaskModel"):
        MultiTaskTrainer(torch.nn.Linear(2, 2), arguments(tmp_path))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return start(tmp_path_factory.mktemp("runs"), "pair_multitask.py")


@pytest.fixture(scope="module")
def one(runs):
    return runs[0]


@pytest.fixture(scope="module")
def two(runs):
    return runs[1]


def test_two_processes_are_one_with_twice_the_accumulation(one, two):
    found, wanted = (load_file(folder / "still.safetensors") for folder in (two, one))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
    found, wanted = (json.loads((folder / "still.json").read_text()) for folder in (two, one))
    assert len(found) == len(wanted) >= 11
    for log, other in zip(found, wanted, strict=True):
        # How far a pass is counts batches, of which two processes may have halved the last.
        assert log | {"epoch": 0} == pytest.approx(other | {"epoch": 0}, rel=1e-5)
    assert sum("eval_mean" in log for log in found) == 2


def test_two_processes_resume_to_the_same_bits(two):
    assert same(load_file(two / "cut.safetensors"), load_file(two / "whole.safetensors"))
    assert equal_contents(two / "cut" / "checkpoint-7", two / "whole" / "checkpoint-7")


def test_heads_of_several_tasks_are_not_sharded(two):
    for rank in (0, 1):
        assert "this model has several heads" in (two / f"refused-{rank}").read_text()
