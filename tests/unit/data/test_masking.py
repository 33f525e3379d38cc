from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from regard.data.masking import (
    DataCollatorForLanguageModeling,
    DataCollatorForWholeWordMask,
    is_special,
)
from regard.errors import DataError
from regard.text import BertTokenizer
from regard.text.learn import train_tokenizer

from .conftest import TOKENS, small_tokenizer

TOKENIZER = small_tokenizer()
MASK = TOKENIZER.mask_token_id
ROW = st.lists(st.integers(5, len(TOKENS) - 1), max_size=20).map(lambda ids: [2, *ids, 3])


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def long_rows(rows=64, length=100):
    ids = torch.randint(5, len(TOKENS), (rows, length), generator=seeded(1))
    return [[2, *row, 3] for row in ids.tolist()]


@given(rows=st.lists(ROW, min_size=1, max_size=6), seed=st.integers(0, 99), share=st.floats(0, 1))
def test_labels_stand_at_chosen_places_only(rows, seed, share):
    collator = DataCollatorForLanguageModeling(TOKENIZER, mlm_probability=share)
    batch = collator(rows, seeded(seed))
    labels, ids = batch["labels"], batch["input_ids"]
    original = TOKENIZER.pad([{"input_ids": row} for row in rows], return_tensors="pt")
    chosen = labels != -100
    assert (labels[chosen] == original["input_ids"][chosen]).all()
    assert (ids[~chosen] == original["input_ids"][~chosen]).all()
    assert not (chosen & is_special(original["input_ids"], TOKENIZER)).any()
    assert not (chosen & (original["attention_mask"] == 0)).any()
    assert set(ids[chosen].tolist()) <= {MASK, *range(5, len(TOKENS))}, "never another special one"
    assert (batch["attention_mask"] == original["attention_mask"]).all()


def test_shares_are_those_of_the_paper():
    rows = long_rows()
    batch = DataCollatorForLanguageModeling(TOKENIZER)(rows, seeded())
    total = 64 * 100
    chosen = batch["labels"] != -100
    count = int(chosen.sum())
    assert chisquare([count, total - count], [0.15 * total, 0.85 * total]).pvalue > 0.01
    ids, labels = batch["input_ids"][chosen], batch["labels"][chosen]
    masked = int((ids == MASK).sum())
    # A random token is by chance the one that stood there, once in as many as there are.
    size = len(TOKENS) - 5
    same = int((ids == labels).sum())
    expected = [0.8 * count, (0.1 + 0.1 / size) * count, 0.1 * (1 - 1 / size) * count]
    assert chisquare([masked, same, count - masked - same], expected).pvalue > 0.01


def test_random_tokens_are_drawn_evenly_and_never_special():
    collator = DataCollatorForLanguageModeling(
        TOKENIZER, mlm_probability=1.0, mask_replace_prob=0.0, random_replace_prob=1.0
    )
    ids = collator(long_rows(), seeded())["input_ids"][:, 1:-1]
    counts = torch.bincount(ids.flatten(), minlength=len(TOKENS)).numpy()
    assert (counts[:5] == 0).all()
    assert chisquare(counts[5:]).pvalue > 0.01


def test_random_tokens_pass_over_special_ones_anywhere():
    tokenizer = small_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["the", "<end>"]})
    collator = DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=1.0, mask_replace_prob=0.0, random_replace_prob=1.0
    )
    drawn = set(collator([[5] * 5000], seeded())["input_ids"].flatten().tolist())
    assert drawn == set(range(len(tokenizer))) - set(tokenizer.all_special_ids)


def test_same_generator_state_gives_the_same_batch():
    rows, collator = long_rows(8, 20), DataCollatorForLanguageModeling(TOKENIZER)
    generator = seeded()
    state = generator.get_state()
    first, second = collator(rows, generator), collator(rows, generator)
    generator.set_state(state)
    again = collator(rows, generator)
    assert (first["input_ids"] == again["input_ids"]).all()
    assert not (first["input_ids"] == second["input_ids"]).all()
    torch.manual_seed(5)
    default = collator(rows)
    torch.manual_seed(5)
    assert (collator(rows)["labels"] == default["labels"]).all()


def test_global_numbers_stay_untouched():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    DataCollatorForLanguageModeling(TOKENIZER)(long_rows(2, 9), seeded())
    assert (torch.rand(3) == expected).all()


def test_causal_labels_are_the_tokens():
    tokenizer = small_tokenizer()
    tokenizer.pad_token = "[SEP]"
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False)([[2, 5, 3], [2, 3]])
    assert batch["labels"].tolist() == [[2, 5, 3], [2, 3, -100]], "an end of text is learned"
    assert batch["input_ids"].tolist() == [[2, 5, 3], [2, 3, 3]]


def test_tokenizers_without_padding_token_or_mask():
    tokenizer = small_tokenizer()
    tokenizer.model_input_names = ["input_ids"]
    tokenizer.pad_token = None
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    batch = collator([[5, 6], [7, 8]])
    assert batch["labels"].tolist() == [[5, 6], [7, 8]], "blocks of equal length need no padding"
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 1]]
    with pytest.raises(ValueError, match="no padding token"):
        collator([[5, 6], [7]])


def test_other_columns_come_along():
    rows = [{"input_ids": [2, 5, 3], "token_type_ids": [0, 0, 1], "next_sentence_label": 1}]
    batch = DataCollatorForLanguageModeling(TOKENIZER)(rows, seeded())
    assert batch["token_type_ids"].tolist() == [[0, 0, 1]]
    assert batch["next_sentence_label"].tolist() == [1]


def test_given_special_tokens_mask_rules():
    rows = [{"input_ids": [2, *[5] * 50, 3], "special_tokens_mask": [1, *[1] * 25, *[0] * 25, 1]}]
    collator = DataCollatorForLanguageModeling(TOKENIZER, mlm_probability=1.0, return_tensors="np")
    batch = collator(rows, seeded())
    assert isinstance(batch["labels"], np.ndarray)
    assert (batch["labels"][0] != -100).tolist() == [False] * 26 + [True] * 25 + [False]
    assert "special_tokens_mask" not in batch


PIECES = [2, *TOKENIZER.convert_tokens_to_ids(["a", "##s", "##ly", "film", ".", "b", "##er"]), 3]
WORDS = [None, 0, 0, 0, 1, 2, 3, 3, None]
OFFSETS = [(0, 0), (0, 1), (1, 2), (2, 4), (5, 9), (9, 10), (11, 12), (12, 14), (0, 0)]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, WORDS),
        ({"word_ids": WORDS}, WORDS),
        ({"word_ids": [None, 0, 1, 2, 2, 2, 3, 4, None]}, [None, 0, 1, 2, 2, 2, 3, 4, None]),
        ({"offset_mapping": OFFSETS}, [None, 0, 0, 0, 1, 1, 2, 2, None]),
    ],
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_words_are_chosen_whole(more, words, side):
    tokenizer = small_tokenizer()
    tokenizer.padding_side = side
    collator = DataCollatorForWholeWordMask(tokenizer, mlm_probability=0.5, mask_replace_prob=1.0,
                                            random_replace_prob=0.0)  # fmt: skip
    rows = [{"input_ids": PIECES, **more}] * 200
    rows += [{"input_ids": [*PIECES[:-1], *PIECES[1:]],
              **{k: [*v[:-1], *v[1:]] for k, v in more.items()}}]  # fmt: skip
    batch = collator(rows, seeded())
    assert "word_ids" not in batch
    assert "offset_mapping" not in batch
    attended = batch["attention_mask"][:200].bool()
    chosen = (batch["labels"][:200] != -100)[attended].view(200, -1)
    for word in range(max(w for w in words if w is not None) + 1):
        places = [i for i, w in enumerate(words) if w == word]
        together = chosen[:, places].sum(1)
        assert set(together.tolist()) == {0, len(places)}
        hits = int((together > 0).sum())
        assert chisquare([hits, 200 - hits]).pvalue > 0.001
    assert not chosen[:, [0, -1]].any()


def test_words_cannot_be_told_without_marks():
    vocabulary = {token.replace("##", "@"): n for n, token in enumerate(TOKENS)}
    plain = BertTokenizer(vocabulary)
    with pytest.raises(DataError, match="return_offsets_mapping=True"):
        DataCollatorForWholeWordMask(plain)([PIECES])
    with pytest.raises(DataError, match="example 0 has 1 word_ids and 9 tokens"):
        DataCollatorForWholeWordMask(plain)([{"input_ids": PIECES, "word_ids": [None]}])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mlm_probability": 1.5}, "mlm_probability=1.5 is no share"),
        ({"mask_replace_prob": 0.8, "random_replace_prob": 0.3}, "at most 1 in sum"),
        ({"mlm": False, "whole_word_mask": True}, "no meaning without mlm=True"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DataCollatorForLanguageModeling(TOKENIZER, **wrong)


def test_tokenizer_without_a_mask_and_frozen_settings():
    tokenizer = small_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(ValueError, match="pass mlm=False"):
        DataCollatorForLanguageModeling(tokenizer)
    with pytest.raises(FrozenInstanceError):
        DataCollatorForLanguageModeling(TOKENIZER).mlm = False


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_whole_words_of_vocabularies_that_mark_their_starts(kind):
    texts = ["unbelievably interesting sentences", "interesting unbelievably", "sentences"] * 9
    size = 270 if kind == "roberta" else 32
    tokenizer = train_tokenizer([*"abcdefghilnrstuvy", *texts], kind, size)
    rows = [tokenizer(texts[0])["input_ids"]] * 40
    collate = DataCollatorForLanguageModeling(tokenizer, whole_word_mask=True, mlm_probability=0.5)
    labels = collate(rows, torch.Generator().manual_seed(3))["labels"]
    words = [-1, *tokenizer(texts[0], add_special_tokens=False).word_ids(), -1]
    assert len(words) > 7
    chosen = set()
    for row in (labels != -100).tolist():
        fates = {word: {c for c, w in zip(row, words, strict=True) if w == word} for word in words}
        if (
            kind == "roberta"
        ):  # its first word has no space before it, and hangs on to what is there
            fates.pop(0)
        assert all(len(fate) == 1 for fate in fates.values())
        chosen.add(tuple(row))
    assert len(chosen) > 3
