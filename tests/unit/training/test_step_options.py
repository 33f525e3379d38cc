"""Options that change how a step is computed, and must not change what it computes."""

import pytest
import torch

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


def test_compiling_is_asked_of_torch_and_what_is_saved_is_the_plain_model(tmp_path, monkeypatch):
    asked = []

    def compiled(net, **options):
        asked.append((net, options))
        return Wrapped(net)

    class Wrapped(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self._orig_mod = net

        def forward(self, **inputs):
            asked.append("forward")
            return self._orig_mod(**inputs)

    monkeypatch.setattr(torch, "compile", compiled)
    run = trainer(tmp_path, torch_compile=True, torch_compile_mode="max-autotune", max_steps=1)
    run.train()
    options = {"backend": "inductor", "mode": "max-autotune"}
    assert asked == [(run.model, options), "forward", "forward"]
    trainer(tmp_path, max_steps=2).train(resume_from_checkpoint=True)


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
