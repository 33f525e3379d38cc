"""GGUF files: where they are found, and what becomes of those that are damaged or foreign."""

import sys
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import regard
from regard.checkpoints.files import find_checkpoint
from regard.checkpoints.gguf.tensors import open_gguf
from regard.checkpoints.tensors import open_tensors
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError

from .gguf_files import F32, Q8_0, finish, reference, stored, tensors, write_gguf

IDS = torch.arange(3, 12)[None]


@pytest.fixture(scope="module")
def model():
    return reference()


@pytest.fixture
def file(model, tmp_path):
    return write_gguf(tmp_path / "folder" / "tiny.gguf", model)


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    """Return the bytes of a quantised file, a small one."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "x.gguf", model, kind=Q8_0).read_bytes()


def load(name, **options):
    return regard.AutoModelForCausalLM.from_pretrained(name, **options)


# Where it is found.


def test_the_file_its_folder_and_its_name_are_one_checkpoint(file):
    write_gguf(file.with_name("other.gguf"), reference("qwen2"), "qwen2")
    with pytest.raises(CheckpointNotFoundError, match=r"other\.gguf, tiny\.gguf.*gguf_file="):
        load(file.parent)
    named = load(file.parent, gguf_file="tiny.gguf")
    file.with_name("other.gguf").unlink()
    with torch.no_grad():
        expected = load(file)(IDS).logits
        for ours in (named, load(file.parent), load(str(file))):
            assert torch.equal(ours(IDS).logits, expected)
    config = regard.AutoConfig.from_pretrained(file.parent, gguf_file="tiny.gguf")
    assert config == regard.LlamaConfig.from_pretrained(file)
    assert config.architectures == ["LlamaForCausalLM"]
    assert find_checkpoint(file).origin == "folder"
    assert str(find_checkpoint(file).path("config.json")) == f"{file}:config.json"


def test_a_folder_with_a_configuration_is_no_gguf_checkpoint(file):
    regard.BertConfig().save_pretrained(file.parent)
    assert regard.AutoConfig.from_pretrained(file.parent).model_type == "bert"
    config = regard.AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    assert config.model_type == "llama"


@pytest.mark.parametrize("name", ["absent.gguf", "../folder/tiny.gguf", "/etc/passwd", "a\0b", ""])
def test_only_files_of_the_folder_are_read(name, file):
    with pytest.raises(CheckpointError):
        load(file.parent, gguf_file=name)


def test_a_file_that_is_no_checkpoint(file, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for name, options in ((tmp_path / "notes.txt", {}), (file, {"gguf_file": "tiny.gguf"})):
        with pytest.raises(CheckpointNotFoundError, match="is a file; give the folder"):
            load(name, **options)


def test_other_heads_and_other_numbers_of_labels(file):
    model = regard.AutoModelForSequenceClassification.from_pretrained(file, num_labels=3)
    assert model(IDS).logits.shape == (1, 3)
    assert isinstance(regard.AutoModel.from_pretrained(file), regard.LlamaModel)


def test_a_tokenizer_that_is_not_there(file):
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        regard.AutoTokenizer.from_pretrained(file)


# What it must say.


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.add_expert_count(8), "not implemented for 'llama': expert_count=8"),
        (lambda w: w.add_sliding_window(8), "attention.sliding_window=8"),
        (lambda w: w.add_uint32("llama.something.new", 3), "something.new=3"),
        (lambda w: w.add_uint32("split.count", 3), "one of 3 parts"),
        (lambda w: w.add_rope_dimension_count(8), "rotary parts differ"),
        (lambda w: w.add_value_length(8), "differ in size"),
        (lambda w: w.add_string("llama.rope.scaling.type", "longrope"), "scaled by 'longrope'"),
        (lambda w: w.add_string("llama.rope.scaling.type", "yarn"), "rope.scaling.factor' of type"),
        (lambda w: w.add_tensor("rope_freqs.weight", np.ones(3, np.float32)), "wanted [8]"),
        (
            lambda w: w.add_tensor("rope_freqs.weight", np.arange(1, 9, dtype=np.float32)),
            "other than those of Llama 3",
        ),
        (lambda w: w.add_uint32("tokenizer.ggml.padding_token_id", 64), "pad_token_id is 64"),
        (lambda w: w.add_string("tokenizer.ggml.padding_token_id", "0"), "of type int; found str"),
    ],
)
def test_what_is_not_implemented_is_an_error(change, says, model, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", model, change=change)
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        load(path)
    assert says in str(caught.value)
    assert "tiny.gguf" in str(caught.value)


def test_a_switch_that_is_off_is_none(model, tmp_path):
    def change(writer):
        writer.add_expert_count(0)
        writer.add_bool("llama.use_parallel_residual", False)

    load(write_gguf(tmp_path / "tiny.gguf", model, change=change))


def test_an_unknown_architecture(tmp_path):
    path = tmp_path / "tiny.gguf"
    finish(gguf.GGUFWriter(path, "mamba"))
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: .*'mamba'; llama, qwen2, qwen3, gpt2"):
        load(path)


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("blk.1.ffn_up.weight", "missing .*layers.1.feed_forward.up.weight"),
        ("output_norm.weight", "missing .*decoder.norm.weight"),
        ("token_embd.weight", "there is no matrix 'token_embd.weight'"),
    ],
)
def test_a_tensor_that_is_not_there(lost, says, file, tmp_path):
    path = rewritten(file, tmp_path / "less.gguf", lambda name: None if name == lost else name)
    with pytest.raises(CheckpointError, match=says):
        load(path)


@pytest.mark.parametrize("name", ["blk.1.ffn_gate_exps.weight", "blk.1.typo", "x" * 300, "blk.²a"])
def test_a_tensor_without_a_place(name, file, tmp_path):
    path = rewritten(file, tmp_path / "less.gguf", lambda n: name if n == "output.weight" else n)
    with pytest.raises(CheckpointError, match=r"less\.gguf: .*has no place"):
        load(path)


def rewritten(file, path, rename):
    """Write the tensors and sizes of `file` again, under other names; None leaves one out."""
    reader = gguf.GGUFReader(file)
    writer = gguf.GGUFWriter(path, "llama")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0])
    for tensor in reader.tensors:
        if rename(tensor.name) is not None:
            writer.add_tensor(rename(tensor.name), tensor.data, raw_dtype=tensor.tensor_type)
    finish(writer)
    return path


@pytest.mark.parametrize("kind", [99, 4, 24, 2**32 - 1])
def test_a_type_that_is_not_read(kind, content, tmp_path):
    """Number 99 is none, 4 was taken back, 24 is a whole number."""
    at = content.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 2 * 8
    assert content[at : at + 4] == (8).to_bytes(4, "little")
    path = tmp_path / "tiny.gguf"
    path.write_bytes(content[:at] + kind.to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: 'token_embd\.weight' is of a type"):
        load(path)


def test_without_the_package(content, file, tmp_path, monkeypatch):
    (tmp_path / "blocks.gguf").write_bytes(content)
    monkeypatch.setitem(sys.modules, "gguf", None)
    from regard.checkpoints.gguf import tensors as module

    module._quantised.cache_clear()
    with pytest.raises(CheckpointError, match=r"quantised.*pip install 'regard\[gguf\]'"):
        load(tmp_path / "blocks.gguf")
    load(file)  # plain numbers need no package


# Damage.


def refused(path, content):
    """Write the bytes; check that they are refused with their file's name, or read as a whole."""
    path.write_bytes(content)
    try:
        model = load(path)
    except (CheckpointError, ConfigError) as error:
        message = str(error)
    else:
        model(IDS % model.config.vocab_size)
        return False
    assert path.name in message
    assert len(message) < 10_000
    return True


@pytest.mark.parametrize(
    "change",
    [
        lambda c: b"",
        lambda c: b"GGUF",
        lambda c: b"garbage that is no checkpoint",
        lambda c: c[:4] + (1).to_bytes(4, "little") + c[8:],
        lambda c: c[:4] + (3).to_bytes(4, "big") + c[8:],
        lambda c: c[:8] + (2**64 - 1).to_bytes(8, "little") + c[16:],
        lambda c: c[:16] + (2**64 - 1).to_bytes(8, "little") + c[24:],
        lambda c: c[:24] + (2**64 - 1).to_bytes(8, "little") + c[32:],
        lambda c: c[:-1],
        lambda c: c[: len(c) // 2],
    ],
    ids=[
        *("empty", "magic", "garbage", "old", "big-endian", "tensors", "entries", "a long key"),
        *("one byte less", "half"),
    ],
)
def test_damaged_files(change, content, tmp_path):
    assert refused(tmp_path / "tiny.gguf", change(content))


def test_a_list_that_is_longer_than_the_file(tmp_path):
    for kind, size in ((5, 2**40), (5, 2**62), (8, 2**63), (9, 1), (99, 1)):
        entry = (1).to_bytes(8, "little") + b"k" + (9).to_bytes(4, "little")
        entry += kind.to_bytes(4, "little") + size.to_bytes(8, "little") + bytes(40)
        head = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little")
        assert refused(tmp_path / f"{size}.gguf", head + entry)


@given(data=st.data())
def test_any_damage_is_an_error_or_harmless(data, content, tmp_path_factory):
    """In the header, where it can mislead: bytes changed, cut out, put in, or all from there on."""
    end = content.index(b"blk.1.ffn_down.weight")
    at = data.draw(st.integers(0, end))
    new = data.draw(st.binary(max_size=12))
    skip = data.draw(st.sampled_from([len(new), 0, 1, 8, len(content)]))
    path = tmp_path_factory.mktemp("damage") / "tiny.gguf"
    refused(path, content[:at] + new + content[at + skip :])


@settings(max_examples=30)
@given(data=st.data())
def test_absurd_sizes_are_refused(data, model, tmp_path_factory):
    """Numbers that no model has, wherever the metadata has numbers."""
    keys = ("embedding_length", "block_count", "attention.head_count", "attention.head_count_kv")
    keys = (*keys, "feed_forward_length", "attention.key_length", "context_length")
    key = f"llama.{data.draw(st.sampled_from(keys))}"
    number = data.draw(st.integers(0, 2**64 - 1).filter(lambda n: n not in (2, 4, 16, 64, 96)))

    def change(writer):
        del writer.kv_data[0][key]
        writer.add_uint64(key, number)

    path = write_gguf(tmp_path_factory.mktemp("sizes") / "tiny.gguf", model, change=change)
    harmless = key.endswith("context_length") and 0 < number <= 2**31
    assert refused(path, path.read_bytes()) != harmless


@pytest.mark.parametrize("shape", [(), (0,), (2**63, 2**63), (64, 2**40), (63, 64)])
def test_a_tensor_of_an_absurd_shape(shape, content, tmp_path):
    name = b"output.weight"
    at = content.index((13).to_bytes(8, "little") + name) + 8 + len(name)
    sizes = b"".join(size.to_bytes(8, "little") for size in shape)
    new = len(shape).to_bytes(4, "little") + sizes
    path = tmp_path / "tiny.gguf"
    assert refused(path, content[:at] + new + content[at + 20 :])


def test_a_file_that_was_replaced_is_read_again(file, tmp_path):
    before = open_tensors(find_checkpoint(file))
    other = write_gguf(tmp_path / "other.gguf", reference("qwen3", head_dim=16), "qwen3")
    other.replace(file)
    assert open_gguf(file).keys() != before.keys()


def test_the_helper_stores_what_the_converter_does():
    """Turned by hand: one head of four rows, whose halves llama.cpp interleaves."""
    config = SimpleNamespace(num_attention_heads=1, num_key_value_heads=1)
    rows = np.arange(4.0)[:, None]
    found = stored("llama", "layers.0.self_attn.q_proj.weight", rows, config)
    assert found[:, 0].tolist() == [0, 2, 1, 3]
    assert F32 == 0
    assert len([*tensors(reference("gpt2"), "gpt2")]) == 28
