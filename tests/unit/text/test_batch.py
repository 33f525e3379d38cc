import numpy as np
import pytest
import torch

from regard.text import BertTokenizer
from regard.text.padding import Padding, as_tensor, pad_array, pad_lists


def test_examples_and_columns(tokenizer: BertTokenizer):
    examples = [tokenizer("a"), tokenizer("b c")]
    for batch in (examples, {name: [e[name] for e in examples] for name in examples[0]}):
        found = tokenizer.pad(batch, return_tensors="pt")
        assert found.input_ids.tolist() == [[2, 13, 3, 0], [2, 14, 15, 3]]
        assert found.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert examples[0].input_ids == [2, 13, 3]  # nothing given is changed


def test_rows_stay_what_they_are(tokenizer: BertTokenizer):
    tensors = [{"input_ids": torch.tensor([1, 2])}, {"input_ids": torch.tensor([3])}]
    found = tokenizer.pad(tensors)
    assert isinstance(found.input_ids, torch.Tensor)
    assert found.attention_mask.tolist() == [[1, 1], [1, 0]]
    assert isinstance(tokenizer.pad([{"input_ids": np.array([1])}]).input_ids, np.ndarray)
    assert tokenizer.pad([{"input_ids": [1]}]).input_ids == [[1]]


def test_labels_pass_through(tokenizer: BertTokenizer):
    found = tokenizer.pad([{"input_ids": [1], "labels": 0.5}], return_tensors="pt")
    assert found.labels.dtype == torch.float32
    with pytest.raises(ValueError, match="the rows of 'labels' have different lengths"):
        tokenizer.pad(
            [{"input_ids": [1], "labels": [1]}, {"input_ids": [1, 2], "labels": [1, 2]}],
            return_tensors="pt",
        )


def test_wrong_batches(tokenizer: BertTokenizer):
    for batch in ([], [1, 2], ["a"]):
        with pytest.raises(ValueError, match="wanted a mapping of columns"):
            tokenizer.pad(batch)
    with pytest.raises(ValueError, match=r"wanted examples with 'input_ids'; these have x"):
        tokenizer.pad([{"x": [1]}])
    with pytest.raises(ValueError, match="example 1 has no 'y'"):
        tokenizer.pad([{"input_ids": [1], "y": 1}, {"input_ids": [1]}])
    with pytest.raises(ValueError, match="'note' does not hold numbers"):
        tokenizer.pad([{"input_ids": [1], "note": "a"}], return_tensors="np")


def test_arrays_and_lists_agree():
    rows = [[1, 2, 3], [], [4]]
    for side in ("left", "right"):
        assert pad_array(rows, 9, 5, side).tolist() == pad_lists(rows, 9, 5, side)


def test_widths():
    def width(length: int | None, multiple: int | None, *lengths: int) -> int:
        return Padding(length, multiple, "right", "[PAD]", 0).width(lengths)

    assert width(None, None, 3, 7) == 7
    assert width(None, 8, 3, 9) == 16
    assert width(5, None, 3, 9) == 5
    assert width(None, None) == 0


def test_empty_tensors_keep_their_shape():
    assert as_tensor("input_ids", [[], []], "np").shape == (2, 0)
    assert as_tensor("offset_mapping", [[]], "pt").shape == (1, 0, 2)
    assert as_tensor("length", [], "np").shape == (0,)
    assert as_tensor("input_ids", [[]], "pt").dtype == torch.int64
