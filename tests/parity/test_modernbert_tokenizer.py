"""A tokenizer.json that belongs to no family's class, as ModernBERT's: the file is all there is."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers as transformers_package
from tokenizers import AddedToken, decoders, normalizers, processors
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from regard.text import AutoTokenizer, Tokenizer

from .test_tokenizer_families import check, check_options
from .tokenizer_texts import SENTENCES, real_texts

transformers: Any = transformers_package

AUTO = (AutoTokenizer, transformers.AutoTokenizer)
ADDED_FIELDS = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
RUNS = [" " * count for count in range(24, 1, -1)]
LITERAL = ["A [MASK] film", "no[MASK]space [CLS] [SEP] [PAD] [unused3]", "  " * 13 + "code  x"]


def write_tokenizer(folder: Path) -> None:
    """Write byte-level BPE between BERT's special tokens, with runs of spaces as tokens."""
    rust = RustTokenizer(BPE())
    rust.normalizer = normalizers.NFC()
    rust.pre_tokenizer = ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    rust.train_from_iterator(SENTENCES, trainer)
    rust.add_tokens([AddedToken(run, normalized=True) for run in RUNS])
    flags = {"[MASK]": {"lstrip": True}}
    rust.add_special_tokens([AddedToken(t, normalized=False, **flags.get(t, {})) for t in SPECIAL])
    rust.add_tokens([AddedToken(f"[unused{number}]", normalized=True) for number in range(5)])
    cls, sep = rust.token_to_id("[CLS]"), rust.token_to_id("[SEP]")
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    rust.save(str(folder / "tokenizer.json"))
    added = {
        number: {name: getattr(token, name) for name in ADDED_FIELDS}
        for number, token in rust.get_added_tokens_decoder().items()
    }
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    config = {
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": True,
        "extra_special_tokens": {},
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 8192,
        "tokenizer_class": "PreTrainedTokenizerFast",
        **names,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "modernbert"}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("modernbert")
    write_tokenizer(root)
    return root


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_texts(folder: Path, count: int):
    mine, other = (each.from_pretrained(folder) for each in AUTO)
    assert type(mine) is Tokenizer
    texts = [*LITERAL, *real_texts(count)]
    check(mine, other, texts)
    check_options(mine, other, texts[:60])
    assert mine.get_vocab() == other.get_vocab()
    assert mine.special_tokens_map == other.special_tokens_map
    assert mine.model_max_length == other.model_max_length == 8192
    found = mine("a [MASK].").input_ids
    assert found[0] == mine.cls_token_id
    assert found[-1] == mine.sep_token_id
    assert found[2] == mine.mask_token_id


@pytest.mark.parametrize("stated", ["PreTrainedTokenizerFast", "TokenizersBackend", None])
def test_whatever_class_the_folder_names(folder: Path, tmp_path: Path, stated: str | None):
    """Release 5 of the reference writes another name, and some folders have none."""
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8"))
    assert config.pop("tokenizer_class") == "PreTrainedTokenizerFast"
    file.write_text(json.dumps(config | ({"tokenizer_class": stated} if stated else {})))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "modernbert"}))
    mine, other = (each.from_pretrained(tmp_path) for each in AUTO)
    check(mine, other, [*LITERAL, *real_texts(100)])


def test_what_the_reference_saves_loads_here(folder: Path, tmp_path: Path):
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    mine, other = (each.from_pretrained(tmp_path) for each in AUTO)
    assert type(mine) is Tokenizer
    check(mine, other, [*LITERAL, *real_texts(100)])
