"""The collators and samplers against transformers, wherever theirs draw no random number."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as transformers_package
from transformers.trainer_pt_utils import get_length_grouped_indices

import regard
from regard.checkpoints.files import find_checkpoint
from regard.data.sampling import grouped
from regard.text import AutoTokenizer, Tokenizer

# Its own annotations are too narrow for options that are held in a dict.
transformers: Any = transformers_package

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = [
    "A great film, isn't it?",
    "short",
    "The quick brown fox jumps over the lazy dog, antidisestablishmentarianism notwithstanding.",
    "don't stop believing",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_checkpoint(MINILM).path("tokenizer.json").parent


@pytest.fixture(scope="module", params=["right", "left"])
def both(folder: Path, request) -> tuple[Tokenizer, Any]:
    ours = AutoTokenizer.from_pretrained(folder)
    theirs = transformers.BertTokenizerFast.from_pretrained(folder)
    ours.padding_side = theirs.padding_side = request.param
    return ours, theirs


def features(tokenizer, **options) -> list[dict[str, Any]]:
    batch = tokenizer(TEXTS, **options)
    return [{name: values[row] for name, values in batch.items()} for row in range(len(TEXTS))]


def assert_same(mine, other):
    assert set(mine) == set(other)
    for name in other:
        assert mine[name].dtype == other[name].dtype, name
        assert mine[name].tolist() == other[name].tolist(), name


PADDINGS = [
    {},
    {"pad_to_multiple_of": 8},
    {"padding": "max_length", "max_length": 40},
    {"return_tensors": "np"},
]


@pytest.mark.parametrize("options", PADDINGS, ids=str)
@pytest.mark.parametrize("label", [[1, 0, 1, 1], [0.5, 1.0, 0.25, 0.0]])
def test_with_padding(both, options, label):
    ours, theirs = both
    rows = [{**row, "label": value} for row, value in zip(features(ours), label, strict=True)]
    mine = regard.DataCollatorWithPadding(ours, **options)(rows)
    reference = transformers.DataCollatorWithPadding(theirs, **options)(rows)
    if options.get("return_tensors") == "np":  # theirs has float64 there and float32 for torch
        reference["labels"] = reference["labels"].astype(mine["labels"].dtype)
    assert_same(mine, reference)


@pytest.mark.parametrize("options", PADDINGS, ids=str)
def test_token_classification(both, options):
    ours, theirs = both
    rows = [{**row, "labels": [*range(len(row["input_ids"]))]} for row in features(ours)]
    mine = regard.DataCollatorForTokenClassification(ours, **options)(rows)
    assert_same(mine, transformers.DataCollatorForTokenClassification(theirs, **options)(rows))


@pytest.mark.parametrize("options", PADDINGS, ids=str)
def test_seq2seq(both, options):
    ours, theirs = both
    rows = [{**row, "labels": [7] * (3 * i + 1)} for i, row in enumerate(features(ours))]
    mine = regard.DataCollatorForSeq2Seq(ours, **options)(rows)
    assert_same(mine, transformers.DataCollatorForSeq2Seq(theirs, **options)(rows))


@pytest.mark.parametrize("options", PADDINGS[:3], ids=str)
def test_multiple_choice(both, options):
    ours, theirs = both
    flat = features(ours)
    rows = [
        {name: [flat[a][name], flat[b][name]] for name in flat[0]} | {"label": label}
        for a, b, label in ((0, 1, 1), (2, 3, 0))
    ]
    mine = regard.DataCollatorForMultipleChoice(ours, **options)(rows)
    assert_same(mine, transformers.DataCollatorForMultipleChoice(theirs, **options)(rows))


@pytest.mark.parametrize(
    "row",
    [
        {"x": [1, 2], "label": 1, "text": "a", "none": None},
        {"x": torch.ones(2, 3), "label": 0.5},
        {"x": 1.5, "label_ids": [1, 2]},
        {"x": 1, "label": torch.tensor(3)},
    ],
)
def test_default(row):
    assert_same(
        regard.default_data_collator([row, row]), transformers.default_data_collator([row, row])
    )


@pytest.mark.parametrize("options", [{}, {"pad_to_multiple_of": 8}, {"return_tensors": "np"}])
def test_causal(both, options):
    ours, theirs = both
    mine = regard.DataCollatorForLanguageModeling(ours, mlm=False, **options)(features(ours))
    other = transformers.DataCollatorForLanguageModeling(theirs, mlm=False, **options)
    assert_same(mine, other(features(ours)))


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("mask", [True, False], ids=["special_tokens_mask", "ids"])
def test_masked_without_chance(both, share, mask):
    ours, theirs = both
    options = {"mlm_probability": share, "mask_replace_prob": 1.0, "random_replace_prob": 0.0}
    rows = features(ours, return_special_tokens_mask=mask)
    mine = regard.DataCollatorForLanguageModeling(ours, **options)(rows)
    assert_same(mine, transformers.DataCollatorForLanguageModeling(theirs, **options)(rows))


def test_words_are_told_by_offsets_as_theirs(both):
    ours, theirs = both
    options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    collator = transformers.DataCollatorForLanguageModeling(
        theirs, whole_word_mask=True, mask_replace_prob=1.0, random_replace_prob=0.0
    )
    batch = ours.pad(features(ours, **options), return_tensors="pt")
    special = batch["special_tokens_mask"].numpy()
    words, _ = collator._calc_word_ids_and_prob_mask(batch["offset_mapping"].numpy(), special)
    words, special = torch.tensor(words), torch.tensor(special).bool()
    mine = regard.DataCollatorForWholeWordMask(
        ours, mlm_probability=0.5, mask_replace_prob=1.0, random_replace_prob=0.0
    )
    generator, splits = torch.Generator().manual_seed(0), torch.zeros_like(words, dtype=torch.bool)
    for _ in range(200):
        chosen = mine(features(ours, **options), generator)["labels"] != -100
        splits[:, 1:] |= chosen[:, 1:] != chosen[:, :-1]
    # In 200 draws every border between two words of theirs was seen, and nothing else.
    borders = torch.zeros_like(splits)
    borders[:, 1:] = (words[:, 1:] != words[:, :-1]) & ~(special[:, 1:] & special[:, :-1])
    assert (splits == borders).all()


@pytest.mark.parametrize(("count", "size"), [(1000, 8), (37, 4), (3, 8), (500, 1)])
def test_grouping_by_length(count, size):
    lengths = [(7919 * i) % 97 + 1 for i in range(count)]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(3)).tolist()
    theirs = get_length_grouped_indices(lengths, size, generator=torch.Generator().manual_seed(3))
    assert grouped(order, lengths, size) == theirs
