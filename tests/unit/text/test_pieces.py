"""SentencePiece files and the families that read them, on models small enough to check by hand."""

import struct
from pathlib import Path
from typing import Any

import pytest
from tokenizers.normalizers import Precompiled

from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from regard.text import AutoTokenizer
from regard.text.families import (
    CamembertTokenizer,
    LlamaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)
from regard.text.families.llama import merges_of
from regard.text.pieces import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Piece, read_pieces

UNIGRAM, BPE, WORD = 1, 2, 3
FAIRSEQ = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
T5 = [("<pad>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN)]
WORDS = [("▁", -3.0, NORMAL), ("a", -3.0, NORMAL), ("▁ab", -1.0, NORMAL), ("b", -2.0, NORMAL)]
BPE_PIECES = [
    ("▁a", 0.0, NORMAL),
    ("ab", -1.0, NORMAL),
    ("▁ab", -2.0, NORMAL),
    ("▁", -3.0, NORMAL),
    ("a", -4.0, NORMAL),
    ("b", -5.0, NORMAL),
]
BYTES = [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]


def field(number: int, value: int | float | bytes) -> bytes:
    """Return one field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def model(
    pieces: list[tuple[str, float, int]], kind: int, trainer: bytes = b"", normalizer: bytes = b""
) -> bytes:
    entries = [field(1, t.encode()) + field(2, s) + field(3, k) for t, s, k in pieces]
    entries = [field(1, entry) for entry in entries]
    return b"".join([*entries, field(2, field(3, kind) + trainer), field(3, normalizer)])


def write(path: Path, *args: Any, **options: Any) -> Path:
    path.write_bytes(model(*args, **options))
    return path


def test_every_field_is_read(tmp_path: Path):
    trainer = field(4, 8000) + field(10, 0.5) + field(35, 1) + field(300, b"later")
    normalizer = field(1, b"nmt") + field(2, bytes(8)) + field(3, 0)
    path = write(tmp_path / "x.model", [*FAIRSEQ, *WORDS], UNIGRAM, trainer, normalizer)
    found = read_pieces(path, "unigram")
    assert found.pieces == [Piece(*piece) for piece in [*FAIRSEQ, *WORDS]]
    assert found.algorithm == "unigram"
    assert found.byte_fallback
    assert isinstance(found.normalizer, Precompiled)
    assert not found.dummy_prefix
    assert found.unknown == 0


def test_what_is_not_said_has_its_default(tmp_path: Path):
    path = tmp_path / "x.model"
    path.write_bytes(field(1, field(1, b"a")) + field(1, field(1, b"<unk>") + field(3, UNKNOWN)))
    found = read_pieces(path, "unigram")
    assert found.pieces == [Piece("a", 0.0, NORMAL), Piece("<unk>", 0.0, UNKNOWN)]
    assert (found.byte_fallback, found.normalizer, found.dummy_prefix) == (False, None, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 unknown pieces among 0"),
        (b"\xff\xff\xff", "damaged or not a SentencePiece model"),
        (b"IQ== 0\nIg== 1\n", "damaged or not a SentencePiece model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "damaged or not"),
        (model([*FAIRSEQ, *WORDS], UNIGRAM)[:20], "damaged or not"),
        (b"\x80" * 1000, "an integer of more than 64 bits"),
        (model(FAIRSEQ, UNIGRAM, b"", field(2, b"\x01\x02")), "damaged or not"),
        (field(1, 7), "an integer where text should be"),
        (field(2, field(3, b"x")), "text where an integer should be"),
        (field(1, field(1, b"\xff")), "damaged or not"),
        (model(FAIRSEQ * 2, UNIGRAM), "has 2 unknown pieces among 6"),
        (model(WORDS, UNIGRAM), "has 0 unknown pieces among 4"),
        (model(FAIRSEQ, 9), "damaged or not"),
        (model(FAIRSEQ, WORD), "holds a model of the kind word; wanted unigram"),
        (model(FAIRSEQ, BPE), "holds a model of the kind bpe; wanted unigram"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "sentencepiece.bpe.model"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        XLMRobertaTokenizer.from_pretrained(tmp_path)
    assert str(path) in str(caught.value)


def test_any_cut_is_an_error(tmp_path: Path):
    whole = model([*FAIRSEQ, *WORDS], UNIGRAM, field(35, 1), field(3, 1))
    path = tmp_path / "x.model"
    for size in range(len(model(FAIRSEQ[:1], UNIGRAM)) - 10):
        path.write_bytes(whole[:size])
        try:
            found = read_pieces(path, "unigram")
        except CheckpointError:
            continue
        assert found.pieces[0] == Piece(*FAIRSEQ[0])  # the cut was between two entries


@pytest.mark.parametrize(
    "options", [{"trainer": field(24, 1)}, {"normalizer": field(5, 0)}], ids=["suffix", "escape"]
)
def test_what_is_not_implemented(tmp_path: Path, options: dict[str, bytes]):
    path = write(tmp_path / "x.model", [*T5, *WORDS], UNIGRAM, **options)
    with pytest.raises(ConfigError, match=r"x\.model: .* are not implemented"):
        T5Tokenizer(path)


def test_missing_files(tmp_path: Path):
    with pytest.raises(CheckpointNotFoundError, match=r"neither tokenizer.json nor spiece.model"):
        T5Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="no such file"):
        T5Tokenizer(tmp_path / "spiece.model")


def test_t5_by_hand(tmp_path: Path):
    tokenizer = T5Tokenizer(write(tmp_path / "x.model", [*T5, *WORDS], UNIGRAM))
    found = tokenizer("ab  b", "a", return_offsets_mapping=True, return_token_type_ids=True)
    assert found.input_ids == [5, 3, 6, 1, 3, 4, 1]
    assert found.token_type_ids == [0] * 7
    assert found.offset_mapping[:4] == [(0, 2), (4, 5), (4, 5), (0, 0)]
    assert tokenizer.decode(found.input_ids[:3]) == "ab b"
    assert len(tokenizer) == 107
    assert tokenizer("<extra_id_0> <extra_id_99>").input_ids == [106, 7, 1]
    assert tokenizer.extra_special_tokens[0] == "<extra_id_0>"
    assert tokenizer("q").input_ids == [3, 2, 1]


def test_the_extra_ids_of_t5(tmp_path: Path):
    path = write(tmp_path / "spiece.model", [*T5, *WORDS], UNIGRAM)
    few = T5Tokenizer(path, extra_ids=2)
    assert few.convert_tokens_to_ids(["<extra_id_1>", "<extra_id_0>"]) == [7, 8]
    assert len(T5Tokenizer(path, extra_ids=0)) == 7
    named = T5Tokenizer(path, extra_ids=1, extra_special_tokens={"image_token": "<i>"})
    assert named.extra_special_tokens == ["<i>", "<extra_id_0>"]
    listed = T5Tokenizer(path, extra_ids=1, additional_special_tokens=["<i>"])
    assert listed.extra_special_tokens == ["<i>", "<extra_id_0>"]
    with pytest.raises(ConfigError, match="extra_ids=2, but 1 of the extra special tokens"):
        T5Tokenizer(path, extra_ids=2, additional_special_tokens=["<extra_id_0>"])
    for tokenizer in (few, named):
        tokenizer.save_pretrained(tmp_path / "saved")
        again = AutoTokenizer.from_pretrained(tmp_path / "saved")
        assert type(again) is T5Tokenizer
        assert sorted(again.extra_special_tokens) == sorted(tokenizer.extra_special_tokens)
        assert again.get_vocab() == tokenizer.get_vocab()


def test_the_numbers_of_fairseq(tmp_path: Path):
    path = write(tmp_path / "x.model", [*FAIRSEQ, *WORDS], UNIGRAM)
    xlm = XLMRobertaTokenizer(path)
    assert xlm.get_vocab() == {
        **dict(zip(["<s>", "<pad>", "</s>", "<unk>"], range(4), strict=True)),
        **dict(zip(["▁", "a", "▁ab", "b", "<mask>"], range(4, 9), strict=True)),
    }
    assert xlm("ab <mask>", "b q").input_ids == [0, 6, 8, 2, 2, 4, 7, 4, 3, 2]
    assert xlm(["ab", "b b"], padding=True).input_ids == [[0, 6, 2, 1, 1, 1], [0, 4, 7, 4, 7, 2]]
    camembert = CamembertTokenizer(path)
    assert camembert("ab <mask>", "b q").input_ids == [5, 9, 11, 6, 6, 7, 10, 7, 3, 6]
    assert camembert.convert_tokens_to_ids(["<s>NOTUSED", "<pad>", "<unk>NOTUSED"]) == [0, 1, 4]
    assert camembert.decode([5, 9, 7, 10, 6], skip_special_tokens=True) == "ab b"


def test_fairseq_needs_its_order(tmp_path: Path):
    path = write(tmp_path / "x.model", [*T5, *WORDS], UNIGRAM)
    with pytest.raises(CheckpointError, match=r"begins with <pad>, </s>, <unk>; wanted <unk>"):
        XLMRobertaTokenizer(path)
    with pytest.raises(CheckpointError, match="unknown piece has the number 2; wanted 0"):
        CamembertTokenizer(path)


@pytest.mark.parametrize(
    ("kind", "name"), [(T5Tokenizer, "eos_token"), (XLMRobertaTokenizer, "unk_token")]
)
def test_tokens_that_a_family_needs(tmp_path: Path, kind: type[Any], name: str):
    first = T5 if kind is T5Tokenizer else FAIRSEQ
    path = write(tmp_path / "x.model", [*first, *WORDS], UNIGRAM)
    with pytest.raises(ConfigError, match=f"{name}=None"):
        kind(path, **{name: None})
    if kind is T5Tokenizer:
        with pytest.raises(CheckpointError, match="unknown token '<other>' is not among"):
            kind(path, unk_token="<other>")


def test_spaces_before_words(tmp_path: Path):
    path = write(tmp_path / "x.model", [*FAIRSEQ, *WORDS], UNIGRAM, normalizer=field(3, 0))
    assert XLMRobertaTokenizer(path).tokenize("ab") == ["a", "b"]
    spaced = XLMRobertaTokenizer(path, add_prefix_space=True)
    assert spaced.tokenize("ab") == ["▁ab"]
    spaced.save_pretrained(tmp_path / "saved")
    again = XLMRobertaTokenizer.from_pretrained(tmp_path / "saved", add_prefix_space=False)
    assert again.tokenize("ab") == ["a", "b"]


def test_unigram_with_bytes(tmp_path: Path):
    path = write(tmp_path / "x.model", [*T5, *WORDS, *BYTES], UNIGRAM, field(35, 1))
    tokenizer = T5Tokenizer(path)
    assert tokenizer.tokenize("ab ä") == ["▁ab", "▁", "<0xC3>", "<0xA4>"]
    assert tokenizer.decode(tokenizer("ab ä").input_ids, skip_special_tokens=True) == "ab ä"


def test_llama_by_hand(tmp_path: Path):
    pieces = [*FAIRSEQ, *BYTES, *BPE_PIECES]
    path = write(tmp_path / "tokenizer.model", pieces, BPE, field(35, 1))
    tokenizer = LlamaTokenizer(path)
    assert tokenizer("ab b").tokens() == ["<s>", "▁ab", "▁", "b"]
    assert tokenizer.tokenize("aab") == ["▁a", "ab"]
    assert tokenizer.tokenize("ä") == ["▁", "<0xC3>", "<0xA4>"]
    assert tokenizer.decode(tokenizer("ab ä  b").input_ids, skip_special_tokens=True) == "ab ä  b"
    assert tokenizer("a", "b").tokens() == ["<s>", "▁a", "<s>", "▁", "b"]
    assert tokenizer.padding_side == "left"
    assert tokenizer.pad_token is None
    both = LlamaTokenizer(path, add_bos_token=False, add_eos_token=True, add_prefix_space=False)
    assert both("ab").tokens() == ["ab", "</s>"]
    assert both.decode(both(" ab").input_ids, skip_special_tokens=True) == " ab"
    legacy = LlamaTokenizer(path, legacy=True)
    assert tokenizer.tokenize("a</s>a") == ["▁a", "</s>", "a"]
    assert legacy.tokenize("a</s>a") == ["▁a", "</s>", "▁a"]


def test_merges_come_best_first(tmp_path: Path):
    path = write(tmp_path / "x.model", [*FAIRSEQ, *BPE_PIECES[::-1]], BPE)
    merges = [("▁", "a"), ("a", "b"), ("▁", "ab"), ("▁a", "b")]
    assert merges_of(read_pieces(path, "bpe")) == merges


def test_without_bytes_the_unknown_is_unknown(tmp_path: Path):
    tokenizer = LlamaTokenizer(write(tmp_path / "x.model", [*FAIRSEQ, *BPE_PIECES], BPE))
    assert tokenizer.tokenize("a☃☃b") == ["▁a", "<unk>", "b"]


@pytest.mark.parametrize("kind", [T5Tokenizer, LlamaTokenizer])
def test_user_defined_pieces_stay_whole_and_are_no_special_tokens(tmp_path: Path, kind: type[Any]):
    first, algorithm = (T5, UNIGRAM) if kind is T5Tokenizer else (FAIRSEQ, BPE)
    rest = WORDS if kind is T5Tokenizer else BPE_PIECES
    own = ("<own>", 0.0, USER_DEFINED)
    tokenizer = kind(write(tmp_path / "x.model", [*first, own, *rest], algorithm))
    found = tokenizer("a<own>")
    assert 3 in found.input_ids
    assert "<own>" not in tokenizer.all_special_tokens
    assert "<own>" in tokenizer.decode(found.input_ids, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("kind", "name", "first", "algorithm"),
    [
        (T5Tokenizer, "spiece.model", T5, UNIGRAM),
        (XLMRobertaTokenizer, "sentencepiece.bpe.model", FAIRSEQ, UNIGRAM),
        (CamembertTokenizer, "sentencepiece.bpe.model", FAIRSEQ, UNIGRAM),
        (LlamaTokenizer, "tokenizer.model", FAIRSEQ, BPE),
    ],
)
def test_saved_files(tmp_path: Path, kind: type[Any], name: str, first: Any, algorithm: int):
    write(tmp_path / name, [*first, *(BPE_PIECES if algorithm == BPE else WORDS)], algorithm)
    tokenizer = kind.from_pretrained(tmp_path)
    paths = tokenizer.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in paths) == [
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert type(again) is kind
    assert again("ab a", "b").input_ids == tokenizer("ab a", "b").input_ids
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert again.all_special_tokens == tokenizer.all_special_tokens
