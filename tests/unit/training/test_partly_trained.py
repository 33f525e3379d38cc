"""Runs in which only a part trains: frozen bases and adapters."""

import json

import pytest
import torch
from torch.autograd.profiler import profile

from regard.adapters.adapter import add_adapter, disable_adapter, merge_adapter, set_adapter
from regard.adapters.config import LoraConfig
from regard.adapters.files import load_adapter
from regard.errors import CheckpointError, ConfigError
from regard.models.auto import AutoModelForSequenceClassification
from regard.models.bert import BertConfig, BertModel
from regard.training.checkpoint import checkpoints
from regard.training.freezing import freeze

from .runs import SIZES, examples, heard, model, pad, same, trainer, weights

LORA = {"r": 2, "task_type": "SEQ_CLS"}


def test_a_frozen_base_has_no_backward_pass():
    def backward_steps(net):
        with profile() as seen:
            net(**pad(examples(4))).loss.backward()
        return sum(event.count for event in seen.key_averages() if "Backward0" in event.key)

    whole = backward_steps(model())
    net = model()
    assert freeze(net) == 16 * 2 + 2
    head = backward_steps(net)
    assert 0 < head < 12 < whole
    assert all(p.grad is None for p in net.bert.parameters())
    assert net.classifier.weight.grad.abs().max() > 0


def test_only_what_lies_above_frozen_layers_has_a_backward_pass():
    net = model()
    trained = freeze(net, ["embeddings", r"layers\.0\."])
    assert trained == net.num_parameters(only_trainable=True) < net.num_parameters()
    reached = []
    for number, layer in enumerate(net.bert.encoder.layers):
        layer.register_forward_hook(
            lambda _, __, out, number=number: reached.append((number, out.requires_grad))
        )
    net(**pad(examples(4)))
    assert reached == [(0, False), (1, True)]


def test_names_to_freeze_that_are_not_there():
    with pytest.raises(
        ConfigError, match=r"no parameter .* is called 'embedings'; it has bert\.emb"
    ):
        freeze(model(), "embedings")
    with pytest.raises(ConfigError, match="BertModel is all base, it has no head"):
        freeze(BertModel(BertConfig(**SIZES)))


@pytest.mark.parametrize("more", [{}, {"gradient_checkpointing": True}, {"bf16": True}])
@pytest.mark.parametrize(
    ("given", "moves"),
    [
        ({"freeze": "base"}, ("classifier.",)),
        ({"freeze": ["embeddings", "encoder"]}, ("classifier.", "bert.pooler.")),
        ({"lora": LORA}, ("classifier.", "adapters.members.")),
    ],
)
def test_only_what_trains_moves(given, moves, more, tmp_path):
    run = trainer(tmp_path, save_strategy="no", **given, **more)
    before = weights(run)
    run.train()
    moved = {n for n, each in weights(run).items() if not torch.equal(each, before[n])}
    assert moved == {n for n in before if n.startswith(moves)}


def test_a_checkpoint_of_an_adapter_holds_the_adapter_alone(tmp_path):
    model().save_pretrained(tmp_path / "base")
    net = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    run = trainer(tmp_path / "out", model=net, lora=LORA, max_steps=2)
    run.train()
    folder = checkpoints(tmp_path / "out")[-1]
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json"} <= names
    assert "model.safetensors" not in names
    again = AutoModelForSequenceClassification.from_pretrained(folder)
    batch = pad(examples(3))
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, run.model(**batch).logits)
        with disable_adapter(run.model):
            plain = model().eval()(**batch).logits
            assert torch.equal(run.model(**batch).logits, plain)
    trainer(tmp_path / "whole", max_steps=1).train()
    with pytest.raises(CheckpointError, match="holds no adapter"):
        trainer(tmp_path / "whole", lora=LORA).train(resume_from_checkpoint=True)
    with pytest.raises(CheckpointError, match="no weights"):
        trainer(tmp_path / "out").train(resume_from_checkpoint=True)


def test_several_adapters_are_all_in_a_checkpoint(tmp_path):
    def net():
        made = model()
        add_adapter(made, LoraConfig(**LORA), "first")
        add_adapter(made, LoraConfig(**LORA), "second")
        set_adapter(made, "first")
        return made

    torch.manual_seed(1)
    run = trainer(tmp_path / "out", model=net())
    run.train()
    folder = checkpoints(tmp_path / "out")[2]
    assert {"first", "second"} <= {path.name for path in folder.iterdir()}
    torch.manual_seed(2)
    again = trainer(tmp_path / "again", model=net())
    again.train(resume_from_checkpoint=str(folder))
    assert same(weights(again), weights(run))


def test_what_cannot_train_is_said(tmp_path):
    net = model()
    add_adapter(net, LoraConfig(**LORA))
    merge_adapter(net)
    with pytest.raises(ConfigError, match="merged, so it cannot train"):
        trainer(tmp_path, model=net)
    trainer(tmp_path / "out", lora=LORA, max_steps=1).train()
    loaded = model()
    load_adapter(loaded, tmp_path / "out" / "checkpoint-1")
    with pytest.raises(ConfigError, match="no trainable parameters"):
        trainer(tmp_path / "b", model=loaded).train()
    with pytest.raises(ConfigError, match="rank=3 is not implemented"):
        trainer(tmp_path / "c", lora={"rank": 3})


def test_the_rate_of_layers_falls_in_adapters_too(tmp_path):
    run = trainer(tmp_path, lora=LORA, layer_lr_decay=0.5, save_strategy="no", max_steps=1)
    run.train()
    rates = {group["initial_lr"] for group in run.optimizer.param_groups}
    assert len(rates) == 3  # of two layers and the head


def test_a_plateau_lowers_the_rate(tmp_path):
    run = trainer(
        tmp_path,
        lr_scheduler_type="reduce_lr_on_plateau",
        lr_scheduler_kwargs={"patience": 0, "factor": 0.1, "threshold": 1e9},
        eval_strategy="steps",
        eval_steps=1,
        logging_steps=1,
        eval_dataset=examples(4),
    )
    run.train()
    rates = [log["learning_rate"] for log in run.state.log_history if "learning_rate" in log]
    assert rates[0] == 1e-2
    assert rates[-1] < 1e-4
    stored = json.loads((tmp_path / "checkpoint-7" / "scheduler.json").read_text())
    assert stored["mode"] == "min"
    with pytest.raises(ConfigError, match="a plateau, are found by evaluation"):
        trainer(tmp_path, lr_scheduler_type="reduce_lr_on_plateau")


def test_a_plateau_looks_where_more_is_better(tmp_path):
    run = trainer(
        tmp_path,
        lr_scheduler_type="reduce_lr_on_plateau",
        metric_for_best_model="accuracy",
        eval_strategy="steps",
    )
    assert run.create_scheduler(5, run.create_optimizer()).mode == "max"


def test_notices_are_not_given_for_what_is_as_asked(tmp_path):
    with heard() as texts:
        trainer(tmp_path, lora=LORA, max_steps=1).train()
    assert not texts
