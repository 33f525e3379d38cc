import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from regard.text import AutoTokenizer
from regard.text.families import (
    BartTokenizer,
    GPT2Tokenizer,
    GPT2TokenizerFast,
    RobertaTokenizer,
    RobertaTokenizerFast,
)

#: Few bytes have a token here, so every number can be checked by hand.
VOCABULARY = {
    **{token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])},
    **{token: number for number, token in enumerate(["a", "b", "Ġ", "ab", "Ġab", "Ã", "¤"], 5)},
    "<|endoftext|>": 12,
}
MERGES = [("a", "b"), ("Ġ", "ab")]


def write(folder: Path, version: str = "#version: 0.2\n", end: str = "\n") -> Path:
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY), encoding="utf-8")
    lines = end.join(" ".join(merge) for merge in MERGES)
    (folder / "merges.txt").write_text(version + lines + end, encoding="utf-8", newline="")
    return folder


def test_roberta_by_hand():
    tokenizer = RobertaTokenizer(VOCABULARY, MERGES)
    found = tokenizer("ab ab", return_offsets_mapping=True)
    assert found.input_ids == [0, 8, 9, 2]
    assert found.offset_mapping == [(0, 0), (0, 2), (3, 5), (0, 0)]
    pair = tokenizer("a", "b", return_token_type_ids=True)
    assert pair.input_ids == [0, 5, 2, 2, 6, 2]
    assert pair.token_type_ids == [0] * 6
    assert tokenizer.decode(found.input_ids) == "<s>ab ab</s>"
    assert tokenizer("ä").input_ids == [0, 10, 11, 2]
    assert "token_type_ids" not in tokenizer("a")
    assert tokenizer(["a", "ab ab"], padding=True).input_ids == [[0, 5, 2, 1], [0, 8, 9, 2]]


def test_gpt2_by_hand():
    tokenizer = GPT2Tokenizer(VOCABULARY, MERGES)
    found = tokenizer("ab ab", return_offsets_mapping=True)
    assert found.input_ids == [8, 9]
    assert found.offset_mapping == [(0, 2), (2, 5)]
    assert tokenizer("a<|endoftext|>b").input_ids == [5, 12, 6]
    both = GPT2Tokenizer(VOCABULARY, MERGES, add_bos_token=True, add_eos_token=True)
    assert both("a", "b").input_ids == [12, 5, 12, 12, 6, 12]


def test_padding_without_a_token_says_what_to_do():
    tokenizer = GPT2Tokenizer(VOCABULARY, MERGES)
    with pytest.raises(ValueError, match=r"tokenizer\.pad_token = tokenizer\.eos_token"):
        tokenizer(["a", "ab ab"], padding=True)
    tokenizer.pad_token = tokenizer.eos_token
    found = tokenizer(["a", "ab ab"], padding=True)
    assert found.input_ids == [[5, 12], [8, 9]]
    assert found.attention_mask == [[1, 0], [1, 1]]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("version", ["", "#version: 0.2\n", "#version: 0.2 - made by x\n"])
def test_files(tmp_path: Path, version: str, end: str):
    write(tmp_path, version, end)
    vocabulary, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    for tokenizer in (
        RobertaTokenizer(vocabulary, merges),
        RobertaTokenizer(vocab_file=str(vocabulary), merges_file=str(merges)),
        BartTokenizer.from_pretrained(tmp_path),
    ):
        assert tokenizer("ab ab").input_ids == [0, 8, 9, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", b"{", "not valid JSON"),
        ("vocab.json", b"[]", "wanted a JSON object"),
        ("vocab.json", b"{}", "is empty"),
        ("vocab.json", b'{"a": "b"}', "'a' has 'b' where its number should be"),
        ("vocab.json", b'{"a": true}', "'a' has True"),
        ("vocab.json", b'{"a": -1}', "'a' has -1"),
        ("vocab.json", b'{"a": 0}', "do not fit together"),
        ("merges.txt", b"#version\na b\na\n", "line 3 is 'a'; wanted two tokens"),
        ("merges.txt", b"a b c\n", "line 1 is 'a b c'"),
        ("merges.txt", b"a z\n", "do not fit together"),
        ("merges.txt", b"\xff\xfe", "not UTF-8"),
        ("merges.txt", b"\xef\xbb\xbfa b\n", "byte order mark"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str):
    write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        GPT2Tokenizer.from_pretrained(tmp_path)
    assert name in str(caught.value)


def test_missing_files(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "merges.txt").unlink()
    message = r"neither tokenizer.json nor vocab.json and merges.txt"
    with pytest.raises(CheckpointNotFoundError, match=message):
        RobertaTokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="no such file"):
        RobertaTokenizer(tmp_path / "vocab.json", tmp_path / "merges.txt")
    with pytest.raises(CheckpointError, match="is a folder"):
        RobertaTokenizer(tmp_path, tmp_path)


@pytest.mark.parametrize("kind", [RobertaTokenizer, GPT2Tokenizer])
def test_saved_files(tmp_path: Path, kind: type[Any]):
    tokenizer = kind.from_pretrained(write(tmp_path))
    paths = tokenizer.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in paths) == [
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    for name in ("vocab.json", "merges.txt"):
        saved, given = ((f / name).read_text("utf-8") for f in (tmp_path / "saved", tmp_path))
        assert json.loads(saved) == VOCABULARY if name == "vocab.json" else saved == given
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "tokenizer.json").unlink()
    own = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for other in (again, own, pickle.loads(pickle.dumps(tokenizer))):
        assert type(other) is kind
        text = "ab <mask> ab<s>b<|endoftext|>"
        assert other(text, text).input_ids == tokenizer(text, text).input_ids
        assert other.special_tokens_map == tokenizer.special_tokens_map


def test_spaces_of_words(tmp_path: Path, said: list[str]):
    write(tmp_path)
    glued = GPT2Tokenizer.from_pretrained(tmp_path)
    assert glued(["ab", "ab"], is_split_into_words=True).input_ids == [8, 8]
    assert glued(["ab"], is_split_into_words=True).input_ids == [8]
    assert len(said) == 1
    assert "add_prefix_space=True" in said[0]
    spaced = GPT2Tokenizer.from_pretrained(tmp_path, add_prefix_space=True)
    assert spaced(["ab", "ab"], is_split_into_words=True).input_ids == [9, 9]
    assert len(said) == 1


def test_settings_over_tokenizer_json(tmp_path: Path):
    write(tmp_path)
    RobertaTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    spaced = RobertaTokenizer.from_pretrained(tmp_path, add_prefix_space=True, trim_offsets=False)
    found = spaced("ab ab", return_offsets_mapping=True)
    assert found.input_ids == [0, 9, 9, 2]
    assert found.offset_mapping[2] == (2, 5)
    other = RobertaTokenizer.from_pretrained(tmp_path, cls_token="a", sep_token="b")
    assert other("").input_ids == [5, 6]
    config = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert RobertaTokenizer.from_pretrained(tmp_path)("ab").input_ids == [0, 9, 2]


def test_a_setting_that_tokenizer_json_has_no_step_for(tmp_path: Path):
    tokenizer = GPT2Tokenizer.from_pretrained(write(tmp_path))
    tokenizer.backend_tokenizer.pre_tokenizer = None  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="add_prefix_space is a setting of ByteLevel"):
        GPT2Tokenizer.from_pretrained(tmp_path, add_prefix_space=True)
    # What only the file says gives way to tokenizer.json.
    config = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert AutoTokenizer.from_pretrained(tmp_path)("ab").input_ids == [8]


def test_what_tokenizer_json_says_is_saved(tmp_path: Path):
    spaced = RobertaTokenizer(VOCABULARY, MERGES, add_prefix_space=True, trim_offsets=False)
    spaced.save_pretrained(tmp_path / "one")
    (tmp_path / "one" / "tokenizer_config.json").unlink()
    RobertaTokenizer.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    config = json.loads((tmp_path / "two" / "tokenizer_config.json").read_text())
    assert (config["add_prefix_space"], config["trim_offsets"]) == (True, False)


def test_merges_that_the_older_file_cannot_hold(tmp_path: Path):
    vocabulary = {**VOCABULARY, "c d": 13, "c ": 14, "d": 15}
    tokenizer = GPT2Tokenizer(vocabulary, [("c ", "d")])
    names = {path.name for path in tokenizer.save_pretrained(tmp_path)}
    assert names == {"special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"}


def test_what_is_not_implemented(tmp_path: Path):
    write(tmp_path)
    assert GPT2Tokenizer.from_pretrained(tmp_path, errors="replace")("a")
    with pytest.raises(ConfigError, match="errors='strict' is not implemented"):
        GPT2Tokenizer.from_pretrained(tmp_path, errors="strict")
    with pytest.raises(TypeError, match="did you mean 'add_prefix_space'"):
        RobertaTokenizer(VOCABULARY, MERGES, add_prefix_spaces=True)


def test_flags_of_the_mask(tmp_path: Path):
    write(tmp_path)
    assert RobertaTokenizer.from_pretrained(tmp_path)("a <mask>").input_ids == [0, 5, 4, 2]
    plain = {"content": "<mask>", "lstrip": False, "normalized": False, "special": True}
    for config in ({"mask_token": plain}, {"added_tokens_decoder": {"4": plain}}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        found = RobertaTokenizer.from_pretrained(tmp_path)("a <mask>").input_ids
        assert found == [0, 5, 7, 4, 2]


def test_missing_special_tokens_are_added():
    bare = {token: number for number, token in enumerate(["a", "b", "ab"])}
    tokenizer = RobertaTokenizer(bare, [("a", "b")])
    assert len(tokenizer) == 8
    found = tokenizer("ab").input_ids
    assert found == [tokenizer.cls_token_id, 2, tokenizer.sep_token_id]


def test_aliases():
    assert RobertaTokenizerFast is RobertaTokenizer is BartTokenizer
    assert GPT2TokenizerFast is GPT2Tokenizer
