"""Learned and extended tokenizers, saved: the reference makes the same ids of every text."""

from typing import Any

import pytest
import transformers as transformers_package

from regard.text import Tokenizer
from regard.text.extend import extend_tokenizer
from regard.text.learn import RECIPES, train_tokenizer

from .tokenizer_texts import ODDITIES, SENTENCES, real_texts

transformers: Any = transformers_package

#: Model types alone: the three general names mean some of these.
TYPES = [kind for kind in RECIPES if kind not in ("wordpiece", "bpe", "unigram")]
TEXTS = [*SENTENCES, *ODDITIES, *real_texts(60)]


def assert_same(tokenizer: Tokenizer, folder: Any) -> None:
    tokenizer.save_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs.get_vocab() == tokenizer.get_vocab()
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == theirs(text)["input_ids"], text
        pair = tokenizer(text, "a pair")["input_ids"]
        assert pair == theirs(text, "a pair")["input_ids"], text


@pytest.mark.parametrize("kind", TYPES)
def test_learned(kind, tmp_path):
    assert_same(train_tokenizer(SENTENCES, kind, 600, min_frequency=1), tmp_path)


@pytest.mark.parametrize("kind", TYPES)
def test_extended(kind, tmp_path):
    first = train_tokenizer(SENTENCES[:8], kind, 450, min_frequency=1)
    found = extend_tokenizer(first, SENTENCES, 120, min_frequency=1)
    assert found.pieces
    assert_same(found.tokenizer, tmp_path)
