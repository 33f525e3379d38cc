import json
from pathlib import Path

import pytest

from regard.errors import CheckpointError, ConfigError
from regard.text import AutoTokenizer, BertTokenizer, BertTokenizerFast, Tokenizer
from regard.text.families import (
    FAMILIES,
    DistilBertTokenizer,
    DistilBertTokenizerFast,
    ElectraTokenizer,
    ElectraTokenizerFast,
)
from regard.text.families.auto import CLASSES


def test_a_file_by_position_and_by_name(vocab_file: Path):
    for tokenizer in (
        BertTokenizer(vocab_file),
        BertTokenizer(str(vocab_file)),
        BertTokenizer(vocab_file=vocab_file),
        BertTokenizerFast.from_pretrained(vocab_file.parent),
    ):
        assert tokenizer.tokenize("The FOXS!") == ["the", "fox", "##s", "!"]
        assert tokenizer.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]


def test_case_and_accents(vocab_file: Path):
    assert BertTokenizer(vocab_file).tokenize("The föx") == ["the", "fox"]
    cased = BertTokenizer(vocab_file, do_lower_case=False)
    assert cased.tokenize("The the föx") == ["[UNK]", "the", "[UNK]"]
    assert BertTokenizer(vocab_file, strip_accents=False).tokenize("The föx") == ["the", "[UNK]"]


def test_what_is_not_implemented(vocab_file: Path):
    with pytest.raises(ConfigError, match="never_split"):
        BertTokenizer(vocab_file, never_split=["fox"])
    with pytest.raises(ConfigError, match="do_basic_tokenize"):
        BertTokenizer(vocab_file, do_basic_tokenize=False)
    config = json.dumps({"never_split": ["fox"], "tokenizer_class": "BertTokenizer"})
    (vocab_file.parent / "tokenizer_config.json").write_text(config)
    with pytest.raises(ConfigError, match="never_split"):
        AutoTokenizer.from_pretrained(vocab_file.parent)
    assert AutoTokenizer.from_pretrained(vocab_file.parent, never_split=None)("a")
    assert BertTokenizer(vocab_file, never_split=None, do_basic_tokenize=True)("a")


def test_unknown_settings(vocab_file: Path):
    with pytest.raises(TypeError, match="did you mean 'do_lower_case'"):
        BertTokenizer(vocab_file, do_lowercase=True)
    (vocab_file.parent / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(TypeError, match="did you mean 'padding_side'"):
        AutoTokenizer.from_pretrained(vocab_file.parent, padding_sied="left")


def test_missing_special_tokens_are_added(tmp_path: Path):
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    tokenizer = BertTokenizer(tmp_path / "vocab.txt")
    assert tokenizer.vocab_size == 2
    assert len(tokenizer) == 6
    found = tokenizer("a").input_ids
    assert found == [tokenizer.cls_token_id, 1, tokenizer.sep_token_id]


def test_tokenizer_json_counts_where_the_configuration_is_silent(vocab_file: Path, tmp_path: Path):
    """The reference lowercases here, and so spoils cased models."""
    folder = tmp_path / "saved"
    BertTokenizer(vocab_file, do_lower_case=False, strip_accents=True).save_pretrained(folder)
    (folder / "vocab.txt").unlink()
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("The the föx") == ["[UNK]", "the", "fox"]
    assert AutoTokenizer.from_pretrained(folder, do_lower_case=True).tokenize("The") == ["the"]


def test_auto_needs_a_known_family_or_tokenizer_json(vocab_file: Path):
    folder = vocab_file.parent
    with pytest.raises(
        CheckpointError, match=r"no tokenizer.json, and no known model_type; .* are bart, bert"
    ):
        AutoTokenizer.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert type(AutoTokenizer.from_pretrained(folder)) is BertTokenizer
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "OtherTokenizer"}))
    with pytest.raises(CheckpointError, match="the class OtherTokenizer; the families"):
        AutoTokenizer.from_pretrained(folder)
    BertTokenizer(vocab_file).save_pretrained(folder / "whole")
    config = folder / "whole" / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    plain = AutoTokenizer.from_pretrained(folder / "whole")
    assert type(plain) is Tokenizer
    assert plain.model_input_names == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("fast", ["", "Fast"])
# mBART's need languages, which this file has not: see test_seq2seq.
@pytest.mark.parametrize("name", [name for name in CLASSES if not name.startswith("MBart")])
def test_a_folder_names_its_class(vocab_file: Path, tmp_path: Path, name: str, fast: str):
    folder = tmp_path / "saved"
    BertTokenizer(vocab_file).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name + fast}))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Marian's own files say what no tokenizer.json can; without them there is only that.
    assert type(tokenizer) is (Tokenizer if name == "MarianTokenizer" else CLASSES[name])
    assert tokenizer.tokenize("the fox") == ["the", "fox"]


def test_the_model_may_name_the_class(vocab_file: Path):
    config = {"model_type": "roberta", "tokenizer_class": "BertTokenizerFast"}
    (vocab_file.parent / "config.json").write_text(json.dumps(config))
    assert type(AutoTokenizer.from_pretrained(vocab_file.parent)) is BertTokenizer


def test_models_without_segments_get_none(vocab_file: Path):
    """The reference returns segments where only config.json says that this is a DistilBERT."""
    config = vocab_file.parent / "config.json"
    config.write_text(json.dumps({"model_type": "distilbert"}))
    tokenizer = AutoTokenizer.from_pretrained(vocab_file.parent)
    assert type(tokenizer) is DistilBertTokenizer is DistilBertTokenizerFast
    assert list(tokenizer("the fox")) == ["input_ids", "attention_mask"]
    config.write_text(json.dumps({"model_type": "electra"}))
    electra = AutoTokenizer.from_pretrained(vocab_file.parent)
    assert type(electra) is ElectraTokenizer is ElectraTokenizerFast is BertTokenizer
    assert list(electra("the fox")) == ["input_ids", "token_type_ids", "attention_mask"]


def test_every_family_is_a_tokenizer():
    assert all(issubclass(family, Tokenizer) for family in FAMILIES.values())
