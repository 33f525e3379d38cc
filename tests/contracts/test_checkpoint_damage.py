"""A checkpoint that does not fit, is damaged or reaches outside its folder is refused, by name.

What any family's checkpoint may suffer is in `test_family_damage.py`.
"""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save, save_file

import regard
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError

from .checkpoint_folders import (
    INDEX,
    SIZES,
    WEIGHTS,
    edit_json,
    reference,
    rewrite,
    write,
)

LAST = "encoder.layer.1.output.dense.weight"


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "model")


def refused(folder, *says, error=CheckpointError, model=regard.BertModel, **options):
    """Check that loading fails with `error`, and that its message has every one of `says`."""
    with pytest.raises(error) as caught:
        model.from_pretrained(folder, **options)
    for each in says:
        assert each in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: [t.pop(n) for n in [*t][: len(t) // 2]], "missing (1"),
        (lambda t: t.pop(LAST), "encoder.layers.1.feed_forward.down.weight"),
        (lambda t: t.update({"encoder.layer.1.typo": t.pop(LAST)}), "encoder.layer.1.typo"),
        (lambda t: t.update({LAST: t[LAST].T.contiguous()}), "[24, 16] in the file and [16, 24]"),
        (lambda t: t.update({LAST: t[LAST].flatten()}), "[384] in the file"),
        (lambda t: t.update({LAST: t[LAST].to(torch.int32)}), "torch.int32 in the file"),
        (lambda t: t.update({"encoder.layer.2.output.dense.bias": torch.ones(16)}), "layer.2"),
        (lambda t: t.update({"pooler.other": torch.ones(16)}), "pooler.other"),
        (
            lambda t: t.pop("pooler.dense.bias"),
            "rest of their head is there (1): pooler.dense.bias",
        ),
        (lambda t: t.clear(), "missing (3"),
    ],
    ids=[
        *("half", "missing", "renamed", "turned", "flat", "integers"),
        *("extra layer", "extra pooler", "half a pooler", "nothing"),
    ],
)
def test_weights_that_do_not_fit(folder, change, says):
    rewrite(folder, change)
    refused(folder, says, str(folder))


@pytest.mark.parametrize("prefix", [True, False])
def test_another_number_of_layers(tmp_path, prefix):
    model, head = (
        (regard.BertForMaskedLM, "BertForMaskedLM") if prefix else (regard.BertModel, "BertModel")
    )
    write(tmp_path, head)
    edit_json(tmp_path, num_hidden_layers=3)
    refused(tmp_path, "missing (16)", "layers.2.", WEIGHTS, model=model)
    edit_json(tmp_path, num_hidden_layers=1)
    refused(tmp_path, "not in the model (16)", "layer.1.", WEIGHTS, model=model)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"garbage that is no checkpoint",
        (2**63 - 1).to_bytes(8, "little") + b"{}",
        (2**40).to_bytes(8, "little") + b"{}" * 100,
        b"\x02\x00\x00\x00\x00\x00\x00\x00[]",
        save({"a": torch.ones(4)})[:-1],
        save({"a": torch.ones(4)}) + b"\x00",
        (75).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}  '[:75]
        + b"1234",
    ],
    ids=[
        *("empty", "short", "garbage", "absurd header", "large header", "a list"),
        *("truncated", "too long", "absurd sizes"),
    ],
)
def test_damaged_safetensors(folder, content):
    (folder / WEIGHTS).write_bytes(content)
    refused(folder, f"{folder / WEIGHTS}: not a readable safetensors file")


def sharded(folder):
    reference().save_pretrained(folder, max_shard_size="5KB")
    return json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]


def test_an_index_that_names_a_missing_shard(tmp_path):
    places = sharded(tmp_path)
    (tmp_path / places[LAST]).unlink()
    refused(tmp_path, INDEX, places[LAST], LAST, error=CheckpointNotFoundError)


def test_an_index_whose_shard_lacks_the_tensor(tmp_path):
    places = sharded(tmp_path)
    other = next(file for file in places.values() if file != places[LAST])
    edit_json(tmp_path, INDEX, weight_map=places | {LAST: other})
    refused(tmp_path, INDEX, "not in the file that it names", LAST)


def test_an_index_that_leaves_a_tensor_out(tmp_path):
    places = sharded(tmp_path)
    del places[LAST]
    edit_json(tmp_path, INDEX, weight_map=places)
    refused(tmp_path, "missing (1): encoder.layers.1.feed_forward.down.weight")


OUTSIDE = (
    *("../out.safetensors", "a/../../out.safetensors", "{tmp}/out.safetensors"),
    *("..\\out.safetensors", "sub\\out.safetensors", "\\\\host\\out", "C:out.safetensors"),
    *("out.safetensors\0", ""),
)


@pytest.mark.parametrize("outside", OUTSIDE)
def test_an_index_never_leads_outside_the_folder(tmp_path, outside):
    """The file outside holds what is asked for: were it read, the model would load."""
    folder = tmp_path / "model"
    places = sharded(folder)
    file = places[LAST]
    content = load_file(folder / file)
    for place in ("out.safetensors", "model/..\\out.safetensors", "model/sub\\out.safetensors"):
        save_file(content, tmp_path / place)
    name = outside.format(tmp=tmp_path)
    there = {tensor: name if place == file else place for tensor, place in places.items()}
    edit_json(folder, INDEX, weight_map=there)
    refused(folder, INDEX, "not a plain file name inside the checkpoint")


def test_a_shard_may_lie_in_a_subfolder(tmp_path):
    """The counterpart: the test above refuses the place, not the edited index."""
    places = sharded(tmp_path)
    (tmp_path / "sub").mkdir()
    file = places[LAST]
    (tmp_path / file).rename(tmp_path / "sub" / file)
    there = {tensor: f"sub/{file}" if place == file else place for tensor, place in places.items()}
    edit_json(tmp_path, INDEX, weight_map=there)
    regard.BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("weight_map", [None, [], "x", {LAST: None}, {LAST: 3}, {LAST: ["a"]}])
def test_an_index_of_another_shape(tmp_path, weight_map):
    sharded(tmp_path)
    edit_json(tmp_path, INDEX, weight_map=weight_map)
    refused(tmp_path, INDEX)


@pytest.mark.parametrize("name", ["x" * 5000, "config.json", ".", "sub/"])
def test_an_index_that_names_no_weights(tmp_path, name):
    places = sharded(tmp_path)
    (tmp_path / "sub").mkdir()
    edit_json(tmp_path, INDEX, weight_map=places | {LAST: name})
    refused(tmp_path)


def test_another_familys_folder(tmp_path):
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=60, n_positions=12)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    refused(tmp_path, "'gpt2'", "'bert'", error=ConfigError)
    sizes = regard.BertConfig(**SIZES)
    refused(tmp_path, "missing (3", "embeddings.words.weight", config=sizes)


@pytest.mark.parametrize(
    "changes",
    [
        *({"hidden_size": value} for value in ("768", True, -1, 0, 1e30, None, [16], 10**9)),
        *({"num_hidden_layers": value} for value in (10**9, -1, 2.0, "2")),
        *({"vocab_size": value} for value in (10**30, 0, None)),
        *({"layer_norm_eps": value} for value in ("x", -1e-9, float("nan"), float("inf"), None)),
        *({"id2label": value} for value in ([], ["a"], {"1": "a"}, {"x": "a"}, {"0": ["a"]}, 3)),
        *({"label2id": value} for value in ([1], {"a": "x"}, 7)),
        *({"num_labels": value} for value in (10**9, -1, "3", True)),
        *({"dtype": value} for value in ("int8", "nonsense", 3, [])),
        *({"pad_token_id": value} for value in (60, -2, 10**20, "0")),
        *({"hidden_act": value} for value in ("nonsense", None, 3)),
        *({"is_decoder": value} for value in (1, "yes")),
        *({"problem_type": value} for value in ("nonsense", 3)),
        {"eos_token_id": [1, "2"]},
        {"position_embedding_type": "relative_key"},
        {"add_cross_attention": True},
        {"architectures": "BertModel"},
    ],
    ids=lambda changes: "-".join(f"{name}={value!r}" for name, value in changes.items())[:60],
)
def test_a_config_that_cannot_be_built(folder, changes):
    edit_json(folder, **changes)
    refused(folder, next(iter(changes)).removeprefix("hidden_act"), error=ConfigError)


@pytest.mark.parametrize("changes", [{"hidden_size": 17}, {"num_attention_heads": 3}])
def test_heads_that_do_not_divide_the_width(folder, changes):
    edit_json(folder, **changes)
    refused(
        folder, str(folder), "num_attention_heads", "must divide hidden_size", error=ConfigError
    )


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"x"', "[" * 100_000, '{"a":' * 100_000, "1" * 5000, "\ufeff{}"],
    ids=["empty", "half", "list", "number", "null", "text", "deep", "deeper", "long", "marked"],
)
def test_a_config_that_is_no_json_object(folder, text):
    (folder / "config.json").write_text(text, "utf-8")
    refused(folder, str(folder / "config.json"))


def test_a_config_that_is_no_text(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    refused(folder, str(folder / "config.json"), "not valid JSON")


def test_a_folder_without_a_config(folder):
    (folder / "config.json").unlink()
    refused(folder, str(folder), "config.json", error=CheckpointNotFoundError)


def test_an_empty_folder(tmp_path):
    refused(tmp_path, str(tmp_path), "config.json", error=CheckpointNotFoundError)


def test_a_file_in_place_of_a_folder(folder):
    refused(folder / WEIGHTS, "is a file; give the folder", error=CheckpointNotFoundError)


@pytest.mark.parametrize("name", ["{tmp}/nothing", "./nothing", "a/b/c", "", "x" * 5000, "a\0b"])
def test_a_name_that_leads_nowhere(tmp_path, name):
    refused(name.format(tmp=tmp_path), error=CheckpointNotFoundError)
