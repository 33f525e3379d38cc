import pickle

import numpy as np
import pytest
import torch

from regard.text import BatchEncoding, BertTokenizer, CharSpan, TokenSpan


def test_is_a_mapping_with_attributes(tokenizer: BertTokenizer):
    found = tokenizer("a b", return_tensors="pt")

    def model(input_ids: object, token_type_ids: object, attention_mask: object) -> object:
        return input_ids

    assert model(**found) is found["input_ids"] is found.input_ids is found.data["input_ids"]
    assert isinstance(found, dict)
    assert found.is_fast
    with pytest.raises(AttributeError, match="no 'labels'; it has input_ids"):
        _ = found.labels
    with pytest.raises(KeyError):
        found["labels"]
    assert not hasattr(found, "offset_mapping")


def test_encodings_are_as_long_as_the_rows(tokenizer: BertTokenizer):
    found = tokenizer(["a", "b c"], padding=True, padding_side="left")
    assert found.tokens(0) == ["[PAD]", "[CLS]", "a", "[SEP]"]
    assert found.word_ids(0) == [None, None, 0, None]
    assert found.sequence_ids(1) == [None, 0, 0, None]
    assert found[0].ids == found.input_ids[0]
    assert [encoding.ids for encoding in found[0:2]] == found.input_ids
    assert found.encodings is not None
    assert len(found.encodings) == 2
    assert found.n_sequences == 1
    longer = tokenizer(["a b c d", "a"], padding="max_length", max_length=4, truncation=False)
    assert [len(found) for found in longer[0:2]] == [6, 4] == list(map(len, longer.input_ids))


def test_the_way_back(tokenizer: BertTokenizer):
    found = tokenizer("the foxs", "a")
    assert found.tokens() == ["[CLS]", "the", "fox", "##s", "[SEP]", "a", "[SEP]"]
    assert found.token_to_chars(3) == CharSpan(7, 8)
    assert found.token_to_chars(0) is None
    assert found.token_to_chars(0, -2) == CharSpan(0, 1)
    assert found.char_to_token(7) == found.char_to_token(0, 7) == 3
    assert found.char_to_token(3) is None
    assert found.char_to_token(0, sequence_index=1) == 5
    assert found.word_to_chars(1) == CharSpan(4, 8)
    assert found.word_to_tokens(0, 1) == TokenSpan(2, 4)
    assert found.word_to_tokens(9) is None
    assert found.token_to_sequence(5) == 1
    assert found.token_to_word(3) == 1
    assert found.char_to_word(5) == 1


def test_moves_tensors(tokenizer: BertTokenizer):
    found = tokenizer("a", return_tensors="pt")
    found["note"] = "stays"
    assert found.to("meta") is found
    assert found.input_ids.device == torch.device("meta")
    assert found.note == "stays"
    arrays = tokenizer("a", return_tensors="np")
    assert isinstance(arrays.to("cpu").input_ids, np.ndarray)


def test_pickles(tokenizer: BertTokenizer):
    found = tokenizer(["a b c", "d"], max_length=4, padding=True, truncation=True)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.truncated == found.truncated == [1, 0]
    assert again.tokens(1) == found.tokens(1) == ["[CLS]", "d", "[SEP]", "[PAD]"]


def test_a_batch_of_ids_knows_no_text():
    batch = BatchEncoding({"input_ids": [[1]]})
    assert batch.encodings is None
    with pytest.raises(ValueError, match="call the tokenizer"):
        batch.tokens()
    with pytest.raises(ValueError, match="call the tokenizer"):
        batch[0]
    assert batch.convert_to_tensors("np").input_ids.tolist() == [[1]]
