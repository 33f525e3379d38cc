"""`save` of `load` writes what was read, bit for bit; and the reference reads what we write."""

import json

import pytest
import torch
import transformers

import regard

from .checkpoint_folders import (
    HEADS,
    INDEX,
    WEIGHTS,
    assert_same_bits,
    assert_same_outputs,
    assert_same_state,
    edit_json,
    inputs,
    reference,
    tensors,
    told,
    write,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("head", HEADS)
def test_every_tensor_is_written_as_it_was_read(head, dtype, tmp_path):
    write(tmp_path / "theirs", head, dtype=dtype)
    with told() as notices:
        model = getattr(regard, head).from_pretrained(tmp_path / "theirs")
    assert notices == []
    assert model.dtype == dtype
    model.save_pretrained(tmp_path / "ours")
    assert_same_bits(tensors(tmp_path / "ours"), tensors(tmp_path / "theirs"))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_the_reference_loads_what_we_write(head, tied, tmp_path):
    theirs = reference(head, tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = getattr(regard, head).from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again, info = getattr(transformers, head).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(info.values())
    assert_same_outputs(again, theirs, head, tolerance=1e-6)
    assert_same_outputs(ours, theirs, head)


def test_config_json_is_written_as_it_was_read(tmp_path):
    labels = {0: "no", 1: "yes", 2: "maybe"}
    head = "BertForSequenceClassification"
    write(tmp_path / "a", head, id2label=labels, label2id={v: k for k, v in labels.items()})
    edit_json(tmp_path / "a", unknown={"deep": [1, None, "ä"]}, finetuning_task="mood")
    getattr(regard, head).from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    before, after = (json.loads((tmp_path / f / "config.json").read_text("utf-8")) for f in "ab")
    assert after["architectures"] == [head]
    assert after["unknown"] == {"deep": [1, None, "ä"]}
    assert after["finetuning_task"] == "mood"
    assert after["id2label"] == {"0": "no", "1": "yes", "2": "maybe"}
    changed = {name for name, value in after.items() if before.get(name) != value}
    assert changed == set()
    theirs = [transformers.BertConfig.from_pretrained(tmp_path / f).to_dict() for f in "ab"]
    assert theirs[0] == theirs[1]


def test_the_old_spelling_of_dtype_is_read(tmp_path):
    write(tmp_path / "a", dtype=torch.bfloat16)
    content = json.loads((tmp_path / "a" / "config.json").read_text("utf-8"))
    content["torch_dtype"] = content.pop("dtype")
    (tmp_path / "a" / "config.json").write_text(json.dumps(content), "utf-8")
    model = regard.BertModel.from_pretrained(tmp_path / "a")
    assert model.config.dtype == "bfloat16"
    model.save_pretrained(tmp_path / "b")
    assert json.loads((tmp_path / "b" / "config.json").read_text("utf-8"))["dtype"] == "bfloat16"


def test_a_model_keeps_its_values_over_save_and_load_in_another_type(tmp_path):
    model = regard.BertModel.from_pretrained(write(tmp_path / "a"), dtype="float16")
    model.save_pretrained(tmp_path / "b")
    again = regard.BertModel.from_pretrained(tmp_path / "b")
    assert again.dtype == torch.float16
    assert_same_state(again, model)


@pytest.mark.parametrize("head", ["BertModel", "BertForPreTraining"])
def test_shards_that_we_write(head, tmp_path):
    model = getattr(regard, head).from_pretrained(write(tmp_path / "a", head))
    model.save_pretrained(tmp_path / "b", max_shard_size="5KB")
    shards = sorted((tmp_path / "b").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert not (tmp_path / "b" / WEIGHTS).exists()
    assert all(
        sum(t.nbytes for t in tensors(tmp_path / "b", f.name).values()) <= 5000 for f in shards
    )
    assert_same_state(getattr(regard, head).from_pretrained(tmp_path / "b"), model)
    theirs = getattr(transformers, head).from_pretrained(tmp_path / "b")
    assert_same_outputs(model, theirs, head)
    index = json.loads((tmp_path / "b" / INDEX).read_text("utf-8"))
    assert index["metadata"]["total_size"] == sum(
        t.nbytes for t in tensors(tmp_path / "a").values()
    )
    assert index["weight_map"].keys() == tensors(tmp_path / "a").keys()


def test_shards_that_the_reference_writes(tmp_path):
    theirs = reference("BertForMaskedLM")
    theirs.save_pretrained(tmp_path / "a", max_shard_size="5KB")
    assert (tmp_path / "a" / INDEX).exists()
    ours = regard.BertForMaskedLM.from_pretrained(tmp_path / "a")
    assert_same_outputs(ours, theirs)


@pytest.mark.parametrize("sizes", [("5GB", "5KB"), ("5KB", "5GB"), ("5KB", "8KB")])
def test_saving_over_another_split_leaves_no_old_file(sizes, tmp_path):
    model = regard.BertModel.from_pretrained(write(tmp_path / "a"))
    other = regard.BertModel(model.config)
    other.save_pretrained(tmp_path / "b", max_shard_size=sizes[0])
    model.save_pretrained(tmp_path / "b", max_shard_size=sizes[1])
    model.save_pretrained(tmp_path / "c", max_shard_size=sizes[1])
    assert {f.name for f in (tmp_path / "b").iterdir()} == {
        f.name for f in (tmp_path / "c").iterdir()
    }
    assert_same_state(regard.BertModel.from_pretrained(tmp_path / "b"), model)


def test_saving_removes_old_weights_and_nothing_else(tmp_path):
    for name in ("pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model_ema.bin"):
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / "tokenizer.json").write_text("{}")
    regard.BertModel.from_pretrained(write(tmp_path / "a")).save_pretrained(tmp_path)
    kept = {"a", "config.json", WEIGHTS, "pytorch_model_ema.bin", "tokenizer.json"}
    assert {file.name for file in tmp_path.iterdir()} == kept


def test_differing_tied_weights_load_untied_and_stay_so(tmp_path):
    theirs = reference("BertForMaskedLM", tie_word_embeddings=False)
    theirs.config.tie_word_embeddings = True
    theirs.config.save_pretrained(tmp_path / "a")
    untied = reference("BertForMaskedLM", tie_word_embeddings=False)
    untied.save_pretrained(tmp_path / "a")
    edit_json(tmp_path / "a", tie_word_embeddings=True)
    with told() as notices:
        ours = regard.BertForMaskedLM.from_pretrained(tmp_path / "a")
    assert any("not tied" in line and "decoder.weight" in line for line in notices)
    assert ours.config.tie_word_embeddings is False
    assert_same_outputs(ours, untied)
    ours.save_pretrained(tmp_path / "b")
    with told() as notices:
        again = regard.BertForMaskedLM.from_pretrained(tmp_path / "b")
    assert notices == []
    assert_same_state(again, ours)
    assert_same_outputs(transformers.BertForMaskedLM.from_pretrained(tmp_path / "b"), untied)


@pytest.mark.parametrize("head", ["BertForMaskedLM", "BertForPreTraining"])
def test_tied_weights_are_one_parameter_after_loading(head, tmp_path):
    model = getattr(regard, head).from_pretrained(write(tmp_path, head))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    assert not model.get_output_embeddings().weight.any()


def test_a_tied_matrix_under_its_second_place_only(tmp_path):
    from .checkpoint_folders import rewrite

    theirs = reference("BertForMaskedLM")
    theirs.save_pretrained(tmp_path)
    words = "bert.embeddings.word_embeddings.weight"
    rewrite(tmp_path, lambda t: t.update({"cls.predictions.decoder.weight": t.pop(words)}))
    ours = regard.BertForMaskedLM.from_pretrained(tmp_path)
    assert ours.get_output_embeddings().weight is ours.get_input_embeddings().weight
    assert_same_outputs(ours, theirs)


def test_models_load_ready_for_inference(tmp_path):
    model = regard.BertModel.from_pretrained(write(tmp_path))
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model(**inputs())[0], model(**inputs())[0])
