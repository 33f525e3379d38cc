"""Heads: what the file has too much is left out, what it lacks is new, and each is told once."""

import pytest
import torch
import transformers

import regard
from regard.errors import CheckpointError

from .checkpoint_folders import (
    SIZES,
    WEIGHTS,
    assert_same_bits,
    assert_same_outputs,
    edit_json,
    reference,
    rewrite,
    told,
    write,
)

HEAD = "BertForSequenceClassification"
Model = regard.BertForSequenceClassification


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "model", HEAD)


def test_a_new_head_is_told_once_and_drawn_as_the_config_says(tmp_path):
    write(tmp_path, hidden_size=128, initializer_range=0.5)
    with told() as notices:
        model = regard.BertForMaskedLM.from_pretrained(tmp_path)
    assert len(notices) == 1
    assert str(tmp_path) in notices[0]
    assert "new and random until trained" in notices[0]
    assert "predictions.dense.weight" in notices[0]
    assert 0.45 < model.predictions.dense.weight.std().item() < 0.55
    assert not model.predictions.dense.bias.any()
    assert (model.predictions.norm.weight == 1).all()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_two_heads_of_which_the_file_has_one(tmp_path):
    theirs = reference("BertForMaskedLM")
    theirs.save_pretrained(tmp_path)
    with told() as notices:
        ours = regard.BertForPreTraining.from_pretrained(tmp_path)
    # The reference builds this model without a pooler, so that is new too.
    assert len(notices) == 1
    assert "next_sentence.weight" in notices[0]
    assert "predictions" not in notices[0]
    found = ours(torch.tensor([[1, 2]])).prediction_logits
    assert torch.allclose(found, theirs(torch.tensor([[1, 2]])).logits, atol=1e-5)


@pytest.mark.parametrize("half", ["classifier.weight", "classifier.bias", "bert.pooler.dense.bias"])
def test_half_a_head_is_refused(folder, half):
    rewrite(folder, lambda tensors: tensors.pop(half))
    with pytest.raises(CheckpointError, match=rf"rest of their head is there \(1\): {half}"):
        Model.from_pretrained(folder)


def test_a_head_of_another_size_is_refused_unless_asked_for(folder):
    edit_json(folder, id2label={"0": "a", "1": "b", "2": "c"})
    with pytest.raises(
        CheckpointError, match=r"classifier.weight is \[2, 16\] in the file and \[3"
    ):
        Model.from_pretrained(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"num_labels": 5},
        {"id2label": dict(enumerate("abcde"))},
        {"label2id": {label: number for number, label in enumerate("abcde")}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_another_number_of_labels_makes_a_new_head(folder, options):
    with told() as notices:
        model = Model.from_pretrained(folder, **options)
    assert len(notices) == 1
    assert "new and random until trained: classifier.weight, classifier.bias" in notices[0]
    assert model.config.num_labels == 5
    assert model.classifier.weight.shape == (5, 16)
    assert not model.classifier.bias.any()
    base = transformers.BertModel.from_pretrained(folder)
    assert_same_outputs(model.bert, base)


def test_the_same_number_of_labels_keeps_head_and_names(folder):
    edit_json(folder, id2label={"0": "bad", "1": "good"}, label2id={"bad": 0, "good": 1})
    with told() as notices:
        model = Model.from_pretrained(folder, num_labels=2)
    assert notices == []
    assert model.config.id2label == {0: "bad", 1: "good"}
    expected = Model.from_pretrained(folder)
    assert_same_bits(model.state_dict(), expected.state_dict())


def test_mismatched_sizes_can_be_allowed(folder):
    edit_json(folder, id2label={"0": "a", "1": "b", "2": "c"})
    with told() as notices:
        model = Model.from_pretrained(folder, ignore_mismatched_sizes=True)
    assert len(notices) == 1
    assert "classifier.weight" in notices[0]
    assert model.classifier.weight.shape == (3, 16)


def test_mismatched_sizes_in_the_base_are_never_allowed(folder):
    edit_json(folder, vocab_size=61)
    with pytest.raises(CheckpointError, match=r"embeddings.words.weight is \[60, 16\]"):
        Model.from_pretrained(folder, ignore_mismatched_sizes=True)


def test_strict_false_loads_what_fits_and_tells_the_rest(folder):
    lost = "bert.encoder.layer.1.output.dense.weight"
    rewrite(folder, lambda tensors: tensors.pop(lost))
    rewrite(folder, lambda tensors: tensors.update({"bert.encoder.new": torch.ones(1)}))
    with told() as notices:
        model = Model.from_pretrained(folder, strict=False)
    text = "\n".join(notices)
    name = "bert.encoder.layers.1.feed_forward.down.weight"
    assert f"missing (1): {name}" in text
    assert "not in the model (1): bert.encoder.new" in text
    assert f"new and random until trained: {name}" in text
    fresh = model.get_parameter(name)
    assert 0 < fresh.std().item() < 0.1
    kept = model.get_parameter("bert.encoder.layers.0.feed_forward.down.weight")
    assert not torch.equal(kept[0], fresh[0])


@pytest.mark.parametrize("misshapen", [True, False])
def test_strict_false_with_tied_weights_missing(tmp_path, misshapen):
    """Both places of the tied matrix get the new values, none stays without memory."""
    write(tmp_path, "BertForMaskedLM")
    words = "bert.embeddings.word_embeddings.weight"
    if misshapen:
        rewrite(tmp_path, lambda tensors: tensors.update({words: tensors[words][:9].clone()}))
    else:
        rewrite(tmp_path, lambda tensors: tensors.pop(words))
    model = regard.BertForMaskedLM.from_pretrained(tmp_path, strict=False)
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert torch.isfinite(model(torch.tensor([[1, 2]])).logits).all()


def test_strict_false_with_nothing_that_fits(tmp_path):
    write(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.clear())
    model = regard.BertModel.from_pretrained(tmp_path, strict=False)
    assert torch.isfinite(model(torch.tensor([[1, 2]])).last_hidden_state).all()


@pytest.mark.parametrize("head", ["BertModel", HEAD])
def test_a_pooler_that_the_file_lacks_is_new(tmp_path, head):
    write(tmp_path, "BertForMaskedLM")
    with told() as notices:
        model = getattr(regard, head).from_pretrained(tmp_path)
    new = [line for line in notices if "new and random" in line]
    assert len(new) == 1
    assert "pooler.dense.weight" in new[0]
    assert 0 < model.base_model.pooler.dense.weight.std().item() < 0.1


def test_a_model_without_pooler_reads_a_file_with_one(folder):
    model = regard.BertModel.from_pretrained(folder, add_pooling_layer=False)
    assert model.pooler is None
    assert "pooler_output" not in model(torch.tensor([[1]]))


@pytest.mark.parametrize(
    ("asked", "stored", "dtype"),
    [
        (None, torch.float32, torch.float32),
        (None, torch.bfloat16, torch.bfloat16),
        ("auto", torch.float16, torch.float16),
        ("bfloat16", torch.float32, torch.bfloat16),
        ("torch.bfloat16", torch.float32, torch.bfloat16),
        (torch.float16, torch.float32, torch.float16),
        (torch.float32, torch.bfloat16, torch.float32),
    ],
)
def test_dtypes(tmp_path, asked, stored, dtype):
    write(tmp_path, HEAD, dtype=stored)
    model = Model.from_pretrained(tmp_path, dtype=asked)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert Model.from_pretrained(tmp_path, torch_dtype=dtype).dtype == dtype


def test_a_new_head_has_the_dtype_of_the_rest(tmp_path):
    write(tmp_path, dtype=torch.bfloat16)
    assert Model.from_pretrained(tmp_path).classifier.weight.dtype == torch.bfloat16


def test_the_files_own_dtype_when_the_config_names_none(tmp_path):
    write(tmp_path, dtype=torch.float16)
    edit_json(tmp_path, dtype=None)
    assert regard.BertModel.from_pretrained(tmp_path).dtype == torch.float16


@pytest.mark.parametrize("dtype", ["nonsense", "int8", "nn", torch.int8, 16])
def test_a_dtype_that_is_none(folder, dtype):
    with pytest.raises((ValueError, TypeError), match=r"dtype .* is not a floating type"):
        Model.from_pretrained(folder, dtype=dtype)


def test_reading_leaves_the_file_alone(folder):
    before = (folder / WEIGHTS).read_bytes()
    model = Model.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3)
    assert (folder / WEIGHTS).read_bytes() == before
    other = Model.from_pretrained(folder)
    assert not (other.classifier.weight == 3).any()


def test_a_config_that_is_given_replaces_the_files(folder):
    config = regard.BertConfig(**SIZES, num_labels=2, hidden_dropout_prob=0.5)
    model = Model.from_pretrained(folder, config=config)
    assert model.config.hidden_dropout_prob == 0.5
