"""The tokenizers' vocabularies, settings and files against transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers as transformers_package
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.checkpoints.files import find_checkpoint
from regard.text import AutoTokenizer, BertTokenizer, Tokenizer

# Its own annotations are too narrow for options that are held in a dict.
transformers: Any = transformers_package

STRINGS = [
    "",
    "A great film, isn't it?",
    "naïve CAFÉ déjà vu Ångström e\u0301 I\u0307stanbul İ ß",
    "Привет, мир! Ёлка สวัสดี नमस्ते שָׁלוֹם",
    "你好世界 漢字 🙂👩‍👩‍👧 zero\u200bwidth \x00\x07 nbsp\u00a0wide\u3000",
    "[CLS] literal [SEP] [MASK] [PAD] [UNK] [mask]",
]

COLUMNS: dict[str, Any] = {
    "return_token_type_ids": True,
    "return_attention_mask": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["The", " ", "quick", "ly", "É", "é", "[MASK]", "\u0301"])).map(
        "".join
    ),
)

TOKEN_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
ATTRIBUTES = [
    *(f"{name}_token" for name in TOKEN_NAMES),
    *(f"{name}_token_id" for name in TOKEN_NAMES),
    *("all_special_tokens", "all_special_ids", "special_tokens_map", "extra_special_tokens"),
    *("model_max_length", "padding_side", "truncation_side", "model_input_names"),
]
CASED = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "The", "quick", "##ly", "fox", "Fox", "Ä", "ä", "ü", "don", "你", "好", "é", "É"),
    *"abcdefsItm,.!?'",
    *(f"##{letter}" for letter in "abcdes"),
]


@pytest.fixture(scope="session")
def folder() -> Path:
    return find_checkpoint("sentence-transformers/all-MiniLM-L6-v2").path("tokenizer.json").parent


@pytest.fixture(scope="session")
def ours(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def theirs(folder: Path) -> Any:
    return transformers.BertTokenizerFast.from_pretrained(folder)


@pytest.fixture
def cased(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(CASED) + "\n", encoding="utf-8")
    config = {"do_lower_case": False, "tokenizer_class": "BertTokenizer", "model_max_length": 16}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def assert_same(mine: Any, other: Any) -> None:
    assert list(mine) == list(other)
    for name in other:
        assert mine[name] == other[name], name


def test_names_and_numbers(ours: Tokenizer, theirs: Any):
    assert len(ours) == len(theirs)
    assert ours.vocab_size == theirs.vocab_size
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.convert_tokens_to_ids("qqqqq") == theirs.convert_tokens_to_ids("qqqqq")
    for pair in (False, True):
        assert ours.num_special_tokens_to_add(pair) == theirs.num_special_tokens_to_add(pair)


def test_added_tokens(folder: Path):
    mine = AutoTokenizer.from_pretrained(folder)
    other = transformers.AutoTokenizer.from_pretrained(folder)
    # How many are new: the reference counts "the" as well, which the vocabulary has already.
    assert mine.add_tokens(["regardful", "the", "Ünï"]) == 2
    assert other.add_tokens(["regardful", "the", "Ünï"]) == 3
    for tokenizer in (mine, other):
        assert tokenizer.add_special_tokens({"additional_special_tokens": ["<e1>", "<e2>"]}) == 2
        assert tokenizer.add_special_tokens({"bos_token": "<s>"}) == 1
        tokenizer.eos_token = "[SEP]"
        tokenizer.mask_token_id = 5
    text = "A regardful <e1> thing <e2> Ünï ünï <s> the."
    assert_same(mine(text, **COLUMNS), other(text, **COLUMNS))
    ids = other(text).input_ids
    for skip in (False, True):
        assert mine.decode(ids, skip) == other.decode(ids, skip)
        assert mine.convert_ids_to_tokens(ids, skip) == other.convert_ids_to_tokens(ids, skip)
    test_names_and_numbers(mine, other)


def test_a_cased_vocabulary(cased: Path):
    texts = ["The quickly Fox, don't É ÄÄ 你好!", "the fox the The Fox I'm éé Ä ü", "Zzz"]
    other = transformers.BertTokenizerFast.from_pretrained(cased)
    for mine in (
        BertTokenizer.from_pretrained(cased),
        AutoTokenizer.from_pretrained(cased),
        BertTokenizer(cased / "vocab.txt", do_lower_case=False, model_max_length=16),
        BertTokenizer(
            vocab_file=str(cased / "vocab.txt"), do_lower_case=False, model_max_length=16
        ),
    ):
        assert type(mine) is BertTokenizer
        assert_same(
            mine(texts, padding=True, truncation=True, **COLUMNS),
            other(texts, padding=True, truncation=True, **COLUMNS),
        )
        test_names_and_numbers(mine, other)
        assert [mine.decode(mine(t).input_ids) for t in texts] == [
            other.decode(other(t).input_ids) for t in texts
        ]


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": True},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False, "do_lower_case": False},
        {"unk_token": "fox", "cls_token": "a", "sep_token": "b", "do_lower_case": False},
        {"pad_token": "<new pad>", "bos_token": "<s>", "do_lower_case": False},
    ],
)
def test_settings(cased: Path, settings: dict[str, Any]):
    texts = ["The Äé fox 你好 ÉÜ Zzz <s>", "a"]
    mine = BertTokenizer(cased / "vocab.txt", **settings)
    again = BertTokenizer.from_pretrained(cased, **settings)
    other = transformers.BertTokenizerFast.from_pretrained(cased, **settings)
    for tokenizer in (mine, again):
        assert_same(
            tokenizer(texts, texts, padding=True, **COLUMNS),
            other(texts, texts, padding=True, **COLUMNS),
        )


@pytest.mark.parametrize(
    ("config", "lowercase"),
    [
        ({"do_lower_case": False}, True),
        ({"do_lower_case": True}, False),
        ({"do_lower_case": True, "strip_accents": False}, True),
        ({"do_lower_case": True, "tokenize_chinese_chars": False}, True),
    ],
)
def test_configuration_against_tokenizer_json(
    folder: Path, tmp_path: Path, config: dict[str, Any], lowercase: bool
):
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    state["normalizer"]["lowercase"] = lowercase
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    stated = json.dumps({"tokenizer_class": "BertTokenizer", **config})
    (tmp_path / "tokenizer_config.json").write_text(stated)
    mine = AutoTokenizer.from_pretrained(tmp_path)
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same(mine(STRINGS, **COLUMNS), other(STRINGS, **COLUMNS))


@pytest.mark.parametrize(
    "stated", ["BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "Unheard", None]
)
@pytest.mark.parametrize("with_model", [True, False])
def test_auto_picks_the_same(folder: Path, tmp_path: Path, stated: str | None, with_model: bool):
    shutil.copy(folder / "tokenizer.json", tmp_path)
    if with_model:
        shutil.copy(folder / "config.json", tmp_path)
    config = {"do_lower_case": True, **({"tokenizer_class": stated} if stated else {})}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    mine = AutoTokenizer.from_pretrained(tmp_path)
    if stated is None and not with_model:
        assert type(mine) is Tokenizer  # the reference gives up here
        return
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same(mine(STRINGS), other(STRINGS))
    assert isinstance(mine, BertTokenizer) == isinstance(other, transformers.BertTokenizer)


def test_saved_files_load_in_the_reference(folder: Path, cased: Path, tmp_path: Path):
    plain_file = Tokenizer(folder / "tokenizer.json", pad_token="[PAD]", unk_token="[UNK]")
    minilm = BertTokenizer.from_pretrained(folder)
    minilm.add_tokens(["regardful"])
    minilm.add_special_tokens({"extra_special_tokens": ["<e1>"]})
    # A cased tokenizer.json without do_lower_case: what is saved says so.
    json_only = tmp_path / "json_only"
    json_only.mkdir()
    BertTokenizer.from_pretrained(cased).save_pretrained(json_only)
    (json_only / "tokenizer_config.json").unlink()
    texts = [*STRINGS, "A regardful <e1> Fox"]
    for number, mine in enumerate(
        [plain_file, minilm, *map(BertTokenizer.from_pretrained, (cased, json_only))]
    ):
        mine.truncation_side = "left"
        saved = tmp_path / f"saved{number}"
        mine.save_pretrained(saved)
        other = transformers.AutoTokenizer.from_pretrained(saved)
        again = AutoTokenizer.from_pretrained(saved)
        assert type(again) is type(mine)
        for tokenizer in (other, again):
            assert_same(mine(texts, **COLUMNS), tokenizer(texts, **COLUMNS))
            cut: dict[str, Any] = {"truncation": True, "max_length": 6, "padding": True}
            assert_same(mine(texts, **cut), tokenizer(texts, **cut))
            test_names_and_numbers(mine, tokenizer)
        if isinstance(mine, BertTokenizer):
            (saved / "tokenizer.json").unlink()
            lines = transformers.BertTokenizer.from_pretrained(saved)
            assert lines(STRINGS).input_ids == mine(STRINGS).input_ids


def test_files_of_the_reference_load_here(folder: Path, cased: Path, tmp_path: Path):
    for number, source in enumerate((folder, cased)):
        other = transformers.AutoTokenizer.from_pretrained(source)
        other.add_tokens(["regardful"])
        other.add_special_tokens({"extra_special_tokens": ["<e1>"], "bos_token": "<s>"})
        saved = tmp_path / f"saved{number}"
        other.save_pretrained(saved)
        mine = AutoTokenizer.from_pretrained(saved)
        texts = [*STRINGS, "A regardful <e1> Fox <s>"]
        assert_same(mine(texts, **COLUMNS), other(texts, **COLUMNS))
        test_names_and_numbers(mine, other)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, max_size=6), lower=st.booleans())
def test_random_texts_of_a_cased_vocabulary(texts: list[str], lower: bool):
    vocabulary = {token: number for number, token in enumerate(CASED)}
    mine = BertTokenizer(vocabulary, do_lower_case=lower)
    other = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=lower)
    for text in texts:
        assert_same(mine(text, **COLUMNS), other(text, **COLUMNS))


@pytest.mark.parametrize("stated", ["PreTrainedTokenizerFast", "BertTokenizer"])
def test_what_tokenizer_json_says_about_calls_and_tokens(folder: Path, tmp_path: Path, stated: str):
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    state["truncation"]["direction"] = "Left"
    state["padding"] |= {"direction": "Left", "pad_token": "[UNK]", "pad_id": 100}
    for token in state["added_tokens"]:
        token["lstrip"] = token["content"] == "[MASK]"
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    # The reference reads the sides only for classes that it does not build anew.
    config = {"tokenizer_class": stated, "mask_token": "[MASK]", "truncation_side": "left"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"padding_side": "left"}))
    mine = AutoTokenizer.from_pretrained(tmp_path)
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    asked: dict[str, Any] = {"padding": True, "truncation": True, "max_length": 7, **COLUMNS}
    texts = [*STRINGS, "one   [MASK] two"]
    assert_same(mine(texts, **asked), other(texts, **asked))
    assert mine.padding_side == mine.truncation_side == "left"
    assert (mine.pad_token, mine.mask_token) == (other.pad_token, other.mask_token)
    assert mine.tokenize("one   [MASK]") == other.tokenize("one   [MASK]")
    (tmp_path / "tokenizer_config.json").unlink()
    alone = Tokenizer.from_pretrained(tmp_path)
    assert (alone.padding_side, alone.truncation_side) == ("left", "left")


def test_other_tokens_around_texts(folder: Path):
    changed: dict[str, Any] = {"cls_token": "[unused1]", "sep_token": "[unused2]"}
    mine = AutoTokenizer.from_pretrained(folder, **changed)
    other = transformers.AutoTokenizer.from_pretrained(folder, **changed)
    assert_same(mine(STRINGS, STRINGS, **COLUMNS), other(STRINGS, STRINGS, **COLUMNS))
    assert mine("a").input_ids == [2, 1037, 3]
