"""A model of several tasks answers as the single-task classes do, for every family and head."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from regard.adapters.adapter import add_adapter
from regard.adapters.config import LoraConfig
from regard.errors import CheckpointError, ConfigError
from regard.models.auto import FAMILIES, AutoModel, family
from regard.models.heads import LabelledHead, QuestionAnswering
from regard.models.multitask import MultiTaskModel

from .families import but_kin, inputs, model_class, tiny

LABELS = {"labels", "start_positions", "end_positions"}


def head_names(model_type):
    heads = family(model_type).heads
    return [
        name
        for name, kind in heads.items()
        if issubclass(kind, LabelledHead | QuestionAnswering) and {*kind.label_arguments} <= LABELS
    ]


def with_heads(model_type):
    """Return heads of a family, by task; those that need causal attention stand alone."""
    names = [n for n in head_names(model_type) if n != "CausalLM"] or head_names(model_type)
    tasks = {f"task_{name}": {"head": name} for name in names}
    tasks["more"] = {"head": names[-1], "num_labels": 5}
    return tasks


ENCODERS = [each for each in FAMILIES if head_names(each)]


def several(model_type, tasks=None):
    torch.manual_seed(0)
    tasks = tasks or with_heads(model_type)
    config = tiny(model_type, head_names(model_type)[-1]).config
    return MultiTaskModel.from_config(config, tasks).eval()


def batch_for(model, task):
    single = model.extract(task)
    batch = inputs(single, 3, seed=4)
    if type(single).__name__.endswith("MultipleChoice"):
        batch = {name: torch.stack([rows, rows.roll(1, 0)], 1) for name, rows in batch.items()}
    return single, batch


def tensors(output):
    return [value for value in output.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("model_type", but_kin(ENCODERS))
def test_each_task_answers_as_its_single_task_class(model_type):
    model = several(model_type)
    for task, told in model.config.extra["tasks"].items():
        single, batch = batch_for(model, task)
        assert type(single) is model_class(model_type, told["head"])
        found, wanted = model(task=task, **batch), single(**batch)
        assert type(found) is type(wanted)
        assert all(map(torch.equal, tensors(found), tensors(wanted))), task
        states = model(task=task, **batch, output_hidden_states=True).hidden_states
        wanted = single(**batch, output_hidden_states=True).hidden_states
        assert len(states) == len(wanted) > 1
        assert all(map(torch.equal, states, wanted))


@pytest.mark.parametrize("model_type", but_kin(ENCODERS))
def test_all_tasks_are_answered_by_one_pass(model_type):
    model = several(model_type)
    tasks = [t for t in model.tasks if "MultipleChoice" not in type(model.head(t)).__name__]
    batch = inputs(model.extract(tasks[0]), 3, seed=4)
    passes = []
    model.base_model.register_forward_hook(lambda *_: passes.append(1))
    for module in model.base_model.modules():
        if type(module).__name__ == "Stack":
            module.register_forward_hook(lambda *_: passes.append(1))
    found = model.answer_all(batch["input_ids"], tasks=tasks)
    assert passes == [1]
    assert [*found] == tasks
    for task, answer in found.items():
        wanted = model(task=task, input_ids=batch["input_ids"])
        assert all(map(torch.equal, tensors(answer), tensors(wanted))), task


@pytest.mark.parametrize("model_type", but_kin(ENCODERS))
def test_saved_and_read_back_nothing_differs(model_type, tmp_path):
    model = several(model_type)
    model.save_pretrained(tmp_path / "first")
    again = MultiTaskModel.from_pretrained(tmp_path / "first")
    assert again.config.extra["tasks"] == model.config.extra["tasks"]
    assert again.tasks == model.tasks
    wanted = model.state_dict()
    assert again.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in again.state_dict().items())
    again.save_pretrained(tmp_path / "second")
    files = [tmp_path / folder / "model.safetensors" for folder in ("first", "second")]
    assert files[0].read_bytes() == files[1].read_bytes()
    names = load_file(files[0])
    assert all(
        name.startswith(("heads.", f"{model.prefix}.")) or model_type == "t5" for name in names
    )


BERT = {
    "mood": {"head": "sequence-classification", "id2label": {0: "bad", 1: "good", 2: "so-so"}},
    "names": {"head": "token_classification", "num_labels": 4, "classifier_dropout": 0.3},
    "words": {"head": "MaskedLM"},
}


def test_heads_have_what_their_task_says_and_no_copy_of_the_base():
    model = several("bert", BERT)
    assert model.head("mood").config.label2id == {"bad": 0, "good": 1, "so-so": 2}
    assert model.head("names").dropout.p == 0.3
    assert model.head("mood").dropout.p == model.config.hidden_dropout_prob
    assert "tasks" not in model.head("mood").config.extra
    words = model.get_input_embeddings().weight
    assert model.head("words").get_output_embeddings().weight is words
    alone = sum(p.numel() for p in model.base_model.parameters())
    heads = sum(p.numel() for p in model.heads.parameters()) - words.numel()
    assert model.num_parameters() == alone + heads


def test_a_base_gets_heads_that_are_new(tmp_path):
    base = tiny("bert", "SequenceClassification")
    base.save_pretrained(tmp_path)
    model = MultiTaskModel.from_pretrained(tmp_path, tasks=BERT)
    for name, value in base.base_model.state_dict().items():
        assert torch.equal(model.base_model.state_dict()[name], value), name
    model.resize_token_embeddings(50)
    assert model.head("words")(torch.tensor([[3, 4]])).logits.shape == (1, 2, 50)


def test_a_task_is_added_to_a_trained_model_and_one_left_out(tmp_path):
    model = several("bert", BERT)
    model.save_pretrained(tmp_path)
    more = BERT | {"topic": {"head": "sequence-classification", "num_labels": 7}}
    del more["names"]
    found = MultiTaskModel.from_pretrained(tmp_path, tasks=more)
    assert found.tasks == ["mood", "topic", "words"]
    for name, value in model.head("mood").state_dict().items():
        assert torch.equal(found.head("mood").state_dict()[name], value)
    base = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(base.get_input_embeddings().weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize("lost", ["heads.mood.classifier.bias", "heads.names", "bert.encoder"])
def test_every_tensor_of_a_saved_model_must_be_there(lost, tmp_path):
    several("bert", BERT).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {n: v for n, v in load_file(file).items() if not n.startswith(lost)}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing \(\d+\)"):
        MultiTaskModel.from_pretrained(tmp_path)


def test_a_tensor_too_many_is_refused(tmp_path):
    several("bert", BERT).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    more = load_file(file) | {"heads.other.classifier.weight": torch.ones(2, 2)}
    save_file(more, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"not in the model \(1\): heads\.other"):
        MultiTaskModel.from_pretrained(tmp_path)


def test_half_a_head_is_refused_whatever_was_asked_for(tmp_path):
    several("bert", BERT).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {n: v for n, v in load_file(file).items() if n != "heads.mood.classifier.bias"}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match="the rest of their head is there"):
        MultiTaskModel.from_pretrained(tmp_path, tasks=BERT)


def test_counts_of_several_tasks_add_up():
    model = several("bert", BERT)
    ids = torch.ones(2, 3, dtype=torch.long) * 5
    labels = {"mood": torch.tensor([1, -100]), "names": torch.tensor([[0, 1, -100], [3, 3, 3]])}
    found = [
        model.label_counts({"task": t, "input_ids": ids, "labels": v}) for t, v in labels.items()
    ]
    assert found == [(2, 2, 1, 0, 0, 0, 0), (2, 0, 0, 2, 5, 0, 0)]
    both = [sum(each) for each in zip(*found, strict=True)]
    model.weights = {"names": 0.5}
    losses = {t: model(task=t, input_ids=ids, labels=v) for t, v in labels.items()}
    step = sum(each.loss_parts.over(both) for each in losses.values())
    wanted = losses["mood"].loss * 0.5 + 0.5 * losses["names"].loss * 0.5
    assert step.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_what_is_wrong_is_named(tmp_path):
    config = tiny("bert", "SequenceClassification").config
    for tasks, message in {
        (): "must map names to heads",
        (("a.b", "MaskedLM"),): "no task can be called 'a.b'",
        (("items", "MaskedLM"),): "no task can be called 'items'",
        (("x", "token-clasification"),): "did you mean 'token-classification'",
        (("x", "pre-training"),): "task 'x' has head 'pre-training'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            MultiTaskModel.from_config(config, {name: {"head": head} for name, head in tasks})
    with pytest.raises(ConfigError, match=r"task 'x': .*did you mean 'num_labels'"):
        MultiTaskModel.from_config(config, {"x": {"head": "MaskedLM", "num_label": 2}})
    with pytest.raises(ConfigError, match="must say its head"):
        MultiTaskModel.from_config(config, {"x": "MaskedLM"})
    with pytest.raises(ConfigError, match="what JSON can hold"):
        MultiTaskModel.from_config(config, {"x": {"head": object()}})
    tiny("bert", "SequenceClassification").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="names no tasks; give them"):
        MultiTaskModel.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match="num_lable"):
        MultiTaskModel.from_pretrained(tmp_path, tasks=BERT, num_lable=3)
    gpt2 = tiny("gpt2", "TokenClassification").config
    with pytest.raises(ConfigError, match="for gpt2 it must be one of"):
        MultiTaskModel.from_config(gpt2, {"x": {"head": "MaskedLM"}})
    model = several("bert", BERT | {"choose": {"head": "multiple-choice"}})
    with pytest.raises(ValueError, match="no task 'moods'; did you mean 'mood'"):
        model(task="moods", input_ids=torch.ones(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="which task"):
        model(input_ids=torch.ones(1, 2, dtype=torch.long))
    with pytest.raises(TypeError, match="takes no argument 'start_positions'"):
        model("mood", input_ids=torch.ones(1, 2, dtype=torch.long), start_positions=torch.ones(1))
    with pytest.raises(ValueError, match="'choose' reads several texts"):
        model.answer_all(torch.ones(1, 2, dtype=torch.long))
    assert json.loads(model.config.to_json_string())["tasks"].keys() == {*model.tasks}


def test_an_adapter_has_all_heads_and_its_base_has_none(tmp_path):
    tiny("bert", "MaskedLM").save_pretrained(tmp_path / "base")
    tasks = {"names": {"head": "TokenClassification"}, "span": {"head": "QuestionAnswering"}}
    model = MultiTaskModel.from_pretrained(tmp_path / "base", tasks=tasks)
    saved = ["classifier", "qa_outputs"]
    add_adapter(model, LoraConfig(r=2, target_modules="all-linear", modules_to_save=saved))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    model.save_pretrained(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    again = MultiTaskModel.from_pretrained(tmp_path / "adapter")
    single = model.extract("span")
    batch = inputs(single)
    with torch.no_grad():
        found, wanted = (each.answer_all(**batch) for each in (again, model))
        alone = tensors(single(**batch))
    for task in tasks:
        pairs = zip(tensors(found[task]), tensors(wanted[task]), strict=True)
        assert all(torch.equal(*pair) for pair in pairs), task
    torch.testing.assert_close(alone, tensors(wanted["span"]), rtol=1e-4, atol=1e-5)
    # Of a head that neither has, nothing was trained.
    config = json.loads((tmp_path / "adapter" / "config.json").read_text())
    config["tasks"]["mood"] = {"head": "sequence-classification"}
    (tmp_path / "adapter" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"missing .*heads\.mood\.|heads\.mood"):
        MultiTaskModel.from_pretrained(tmp_path / "adapter")
