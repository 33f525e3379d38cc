"""Adapters on every family: no change at the start, the same bits back, whole files."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import regard
from regard.models.auto import FAMILIES

from .families import but_kin, every_task, inputs, main_task, tiny

EVERY = [(model_type, main_task(model_type)) for model_type in FAMILIES]


@torch.no_grad()
def outputs(model):
    batch = inputs(model)
    if type(model).__name__.endswith(("MultipleChoice", "DoubleHeadsModel")):
        batch = {name: value[:, None] for name, value in batch.items()}
    output = model(**batch)
    return [output[name] for name in output.keys() if isinstance(output[name], torch.Tensor)]  # noqa: SIM118


def same(model, expected):
    found = outputs(model)
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


def change(model, seed=0):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)


def base_state(model):
    state = model.state_dict()
    return {n: t.clone() for n, t in state.items() if not n.startswith("adapters.")}


@pytest.mark.parametrize(("model_type", "task"), but_kin(EVERY))
def test_the_usual_adapter_of_every_family(model_type, task, tmp_path):
    model = tiny(model_type, task)
    plain, state = outputs(model), base_state(model)
    regard.add_adapter(model, regard.LoraConfig(r=2))
    assert same(model, plain)  # B is zero
    assert 0 < model.num_parameters(only_trainable=True) < model.num_parameters() / 2
    change(model)
    adapted = outputs(model)
    assert not same(model, plain)
    with regard.disable_adapter(model):
        assert same(model, plain)
    assert same(model, adapted)
    regard.merge_adapter(model)
    for found, expected in zip(outputs(model), adapted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    regard.unmerge_adapter(model)
    assert same(model, adapted)
    assert all(torch.equal(tensor, state[name]) for name, tensor in base_state(model).items())
    regard.save_adapters(model, tmp_path)
    again = tiny(model_type, task)
    regard.load_adapter(again, tmp_path)
    assert same(again, adapted)
    regard.delete_adapter(model, "default")
    assert same(model, plain)
    assert base_state(model).keys() == state.keys() == model.state_dict().keys()
    assert model.num_parameters(only_trainable=True) == tiny(model_type, task).num_parameters(True)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "task"), every_task())
def test_all_linear_maps_of_every_head(model_type, task, tmp_path):
    model = tiny(model_type, task)
    regard.add_adapter(model, regard.LoraConfig(r=2, target_modules="all-linear", bias="all"))
    change(model)
    adapted = outputs(model)
    regard.save_adapters(model, tmp_path)
    again = tiny(model_type, task)
    regard.load_adapter(again, tmp_path)
    assert same(again, adapted)


SEQUENCE = {"r": 2, "task_type": "SEQ_CLS"}


def bert(**settings):
    model = tiny("bert", "SequenceClassification", num_labels=3)
    regard.add_adapter(model, regard.LoraConfig(**SEQUENCE | settings))
    return model


def test_several_adapters_on_one_base(tmp_path):
    model = tiny("bert", "SequenceClassification", num_labels=3)
    plain = outputs(model)
    answers = {}
    for seed, name in enumerate(["default", "other", "third"]):
        regard.add_adapter(model, regard.LoraConfig(**SEQUENCE, bias="all"), name)
        assert same(model, plain)
        change(model, seed)
        answers[name] = outputs(model)
    for name in ("default", "third", "other"):
        regard.set_adapter(model, name)
        assert same(model, answers[name]), name
        trained = {n for n, p in model.adapters.named_parameters() if p.requires_grad}
        assert trained
        assert all(n.startswith(f"members.{name}.") for n in trained)
    regard.save_adapters(model, tmp_path)
    regard.merge_adapter(model)
    regard.set_adapter(model, "third")
    assert same(model, answers["third"])
    regard.delete_adapter(model, "third")
    assert same(model, plain)
    again = tiny("bert", "SequenceClassification", num_labels=3)
    regard.load_adapter(again, tmp_path / "other", "b")
    regard.load_adapter(again, tmp_path, "a")
    assert same(again, answers["default"])
    regard.set_adapter(again, "b")
    assert same(again, answers["other"])


def test_a_copy_has_adapters_of_its_own():
    model = bert()
    change(model)
    adapted = outputs(model)
    twin = copy.deepcopy(model)
    change(twin, seed=3)
    assert same(model, adapted)
    assert not same(twin, adapted)
    regard.delete_adapter(twin, "default")
    assert same(model, adapted)


def test_moving_and_casting_takes_everything_along():
    model = bert(bias="all")
    change(model)
    expected = outputs(copy.deepcopy(model).double())
    model.double()
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert same(model, expected)
    with regard.disable_adapter(model):
        assert outputs(model)[0].dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_over_half_precision_an_adapter_is_in_float32(dtype):
    model = tiny("bert", "SequenceClassification").to(dtype)
    regard.add_adapter(model, regard.LoraConfig(r=2))
    types = {p.dtype for p in model.parameters() if p.requires_grad}
    assert types == {torch.float32}
    change(model)
    adapted = outputs(model)[0]
    assert adapted.dtype == dtype
    regard.merge_adapter(model)
    assert {p.dtype for p in model.bert.encoder.parameters()} == {dtype}
    torch.testing.assert_close(outputs(model)[0], adapted, rtol=0.05, atol=0.05)


def test_a_model_of_your_own_can_have_adapters(tmp_path):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU())
            self.head = torch.nn.Linear(6, 2)

        def forward(self, vectors):
            return self.head(self.body(vectors))

    def own():
        torch.manual_seed(0)
        return Own()

    model, vectors = own(), torch.randn(3, 4)
    config = regard.LoraConfig(r=2, target_modules=["body.0"], modules_to_save=["head"])
    regard.add_adapter(model, config)
    change(model)
    regard.save_adapters(model, tmp_path)
    again = own()
    regard.load_adapter(again, tmp_path)
    assert torch.equal(again(vectors), model(vectors))
    with pytest.raises(regard.ConfigError, match=r"name the target_modules; .* has 0, head"):
        regard.add_adapter(own(), regard.LoraConfig())
    with pytest.raises(regard.ConfigError, match="a Sequential takes every child for its own"):
        regard.add_adapter(own().body, regard.LoraConfig(target_modules=["0"]))


def saved(tmp_path, model):
    """Save a base and its adapter, as people do; return the adapter's folder."""
    head = tiny("bert", "SequenceClassification", num_labels=3)
    head.save_pretrained(tmp_path / "base")
    model = regard.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    regard.add_adapter(model, regard.LoraConfig(**SEQUENCE))
    change(model)
    model.save_pretrained(tmp_path / "adapter")
    return model, tmp_path / "adapter"


def test_an_adapter_folder_loads_with_its_base(tmp_path):
    model, folder = saved(tmp_path, bert())
    assert {path.name for path in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "config.json",
    }
    again = regard.AutoModelForSequenceClassification.from_pretrained(folder)
    assert same(again, outputs(model.eval()))
    assert again.name_or_path == str(tmp_path / "base")
    again.save_pretrained(tmp_path / "copy")
    assert same(
        regard.BertForSequenceClassification.from_pretrained(tmp_path / "copy"), outputs(model)
    )
    regard.merge_and_unload(again).save_pretrained(folder)  # a whole model takes the folder over
    assert not (folder / "adapter_config.json").exists()
    merged = regard.BertForSequenceClassification.from_pretrained(folder)
    torch.testing.assert_close(outputs(merged), outputs(model), rtol=1e-4, atol=1e-5)


def test_a_head_of_another_size_comes_from_the_adapter(tmp_path, caplog):
    tiny("bert", "SequenceClassification", num_labels=2).save_pretrained(tmp_path / "base")
    model = regard.BertForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=5)
    regard.add_adapter(model, regard.LoraConfig(**SEQUENCE))
    change(model)
    model.save_pretrained(tmp_path / "adapter")
    caplog.clear()
    again = regard.AutoModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert same(again, outputs(model))
    assert not caplog.records  # nothing is left random


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"base_model_name_or_path": "gone"}, "its base model is not there.*gone"),
        ({"base_model_name_or_path": None}, "names no base_model_name_or_path"),
        ({"base_model_name_or_path": "adapter"}, "is an adapter too; merge that first"),
        ({"use_dora": True}, "adapter_config.json: LoraConfig: use_dora=True is not implemented"),
        ({"rank_pattern": {"query": 4}}, "rank_pattern=.* is not implemented"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' is not implemented"),
        ({"peft_type": "IA3"}, "peft_type='IA3' is not implemented"),
        ({"r": 3}, r"lora_A.weight is \[2, 16\], the model has \[3, 16\]"),
        (
            {"target_modules": ["key"]},
            "query.lora_A.weight has no place",
        ),
        ({"modules_to_save": ["pooler"]}, "bert.pooler.dense.weight is missing"),
    ],
)
def test_files_that_do_not_fit(spoil, message, tmp_path, monkeypatch):
    _, folder = saved(tmp_path, bert())
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | spoil))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        regard.BertForSequenceClassification.from_pretrained(folder)


def test_more_files_that_do_not_fit(tmp_path):
    model, folder = saved(tmp_path, bert())
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    prefix = "base_model.model.bert.encoder.layer.0.attention.self.key"
    save_file(tensors | {f"{prefix}.weight": torch.ones(16, 16)}, weights)
    with pytest.raises(regard.CheckpointError, match=r"self\.key\.weight has no place"):
        regard.BertForSequenceClassification.from_pretrained(folder)
    same_as_base = model.bert.encoder.layers[0].attention.key.weight.detach()
    save_file(tensors | {f"{prefix}.weight": same_as_base}, weights)
    regard.BertForSequenceClassification.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(regard.CheckpointNotFoundError, match="no file 'adapter_model"):
        regard.BertForSequenceClassification.from_pretrained(folder)
    with pytest.raises(regard.CheckpointNotFoundError, match="there is no adapter_config"):
        regard.load_adapter(tiny("bert"), tmp_path / "base")
    with pytest.raises(regard.CheckpointError, match="holds the base of the adapter"):
        model.save_pretrained(tmp_path / "base")


def test_pickled_adapters_of_old_are_read_as_plain_tensors(tmp_path):
    model, folder = saved(tmp_path, bert())
    shutil.copytree(folder, tmp_path / "old")
    weights = tmp_path / "old" / "adapter_model.safetensors"
    torch.save(load_file(weights), tmp_path / "old" / "adapter_model.bin")
    weights.unlink()
    again = regard.BertForSequenceClassification.from_pretrained(tmp_path / "old")
    assert same(again, outputs(model))


def test_what_would_be_lost_is_not_saved(tmp_path):
    model = bert()
    model.bert.embeddings.requires_grad_(True)
    with pytest.raises(regard.CheckpointError, match=r"would be lost: bert\.embeddings\.words"):
        model.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["q_proj"]}, "is called .*q_proj.*: query, key, value, dense"),
        ({"target_modules": ["word_embeddings"]}, "word_embeddings, which is no linear map"),
        ({"target_modules": ["attention.query"]}, "names count as files have them"),
        ({"rank": 4}, "rank=4 is not implemented"),
        ({"lora_alph": 4}, "did you mean 'lora_alpha'"),
        ({"r": 0}, "whole number from 1"),
        ({"lora_dropout": 1.0}, "it is below 1"),
        ({"bias": "some"}, "must be one of none, all, lora_only"),
        ({"task_type": "CLS"}, "must be one of None, SEQ_CLS"),
        ({"modules_to_save": "classifier"}, "a list of names"),
        ({"target_modules": "q", "layers_to_transform": 1}, "needs a list of target_modules"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    model = tiny("bert", "SequenceClassification")
    before = model.state_dict().keys()
    with pytest.raises(regard.ConfigError, match=message):
        regard.add_adapter(model, regard.LoraConfig(**settings))
    assert model.state_dict().keys() == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_names_of_adapters():
    model = bert()
    with pytest.raises(regard.ConfigError, match="an adapter 'default' already"):
        regard.add_adapter(model, regard.LoraConfig())
    with pytest.raises(regard.ConfigError, match=r"'a\.b' cannot be the name"):
        regard.add_adapter(model, regard.LoraConfig(), "a.b")
    with pytest.raises(regard.ConfigError, match="no adapter 'defaultt'; did you mean 'default'"):
        regard.set_adapter(model, "defaultt")
    with pytest.raises(regard.ConfigError, match="has no adapter; add_adapter gives it one"):
        regard.merge_adapter(tiny("bert"))


def test_names_that_are_partly_there_are_told(caplog):
    bert(target_modules=["query", "q_proj"])
    assert "q_proj: not in this model" in caplog.text


@pytest.mark.parametrize(
    ("start", "zero"), [(True, True), ("gaussian", True), (False, False)], ids=str
)
def test_how_a_change_starts(start, zero):
    torch.manual_seed(0)
    model = tiny("bert", "SequenceClassification")
    plain = outputs(model)
    regard.add_adapter(model, regard.LoraConfig(r=16, init_lora_weights=start, use_rslora=True))
    assert same(model, plain) == zero
    change_of = model.adapters.members.default.changes.bert.encoder.layer.get_submodule("0")
    low_rank = change_of.attention.self.query
    bound = 1 / 4  # of He's start for 16 inputs
    outside = (low_rank.lora_A.weight.abs() > bound).float().mean()
    assert (outside > 0) == (start == "gaussian") or outside == 0
    assert low_rank.scale == 8 / 4


def test_dropout_of_an_adapter_is_on_in_training_only():
    model = bert(lora_dropout=0.5)
    change(model)
    assert same(model, outputs(model))
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) and module.p != 0.5:
            module.p = 0.0
    torch.manual_seed(0)
    assert not same(model, outputs(model))
