import json
from pathlib import Path
from typing import Any

import pytest

from regard.errors import CheckpointError, CheckpointNotFoundError
from regard.text import AutoTokenizer, BertTokenizer, Tokenizer
from regard.text.files import read_vocabulary, write_files


def save(folder: Path, **changes: Any) -> Path:
    """Write a small tokenizer's files into `folder`, with other settings in its configuration."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "b": 6}
    BertTokenizer(vocabulary).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff\xfe[\x00", "not UTF-8"),
        ("Ä\n".encode("latin-1"), "not UTF-8"),
        (b"\xef\xbb\xbf[PAD]\n[UNK]\n", "byte order mark"),
        (b"[PAD]\n[UNK]\na\nb\na\n", "more than one line .'a'."),
        (b"[PAD]\n[CLS]\n[SEP]\n", r"unknown token '\[UNK\]'"),
        (b"\x00\x01\x02", r"unknown token '\[UNK\]'"),
    ],
)
def test_damaged_vocabularies(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "vocab.txt").write_bytes(content)
    for load in (
        lambda: BertTokenizer(tmp_path / "vocab.txt"),
        lambda: BertTokenizer.from_pretrained(tmp_path),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            load()
        assert "vocab.txt" in str(caught.value)


def test_lines_of_a_vocabulary(tmp_path: Path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("[UNK]\r\nthe \r\n\u2028\nx\x0by\n\n".encode())
    assert read_vocabulary(path) == {"[UNK]": 0, "the": 1, "\u2028": 2, "x\x0by": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"{}", "Model missing"),
        (b"\xff", "not UTF-8"),
        (b'{"version": "1.0", "model": {"type": "Nope"}}', "damaged"),
    ],
)
def test_damaged_tokenizer_json(tmp_path: Path, content: bytes, message: str):
    save(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(content)
    for load in (AutoTokenizer.from_pretrained, BertTokenizer.from_pretrained):
        with pytest.raises(CheckpointError, match=message) as caught:
            load(tmp_path)
        assert "tokenizer.json" in str(caught.value)


def test_tokenizer_json_without_its_unknown_token(tmp_path: Path):
    save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace('"unk_token": "[UNK]"', '"unk_token": "<unk>"'))
    with pytest.raises(CheckpointError, match="lacks its own unknown token '<unk>'"):
        AutoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_max_length": "many"}, "model_max_length='many'"),
        ({"model_max_length": True}, "model_max_length=True"),
        ({"pad_token": 7}, "a special token is a string"),
        ({"extra_special_tokens": [7]}, "a special token is a string"),
        ({"padding_side": "top"}, "padding_side='top'"),
    ],
)
def test_wrong_settings_in_a_file(tmp_path: Path, changes: dict[str, Any], message: str):
    save(tmp_path, added_tokens_decoder={}, **changes)
    with pytest.raises(ValueError, match=message):
        AutoTokenizer.from_pretrained(tmp_path)


def test_missing_files(tmp_path: Path):
    with pytest.raises(CheckpointNotFoundError, match=r"neither tokenizer.json nor vocab.txt"):
        BertTokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match=r"no tokenizer.json"):
        Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="no such file"):
        BertTokenizer(tmp_path / "nothing.txt")
    with pytest.raises(CheckpointNotFoundError, match="no such file"):
        Tokenizer(tmp_path / "nothing.json")
    with pytest.raises(CheckpointError, match="is a folder; load it with from_pretrained"):
        BertTokenizer(tmp_path)


def test_unknown_keys_are_kept(tmp_path: Path):
    save(tmp_path / "one", made_by="{{ x }}", made_up={"deep": [1]}, name_or_path="private")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one", padding_side="left")
    tokenizer.save_pretrained(tmp_path / "two")
    config = json.loads((tmp_path / "two" / "tokenizer_config.json").read_text())
    assert config["made_by"] == "{{ x }}"
    assert config["made_up"] == {"deep": [1]}
    assert config["padding_side"] == "left"
    assert config["tokenizer_class"] == "BertTokenizer"
    assert "name_or_path" not in config


def test_a_class_that_is_unknown_here_is_kept(tmp_path: Path):
    save(tmp_path / "one", tokenizer_class="UnheardTokenizerFast")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    assert type(tokenizer) is Tokenizer
    tokenizer.save_pretrained(tmp_path / "two")
    config = json.loads((tmp_path / "two" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "UnheardTokenizerFast"


def test_unset_tokens_stay_unset(tmp_path: Path):
    tokenizer = BertTokenizer.from_pretrained(save(tmp_path / "one"))
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path / "two")
    assert BertTokenizer.from_pretrained(tmp_path / "two").mask_token is None


def test_saved_files(tmp_path: Path):
    paths = BertTokenizer.from_pretrained(save(tmp_path / "one")).save_pretrained(tmp_path / "two")
    names = ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert (
        sorted(path.name for path in paths)
        == names
        == sorted(path.name for path in (tmp_path / "two").iterdir())
    )
    lines = (tmp_path / "two" / "vocab.txt").read_text().split("\n")
    assert lines == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", ""]


def test_saved_tokenizer_json_carries_no_state(tmp_path: Path):
    tokenizer = BertTokenizer.from_pretrained(save(tmp_path / "one"))
    tokenizer("a b a b", max_length=3)
    tokenizer.save_pretrained(tmp_path / "two")
    state = json.loads((tmp_path / "two" / "tokenizer.json").read_text())
    assert state["truncation"] is None
    assert state["padding"] is None


def test_a_failed_save_changes_nothing(tmp_path: Path):
    (tmp_path / "one.txt").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_files(tmp_path, {"one.txt": "new", "two.txt": "\ud800"})
    assert (tmp_path / "one.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "one.txt"]


def test_tokens_that_old_folders_list_apart(tmp_path: Path):
    save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<two>": 8, "<one>": 7}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("a <two><one>").input_ids == [2, 5, 8, 7, 3]
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<two>": 9}))
    with pytest.raises(CheckpointError, match=r"'<two>' has the number 9 .* gets 7"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_added_tokens_in_the_configuration(tmp_path: Path):
    added = {"7": {"content": "<one>", "special": True, "normalized": False}}
    save(tmp_path, added_tokens_decoder=added, extra_special_tokens={"image_token": "<one>"})
    (tmp_path / "tokenizer.json").unlink()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("a <one>").input_ids == [2, 5, 7, 3]
    assert tokenizer.extra_special_tokens == ["<one>"]


def test_the_older_file_of_special_tokens(tmp_path: Path):
    save(tmp_path, pad_token="a")
    assert AutoTokenizer.from_pretrained(tmp_path).pad_token == "[PAD]"
    save(tmp_path, pad_token="a", added_tokens_decoder={})
    assert AutoTokenizer.from_pretrained(tmp_path).pad_token == "a"
    assert AutoTokenizer.from_pretrained(tmp_path, pad_token="b").pad_token == "b"


def test_named_extra_tokens_keep_their_names(tmp_path: Path):
    named = {"image_token": "<image>"}
    tokenizer = AutoTokenizer.from_pretrained(save(tmp_path / "one", extra_special_tokens=named))
    tokenizer.add_special_tokens({"extra_special_tokens": ["<x>"]}, False)
    assert tokenizer.extra_special_tokens == ["<image>", "<x>"]
    tokenizer.save_pretrained(tmp_path / "two")
    config = json.loads((tmp_path / "two" / "tokenizer_config.json").read_text())
    assert config["extra_special_tokens"] == named
    again = AutoTokenizer.from_pretrained(tmp_path / "two")
    assert again.extra_special_tokens == ["<image>", "<x>"]
    assert (
        again("a <image> <x>").input_ids == tokenizer("a <image> <x>").input_ids == [2, 5, 7, 8, 3]
    )
