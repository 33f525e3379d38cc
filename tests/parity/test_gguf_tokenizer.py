"""Tokenizers in GGUF files: the ids of the files that they were made of, and of the reference."""

import json
import logging
from functools import partial

import gguf
import pytest
import sentencepiece
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

import regard
from regard.errors import CheckpointError, ConfigError

from ..contracts.checkpoint_folders import told
from ..contracts.gguf_files import finish
from .tokenizer_texts import real_texts, train_byte_level, train_pieces

TEXTS = real_texts(800)
COUNTS = [800, pytest.param(3000, marks=pytest.mark.slow)]
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|end|>{% endfor %}"
PIECES = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "vocab_size": 1200,
    "user_defined_symbols": ["<think>"],
    "control_symbols": ["[INST]"],
}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """Return the tokens and the merges of a byte-level vocabulary."""
    special = ["<|endoftext|>", "<|end|>", "<think>"]
    folder = train_byte_level(tmp_path_factory.mktemp("bytes") / "files", special)
    numbers = json.loads((folder / "vocab.json").read_text("utf-8"))
    merges = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    return sorted(numbers, key=numbers.get), merges


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return train_pieces(tmp_path_factory.mktemp("pieces") / "tokenizer.model", **PIECES)


def write(path, kind, tokens, change):
    """Write a GGUF file without weights, as llama.cpp's own tests have them."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(77)
    writer.add_tokenizer_model(kind)
    writer.add_token_list(tokens)
    change(writer)
    finish(writer)
    return path


def write_bytes(path, vocabulary, pre, change=lambda writer: None):
    tokens, merges = vocabulary

    def add(writer):
        writer.add_tokenizer_pre(pre)
        writer.add_token_types([3, 3, 4] + [1] * (len(tokens) - 3))
        writer.add_token_merges(merges)
        writer.add_eos_token_id(1)
        writer.add_bos_token_id(0)
        writer.add_chat_template(CHAT)
        change(writer)

    return write(path, "gpt2", tokens, add)


def write_pieces(path, model, change=lambda writer: None):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    numbers = range(processor.get_piece_size())
    tokens = [processor.id_to_piece(number) for number in numbers]
    kinds = {
        gguf.TokenType.UNKNOWN: processor.is_unknown,
        gguf.TokenType.CONTROL: processor.is_control,
        gguf.TokenType.BYTE: processor.is_byte,
        gguf.TokenType.USER_DEFINED: lambda number: tokens[number] == "<think>",
    }

    def add(writer):
        writer.add_token_scores([processor.get_score(number) for number in numbers])
        found = [next((k for k, of in kinds.items() if of(n)), 1) for n in numbers]
        writer.add_token_types([int(kind) for kind in found])
        for name in ("bos", "eos", "unk"):
            getattr(writer, f"add_{name}_token_id")(getattr(processor, f"{name}_id")())
        change(writer)

    return write(path, "llama", tokens, add)


def theirs_of(path):
    """Return the reference's reading of the same file."""
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def assert_same(ours, theirs, texts=TEXTS):
    found, expected = ours(texts)["input_ids"], theirs(texts)["input_ids"]
    different = [text for text, a, b in zip(texts, found, expected, strict=True) if a != b]
    assert not different, f"{len(different)} of {len(texts)}, such as {different[0]!r}"
    assert ours.batch_decode(found) == theirs.batch_decode(expected)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("pre", ["gpt-2", "default", "llama-bpe", "qwen2", "smollm"])
def test_bytes(pre, count, vocabulary, tmp_path):
    path = write_bytes(tmp_path / "model.gguf", vocabulary, pre)
    ours, theirs = regard.AutoTokenizer.from_pretrained(path), theirs_of(path)
    backend = theirs.backend_tokenizer
    if pre == "qwen2":  # the reference composes characters only outside of GGUF files
        backend.normalizer = transformers.Qwen2Tokenizer().backend_tokenizer.normalizer
    if pre == "smollm":  # the reference does not know the name, and takes GPT-2's way
        digits = pre_tokenizers.Digits(individual_digits=True)
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    if pre == "llama-bpe":  # llama.cpp adds the token where the file is silent
        assert ours("x")["input_ids"][0] == ours.bos_token_id == 0
        ours = regard.AutoTokenizer.from_pretrained(silent(tmp_path, vocabulary))
    assert_same(ours, theirs, real_texts(count))
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    assert [getattr(ours, n) for n in names] == [getattr(theirs, n) for n in names]
    assert (len(ours), ours.model_max_length) == (len(theirs), 77)
    assert ours.convert_tokens_to_ids("<think>") == 2
    assert ours("a<think>b")["input_ids"][1] == 2
    assert "<think>" not in ours.all_special_tokens


def silent(folder, vocabulary):
    change = partial(gguf.GGUFWriter.add_add_bos_token, value=False)
    return write_bytes(folder / "silent.gguf", vocabulary, "llama-bpe", change)


def test_a_word_that_is_a_token_is_taken_as_it_is_by_llama_3(vocabulary, tmp_path):
    tokens, merges = vocabulary
    other = [*tokens, "zqzq"], merges
    for pre, count in (("llama-bpe", 2), ("gpt-2", 4)):
        path = write_bytes(tmp_path / f"{pre}.gguf", other, pre)
        assert len(regard.AutoTokenizer.from_pretrained(path)("zqzq")["input_ids"]) == count


@pytest.mark.parametrize("ends", [("bos",), ("eos",), ("bos", "eos")])
def test_tokens_around_texts(ends, vocabulary, tmp_path):
    def change(writer):
        for end in ends:
            getattr(writer, f"add_add_{end}_token")(True)

    path = write_bytes(tmp_path / "model.gguf", vocabulary, "gpt-2", change)
    ours = regard.AutoTokenizer.from_pretrained(path)
    assert_same(ours, theirs_of(path))
    first, last = [0] * ("bos" in ends), [1] * ("eos" in ends)
    middle = ours("ab", add_special_tokens=False)["input_ids"]
    assert ours("ab")["input_ids"] == first + middle + last
    assert ours("ab", "ab")["input_ids"] == (first + middle + last) * 2


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("prefix", [True, False])
def test_pieces(prefix, count, pieces, tmp_path):
    change = partial(gguf.GGUFWriter.add_add_space_prefix, value=prefix)
    path = write_pieces(tmp_path / "model.gguf", pieces, change)
    ours = regard.AutoTokenizer.from_pretrained(path)
    assert type(ours) is regard.LlamaTokenizer
    same = regard.LlamaTokenizer(pieces, add_prefix_space=prefix, bos_token="<s>")
    same.add_special_tokens({"extra_special_tokens": ["[INST]"]})
    texts = real_texts(count)
    assert_same(ours, same, texts)
    if prefix:  # the reference heeds the flag only outside of GGUF files
        assert_same(ours, theirs_of(path), texts)
    assert ours("[INST] x<think>y")["input_ids"][:2] == [1, ours.convert_tokens_to_ids("[INST]")]


def test_saving(vocabulary, pieces, tmp_path):
    files = [
        write_bytes(tmp_path / "bytes.gguf", vocabulary, "smollm"),
        write_bytes(tmp_path / "words.gguf", vocabulary, "llama-bpe"),
        write_pieces(tmp_path / "pieces.gguf", pieces),
    ]
    for path in files:
        ours = regard.AutoTokenizer.from_pretrained(path)
        ours.save_pretrained(tmp_path / path.stem)
        assert_same(ours, regard.AutoTokenizer.from_pretrained(tmp_path / path.stem))
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / path.stem)
        assert_same(ours, theirs)
        assert theirs.chat_template == ours.chat_template


def test_the_chat_template(vocabulary, tmp_path):
    path = write_bytes(tmp_path / "model.gguf", vocabulary, "gpt-2")
    ours = regard.AutoTokenizer.from_pretrained(path)
    assert ours.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False) == (
        "user: ab<|end|>"
    )


def test_an_unstated_way_to_split_is_told(vocabulary, tmp_path):
    path = write_bytes(tmp_path / "model.gguf", vocabulary, "default")
    with told() as lines:
        regard.AutoTokenizer.from_pretrained(path)
    assert [line for line in lines if "GPT-2's way" in line]
    assert logging.getLogger("regard").handlers == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.add_tokenizer_pre("nobody"), "splits texts as 'nobody'"),
        (lambda w: w.add_eos_token_id(10**6), "1000000, outside the vocabulary"),
        (lambda w: w.add_token_types([1]), "has 1 values; wanted"),
        (lambda w: w.add_token_types([9] * 900), "outside of 0 to 6"),
        (lambda w: w.add_token_merges(["a b c"]), "merge 0 is 'a b c'; wanted two tokens"),
        (lambda w: w.add_token_merges(["nope nada"]), "nope"),
        (lambda w: w.add_token_list(["a", "b", "a"]), "the token 'a' twice"),
        (lambda w: w.add_token_list([1, 2]), "holds int; wanted str"),
        (lambda w: w.add_tokenizer_model("bert"), "kind 'bert'; gpt2, llama are read"),
        (lambda w: w.add_tokenizer_model("llama"), "'tokenizer.ggml.scores'"),
    ],
)
def test_damage(change, says, vocabulary, tmp_path):
    def add(writer):
        for key in changed(change):  # the writer refuses to write one twice
            writer.kv_data[0].pop(key, None)
        change(writer)

    path = write_bytes(tmp_path / "model.gguf", vocabulary, "gpt-2", add)
    with pytest.raises(CheckpointError, match=r"model\.gguf") as caught:
        regard.AutoTokenizer.from_pretrained(path)
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@given(data=st.data())
def test_any_damage_is_an_error_or_harmless(kind, data, vocabulary, pieces, tmp_path_factory):
    """Most of the file is one long list of tokens, so the ends are drawn more often."""
    path = tmp_path_factory.mktemp("damage") / "model.gguf"
    if kind == "bytes":
        write_bytes(path, (vocabulary[0][:300], []), "smollm")
    else:
        write_pieces(path, pieces)
    content = path.read_bytes()
    edge = st.sampled_from([*range(300), *range(len(content) - 300, len(content))])
    at = data.draw(st.one_of(edge, st.integers(0, len(content))))
    new = data.draw(st.binary(max_size=12))
    skip = data.draw(st.sampled_from([len(new), 0, 1, 8, len(content)]))
    path.write_bytes(content[:at] + new + content[at + skip :])
    try:
        regard.AutoTokenizer.from_pretrained(path)("a b")
    except (CheckpointError, ConfigError) as error:
        message = str(error)
    else:
        return
    assert path.name in message


def changed(change):
    """Return the keys that `change` writes."""
    writer = gguf.GGUFWriter(None, "llama")
    change(writer)
    return writer.kv_data[0].keys() - {"general.architecture"}
