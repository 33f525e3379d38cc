"""The tokenizers against transformers: equal ids, masks, segments, offsets, mappings and text."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.checkpoints.files import find_checkpoint
from regard.text import AutoTokenizer, BertTokenizer, Tokenizer

MINILM = "sentence-transformers/all-MiniLM-L6-v2"

STRINGS = [
    "",
    " ",
    "A great film, isn't it?",
    "The quick brown fox jumps over the lazy dog, twice; then it sleeps for a long while.",
    "don't  stop\tbelieving\n\nnow …",
    "naïve café déjà vu Ångström Ñandú e\u0301 I\u0307stanbul İ ß ẞ ﬁ",
    "Привет, мир! Ёлка їжак",
    "Ελληνικά: ὀξύς Σίσυφος ς",
    "שָׁלוֹם עולם",
    "السَّلَامُ عَلَيْكُمْ",
    "नमस्ते दुनिया क्षत्रिय",
    "สวัสดีชาวโลก",
    "你好，世界。漢字 𠀀𪜶",  # noqa: RUF001  (this comma is meant)
    "こんにちは ｶﾀｶﾅ ヷ",
    "안녕하세요 세계 \u1112\u1161\u11ab",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 emoji 🇩🇪 ok",
    "zero\u200bwidth\u200djoin\ufeffbom soft\u00adhyphen",
    "ctrl\x00\x01\x07\x1b\x7f\x80\x9f\ufffd end",
    "\u2028line\u2029para\u0085next\u00a0nbsp\u3000wide",
    "[CLS] literal [SEP] [MASK] [PAD] [UNK] [mask]",
    "x" * 120 + " " + "antidisestablishmentarianism" * 3,
    "3.14 1,000,000 $5 50% a_b c-d e/f http://x.org/?q=1&r=2 #tag @me",
    "\U0010ffff\ue000 private",
]
PAIRS = list(zip(STRINGS, [*STRINGS[7:], *STRINGS[:7]], strict=True))
LONG = [" ".join(STRINGS[2:5] * n) for n in (1, 3, 2)]
WORDS = [text.split(" ") for text in STRINGS[2:]]

COLUMNS = {
    "return_token_type_ids": True,
    "return_attention_mask": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}


TOKEN_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
ATTRIBUTES = [
    *(f"{name}_token" for name in TOKEN_NAMES),
    *(f"{name}_token_id" for name in TOKEN_NAMES),
    *("all_special_tokens", "all_special_ids", "special_tokens_map", "extra_special_tokens"),
    *("model_max_length", "padding_side", "truncation_side", "model_input_names"),
]


@pytest.fixture(scope="session")
def folder() -> Path:
    return find_checkpoint(MINILM).path("tokenizer.json").parent


@pytest.fixture(scope="session")
def ours(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def theirs(folder: Path) -> Any:
    return transformers.BertTokenizerFast.from_pretrained(folder)


CASED = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "The", "quick", "##ly", "fox", "Fox", "Ä", "ä", "ü", "don", "你", "好", "é", "É"),
    *"abcdefsItm,.!?'",
    *(f"##{letter}" for letter in "abcdes"),
]


@pytest.fixture
def cased(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(CASED) + "\n", encoding="utf-8")
    config = {"do_lower_case": False, "tokenizer_class": "BertTokenizer", "model_max_length": 16}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def assert_same(mine: Any, other: Any) -> None:
    assert list(mine) == list(other)
    for name in other:
        assert plain(mine[name]) == plain(other[name]), name


def assert_same_encodings(mine: Any, other: Any) -> None:
    assert len(mine.encodings) == len(other.encodings)
    for row in range(len(mine.encodings)):
        assert mine.tokens(row) == other.tokens(row)
        assert mine.word_ids(row) == other.word_ids(row)
        assert mine.sequence_ids(row) == other.sequence_ids(row)
        assert mine[row].attention_mask == other[row].attention_mask


@pytest.mark.parametrize("text", STRINGS)
def test_single_texts(ours: Tokenizer, theirs: Any, text: str):
    assert_same(ours(text, **COLUMNS), theirs(text, **COLUMNS))
    assert ours.tokenize(text) == theirs.tokenize(text)
    assert ours.encode(text) == theirs.encode(text)
    assert ours.encode(text, add_special_tokens=False) == theirs.encode(
        text, add_special_tokens=False
    )


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize(
    "padding", [False, True, "longest", "max_length", "do_not_pad"], ids=lambda p: f"pad={p}"
)
@pytest.mark.parametrize(
    "truncation",
    [None, False, True, "longest_first", "only_first", "do_not_truncate"],
    ids=lambda t: f"cut={t}",
)
def test_options_of_batches(
    ours: Tokenizer, theirs: Any, padding: Any, truncation: Any, special: bool
):
    for max_length, multiple, side in itertools.product(
        [None, 2, 9, 24], [None, 8], [None, "left"]
    ):
        options = {
            "add_special_tokens": special,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "pad_to_multiple_of": multiple,
            "padding_side": side,
            **COLUMNS,
        }
        try:
            wanted = theirs(STRINGS, **options)
        except ValueError:  # a multiple that does not divide the length
            with pytest.raises(ValueError, match="multiple of 8"):
                ours(STRINGS, **options)
            continue
        found = ours(STRINGS, **options)
        assert_same(found, wanted)
        assert_same_encodings(found, wanted)


@pytest.mark.parametrize("truncation", [True, "longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("max_length", [7, 10, 15, 33])
@pytest.mark.parametrize("special", [True, False])
def test_pairs_are_cut_alike(
    ours: Tokenizer, theirs: Any, truncation: Any, max_length: int, special: bool
):
    options = {
        "add_special_tokens": special,
        "truncation": truncation,
        "max_length": max_length,
        "padding": True,
        **COLUMNS,
    }
    compared = 0
    for first, second in PAIRS:
        try:
            wanted = theirs(first, second, **options)
        except Exception:  # noqa: BLE001, RUF100  (the reference raises a bare Exception)
            with pytest.raises(ValueError, match=r"impossible|cuts the second"):
                ours(first, second, **options)
            continue
        if second:  # an empty pair: see test_an_empty_pair_is_a_pair
            assert_same(ours(first, second, **options), wanted)
        assert_same(ours([first], [second], **options), theirs([first], [second], **options))
        assert_same(ours([(first, second)], **options), theirs([(first, second)], **options))
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("stride", [0, 1, 5])
@pytest.mark.parametrize("padding", [False, True, "max_length"])
@pytest.mark.parametrize("special", [True, False])
def test_overflowing_pieces(folder: Path, side: str, stride: int, padding: Any, special: bool):
    mine = AutoTokenizer.from_pretrained(folder, truncation_side=side)
    other = transformers.AutoTokenizer.from_pretrained(folder, truncation_side=side)
    options = {
        "add_special_tokens": special,
        "stride": stride,
        "padding": padding,
        "return_overflowing_tokens": True,
        **COLUMNS,
    }
    questions = ["What is it?", "Who?", "Is it the fox that jumps?"]
    for batch, strategy, max_length in [
        ((LONG,), True, 12),
        ((LONG[0],), "only_first", 10),
        ((STRINGS,), "longest_first", 9),
        ((questions, LONG), "only_second", 20),
        ((LONG, questions), "only_first", 20),
        ((questions, LONG), True, 26),
        ((LONG, LONG), "longest_first", 40),
    ]:
        asked = {"truncation": strategy, "max_length": max_length, **options}
        found, wanted = mine(*batch, **asked), other(*batch, **asked)
        assert_same(found, wanted)
        assert_same_encodings(found, wanted)


def test_pre_split_words(ours: Tokenizer, theirs: Any):
    options = {"is_split_into_words": True, "padding": True, **COLUMNS}
    other_words = WORDS[::-1]
    for call in (
        (WORDS[0],),
        ([],),
        (WORDS[0], WORDS[1]),
        (WORDS,),
        (WORDS, other_words),
        (list(zip(WORDS, other_words, strict=True)),),
        ([[], ["a"], ["b", "", " ", "c d"]],),
    ):
        found, wanted = ours(*call, **options), theirs(*call, **options)
        assert_same(found, wanted)
        assert_same_encodings(found, wanted)
    cut = {"truncation": True, "max_length": 9, "return_overflowing_tokens": True, "stride": 2}
    assert_same(ours(WORDS, **options, **cut), theirs(WORDS, **options, **cut))


@pytest.mark.parametrize("kind", ["pt", "np"])
@pytest.mark.parametrize("call", [(STRINGS,), (STRINGS[3],), (STRINGS[3], STRINGS[4])])
def test_tensors(ours: Tokenizer, theirs: Any, kind: str, call: Any):
    for options in (
        {"padding": True},
        {"padding": "max_length", "max_length": 40, "truncation": True, "padding_side": "left"},
        {"padding": True, "truncation": True, "max_length": 9, "return_overflowing_tokens": True},
    ):
        asked = {**options, **COLUMNS, "return_tensors": kind}
        found, wanted = ours(*call, **asked), theirs(*call, **asked)
        assert_same(found, wanted)
        for name in wanted:
            assert found[name].dtype == wanted[name].dtype
            assert found[name].shape == wanted[name].shape


def test_empty_tensors(ours: Tokenizer, theirs: Any):
    asked = {"add_special_tokens": False, "return_tensors": "pt"}
    for texts in ("", ["", ""]):
        found, wanted = ours(texts, **asked), theirs(texts, **asked)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_way_back_to_the_text(ours: Tokenizer, theirs: Any):
    text = "The naïve fox, unbelievably 🙂 漢字."
    found, wanted = ours(text, "a pair"), theirs(text, "a pair")
    for char in range(len(text)):
        assert found.char_to_token(char) == wanted.char_to_token(char)
        assert found.char_to_token(0, char) == wanted.char_to_token(0, char)
        assert found.char_to_word(char) == wanted.char_to_word(char)
    assert found.char_to_token(2, sequence_index=1) == wanted.char_to_token(2, sequence_index=1)
    for token in range(len(found.input_ids)):
        assert found.token_to_chars(token) == wanted.token_to_chars(token)
        assert found.token_to_word(0, token) == wanted.token_to_word(0, token)
        assert found.token_to_sequence(token) == wanted.token_to_sequence(token)
    for word in range(7):
        assert found.word_to_chars(word) == wanted.word_to_chars(word)
        assert found.word_to_tokens(word) == wanted.word_to_tokens(word)


def test_decoding(ours: Tokenizer, theirs: Any):
    for text in STRINGS:
        ids = theirs(text).input_ids
        for skip, clean in itertools.product([False, True], [None, False, True]):
            asked = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert ours.decode(ids, **asked) == theirs.decode(ids, **asked)
            assert ours.decode(torch.tensor(ids), **asked) == theirs.decode(ids, **asked)
        for skip in (False, True):
            assert ours.convert_ids_to_tokens(ids, skip) == theirs.convert_ids_to_tokens(ids, skip)
        tokens = theirs.convert_ids_to_tokens(ids)
        assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)
        assert ours.convert_tokens_to_ids(tokens) == ids
    batch = theirs(STRINGS, padding=True, return_tensors="np").input_ids
    assert ours.batch_decode(batch) == theirs.batch_decode(batch)
    assert ours.decode(batch) == theirs.decode(batch)
    assert ours.decode(101) == theirs.decode(101)
    assert ours.batch_decode([101, 102]) == theirs.batch_decode([101, 102])


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


def test_collating(ours: Tokenizer, theirs: Any):
    examples = [dict(theirs(text, return_special_tokens_mask=True)) for text in STRINGS[:9]]
    for row, example in enumerate(examples):
        example["labels"] = row / 2
    columns = {name: [example[name] for example in examples] for name in examples[0]}
    for options in (
        {},
        {"padding": "max_length", "max_length": 40},
        {"padding": "longest", "pad_to_multiple_of": 8, "padding_side": "left"},
        {"return_tensors": "pt"},
        {"return_tensors": "np", "pad_to_multiple_of": 8},
        {"padding": False},
    ):
        assert_same(ours.pad(examples, **options), theirs.pad(examples, **options))
        assert_same(ours.pad(columns, **options), theirs.pad(columns, **options))
        only = [{"input_ids": example["input_ids"]} for example in examples]
        found, wanted = ours.pad(only, **options), theirs.pad(only, **options)
        assert_same(found, wanted)
        assert [type(v) for v in found.values()] == [type(v) for v in wanted.values()]
    flat = dict(theirs("one two"))
    assert_same(
        ours.pad(flat, padding="max_length", max_length=9),
        theirs.pad(flat, padding="max_length", max_length=9),
    )
    arrays = [{"input_ids": np.array([1, 2])}, {"input_ids": np.array([3])}]
    found, wanted = ours.pad(arrays), theirs.pad(arrays)
    assert isinstance(found.input_ids, np.ndarray)
    assert_same(found, wanted)


def test_added_tokens(folder: Path):
    mine = AutoTokenizer.from_pretrained(folder)
    other = transformers.AutoTokenizer.from_pretrained(folder)
    for tokenizer in (mine, other):
        assert tokenizer.add_tokens(["regardful", "the", "Ünï"]) == 2
        assert tokenizer.add_special_tokens({"additional_special_tokens": ["<e1>", "<e2>"]}) == 2
        assert tokenizer.add_special_tokens({"bos_token": "<s>", "cls_token": "[CLS]"}) == 1
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
            cut = {"truncation": True, "max_length": 6, "padding": True}
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


def test_an_empty_pair_is_a_pair(ours: Tokenizer, theirs: Any):
    # The reference drops an empty text_pair of a single text and keeps it in a batch; a row must
    # not depend on that, so here both are what its batch is.
    assert ours("a", "").input_ids == theirs(["a"], [""]).input_ids[0]
    assert theirs("a", "").input_ids != theirs(["a"], [""]).input_ids[0]


text_strategy = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from([*STRINGS, "the", "fox", "[MASK]", "##ing", "\u0301"]), max_size=5
    ).map("".join),
)


def check_random(mine: Tokenizer, other: Any, texts: list[str], max_length: int, stride: int):
    asked = {"padding": True, **COLUMNS}
    assert_same(mine(texts, **asked), other(texts, **asked))
    cut = {"truncation": True, "max_length": max_length, "return_overflowing_tokens": True}
    assert_same(
        mine(texts, stride=stride, **cut, **asked), other(texts, stride=stride, **cut, **asked)
    )
    pairs = texts[::-1]
    cut = {"truncation": True, "max_length": max_length}
    assert_same(mine(texts, pairs, **cut, **asked), other(texts, pairs, **cut, **asked))
    for row in other(texts).input_ids:
        assert mine.decode(row) == other.decode(row)
        assert mine.decode(row, True, True) == other.decode(
            row, skip_special_tokens=True, clean_up_tokenization_spaces=True
        )


random_batch = given(
    texts=st.lists(text_strategy, min_size=1, max_size=8),
    max_length=st.integers(6, 30),
    stride=st.integers(0, 3),
)
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@random_batch
def test_random_texts(ours: Tokenizer, theirs: Any, texts: list[str], max_length: int, stride: int):
    check_random(ours, theirs, texts, max_length, stride)


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(texts=st.lists(text_strategy, max_size=6), lower=st.booleans())
def test_random_texts_of_a_cased_vocabulary(texts: list[str], lower: bool):
    vocabulary = {token: number for number, token in enumerate(CASED)}
    mine = BertTokenizer(vocabulary, do_lower_case=lower)
    other = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=lower)
    for text in texts:
        assert_same(mine(text, **COLUMNS), other(text, **COLUMNS))


@pytest.mark.slow
@settings(max_examples=2500, deadline=None, suppress_health_check=QUIET)
@given(
    texts=st.lists(text_strategy, min_size=8, max_size=8),
    max_length=st.integers(6, 30),
    stride=st.integers(0, 3),
)
def test_twenty_thousand_random_texts(
    ours: Tokenizer, theirs: Any, texts: list[str], max_length: int, stride: int
):
    check_random(ours, theirs, texts, max_length, stride)
