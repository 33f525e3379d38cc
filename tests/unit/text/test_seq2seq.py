"""Targets, languages and Marian's two vocabularies: what goes wrong, and what is said."""

import copy
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

import regard
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from regard.text import AutoTokenizer, BertTokenizer, Tokenizer
from regard.text.families import MarianTokenizer, MBart50Tokenizer, MBartTokenizer, T5Tokenizer
from regard.text.pieces import read_pieces
from regard.text.segments import Rules, Segmenter

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a man, a plan, a canal: panama",
    "she sells sea shells by the sea shore",
    "caffè e té, ﬁne",
]


def train(path: Path, texts: list[str] = TEXTS, **options: Any) -> Path:
    asked: dict[str, Any] = {"vocab_size": 60, "hard_vocab_limit": False, **options}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 9),
        model_prefix=str(path.with_suffix("")),
        minloglevel=2,
        **asked,
    )
    path.with_suffix(".model").rename(path)
    return path


@pytest.fixture(scope="session")
def marian_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("marian")
    names: dict[str, int] = {"</s>": 0, "<unk>": 1}
    for name, side in (("source", TEXTS[:2]), ("target", TEXTS[2:])):
        train(folder / f"{name}.spm", side, eos_id=0, unk_id=1, bos_id=-1)
        model = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.spm"))
        for number in range(model.get_piece_size()):
            names.setdefault(model.id_to_piece(number), len(names))
    names |= {">>fr<<": len(names), "<pad>": len(names) + 1}
    (folder / "vocab.json").write_text(json.dumps(names))
    (folder / "config.json").write_text(json.dumps({"model_type": "marian"}))
    return folder


@pytest.fixture
def marian(marian_source: Path, tmp_path: Path) -> Path:
    for path in marian_source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_targets_become_labels(tokenizer: BertTokenizer):
    found = tokenizer(["a", "b c"], text_target=["the fox", "b"], padding=True)
    assert found.labels == [[2, 5, 8, 3], [2, 14, 3, 0]]
    assert list(found) == ["input_ids", "token_type_ids", "attention_mask", "labels"]
    assert tokenizer("a", text_target="b").labels == [2, 14, 3]
    assert tokenizer(text_target=["a"]).input_ids == [[2, 13, 3]]
    assert tokenizer("a", text_target="b", return_tensors="pt").labels.shape == (1, 3)
    cut = tokenizer(["a"], text_target=["a b c d e"], max_length=4, truncation=True)
    assert cut.labels == [[2, 13, 14, 3]]


def test_targets_are_as_many_as_texts(tokenizer: BertTokenizer):
    with pytest.raises(ValueError, match="text gives 2 rows and text_target 1; wanted as many"):
        tokenizer(["a", "b"], text_target=["a"])
    with pytest.raises(TypeError, match="text_target 1 of 2 is int 3; wanted a string"):
        tokenizer(["a", "b"], text_target=["a", 3])
    with pytest.raises(TypeError, match="text is NoneType None; wanted a string"):
        tokenizer()


def test_marian_by_every_way(marian: Path):
    tokenizer = AutoTokenizer.from_pretrained(marian)
    assert type(tokenizer) is MarianTokenizer
    files = [marian / name for name in ("source.spm", "target.spm", "vocab.json")]
    again = MarianTokenizer(*files)
    found = tokenizer(["the ☃ fox"], text_target=["sea ☃"], return_offsets_mapping=True)
    assert found.data == again(["the ☃ fox"], text_target=["sea ☃"], return_offsets_mapping=True)
    assert tokenizer.decode(found.input_ids[0], skip_special_tokens=True) == "the  fox"
    # Offsets are characters of the text as it was given; a space belongs to the piece after it.
    text = "  ﬁ  ☃>a"
    found = tokenizer(text, return_offsets_mapping=True)
    assert found.tokens() == ["▁", "f", "i", "▁", "☃>", "a", "</s>"]
    parts = [text[start:end] for start, end in found.offset_mapping]
    assert parts == ["ﬁ", "ﬁ", "ﬁ", " ", "☃>", "a", ""]
    assert tokenizer(">>fr<<the").tokens()[0] == ">>fr<<"
    assert tokenizer.supported_language_codes == [">>fr<<"]


def test_marian_is_copied_pickled_and_shared(marian: Path):
    tokenizer = AutoTokenizer.from_pretrained(marian)
    wanted = tokenizer(TEXTS, text_target=TEXTS[::-1]).data
    for other in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert other(TEXTS, text_target=TEXTS[::-1]).data == wanted
        assert other.batch_decode(wanted["labels"]) == tokenizer.batch_decode(wanted["labels"])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: tokenizer(TEXTS, text_target=TEXTS[::-1]).data, range(40)))
    assert all(one == wanted for one in found)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def wrong_kind(folder: Path) -> None:
    train(folder / "source.spm", model_type="bpe")


def no_unknown(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps({"a": 0, "</s>": 1}))


def separate(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"separate_vocabs": True}))


def damaged(folder: Path) -> None:
    (folder / "target.spm").write_bytes((folder / "target.spm").read_bytes()[:-9])


def user_defined(folder: Path) -> None:
    train(folder / "source.spm", user_defined_symbols=["<x>"])


@pytest.mark.parametrize(
    ("harm", "kind", "message"),
    [
        (without("source.spm"), CheckpointNotFoundError, "no file 'source.spm'"),
        (without("vocab.json"), CheckpointNotFoundError, "no file 'vocab.json'"),
        (wrong_kind, CheckpointError, r"source\.spm: holds a model of the kind bpe"),
        (no_unknown, CheckpointError, r"vocab\.json: the unknown token '<unk>' has no number"),
        (separate, CheckpointError, r"separate_vocabs=True, and no target_vocab\.json"),
        (damaged, CheckpointError, r"target\.spm: damaged"),
        (user_defined, ConfigError, "user-defined pieces .* are not implemented"),
    ],
)
def test_marian_with_wrong_files(
    marian: Path, harm: Callable[[Path], None], kind: type[Exception], message: str
):
    harm(marian)
    with pytest.raises(kind, match=message):
        AutoTokenizer.from_pretrained(marian)


def test_marian_needs_its_end(marian: Path):
    with pytest.raises(ConfigError, match="eos_token=None, but this kind of tokenizer needs it"):
        AutoTokenizer.from_pretrained(marian, eos_token=None)


def test_rules_of_a_damaged_table_end(marian: Path):
    model = read_pieces(marian / "source.spm", "unigram")
    rules = Rules(model.table)
    assert rules.replace("ﬁ", 0) == ("fi", 1)
    assert rules.replace("ae\u0301a", 1) == ("é", 3)
    assert rules.replace("e", 0) == ("e", 1)
    assert rules.replace("ex", 0) == ("e", 1)
    assert rules.replace("e\u0301", 0) == ("é", 2)  # what was seen before does not matter
    for text in ("", " \t ", "\x1f"):
        assert Segmenter(model).segments(text) == []
    spaces = Segmenter(replace(model, collapse=False))
    assert spaces.segments("") == []
    assert spaces.segments("\x1f") == [("▁", 0, 1)]
    # Units that lead nowhere.
    wild = Rules(b"\x08\0\0\0" + b"\xff\xff\xff\x7f" * 2 + b"a\0")
    assert wild.replace("abc", 0) == ("a", 1)


@pytest.mark.parametrize("kind", [MBartTokenizer, MBart50Tokenizer])
def test_languages(tmp_path: Path, kind: Any):
    train(tmp_path / "sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2)
    tokenizer = kind.from_pretrained(tmp_path, src_lang="fr_XX")
    number = tokenizer.lang_code_to_id["fr_XX"]
    around = [number, 2] if kind is MBart50Tokenizer else [2, number]
    assert tokenizer("").input_ids == around
    # What a target is framed with: its own language, else that of sources.
    assert tokenizer(text_target="").input_ids == around
    tokenizer.tgt_lang = "en_XX"
    assert tokenizer(text_target="").input_ids != around
    assert tokenizer("").input_ids == around
    assert pickle.loads(pickle.dumps(tokenizer))("").input_ids == around
    with pytest.raises(ValueError, match=r"src_lang='fr_FR' is no language .* did you mean"):
        tokenizer.src_lang = "fr_FR"
    assert tokenizer.src_lang == "fr_XX"
    tokenizer.tgt_lang = "klingon"
    with pytest.raises(ValueError, match="tgt_lang='klingon' is no language"):
        tokenizer(text_target="a")
    assert tokenizer("").input_ids == around
    # A token that somebody added is a language; one of a tokenizer.json of other models is not.
    tokenizer.add_special_tokens({"extra_special_tokens": ["tlh_XX"]}, False)
    tokenizer.tgt_lang = "tlh_XX"
    assert tokenizer.lang_code_to_id.keys() == set(kind.languages)
    assert len(tokenizer) - 1 in tokenizer(text_target="").input_ids
    BertTokenizer({"[UNK]": 0, "<s>": 1, "</s>": 2}).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="src_lang='en_XX' is no language of this tokenizer; it"):
        kind.from_pretrained(tmp_path / "other")


def test_every_class_has_its_other_name():
    names = [name for name in regard.__all__ if name.endswith("Tokenizer")]
    classes = sorted(set(names) - {"AutoTokenizer", "Tokenizer"})
    assert len(classes) > 12
    for name in classes:
        assert getattr(regard, f"{name}Fast") is getattr(regard, name)


@pytest.mark.parametrize(
    ("model", "stated", "kind"),
    [
        ("modernbert", "PreTrainedTokenizerFast", Tokenizer),
        ("modernbert", "TokenizersBackend", Tokenizer),
        ("modernbert", None, Tokenizer),
        ("qwen3", "Qwen2Tokenizer", Tokenizer),
        ("mt5", None, T5Tokenizer),
        ("mt5", "MT5TokenizerFast", T5Tokenizer),
        ("t5", "T5Tokenizer", T5Tokenizer),
        ("marian", None, Tokenizer),
    ],
)
def test_auto_finds_the_class(
    tokenizer: BertTokenizer, tmp_path: Path, model: str, stated: str | None, kind: type
):
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model}))
    config = {"tokenizer_class": stated} if stated else {}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert type(found) is kind
    assert found("the fox").input_ids == [2, 5, 8, 3]
