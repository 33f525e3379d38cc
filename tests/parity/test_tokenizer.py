"""The tokenizers against transformers: equal ids, masks, segments, offsets, mappings and text."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as transformers_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.checkpoints.files import find_checkpoint
from regard.text import AutoTokenizer, Tokenizer

# Its own annotations are too narrow for options that are held in a dict.
transformers: Any = transformers_package

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
    "你好，世界。漢字 𠀀𪜶",
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

COLUMNS: dict[str, Any] = {
    "return_token_type_ids": True,
    "return_attention_mask": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}


@pytest.fixture(scope="session")
def folder() -> Path:
    return find_checkpoint(MINILM).path("tokenizer.json").parent


@pytest.fixture(scope="session")
def ours(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def theirs(folder: Path) -> Any:
    return transformers.BertTokenizerFast.from_pretrained(folder)


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


@pytest.mark.filterwarnings("ignore:`max_length` is ignored")  # by the reference
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
        options: dict[str, Any] = {
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
    options: dict[str, Any] = {
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
    options: dict[str, Any] = {
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
        asked: dict[str, Any] = {"truncation": strategy, "max_length": max_length, **options}
        found, wanted = mine(*batch, **asked), other(*batch, **asked)
        assert_same(found, wanted)
        assert_same_encodings(found, wanted)


def test_pre_split_words(ours: Tokenizer, theirs: Any):
    options: dict[str, Any] = {"is_split_into_words": True, "padding": True, **COLUMNS}
    other_words = WORDS[::-1]
    calls: list[Any] = [
        (WORDS[0],),
        ([],),
        (WORDS[0], WORDS[1]),
        (WORDS,),
        (WORDS, other_words),
        (list(zip(WORDS, other_words, strict=True)),),
        ([[], ["a"], ["b", "", " ", "c d"]],),
    ]
    for call in calls:
        found, wanted = ours(*call, **options), theirs(*call, **options)
        assert_same(found, wanted)
        assert_same_encodings(found, wanted)
    cut: dict[str, Any] = {
        "truncation": True,
        "max_length": 9,
        "return_overflowing_tokens": True,
        "stride": 2,
    }
    assert_same(ours(WORDS, **options, **cut), theirs(WORDS, **options, **cut))


@pytest.mark.parametrize("kind", ["pt", "np"])
@pytest.mark.parametrize("call", [(STRINGS,), (STRINGS[3],), (STRINGS[3], STRINGS[4])])
def test_tensors(ours: Tokenizer, theirs: Any, kind: str, call: Any):
    for options in (
        {"padding": True},
        {"padding": "max_length", "max_length": 40, "truncation": True, "padding_side": "left"},
        {"padding": True, "truncation": True, "max_length": 9, "return_overflowing_tokens": True},
    ):
        asked: dict[str, Any] = {**options, **COLUMNS, "return_tensors": kind}
        found, wanted = ours(*call, **asked), theirs(*call, **asked)
        assert_same(found, wanted)
        for name in wanted:
            assert found[name].dtype == wanted[name].dtype
            assert found[name].shape == wanted[name].shape


def test_empty_tensors(ours: Tokenizer, theirs: Any):
    asked: dict[str, Any] = {"add_special_tokens": False, "return_tensors": "pt"}
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
            asked: dict[str, Any] = {
                "skip_special_tokens": skip,
                "clean_up_tokenization_spaces": clean,
            }
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


def test_collating(ours: Tokenizer, theirs: Any):
    examples = [dict(theirs(text, return_special_tokens_mask=True)) for text in STRINGS[:9]]
    for row, example in enumerate(examples):
        example["labels"] = row / 2
    columns = {name: [example[name] for example in examples] for name in examples[0]}
    choices: list[dict[str, Any]] = [
        {},
        {"padding": "max_length", "max_length": 40},
        {"padding": "longest", "pad_to_multiple_of": 8, "padding_side": "left"},
        {"return_tensors": "pt"},
        {"return_tensors": "np", "pad_to_multiple_of": 8},
        {"padding": False},
    ]
    for options in choices:
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
    asked: dict[str, Any] = {"padding": True, **COLUMNS}
    assert_same(mine(texts, **asked), other(texts, **asked))
    cut: dict[str, Any] = {
        "truncation": True,
        "max_length": max_length,
        "return_overflowing_tokens": True,
    }
    assert_same(
        mine(texts, stride=stride, **cut, **asked), other(texts, stride=stride, **cut, **asked)
    )
    pairs = texts[::-1]
    cut: dict[str, Any] = {"truncation": True, "max_length": max_length}
    assert_same(mine(texts, pairs, **cut, **asked), other(texts, pairs, **cut, **asked))
    for row in other(texts).input_ids:
        assert mine.decode(row) == other.decode(row)
        assert mine.decode(row, True, True) == other.decode(
            row, skip_special_tokens=True, clean_up_tokenization_spaces=True
        )


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(
    texts=st.lists(text_strategy, min_size=1, max_size=8),
    max_length=st.integers(6, 30),
    stride=st.integers(0, 3),
)
def test_random_texts(ours: Tokenizer, theirs: Any, texts: list[str], max_length: int, stride: int):
    check_random(ours, theirs, texts, max_length, stride)


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
