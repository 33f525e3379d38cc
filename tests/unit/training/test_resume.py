import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from regard.errors import CheckpointError, ConfigError
from regard.models.bert import BertForSequenceClassification
from regard.training.callbacks import EarlyStoppingCallback
from regard.training.checkpoint import checkpoints
from regard.training.trainer import Trainer

from .runs import (
    StopAt,
    arguments,
    equal_contents,
    examples,
    heard,
    history,
    masked,
    model,
    pad,
    same,
    trainer,
    weights,
)


def judged(**more):
    return {
        "eval_dataset": examples(5, seed=2),
        "eval_strategy": "steps",
        "eval_steps": 1,
        "metric_for_best_model": "loss",
        **more,
    }


LORA = {"r": 2, "lora_dropout": 0.1, "bias": "lora_only", "task_type": "SEQ_CLS"}
RUNS = {
    "plain": dict,
    "by length": lambda: {"group_by_length": True},
    "by tokens": lambda: {"per_device_train_tokens": 20},
    "masked": masked,
    "epochs": lambda: {
        "max_steps": -1,
        "num_train_epochs": 2,
        "logging_strategy": "epoch",
        "eval_strategy": "epoch",
        "eval_dataset": examples(5, seed=2),
    },
    "best": lambda: judged(load_best_model_at_end=True, save_total_limit=None, learning_rate=0.3),
    "early": lambda: judged(
        callbacks=[EarlyStoppingCallback(2)], learning_rate=0.3, max_steps=12, seed=5
    ),
    "muon": lambda: {"optim": "muon"},
    "lora": lambda: {"lora": LORA, "weight_decay": 0.0},
    "lora, best": lambda: judged(load_best_model_at_end=True, lora=LORA, learning_rate=0.3),
    "average": lambda: {"ema_decay": 0.6},
    "average, best": lambda: judged(load_best_model_at_end=True, ema_decay=0.6, learning_rate=0.3),
    "average of lora": lambda: {"ema_decay": 0.6, "lora": LORA},
    "plateau": lambda: judged(
        lr_scheduler_type="reduce_lr_on_plateau",
        lr_scheduler_kwargs={"patience": 0, "factor": 0.5},
        learning_rate=0.3,
    ),
    "checkpointing": lambda: {"gradient_checkpointing": True},
    "bf16": lambda: {"bf16": True},
}


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", RUNS)
def test_resumed_at_any_step_a_run_ends_with_the_same_bits(kind, every, tmp_path):
    """At every third step, each kind from another on; the slow run resumes at all."""
    whole = trainer(tmp_path / "whole", **RUNS[kind]())
    whole.train()
    saved = checkpoints(tmp_path / "whole")
    assert len(saved) == whole.state.global_step >= 3
    assert (whole.state.global_step < whole.state.max_steps) == (kind == "early")
    for folder in saved[[*RUNS].index(kind) % every :: every]:
        output = tmp_path / "again"
        output.mkdir()
        shutil.copytree(folder, output / folder.name)
        best = Path(whole.state.best_model_checkpoint or folder)
        if best != folder and int(best.name[11:]) < int(folder.name[11:]):
            shutil.copytree(best, output / best.name)
        again = trainer(output, **RUNS[kind]())
        torch.manual_seed(999)
        again.train(resume_from_checkpoint=str(output / folder.name))
        assert same(weights(again), weights(whole)), folder.name
        assert history(again) == history(whole), folder.name
        assert equal_contents(output / saved[-1].name, saved[-1]), folder.name
        shutil.rmtree(output)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_that_a_callback_stopped_goes_on(stop, tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.train()
    trainer(tmp_path / "cut", callbacks=[StopAt(stop)]).train()
    assert checkpoints(tmp_path / "cut")[-1].name == f"checkpoint-{stop}"
    again = trainer(tmp_path / "cut", model=model(seed=77))
    again.train(resume_from_checkpoint=True)
    assert same(weights(again), weights(whole))
    assert history(again) == history(whole)


class Shuffling(Trainer):
    """A loader that draws its order from torch's generator at large, as people write it."""

    def get_train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=2, shuffle=True, collate_fn=pad)


def test_a_loader_of_your_own_resumes_too(tmp_path):
    def run(folder, **more):
        return Shuffling(model(), arguments(folder), train_dataset=examples(), **more)

    whole = run(tmp_path / "whole")
    whole.train()
    for folder in checkpoints(tmp_path / "whole"):
        again = run(tmp_path / folder.name)
        again.train(resume_from_checkpoint=str(folder))
        assert same(weights(again), weights(whole)), folder.name


class Own(nn.Module):
    """Nothing of ours: tied weights, running statistics, a buffer that is not saved, a number."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(40, 8)
        self.again = nn.Linear(8, 40, bias=False)
        self.again.weight = self.words.weight
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.full((8,), 2.0), persistent=False)
        self.frozen = nn.Parameter(torch.ones(8), requires_grad=False)

    def forward(self, input_ids, attention_mask, labels):
        self.seen += len(input_ids)
        hidden = self.words(input_ids).mean(1) * self.scale * self.frozen
        logits = self.again(self.dropout(self.norm(hidden)))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def own():
    torch.manual_seed(3)
    return Own()


def test_a_module_of_your_own_trains_saves_and_resumes(tmp_path):
    whole = trainer(tmp_path / "whole", model=own(), dataloader_drop_last=True)
    before = weights(whole)
    whole.train()
    after = weights(whole)
    assert not torch.equal(after["words.weight"], before["words.weight"])
    assert after["norm.num_batches_tracked"] > 0
    for folder in checkpoints(tmp_path / "whole"):
        again = trainer(tmp_path / folder.name, model=own(), dataloader_drop_last=True)
        again.train(resume_from_checkpoint=str(folder))
        assert same(weights(again), after), folder.name
        assert again.model.again.weight is again.model.words.weight
        assert not again.model.frozen.requires_grad
        assert torch.equal(again.model.scale, torch.full((8,), 2.0))


def test_an_optimizer_of_your_own_keeps_its_parameters(tmp_path):
    def run(folder):
        net = model()
        return trainer(folder, model=net, optimizers=(torch.optim.SGD(net.parameters(), 0.1), None))

    whole = run(tmp_path / "whole")
    whole.train()
    again = run(tmp_path / "again")
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert same(weights(again), weights(whole))


def test_model_init_makes_the_model_anew_for_each_call(tmp_path):
    run = trainer(tmp_path, model_init=lambda: model(seed=4), overwrite_output_dir=True)
    run.train()
    first = weights(run)
    run.train()
    assert same(weights(run), first)
    run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same(weights(run), first)


def test_frozen_parameters_stay_frozen_and_equal(tmp_path):
    def frozen():
        net = model()
        net.bert.embeddings.requires_grad_(False)
        return net

    whole = trainer(tmp_path / "whole", model=frozen())
    whole.train()
    again = trainer(tmp_path / "again", model=frozen())
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert same(weights(again), weights(whole))
    assert not any(p.requires_grad for p in again.model.bert.embeddings.parameters())


def spoil(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_damaged_newest_checkpoint_is_passed_over_and_reported(tmp_path):
    whole = trainer(tmp_path)
    whole.train()
    spoil(tmp_path / "checkpoint-7" / "optimizer.safetensors")
    again = trainer(tmp_path, save_total_limit=1)
    with heard() as texts:
        again.train(resume_from_checkpoint=True)
    assert any("checkpoint-7" in t and "optimizer.safetensors" in t for t in texts)
    assert same(weights(again), weights(whole))
    # The damaged one counts as none to keep, and the new one of its step is whole.
    assert [each.name for each in checkpoints(tmp_path)] == ["checkpoint-7"]
    assert (tmp_path / "earlier-1" / "checkpoint-7").is_dir()


def test_asking_for_a_damaged_checkpoint_names_the_file_and_the_newest_whole_one(tmp_path):
    trainer(tmp_path).train()
    spoil(tmp_path / "checkpoint-7" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not.*checkpoint-6"):
        trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        trainer(tmp_path / "empty").train(resume_from_checkpoint=True)


@pytest.mark.parametrize("newest", [True, False])
def test_the_model_alone_is_not_resumed(newest, tmp_path):
    trainer(tmp_path, save_only_model=True).train()
    asked = True if newest else str(tmp_path / "checkpoint-3")
    with pytest.raises(CheckpointError, match="save_only_model"):
        trainer(tmp_path, save_only_model=True).train(resume_from_checkpoint=asked)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": model(intermediate_size=12)}, "not of this model.*feed_forward"),
        ({"model": model(num_hidden_layers=1)}, "not of this model.*has no place"),
        ({"model": model("mask")}, "not of this model.*missing"),
        ({"model": model().double()}, "float32.*float64"),
        ({"optim": "sgd"}, "AdamW.*SGD"),
        ({"layer_lr_decay": 0.5}, "does not fit"),
    ],
)
def test_another_run_than_the_saved_one_is_refused(change, message, tmp_path):
    trainer(tmp_path, max_steps=1).train()
    with pytest.raises(CheckpointError, match=message):
        trainer(tmp_path, **change).train(resume_from_checkpoint=True)


def test_another_batch_size_is_told(tmp_path):
    trainer(tmp_path, max_steps=2).train()
    with heard() as texts:
        trainer(tmp_path, max_steps=3, per_device_train_batch_size=3).train(True)
    assert any("per_device_train_batch_size 2 -> 3" in text for text in texts)
    assert any("a run of 2 steps, this one has 3" in text for text in texts)


def test_checkpoints_of_an_earlier_run_are_never_taken_for_this_one(tmp_path):
    trainer(tmp_path, max_steps=5).train()
    with heard() as texts:
        trainer(tmp_path, max_steps=2, save_total_limit=1).train()
    assert [each.name for each in checkpoints(tmp_path)] == ["checkpoint-2"]
    assert len(checkpoints(tmp_path / "earlier-1")) == 5
    assert any("earlier-1" in text for text in texts)
    trainer(tmp_path, max_steps=1, overwrite_output_dir=True).train()
    assert [each.name for each in checkpoints(tmp_path)] == ["checkpoint-1"]
    assert not (tmp_path / "earlier-2").exists()


def test_the_best_checkpoint_is_found_after_a_move(tmp_path):
    run = trainer(tmp_path / "a", **RUNS["best"]())
    run.train()
    best = Path(run.state.best_model_checkpoint).name
    shutil.move(tmp_path / "a", tmp_path / "b")
    again = trainer(tmp_path / "b", **RUNS["best"]())
    again.train(resume_from_checkpoint=True)
    assert same(weights(again), weights(run))
    assert again.state.best_model_checkpoint == str(tmp_path / "b" / best)


def test_data_that_ends_before_its_steps_is_an_error(tmp_path):
    once = (row for row in examples())
    with pytest.raises(ConfigError, match="gave nothing in pass 2"):
        trainer(tmp_path, train_dataset=once, max_steps=50, save_strategy="no").train()


def test_infinite_gradients_stop_before_the_weights_are_touched(tmp_path):
    run = trainer(tmp_path)
    run.model.bert.embeddings.norm.weight.register_hook(lambda grad: grad * float("inf"))
    before = weights(run)
    with pytest.raises(FloatingPointError, match=r"gradients.*examples"):
        run.train()
    assert same(weights(run), before)


def test_an_adapter_resumes_over_its_own_base_only(tmp_path):
    for name, seed in {"one": 0, "same": 0, "other": 1}.items():
        model(seed=seed).save_pretrained(tmp_path / name)

    def over(name):
        base = BertForSequenceClassification.from_pretrained(tmp_path / name)
        return trainer(tmp_path / "run", model=base, lora=LORA, weight_decay=0.0, max_steps=2)

    over("one").train()
    kept = load_file(tmp_path / "run" / "checkpoint-2" / "adapter_model.safetensors")
    # Training does not touch the base, which may have moved.
    over("same").train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    found = load_file(tmp_path / "run" / "checkpoint-2" / "adapter_model.safetensors")
    assert same(found, kept)
    with pytest.raises(CheckpointError) as caught:
        over("other").train(resume_from_checkpoint=True)
    text = str(caught.value)
    assert "checkpoint-2 is an adapter of" in text
    assert f"{tmp_path}/same, and this run's base is {tmp_path}/other" in text


def test_an_adapter_does_not_resume_a_run_of_the_whole_model(tmp_path):
    trainer(tmp_path, max_steps=1).train()
    with pytest.raises(
        CheckpointError, match="holds no adapter, and this run trains one over Bert"
    ):
        trainer(tmp_path, lora=LORA, max_steps=2).train(resume_from_checkpoint=True)


class Noisy:
    """Examples in which words are exchanged at random, by three generators."""

    rows = examples(11)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        ids = [*self.rows[index]["input_ids"]]
        ids[1] = random.randrange(5, 40)
        ids[2] = int(torch.randint(5, 40, ()))
        ids[-2] = int(np.random.randint(5, 40))
        return self.rows[index] | {"input_ids": ids}


def test_a_dataset_with_randomness_resumes_within_a_pass_with_workers_too(tmp_path):
    def run(name, workers=2):
        return trainer(tmp_path / name, train_dataset=Noisy(), dataloader_num_workers=workers)

    whole = run("whole")
    whole.train()
    alone = run("alone", workers=1)
    alone.train()
    assert same(weights(alone), weights(whole))  # whoever reads them
    for step in (1, 4):  # the second batch of the first pass, and of the second
        resumed = run(f"from {step}")
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert same(weights(resumed), weights(whole))


def test_a_dataset_with_randomness_is_other_in_every_pass(tmp_path):
    run = trainer(tmp_path, train_dataset=Noisy(), dataloader_num_workers=1)
    loader, seen = run.get_train_dataloader(), []
    for epoch in (0, 1, 0):
        loader.collate_fn.epoch = epoch
        seen.append([batch["input_ids"].tolist() for batch in loader])
    assert seen[0] == seen[2] != seen[1]
