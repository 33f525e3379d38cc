from collections import Counter
from math import exp, factorial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from regard.data.corruption import (
    DataCollatorForDenoising,
    DataCollatorForSpanCorruption,
    sentinel_ids,
)
from regard.data.spans import Rows, infill, noise_spans, permute_sentences
from regard.errors import DataError

from .conftest import TOKENS, small_tokenizer

T5 = small_tokenizer()
T5.add_special_tokens({"extra_special_tokens": [f"<extra_id_{i}>" for i in range(20)]})
SENTINELS = sentinel_ids(T5)
BART = small_tokenizer()
CLS, SEP, MASK = 2, 3, 4
STOP = BART.convert_tokens_to_ids(".")
BODY = st.lists(st.integers(5, len(TOKENS) - 1), min_size=1, max_size=40)
ROWS = st.lists(BODY.map(lambda ids: [CLS, *ids, SEP]), min_size=1, max_size=6)


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unpadded(batch):
    """Return inputs and labels of each row as lists without padding."""
    for ids, mask, labels in zip(
        batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
    ):
        count = int(mask.sum())
        assert mask.tolist() == [1] * count + [0] * (len(mask) - count)
        assert set(ids[count:].tolist()) <= {0}
        kept = [label for label in labels.tolist() if label != -100]
        assert labels.tolist() == kept + [-100] * (len(labels) - len(kept))
        yield ids[:count].tolist(), kept


def put_back(inputs, target):
    """Put the tokens that stand behind each sentinel in the target into its place."""
    behind, sentinel = {}, None
    for token in target:
        if token in SENTINELS:
            sentinel = token
            behind[sentinel] = []
        elif token != SEP:
            behind[sentinel].append(token)
    return [t for token in inputs for t in behind.get(token, [token])], list(behind)


@given(
    rows=ROWS, seed=st.integers(0, 99), density=st.floats(0, 0.5), mean=st.floats(1, 6),
    last=st.booleans(),
)  # fmt: skip
def test_inputs_and_targets_make_the_text(rows, seed, density, mean, last):
    collator = DataCollatorForSpanCorruption(T5, density, mean, final_sentinel=last)
    batch = collator(rows, seeded(seed))
    for row, (inputs, target) in zip(rows, unpadded(batch), strict=True):
        text, used = put_back(inputs, target)
        assert text == row
        assert target[-1] == SEP
        assert used == SENTINELS[: len(used)], "in order, each once"
        inside = [token for token in inputs if token in SENTINELS]
        assert inside == (used[:-1] if last else used)
        size = len(row) - 2
        lost = min(max(round(size * density), 1), size - 1)
        assert len(target) - 1 - len(used) == lost
        spans = min(max(round(lost / mean), 1), lost, size - lost)
        # Halves may be rounded either way.
        assert abs(len(inside) - spans) <= 1


def test_the_example_of_the_paper():
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    from regard.text import BertTokenizer

    vocabulary = {
        t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    }
    tokenizer = BertTokenizer(vocabulary, do_lower_case=False)
    tokenizer.add_special_tokens({"extra_special_tokens": [f"<extra_id_{i}>" for i in range(9)]})
    collator = DataCollatorForSpanCorruption(tokenizer, 3 / 11, 1.5)
    ids = tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    batch = collator([ids] * 2000, seeded())
    sources, targets = map(tokenizer.batch_decode, (batch["input_ids"], batch["labels"]))
    found = set(zip(sources, targets, strict=True))
    assert all(source.count("<extra_id_") == 2 for source, _ in found)
    # "week" ends the text here: a row ends with a span.
    wanted = "Thank you <extra_id_0> me to your party last week <extra_id_1>"
    assert (wanted, "<extra_id_0> for inviting <extra_id_1>. <extra_id_2>") in found


def test_noise_has_the_density_and_the_mean_of_the_paper():
    lengths = torch.full((200,), 512)
    spans = noise_spans(lengths, 0.15, 3.0, seeded())
    noise = spans >= 0
    assert set(noise.sum(1).tolist()) == {77}
    assert set((spans.max(1).values + 1).tolist()) == {26}
    assert noise[:, -1].all(), "the last span ends the row"
    assert not noise[:, 0].any()


def test_every_way_to_divide_is_equally_likely():
    lengths = torch.full((6000,), 8)
    spans = noise_spans(lengths, 0.5, 2.0, seeded())
    # 4 tokens stay and 4 go, in 2 parts each: 3 ways times 3 ways.
    counts = Counter(tuple(row) for row in (spans >= 0).tolist())
    assert len(counts) == 9
    assert chisquare([*counts.values()]).pvalue > 0.01


def test_short_rows():
    spans = noise_spans(torch.tensor([0, 1, 2, 3]), 0.15, 3.0, seeded())
    assert (spans >= 0).sum(1).tolist() == [0, 0, 1, 1]
    assert spans.tolist()[2] == [-1, 0, -1]


def test_texts_without_tokens():
    batch = DataCollatorForSpanCorruption(T5)([[CLS, SEP], [CLS, SEP]], seeded())
    # Without text, nothing tells which special tokens stood after it.
    assert [*unpadded(batch)] == [([CLS, SEP], [SENTINELS[0]])] * 2
    with pytest.raises(DataError, match="the texts are empty"):
        DataCollatorForSpanCorruption(T5)([[]])


def test_too_few_sentinels_are_told():
    rows = [[5] * 10, [5] * 500]
    with pytest.raises(DataError, match="example 1 has 25 spans cut out, and the tokenizer has 20"):
        DataCollatorForSpanCorruption(T5)(rows)
    with pytest.raises(ValueError, match="the tokenizer has no sentinels"):
        DataCollatorForSpanCorruption(BART)


@given(
    rows=ROWS, seed=st.integers(0, 99), share=st.floats(0, 1), mean=st.floats(0.5, 5)
)  # fmt: skip
def test_infilling_hides_the_share_and_keeps_the_order(rows, seed, share, mean):
    collator = DataCollatorForDenoising(BART, share, mean, permute_sentences=False)
    batch = collator(rows, seeded(seed))
    for row, (inputs, target) in zip(rows, unpadded(batch), strict=True):
        assert target == row
        assert (inputs[0], inputs[-1]) == (CLS, SEP)
        kept = [token for token in inputs if token != MASK]
        size = len(row) - 2
        assert abs(size * (1 - share) - (len(kept) - 2)) <= 0.5001
        tokens = iter(row)
        assert all(token in tokens for token in kept), "a part of the text, in its order"


def test_span_lengths_have_a_poisson_distribution():
    rows, length = 400, 200
    body = torch.arange(length).expand(rows, -1)
    found = infill(Rows(body, body >= 0), torch.full((rows,), 60), -1, 3.0, seeded())
    lengths = Counter()
    for values, kept in zip(found.values.tolist(), found.kept.tolist(), strict=True):
        row = [value for value, keep in zip(values, kept, strict=True) if keep]
        # A single mask between tokens tells its length; neighbours tell only their sum.
        around = zip([-1, *row], row, [*row[1:], length], strict=False)
        for before, value, after in around:
            if value == -1 and before >= 0 and 0 <= after < length:
                lengths[after - before - 1] += 1
    total = sum(lengths.values())
    expected = [exp(-3) * 3**n / factorial(n) for n in range(8)]
    counts = [lengths[n] for n in range(8)]
    observed = [*counts, total - sum(counts)]
    # The span that is cut to fit, one of about 20 in a row, makes short ones a little likelier.
    shares = np.array(observed) / total
    assert np.abs(shares - [*expected, 1 - sum(expected)]).max() < 0.03
    assert lengths[0] > 0, "spans of no token insert a mask"


def test_masks_are_spread_evenly():
    rows, length = 4000, 10
    body = torch.arange(length).expand(rows, -1)
    found = infill(Rows(body, body >= 0), torch.full((rows,), 3), -1, 3.0, seeded())
    gone = torch.ones(rows, length, dtype=torch.bool)
    present = found.kept & (found.values >= 0)
    row, column = present.nonzero(as_tuple=True)
    gone[row, found.values[row, column]] = False
    assert set(gone.sum(1).tolist()) == {3}
    mirrored = gone.sum(0) + gone.sum(0).flip(0)
    ends, middle = int(mirrored[0]), int(mirrored[4])
    assert abs(gone.sum(0) - gone.sum(0).flip(0)).max() < 150, "no end is preferred"
    assert ends < middle, "a span has to fit"


SENTENCES = st.lists(
    st.lists(st.integers(5, 30), min_size=1, max_size=5).map(tuple), min_size=1, max_size=6
)


@given(texts=st.lists(SENTENCES, min_size=1, max_size=4), seed=st.integers(0, 99))
def test_sentences_are_permuted_whole(texts, seed):
    rows = [[CLS, *(t for s in text for t in (*s, STOP)), SEP] for text in texts]
    collator = DataCollatorForDenoising(BART, mask_probability=0.0)
    for text, (inputs, target), row in zip(
        texts, unpadded(collator(rows, seeded(seed))), rows, strict=True
    ):
        assert target == row
        found, sentence = [], []
        for token in inputs[1:-1]:
            if token == STOP:
                found.append(tuple(sentence))
                sentence = []
            else:
                sentence.append(token)
        assert Counter(found) == Counter(text)


def test_every_order_of_sentences_is_equally_likely():
    body = torch.tensor([[1, 0, 2, 0, 3, 9]]).expand(3000, -1)
    found = permute_sentences(Rows(body, body >= 0), body == 0, seeded())
    counts = Counter(tuple(row) for row in found.values.tolist())
    assert len(counts) == 6, "a rest without a full stop is a sentence too"
    assert chisquare([*counts.values()]).pvalue > 0.01


def test_deletion():
    collator = DataCollatorForDenoising(
        BART, mask_probability=0.0, permute_sentences=False, delete_probability=0.2
    )
    rows = [[CLS, *range(5, 35), SEP]] * 300
    lost = 0
    for inputs, target in unpadded(collator(rows, seeded())):
        assert inputs == [*sorted(inputs[:-1], key=rows[0].index), SEP]
        lost += len(target) - len(inputs)
    assert chisquare([lost, 9000 - lost], [1800, 7200]).pvalue > 0.01


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", [DataCollatorForSpanCorruption, DataCollatorForDenoising])
def test_same_generator_state_gives_the_same_batch(kind, side):
    tokenizer = small_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<extra_id_0>", "<extra_id_1>"]})
    tokenizer.padding_side = side
    rows = [{"input_ids": [CLS, *[5] * n, SEP], "attention_mask": [1] * (n + 2)} for n in (9, 3)]
    first, again = (kind(tokenizer)(rows, seeded(3)) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
    assert first["attention_mask"][:, 0].all(), "padded on the right"
    numpy = kind(tokenizer, pad_to_multiple_of=8, return_tensors="np")(rows, seeded(3))
    assert isinstance(numpy["labels"], np.ndarray)
    assert numpy["input_ids"].shape[1] % 8 == numpy["labels"].shape[1] % 8 == 0


def test_special_tokens_inside_a_text_belong_to_it():
    row = [CLS, 5, 6, SEP, 7, 8, SEP]
    batch = DataCollatorForDenoising(BART, mask_probability=0.0)([row], seeded())
    assert [*unpadded(batch)] == [(row, row)]


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (DataCollatorForSpanCorruption, {"noise_density": 2}, "noise_density=2 is no share"),
        (DataCollatorForSpanCorruption, {"mean_noise_span_length": 0.5}, "wanted at least 1"),
        (DataCollatorForDenoising, {"mask_probability": -1}, "mask_probability=-1"),
        (DataCollatorForDenoising, {"poisson_lambda": 0}, "wanted more than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(kind, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind(T5, **wrong)
