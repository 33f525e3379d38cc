"""Drawing: frequencies are probabilities, and seeds say all."""

import pytest
import torch
from scipy import stats

from regard.generation.plan import Plan
from regard.generation.rows import Row
from regard.generation.sampling import draw

from .conftest import tiny

DRAWS = 4000


@pytest.fixture(scope="module")
def small():
    """Return a model of nine words."""
    return tiny("gpt2", vocab_size=9, pad_token_id=0, initializer_range=0.7)


def probabilities(model, ids, temperature=1.0):
    from regard.batch import TokenBatch

    with torch.inference_mode():
        logits = model.logits(TokenBatch.from_sequences([ids]))[-1]
    return (logits / temperature).softmax(-1)


def chi_square(counts, expected):
    """Return how likely such counts are, cells that expect too little joined."""
    there = expected * counts.sum() >= 5
    assert counts[expected == 0].sum() == 0
    counts = torch.cat([counts[there], counts[~there].sum()[None]])
    expected = torch.cat([expected[there], expected[~there].sum()[None]])
    counts, expected = counts[expected > 0], expected[expected > 0]
    return stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue


@pytest.mark.parametrize("copies", [True, False])
def test_pairs_of_tokens_come_as_often_as_they_should(small, copies):
    """The first token and what follows it, 4,000 times, with and without a temperature."""
    prompt = [5, 4, 7]
    for seed, temperature in ((0, 1.0), (1, 0.6)):
        options = {"do_sample": True, "temperature": temperature, "eos_token_id": []}
        if copies:
            found = small.generate(
                [prompt], max_new_tokens=2, num_return_sequences=DRAWS, seed=seed, **options
            )[:, 3:]
        else:
            found = small.generate([prompt] * DRAWS, max_new_tokens=2, seed=seed, **options)[:, 3:]
        first = probabilities(small, prompt, temperature)
        joint = torch.stack(
            [p * probabilities(small, [*prompt, t], temperature) for t, p in enumerate(first)]
        ).flatten()
        counts = torch.bincount(found[:, 0] * 9 + found[:, 1], minlength=81).double()
        assert counts.sum() == DRAWS
        assert chi_square(counts, joint) > 0.001


def test_only_what_is_kept_is_drawn(small):
    prompt, options = [5, 4, 7], {"do_sample": True, "num_return_sequences": DRAWS, "seed": 3}
    plain = probabilities(small, prompt)
    for rule in ({"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.05}, {"epsilon_cutoff": 0.05}):
        found = small.generate([prompt], max_new_tokens=1, **rule, **options)[:, 3]
        counts = torch.bincount(found, minlength=9).double()
        kept = counts > 0
        assert 1 < kept.sum() < 9
        assert plain[kept].min() > plain[~kept].max()
        assert chi_square(counts, torch.where(kept, plain, 0.0) / plain[kept].sum()) > 0.001


def test_drawn_beams_are_drawn_without_replacement(small):
    """With two beams and one token, the pair is what two draws without replacement give."""
    prompt, plain = [5, 4, 7], probabilities(small, [5, 4, 7])
    found = small.generate(
        [prompt] * DRAWS,
        do_sample=True,
        num_beams=2,
        num_return_sequences=2,
        max_new_tokens=1,
        eos_token_id=[],
        seed=0,
    )[:, 3].view(DRAWS, 2)
    assert (found[:, 0] != found[:, 1]).all()
    joint = plain[:, None] * plain / (1 - plain[:, None])
    pairs = (joint + joint.t()).triu(1).flatten()
    low, high = found.min(1).values, found.max(1).values
    counts = torch.bincount(low * 9 + high, minlength=81).double()
    assert chi_square(counts, pairs) > 0.001


def test_seeds(small):
    options = {"do_sample": True, "max_new_tokens": 12, "eos_token_id": []}
    one = small.generate([[5], [6]], seed=1, **options)
    assert torch.equal(one, small.generate([[5], [6]], seed=1, **options))
    assert torch.equal(one, small.generate([[5], [6]], seed=[1, 2], **options))
    assert not torch.equal(one, small.generate([[5], [6]], seed=2, **options))
    torch.manual_seed(0)
    free = small.generate([[5], [6]], **options)
    assert not torch.equal(free, small.generate([[5], [6]], **options))
    torch.manual_seed(0)
    assert torch.equal(free, small.generate([[5], [6]], **options))
    beams = small.generate([[5], [6]], seed=[1, 1, 1, 2, 2, 2], num_beams=3, **options)
    alone = small.generate([[6]], seed=[2, 2, 2], num_beams=3, **options)
    assert torch.equal(beams[1:], alone)


@pytest.mark.parametrize("number", [0.0, 0.25, 0.5, 1 - 2**-53])
def test_a_token_without_probability_is_never_drawn(number, monkeypatch):
    monkeypatch.setattr(
        torch, "rand", lambda *shape, **options: torch.full(shape, number, dtype=options["dtype"])
    )
    scores = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    row = Row(0, [1], 1, 9, Plan())
    assert draw(scores, [row]).item() == (3 if number < 0.5 else 1)
