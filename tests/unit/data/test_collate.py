import numpy as np
import pytest
import torch

from regard.data.collate import (
    DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    default_data_collator,
)
from regard.data.examples import Examples
from regard.errors import DataError


def features(*lengths, **more):
    rows = [{"input_ids": [2, *range(5, 3 + n), 3]} for n in lengths]
    return [{**row, **{k: v[i] for k, v in more.items()}} for i, row in enumerate(rows)]


def test_rows_are_padded_to_the_longest(tokenizer):
    batch = DataCollatorWithPadding(tokenizer)(features(4, 3, label=[1, 0]))
    assert batch["input_ids"].tolist() == [[2, 5, 6, 3], [2, 5, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert "label" not in batch


@pytest.mark.parametrize("name", ["label", "label_ids", "labels"])
def test_labels_have_one_name(tokenizer, name):
    batch = DataCollatorWithPadding(tokenizer)(features(3, 3, **{name: [0.5, 1.0]}))
    assert batch["labels"].dtype == torch.float32
    assert set(batch) == {"input_ids", "attention_mask", "labels"}


def test_fixed_and_rounded_widths(tokenizer):
    fixed = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=10)
    assert fixed(features(4, 3))["input_ids"].shape == (2, 10)
    rounded = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8, return_tensors="np")
    batch = rounded(features(4, 3))
    assert isinstance(batch["input_ids"], np.ndarray)
    assert batch["input_ids"].shape == (2, 8)


def test_texts_that_are_not_tokenized_are_told(tokenizer):
    with pytest.raises(DataError, match=r"the examples have 'text', and no 'input_ids'.*examples"):
        DataCollatorWithPadding(tokenizer)([{"text": "a"}])
    with pytest.raises(DataError, match="no examples"):
        DataCollatorWithPadding(tokenizer)([])


def test_collators_take_examples(tokenizer):
    examples = Examples({"input_ids": [[2, 3], [2, 5, 3]], "labels": [[0, 1], [1, 0, 1]]})
    batch = DataCollatorForTokenClassification(tokenizer)([*examples])
    assert batch["labels"].tolist() == [[0, 1, -100], [1, 0, 1]]


@pytest.mark.parametrize("side", ["right", "left"])
def test_token_labels_are_padded_beside_the_tokens(side):
    from .conftest import small_tokenizer

    tokenizer = small_tokenizer()
    tokenizer.padding_side = side
    rows = features(3, 5, labels=[torch.tensor([1, 2, 3]), [1, 2, 3, 4, 5]])
    batch = DataCollatorForTokenClassification(tokenizer)(rows)
    assert ((batch["labels"] == -100) == (batch["attention_mask"] == 0)).all()
    assert batch["labels"][0][batch["attention_mask"][0] == 1].tolist() == [1, 2, 3]
    np_batch = DataCollatorForTokenClassification(tokenizer, return_tensors="np")(rows)
    assert np_batch["labels"].tolist() == batch["labels"].tolist()


def test_token_labels_must_fit_and_may_be_missing(tokenizer):
    collator = DataCollatorForTokenClassification(tokenizer)
    with pytest.raises(DataError, match="example 1 has 2 labels and 4 tokens"):
        collator(features(3, 4, labels=[[1, 2, 3], [1, 2]]))
    assert "labels" not in collator(features(3, 4))
    with pytest.raises(DataError, match="example 1 has no 'labels', which example 0 has"):
        collator([*features(3, labels=[[1, 2, 3]]), *features(3)])


def test_targets_are_padded_to_their_own_longest(tokenizer):
    rows = features(4, 3, labels=[[7], [7, 8, 9]])
    batch = DataCollatorForSeq2Seq(tokenizer)(rows)
    assert batch["labels"].tolist() == [[7, -100, -100], [7, 8, 9]]
    assert batch["input_ids"].shape == (2, 4)
    assert DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8)(rows)["labels"].shape == (2, 8)
    assert "labels" not in DataCollatorForSeq2Seq(tokenizer)(features(3))


def test_model_that_makes_its_own_decoder_inputs(tokenizer):
    class Model:
        def prepare_decoder_input_ids_from_labels(self, labels):
            return labels + 1

    batch = DataCollatorForSeq2Seq(tokenizer, Model())(features(3, labels=[[7, 8]]))
    assert batch["decoder_input_ids"].tolist() == [[8, 9]]


def test_multiple_choice(tokenizer):
    rows = [
        {"input_ids": [[2, 5, 3], [2, 3]], "label": 1},
        {"input_ids": [[2, 3], [2, 5, 6, 3]], "label": 0},
    ]
    batch = DataCollatorForMultipleChoice(tokenizer)(rows)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 2, 4)
    assert batch["input_ids"][1, 1].tolist() == [2, 5, 6, 3]
    assert batch["attention_mask"].sum(-1).tolist() == [[3, 2], [2, 4]]
    assert batch["labels"].tolist() == [1, 0]
    with pytest.raises(DataError, match="example 1 has 1 choices, and example 0 has 2"):
        DataCollatorForMultipleChoice(tokenizer)([rows[0], {"input_ids": [[2, 3]], "label": 0}])


def test_default_collator():
    rows = [
        {"x": [1, 2], "label": 1, "text": "a", "none": None, "t": torch.ones(2), "a": np.ones(2)},
        {"x": [3, 4], "label": 0, "text": "b", "none": None, "t": torch.zeros(2), "a": np.ones(2)},
    ]
    batch = default_data_collator(rows)
    assert set(batch) == {"x", "labels", "t", "a"}
    assert batch["x"].tolist() == [[1, 2], [3, 4]]
    assert batch["labels"].dtype == torch.int64
    assert batch["a"].dtype == torch.float64
    assert default_data_collator([{"label": 0.5}])["labels"].dtype == torch.float32
    assert default_data_collator([{"label_ids": [1, 2]}])["labels"].tolist() == [[1, 2]]
    assert isinstance(default_data_collator(rows, "np")["t"], np.ndarray)


def test_default_collator_takes_objects_and_tells_what_is_wrong():
    class Example:
        def __init__(self):
            self.x = 1

    assert default_data_collator([Example(), Example()])["x"].tolist() == [1, 1]
    with pytest.raises(DataError, match="example 1 has no 'x'"):
        default_data_collator([{"x": 1}, {"y": 1}])
    with pytest.raises(ValueError, match="different lengths"):
        default_data_collator([{"x": [1]}, {"x": [1, 2]}])
    with pytest.raises(DataError, match="no examples"):
        default_data_collator([])
