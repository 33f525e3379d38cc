"""Tokens that are guessed change nothing but the time a text takes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

import regard
from regard.attention.rewind import Mark
from regard.batch import TokenBatch
from regard.generation.plan import Plan
from regard.generation.rows import Row
from regard.generation.speculative import Lookup, settle

TEXTS = [[5, 9, 30, 8], [7], [11, 12, 13, 14, 15, 16, 17, 18] * 2, [39, 4, 6], [7]]
RULES = {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "eos_token_id": [2, 20, 21, 22]}


def nearly(model, noise):
    """Return a model that mostly agrees."""
    torch.manual_seed(1)
    other = type(model)(model.config).to(model.dtype).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * noise)
    return other


@pytest.mark.parametrize("noise", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("rules", [{}, RULES], ids=["plain", "rules"])
def test_a_smaller_model_guesses(model, noise, rules):
    options = {"max_new_tokens": 20, "return_dict_in_generate": True, "output_scores": True}
    plain = model.generate(TEXTS, **options, **rules)
    for threshold in (0.0, 0.9):
        found = model.generate(
            TEXTS,
            assistant_model=nearly(model, noise),
            assistant_confidence_threshold=threshold,
            num_assistant_tokens=6,
            **options,
            **rules,
        )
        assert torch.equal(found.sequences, plain.sequences)
        for one, other in zip(found.scores, plain.scores, strict=True):
            torch.testing.assert_close(one, other)
        assert (found.accepted_tokens <= found.guessed_tokens).all()
        if not noise:
            assert torch.equal(found.accepted_tokens, found.guessed_tokens)
        elif not threshold:
            assert found.accepted_tokens.sum() < found.guessed_tokens.sum()


@pytest.mark.parametrize("size", [1, 3])
def test_guesses_from_the_text_itself(model, size):
    options = {"max_new_tokens": 25, "eos_token_id": [2, 20]}
    look = {"prompt_lookup_num_tokens": 4, "max_matching_ngram_size": size}
    plain = model.generate(TEXTS, **options)
    assert torch.equal(model.generate(TEXTS, **options, **look), plain)
    for row, ids in enumerate(TEXTS):
        alone = model.generate([ids], **options)
        assert torch.equal(model.generate([ids], **options, **look), alone), row


def test_fewer_forwards(make, monkeypatch):
    """A model that agrees is asked once for several tokens."""
    model = make("gpt2")
    read, counts = type(model).read, []

    def counting(self, batch, cache):
        if self is model:
            counts.append(batch.layout.tokens)
        return read(self, batch, cache)

    other = nearly(model, 0.0)
    monkeypatch.setattr(type(model), "read", counting)
    found = model.generate(
        [TEXTS[0]],
        assistant_model=other,
        num_assistant_tokens=4,
        assistant_confidence_threshold=0.0,
        max_new_tokens=16,
        eos_token_id=[],
        return_dict_in_generate=True,
    )
    assert counts == [4, 5, 5, 5]  # the prompt gives one token, each forward after it five
    assert (found.guessed_tokens.tolist(), found.accepted_tokens.tolist()) == ([12], [12])


SCHEDULES = {
    "constant": [3, 3, 3, 3, 3, 3],
    "heuristic": [3, 5, 7, 5],  # the last is cut where the text may be no longer
    "heuristic_transient": [3, 5, 7, 5],
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_how_many_are_guessed(make, monkeypatch, schedule):
    """Two more after guesses that all were right, one less after others, as in the reference."""
    model, other = make("gpt2"), nearly(make("gpt2"), 1.0)
    read, counts = type(model).read, []

    def counting(self, batch, cache):
        if self is model:
            counts.append(batch.layout.tokens - 1)
        return read(self, batch, cache)

    monkeypatch.setattr(type(model), "read", counting)
    options = {
        "num_assistant_tokens": 3,
        "num_assistant_tokens_schedule": schedule,
        "assistant_confidence_threshold": 0.0,
        "max_new_tokens": 25,
        "eos_token_id": [],
    }
    right = model.generate([TEXTS[0]], assistant_model=nearly(model, 0.0), **options)
    assert counts[1:] == SCHEDULES[schedule]
    counts.clear()
    assert torch.equal(model.generate([TEXTS[0]], assistant_model=other, **options), right)
    less = [3, 2, 1, 1, 1] if schedule != "constant" else [3, 3, 3, 3, 3]
    assert counts[1:6] == less, "a text of this model is guessed by another"


def test_lookup():
    row = Row(0, [1, 5, 6, 7, 9, 5, 6, 8, 3, 5, 6], 4, 40, Plan(), source=[8, 3, 5, 6, 2, 99, 4])
    assert Lookup(3, 2, 50).guess([row], 9)[0].tokens == [8, 3, 5]  # the latest
    assert Lookup(3, 2, 50).guess([row], 1)[0].tokens == [8]
    assert Lookup(3, 4, 50).guess([row], 9)[0].tokens == [2]  # longest first; 99 is no word
    row.ids.append(40)
    assert Lookup(3, 2, 50).guess([row], 9)[0].tokens == []


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(4, 39), min_size=1, max_size=12), min_size=1, max_size=4),
    st.integers(1, 9),
    st.booleans(),
)
def test_any_prompts(gpt2, mistral, rows, count, lookup):
    for model in (gpt2, mistral):
        how = {"prompt_lookup_num_tokens": count}
        if not lookup:
            how = {"assistant_model": nearly(model, 0.01), "num_assistant_tokens": count}
        options = {"max_new_tokens": 12, "eos_token_id": [2, 9, 10]}
        found = model.generate(rows, **how, **options)
        assert torch.equal(found, model.generate(rows, **options))


def test_drawn_texts_stay_the_same_where_guesses_are_not_drawn(model):
    options = {"do_sample": True, "seed": 3, "max_new_tokens": 20, "num_return_sequences": 2}
    plain = model.generate(TEXTS, **options)
    found = model.generate(TEXTS, prompt_lookup_num_tokens=3, max_matching_ngram_size=1, **options)
    assert torch.equal(found, plain)


def test_a_guess_is_kept_as_often_as_can_be():
    """Leviathan et al. 2023: the sum of the smaller of both probabilities; and no bias."""
    wanted, offered = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.6, 0.0, 0.3]])
    row = Row(0, [1], 1, 9, Plan(), generator=torch.Generator().manual_seed(8))
    guesses = torch.multinomial(offered, 20_000, True, generator=row.generator).tolist()
    scores = wanted.log()[None]
    found = [int(settle(row, scores, guess, offered)) for guess in guesses]
    counts = [found.count(token) for token in range(4)]
    assert chisquare(counts, [10_000, 6000, 3000, 1000]).pvalue > 0.01
    kept = sum(one == other for one, other in zip(found, guesses, strict=True)) / 20_000
    assert abs(kept - float(torch.minimum(wanted, offered).sum())) < 0.02


@torch.inference_mode()
@pytest.mark.parametrize("warped", [{"top_k": 0}, {"top_k": 3, "temperature": 1.5}])
def test_drawn_texts_have_the_distribution_of_the_model(make, warped):
    """All texts of two tokens, by a chi-square test; an assistant that is mostly wrong."""
    model = make("gpt2", vocab_size=4, pad_token_id=0, initializer_range=0.15)
    torch.manual_seed(0)
    other = type(model)(model.config).double().eval()
    draws, options = 3000, {"do_sample": True, "max_new_tokens": 3, "eos_token_id": []}

    def next_ones(ids):
        scores = model.logits(TokenBatch.from_sequences([ids]))[-1] / warped.get("temperature", 1)
        if warped["top_k"]:
            scores = scores.masked_fill(scores < scores.topk(3).values[-1], -torch.inf)
        return scores.softmax(-1)

    expected = torch.stack([next_ones([1, token]) for token in range(4)]) * next_ones([1])[:, None]
    found = model.generate(
        [[1]],
        assistant_model=other,
        num_assistant_tokens=2,
        assistant_confidence_threshold=0.0,
        num_return_sequences=draws,
        seed=11,
        return_dict_in_generate=True,
        **options,
        **warped,
    )
    assert 0 < found.accepted_tokens.sum() < found.guessed_tokens.sum()
    counts = torch.bincount(found.sequences[:, 1] * 4 + found.sequences[:, 2], minlength=16)
    # Of the two, the second is the first that is drawn by guesses; the third only ends the text.
    there = expected.flatten() > 0
    assert not counts[~there].any()
    expected = expected.flatten()[there] * draws
    assert chisquare(counts[there].tolist(), expected.tolist()).pvalue > 0.01


def test_a_mark_in_windows(mistral):
    """Tokens that were taken back leave no trace, though they went around the ring."""
    text, wrong = [5, 9, 30, 8, 14, 21, 7, 6, 33], [11, 12, 13, 14]
    for read in range(1, len(text)):
        cache = mistral.new_cache(2)
        step(mistral, cache, text[:read])
        mark = Mark(cache, 1, len(wrong))
        step(mistral, cache, [text[read], *wrong[1:]])
        mark.rewind([read + 1])
        found = step(mistral, cache, [3, 4])
        expected = step(mistral, mistral.new_cache(), [*text[: read + 1], 3, 4])[-2:]
        torch.testing.assert_close(found, expected)


def step(model, cache, ids):
    layout = cache.layout([len(ids)])
    return model.read(TokenBatch(layout, torch.tensor(ids)), cache)


def test_what_cannot_be_guessed(gpt2, seq2seq, make):
    for options in ({"num_beams": 2}, {"use_cache": False}, {"penalty_alpha": 0.5, "top_k": 4}):
        with pytest.raises(ValueError, match="are for greedy search and sampling"):
            gpt2.generate([[5]], prompt_lookup_num_tokens=2, **options)
    with pytest.raises(ValueError, match="found 41 words for 40"):
        gpt2.generate([[5]], assistant_model=make("gpt2", vocab_size=41))
    with pytest.raises(ValueError, match="must read what the model reads"):
        gpt2.generate([[5]], assistant_model=seq2seq)
    with pytest.raises(regard.errors.ConfigError, match="num_assistant_tokens is 0"):
        gpt2.generate([[5]], assistant_model=gpt2, num_assistant_tokens=0)


def test_a_text_at_the_end_of_a_context(gpt2, make):
    """Of the model, and of an assistant that knows less."""
    ids = [5 + n % 30 for n in range(40)]
    plain = gpt2.generate([ids, [6]], eos_token_id=[])
    assert plain.shape[1] == 40 + 47
    for other in (nearly(gpt2, 0.0), make("gpt2", max_position_embeddings=43)):
        options = {"assistant_model": other, "assistant_confidence_threshold": 0.0}
        assert torch.equal(gpt2.generate([ids, [6]], eos_token_id=[], **options), plain)
