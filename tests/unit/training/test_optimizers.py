"""Every optimiser trains; which parameters decay, and at which rate."""

import copy

import pytest
import torch

import regard
from regard.training.optimizers import OPTIMIZERS, Muon, build_optimizer, parameter_groups

ADAM = {"betas": (0.8, 0.99), "eps": 1e-7}


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = tiny_config("bert", num_labels=2, **quiet)
    return regard.BertForSequenceClassification(config)


def batch():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 31, (6, 5), generator=generator)
    return {"input_ids": ids, "labels": ids[:, 0] % 2}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_lowers_the_loss(name, model):
    rate = {"sgd": 0.1, "adafactor": 0.02}.get(name, 1e-3)
    groups = parameter_groups(model, rate, weight_decay=0.01)
    made = build_optimizer(groups, name, rate, ADAM, None)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    losses = []
    for _ in range(5):
        loss = model(**batch()).loss
        loss.backward()
        made.step()
        made.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    learned = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    assert len(learned) == len(before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_is_reached_by_the_trainers_arguments(name, model, tmp_path):
    args = regard.TrainingArguments(tmp_path, optim=name, learning_rate=0.01, use_cpu=True)
    trainer = regard.Trainer(model, args)
    made = trainer.create_optimizer()
    assert isinstance(made, OPTIMIZERS[name].build)
    assert {group["lr"] for group in made.param_groups} == {0.01}


def test_adam_is_told_its_numbers(model):
    for name in ("adamw_torch", "muon"):
        made = build_optimizer(parameter_groups(model, 0.1, 0.01), name, 0.1, ADAM, None)
        adam = made.parts[-1] if isinstance(made, Muon) else made
        assert adam.param_groups[0]["betas"] == (0.8, 0.99)
        assert adam.param_groups[0]["eps"] == 1e-7


def test_muon_has_the_hidden_matrices_and_keeps_its_state(model):
    def made(model):
        return build_optimizer(parameter_groups(model, 0.01, 0.1), "muon", 0.01, ADAM, None)

    def step(optimizer):
        model(**batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    one = made(model)
    names = {id(p): n for n, p in model.named_parameters()}
    orthogonal = {names[id(p)] for g in one.parts[0].param_groups for p in g["params"]}
    assert all(".layers." in name and name.endswith("weight") for name in orthogonal)
    assert len(orthogonal) == 3 * 6
    step(one)
    saved = {n: p.detach().clone() for n, p in model.named_parameters()}
    other = made(model)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    step(one)
    expected = {n: p.detach().clone() for n, p in model.named_parameters()}
    model.load_state_dict(saved, strict=False)
    step(other)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, expected[name]), name


def test_only_matrices_decay(model):
    model.bert.embeddings.words.weight.requires_grad = False
    groups = parameter_groups(model, 0.1, weight_decay=0.3)
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert decays[id(parameter)] == (0.3 if parameter.dim() > 1 else 0.0), name
        else:
            assert id(parameter) not in decays
    for parameter in model.parameters():
        parameter.requires_grad = False
    with pytest.raises(regard.ConfigError, match="no trainable parameters"):
        parameter_groups(model, 0.1, 0.0)


def test_lower_layers_learn_slower(model):
    groups = parameter_groups(model, 1.0, 0.0, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        layer = next((int(part) for part in name.split(".") if part.isdigit()), None)
        wanted = 0.5 ** (3 - layer) if layer is not None else 1.0
        if "embeddings" in name:
            wanted = 0.5**4
        assert rates[id(parameter)] == wanted, name
    with pytest.raises(regard.ConfigError, match="layer_lr_decay: Linear has no numbered layers"):
        parameter_groups(torch.nn.Linear(2, 2), 1.0, 0.0, layer_decay=0.5)


def test_more_arguments(model):
    groups = parameter_groups(model, 0.1, 0.0)
    made = build_optimizer(groups, "sgd", 0.1, ADAM, "momentum=0.9, nesterov=True")
    assert made.defaults["momentum"] == 0.9
    assert made.defaults["nesterov"] is True
    for more, message in {
        "momentun=0.9": "'sgd' takes no 'momentun'; did you mean 'momentum'",
        "nesterov": "'nesterov' has no value",
    }.items():
        with pytest.raises(regard.ConfigError, match=message):
            build_optimizer(parameter_groups(model, 0.1, 0.0), "sgd", 0.1, ADAM, more)
    with pytest.raises(regard.ConfigError, match="'muon' takes no 'gamma'"):
        build_optimizer(parameter_groups(model, 0.1, 0.0), "muon", 0.1, ADAM, "gamma=1")
