"""Options that change how a step is computed, and must not change what it computes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from regard.errors import ConfigError
from regard.training import half
from regard.training.callbacks import TrainerCallback

from .runs import examples, model, pad, trainer, weights


def gradients(net):
    net.train()
    torch.manual_seed(5)
    net(**pad(examples(4))).loss.backward()
    return {name: value.grad for name, value in net.named_parameters() if value.grad is not None}


def test_gradient_checkpointing_gives_equal_gradients_with_dropout(tmp_path):
    wanted = gradients(model())
    run = trainer(tmp_path, gradient_checkpointing=True, max_steps=1, learning_rate=0.0)
    calls = []
    layer = run.model.bert.encoder.layers[0]
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    run.train()
    assert len(calls) == 4  # two forwards, each computed again
    run.model.zero_grad()
    found = gradients(run.model)
    assert found.keys() == wanted.keys()
    for name, grad in wanted.items():
        assert torch.equal(found[name], grad), name


def test_gradient_checkpointing_of_a_module_without_layers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no regard Stack"):
        trainer(tmp_path, model=torch.nn.Linear(2, 2), gradient_checkpointing=True).train()


@pytest.mark.parametrize("more", [{}, {"gradient_checkpointing": True}])
def test_bf16_trains_on_the_processor_with_weights_in_fp32(more, tmp_path, monkeypatch):
    monkeypatch.setattr(half, "_SMALL", 0)
    monkeypatch.setattr(half, "_ROWS", 8)
    run = trainer(tmp_path, bf16=True, max_steps=30, save_strategy="no", **more)
    products = []
    counted = half.worth_it
    monkeypatch.setattr(half, "worth_it", lambda *of: products.append(1) or counted(*of))
    run.train()
    assert len(products) >= 30 * 12
    assert {value.dtype for value in weights(run).values()} == {torch.float32}
    losses = [log["loss"] for log in run.state.log_history if "loss" in log]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_compiling_is_asked_of_torch_and_what_is_left_is_the_plain_model(tmp_path, monkeypatch):
    asked = []

    def compiled(function, **options):
        asked.append(options)

        def called(*inputs, **named):
            asked.append("forward")
            return function(*inputs, **named)

        return called

    monkeypatch.setattr(torch, "compile", compiled)
    run = trainer(tmp_path, torch_compile=True, torch_compile_mode="max-autotune", max_steps=1)
    run.train()
    options = {"backend": "inductor", "mode": "max-autotune", "dynamic": True}
    assert asked == [options] * 2 + ["forward"] * 4  # two layers, two batches
    assert not [name for name, each in run.model.named_modules() if "forward" in vars(each)]
    trainer(tmp_path, max_steps=2).train(resume_from_checkpoint=True)


def test_a_module_without_layers_of_ours_is_compiled_whole(tmp_path, monkeypatch):
    asked = []

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = torch.nn.Embedding(40, 2)

        def forward(self, input_ids, labels, **rest):
            return {"loss": F.cross_entropy(self.scores(input_ids)[:, 1], labels)}

    monkeypatch.setattr(torch, "compile", lambda net, **_: asked.append(net) or net)
    run = trainer(tmp_path, model=Own(), torch_compile=True, max_steps=1, save_strategy="no")
    run.train()
    assert asked == [run.model]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="torch compiles with a C compiler")
@pytest.mark.parametrize(
    ("name", "more", "graphs"),
    [
        ("bert", {}, 2),
        ("bert", {"gradient_checkpointing": True}, 2),
        ("gpt2", {}, 4),
        ("bart", {}, 6),
    ],
    ids=["bert", "checkpointing", "gpt2", "bart"],
)
def test_compiled_layers_give_the_same_losses_in_few_graphs(name, more, graphs, tmp_path):
    program = str(Path(__file__).with_name("compiled.py"))
    done = subprocess.run(
        [sys.executable, program, name, str(tmp_path), json.dumps(more)],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout)
    assert len(ran["found"]) == 15 + 3
    assert ran["found"] == pytest.approx(ran["wanted"], abs=1e-5)
    assert 0 < ran["graphs"] <= graphs  # whatever the lengths of 33 batches


class Rates(TrainerCallback):
    """Notes the rate that each step is made with."""

    def __init__(self):
        self.used = []

    def on_optimizer_step(self, args, state, control, optimizer=None, **run):
        self.used.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "reduce_lr_on_plateau"])
def test_the_rate_that_is_logged_is_that_of_the_step(schedule, tmp_path):
    rates = Rates()
    more = {"eval_strategy": "steps", "eval_steps": 1, "eval_dataset": examples(3)}
    run = trainer(tmp_path, lr_scheduler_type=schedule, logging_steps=1, callbacks=[rates], **more)
    run.train()
    logged = [log["learning_rate"] for log in run.state.log_history if "learning_rate" in log]
    assert logged == rates.used
    assert len(logged) == 7
