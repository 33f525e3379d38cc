"""A checkpoint that does not fit, is damaged or reaches outside its folder is refused, by name."""

import json

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

import regard
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError

from .checkpoint_folders import (
    INDEX,
    SIZES,
    WEIGHTS,
    assert_same_bits,
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
        *({"pad_token_id": value} for value in (60, -1, 10**20, "0")),
        *({"hidden_act": value} for value in ("nonsense", None, 3)),
        *({"is_decoder": value} for value in (True, "yes")),
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


# Any change at all: an error of ours, or the model as it was.


class Original:
    """A tiny checkpoint as bytes, whole and sharded, and the model that it is."""

    def __init__(self, folder):
        model = reference("BertForSequenceClassification", num_hidden_layers=1)
        model.save_pretrained(folder / "whole")
        model.save_pretrained(folder / "shards", max_shard_size="5KB")
        self.files = {kind: read(folder / kind) for kind in ("whole", "shards")}
        self.state = regard.BertForSequenceClassification.from_pretrained(
            folder / "whole"
        ).state_dict()
        self.tensors = load_file(folder / "whole" / WEIGHTS)
        self.header = 8 + int.from_bytes(self.files["whole"][WEIGHTS][:8], "little")


def read(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return Original(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


def assert_refused_or_equal(original, folder, files):
    """Write `files`, load them, and accept an error of ours or the very same model."""
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        model = regard.BertForSequenceClassification.from_pretrained(folder)
    except (CheckpointError, ConfigError):
        return
    assert_same_bits(model.state_dict(), original.state)


@given(data=st.data())
def test_any_changed_tensor(original, scratch, data):
    tensors = dict(original.tensors)
    name = data.draw(st.sampled_from(sorted(tensors)))
    kind = data.draw(st.sampled_from(["drop", "rename", "swap", "reshape", "cut", "retype"]))
    tensor = tensors.pop(name)
    other = data.draw(st.sampled_from(sorted(tensors)))
    if kind == "rename":
        place = data.draw(st.integers(0, len(name) - 1))
        tensors[name[:place] + data.draw(st.sampled_from("x.1_")) + name[place + 1 :]] = tensor
    if kind == "swap" and tensors[other].shape != tensor.shape:
        tensors[name], tensors[other] = tensors[other], tensor
    if kind == "reshape":
        tensors[name] = tensor[None]
    if kind == "cut":
        tensors[name] = tensor[: len(tensor) // 2].contiguous()
    if kind == "retype":
        tensors[name] = tensor.view(torch.int32)
    assert_refused_or_equal(original, scratch, original.files["whole"] | {WEIGHTS: save(tensors)})


@given(data=st.data())
def test_any_truncated_file(original, scratch, data):
    kind = data.draw(st.sampled_from(["whole", "shards"]))
    files = dict(original.files[kind])
    name = data.draw(st.sampled_from(sorted(files)))
    files[name] = files[name][: data.draw(st.integers(0, len(files[name]) - 1))]
    assert_refused_or_equal(original, scratch, files)


@given(data=st.data())
def test_any_flipped_bits_in_the_header(original, scratch, data):
    content = bytearray(original.files["whole"][WEIGHTS])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, original.header - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    assert_refused_or_equal(original, scratch, original.files["whole"] | {WEIGHTS: bytes(content)})


names = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["..", "../x", "/etc/passwd", "config.json", "model-00001-of-00002.safetensors"]
    ),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=4,
)


@given(data=st.data())
def test_any_edited_index(original, scratch, data):
    index = json.loads(original.files["shards"][INDEX])
    places = index["weight_map"]
    tensor = data.draw(st.sampled_from(sorted(places)))
    kind = data.draw(st.sampled_from(["drop", "point elsewhere", "replace", "add"]))
    if kind == "drop":
        del places[tensor]
    if kind == "point elsewhere":
        places[tensor] = data.draw(names | st.sampled_from(sorted(places.values())))
    if kind == "replace":
        index["weight_map"] = data.draw(anything)
    if kind == "add":
        places[data.draw(names)] = data.draw(anything)
    files = original.files["shards"] | {INDEX: json.dumps(index).encode()}
    assert_refused_or_equal(original, scratch, files)


@given(data=st.data())
def test_any_edited_config(original, scratch, data):
    config = json.loads(original.files["whole"]["config.json"])
    config |= {"id2label": {"0": "a", "1": "b"}, "is_decoder": False}
    # Its absurd values are tested above; a thousand layers take seconds to build.
    name = data.draw(st.sampled_from(sorted({*config} - {"num_hidden_layers"})))
    config[name] = data.draw(anything)
    files = original.files["whole"] | {"config.json": json.dumps(config).encode()}
    assert_refused_or_equal(original, scratch, files)
