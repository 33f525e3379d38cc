"""How likely texts are: the same numbers as the loss of the model's own forward."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.batch import TokenBatch
from regard.generation import scoring
from regard.generation.scoring import log_likelihood, perplexity, rank_choices

TEXTS = [[1, 5, 9, 30, 8], [1, 7], [1, 11, 12, 13, 14, 15, 16, 17, 18, 4], [1, 39, 4, 6]]
SOURCES = [[5, 6, 7], [9], [30, 31, 4, 6, 2], [8, 8]]


def sources(model, texts=TEXTS):
    return SOURCES[: len(texts)] if model.reads_source else None


@torch.inference_mode()
def loss(model, ids, source, given=1):
    """Return what the model's own forward says of one text."""
    row = torch.tensor([ids])
    if source is not None:
        labels = row[:, 1:].clone()
        labels[:, : given - 1] = -100
        source = torch.tensor([source])
        return float(model(source, decoder_input_ids=row[:, :-1], labels=labels).loss)
    labels = row.clone()
    labels[:, :given] = -100
    return float(model(row, labels=labels).loss)


def test_it_equals_the_loss(model):
    found = log_likelihood(model, TEXTS, sources=sources(model))
    assert found.counts.tolist() == [len(text) - 1 for text in TEXTS]
    losses = []
    for row, text in enumerate(TEXTS):
        own = SOURCES[row] if model.reads_source else None
        losses.append(loss(model, text, own) * (len(text) - 1))
        assert float(found.sums[row]) == pytest.approx(-losses[-1], rel=1e-6)
    expected = math.exp(sum(losses) / sum(len(text) - 1 for text in TEXTS))
    assert found.perplexity == pytest.approx(expected, rel=1e-6)
    assert perplexity(model, TEXTS, sources=sources(model)) == found.perplexity


def test_only_what_is_not_given_counts(model):
    whole = log_likelihood(model, TEXTS, sources=sources(model))
    starts = [3, 1, 6, 3]
    found = log_likelihood(model, TEXTS, given=starts, sources=sources(model))
    for one, other, start in zip(found.tokens, whole.tokens, starts, strict=True):
        torch.testing.assert_close(one, other[start - 1 :])
    own = SOURCES[0] if model.reads_source else None
    expected = loss(model, TEXTS[0], own, given=3)
    assert float(found.sums[0]) / 2 == pytest.approx(-expected, rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(4, 39), min_size=2, max_size=12), min_size=1, max_size=6))
def test_a_batch_gives_what_each_text_gives_alone(gpt2, mistral, texts):
    for model in (gpt2, mistral):
        together = log_likelihood(model, texts)
        for row, text in enumerate(texts):
            alone = log_likelihood(model, [text]).tokens[0]
            torch.testing.assert_close(together.tokens[row], alone)


def test_small_batches_give_the_same(model, monkeypatch):
    whole = log_likelihood(model, TEXTS, sources=sources(model))
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 6)
    monkeypatch.setattr(scoring, "SCORED_TOKENS", 2)
    parts = log_likelihood(model, TEXTS, sources=sources(model))
    for one, other in zip(whole.tokens, parts.tokens, strict=True):
        torch.testing.assert_close(one, other)


@torch.inference_mode()
@pytest.mark.parametrize("stride", [1, 5, 20, 48, 100])
def test_windows_over_a_long_text(gpt2, stride):
    """The definition, written out: each token by the window that counts it first."""
    text = [4 + (7 * n * n + n) % 36 for n in range(131)]
    expected, done, end = [], 1, 49
    while done < len(text):
        ids = text[max(end - 49, 0) : end]
        logits = gpt2.logits(TokenBatch.from_sequences([ids[:-1]])).log_softmax(-1)
        every = [float(logits[place, token]) for place, token in enumerate(ids[1:])]
        expected += every[len(every) - (end - done) :]
        done, end = end, min(end + min(stride, 48), len(text))
    found = log_likelihood(gpt2, [text, text[:20]], stride=stride)
    assert found.counts.tolist() == [130, 19]
    torch.testing.assert_close(found.tokens[0], torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(found.tokens[1], log_likelihood(gpt2, [text[:20]]).tokens[0])
    late = log_likelihood(gpt2, [text], stride=stride, given=100).tokens[0]
    assert len(late) == 31
    if stride == 1:  # each token after all that the model can read
        torch.testing.assert_close(late, found.tokens[0][99:])
    with pytest.raises(ValueError, match="text 0 has 131 tokens and the model reads at most 48"):
        log_likelihood(gpt2, [text])


@pytest.mark.parametrize("prompt", [[1], [1, 9, 30, 8, 5, 7, 7, 7]])
def test_choices(model, prompt):
    choices = [[5, 6, 7], [9], [30, 31], [9, 4]]
    own = SOURCES[2] if model.reads_source else None
    texts = [prompt + choice for choice in choices]
    every = [own] * 4 if own else None
    sums = log_likelihood(model, texts, given=len(prompt), sources=every).sums
    for per_token in (False, True):
        lengths = torch.tensor([3, 1, 2, 2]) if per_token else 1
        expected = sums / lengths
        found = rank_choices(model, prompt, choices, per_token=per_token, source=own)
        assert [number for number, _ in found] == expected.argsort(descending=True).tolist()
        values = torch.tensor([value for _, value in found], dtype=torch.float64)
        torch.testing.assert_close(values, expected.sort(descending=True).values)


def test_what_cannot_be_scored(gpt2, seq2seq):
    for texts, first, message in (
        ([[5]], 1, "text 0 has 1 tokens, of which 1 are given"),
        ([[5, 6], []], 1, "text 1 has 0 tokens"),
        ([[5, 6]], 0, "of which 0 are given"),
        ([[5, 6]], 2, "of which 2 are given"),
        ([[5, 6]], [1, 1], "given has 2 numbers for 1 texts"),
        ([[5, 40]], 1, "text 0 has token 40, which is outside 0 to 39"),
    ):
        with pytest.raises(ValueError, match=message):
            log_likelihood(gpt2, texts, given=first)
    with pytest.raises(ValueError, match="reads no sources"):
        log_likelihood(gpt2, [[5, 6]], sources=[[4]])
    with pytest.raises(ValueError, match="needs sources"):
        log_likelihood(seq2seq, [[5, 6]])
    with pytest.raises(ValueError, match="2 sources were given for 1 texts"):
        log_likelihood(seq2seq, [[5, 6]], sources=[[4], [4]])
    with pytest.raises(ValueError, match="stride is 0"):
        log_likelihood(gpt2, [[5, 6]], stride=0)
    for choices in ([], [[5], []]):
        with pytest.raises(ValueError, match="give choices"):
            rank_choices(gpt2, [1], choices)
    with pytest.raises(ValueError, match="prompt and choice have 60 tokens"):
        rank_choices(gpt2, [5] * 58, [[6, 7]])
