from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import AddedToken

from regard.text import BertTokenizer
from regard.text.vocabulary import special


def test_tokens_and_numbers(tokenizer: BertTokenizer):
    assert tokenizer.convert_tokens_to_ids("fox") == 8
    assert tokenizer.convert_tokens_to_ids(["fox", "nope"]) == [8, 1]
    assert tokenizer.convert_ids_to_tokens(8) == "fox"
    assert tokenizer.convert_ids_to_tokens(np.int64(8)) == "fox"  # pyright: ignore[reportArgumentType,reportCallIssue]  # numpy's are not ints
    assert tokenizer.convert_ids_to_tokens([2, 8, 999]) == ["[CLS]", "fox", None]
    assert tokenizer.convert_ids_to_tokens([2, 8], skip_special_tokens=True) == ["fox"]
    assert tokenizer.convert_tokens_to_string(["fox", "##s", "."]) == "foxs."
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab()) == 26


def test_decoding(tokenizer: BertTokenizer):
    row = tokenizer("the foxs .").input_ids
    assert tokenizer.decode(row) == "[CLS] the foxs. [SEP]"
    for form in (row, tuple(row), np.array(row), torch.tensor(row)):
        assert tokenizer.decode(form, skip_special_tokens=True) == "the foxs."
    assert tokenizer.decode(8) == "fox"
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([[8], [6]]) == ["fox", "quick"]
    assert tokenizer.decode([torch.tensor([8])]) == ["fox"]
    assert tokenizer.batch_decode(torch.tensor([[8], [6]])) == ["fox", "quick"]
    with pytest.raises(ValueError, match="-100 at position 1"):
        tokenizer.decode([8, -100])


def test_special_tokens_are_attributes(tokenizer: BertTokenizer):
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", 0)
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == (None, None)
    tokenizer.eos_token = "[SEP]"
    tokenizer.bos_token_id = 2
    assert (tokenizer.eos_token_id, tokenizer.bos_token) == (3, "[CLS]")
    assert tokenizer.all_special_tokens == ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"]
    assert tokenizer.all_special_ids == [2, 3, 1, 0, 4]
    tokenizer.eos_token = None
    assert tokenizer.eos_token is None
    with pytest.raises(ValueError, match=r"add it with add_special_tokens\(\{'pad_token': '<p>'\}"):
        tokenizer.pad_token = "<p>"
    with pytest.raises(ValueError, match="no such number"):
        tokenizer.pad_token_id = 999


def test_adding(tokenizer: BertTokenizer):
    assert tokenizer.add_tokens("new") == 1
    assert tokenizer.add_tokens(["new", "fox", AddedToken("newer", single_word=True)]) == 1
    assert tokenizer("new fox").input_ids == [2, 26, 8, 3]
    assert tokenizer.add_special_tokens({"pad_token": "<p>", "extra_special_tokens": ["<x>"]}) == 2
    assert tokenizer.pad_token_id == 28
    assert tokenizer.extra_special_tokens == ["<x>"]
    extra = {"additional_special_tokens": ["<y>"]}
    assert tokenizer.add_special_tokens(extra, replace_extra_special_tokens=False) == 1
    assert tokenizer.extra_special_tokens == ["<x>", "<y>"]
    assert tokenizer.decode([8, 29, 30], skip_special_tokens=True) == "fox"
    assert tokenizer.get_added_vocab()["newer"] == 27
    with pytest.raises(ValueError, match="did you mean 'pad_token'"):
        tokenizer.add_special_tokens({"pad_tokn": "a"})


@pytest.mark.parametrize("token", [7, None, {"text": "a"}])
def test_what_is_no_special_token(token: Any):
    with pytest.raises(TypeError, match="a special token is a string"):
        special(token)


def test_flags_of_special_tokens():
    token = special({"content": "<m>", "lstrip": True, "normalized": True, "__type": "AddedToken"})
    assert (token.content, token.lstrip, token.rstrip, token.normalized) == (
        "<m>",
        True,
        False,
        True,
    )
