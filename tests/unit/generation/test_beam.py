"""Beams in groups, against the definition; plain beams are compared with the reference."""

import pytest
import torch

from regard.batch import TokenBatch

PROMPT, NEW = [5, 9, 30, 8], 7


def log_probabilities(model, ids):
    return model.logits(TokenBatch.from_sequences([ids]))[-1].float().log_softmax(-1)


@torch.inference_mode()
@pytest.mark.parametrize("diversity", [0.3, 2.0, 50.0])
def test_groups_of_one_beam_avoid_what_groups_before_them_took(gpt2, diversity):
    """Vijayakumar et al. 2018, section 4, with beams of one: greedy, less what others took."""
    groups = [[*PROMPT] for _ in range(3)]
    scores = [0.0] * 3
    for _ in range(NEW):
        taken = torch.zeros(40)
        for number, ids in enumerate(groups):
            values = log_probabilities(gpt2, ids) - diversity * taken
            token = int(values.argmax())
            scores[number] += float(values[token])
            taken[token] += 1
            ids.append(token)
    found = gpt2.generate(
        [PROMPT],
        num_beams=3,
        num_beam_groups=3,
        diversity_penalty=diversity,
        num_return_sequences=3,
        max_new_tokens=NEW,
        eos_token_id=[],
        return_dict_in_generate=True,
    )
    order = sorted(range(3), key=lambda number: -scores[number])
    assert found.sequences.tolist() == [groups[number] for number in order]
    expected = torch.tensor([scores[number] / NEW for number in order])
    torch.testing.assert_close(found.sequences_scores, expected)
    assert len({tuple(ids) for ids in groups}) > 1


@pytest.mark.parametrize("beams", [2, 4])
def test_the_best_words_are_all_that_beams_need(model, beams, monkeypatch):
    """Looked at alone, or among the scores of all words."""
    options = {"num_beams": beams, "num_return_sequences": beams, "max_new_tokens": NEW}
    options["return_dict_in_generate"] = True
    found = model.generate([PROMPT, PROMPT[:2]], **options)
    monkeypatch.setattr("regard.generation.beam.usable", lambda *_: False)
    whole = model.generate([PROMPT, PROMPT[:2]], **options)
    assert torch.equal(found.sequences, whole.sequences)
    torch.testing.assert_close(found.sequences_scores, whole.sequences_scores)


def test_a_damaged_model_is_told_of_in_beams(make):
    model = make("gpt2")
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="no number"):
        model.generate([PROMPT], num_beams=2, max_new_tokens=2)


def test_groups_that_need_not_avoid_each_other_are_plain_beams(model):
    options = {"max_new_tokens": NEW, "length_penalty": 0.7}
    plain = model.generate([PROMPT], num_beams=2, num_return_sequences=2, **options)
    groups = model.generate(
        [PROMPT], num_beams=4, num_beam_groups=2, num_return_sequences=4, **options
    )
    assert groups.tolist() == [row for row in plain.tolist() for _ in range(2)]


@torch.inference_mode()
def test_beams_as_wide_as_all_texts_find_the_best(make):
    """Every text of three tokens is scored, and the best of them is what a wide search finds."""
    model = make("gpt2", vocab_size=5, pad_token_id=0)
    best = {}
    for first in range(5):
        one = log_probabilities(model, [1, first])
        start = log_probabilities(model, [1])[first]
        for second in range(5):
            two = log_probabilities(model, [1, first, second])
            for third in range(5):
                best[first, second, third] = float(start + one[second] + two[third])
    found = model.generate(
        [[1]],
        num_beams=25,
        num_return_sequences=5,
        max_new_tokens=3,
        eos_token_id=[],
        return_dict_in_generate=True,
    )
    expected = sorted(best, key=lambda ids: -best[ids])[:5]
    assert [tuple(row[1:]) for row in found.sequences.tolist()] == expected
    scores = torch.tensor([best[ids] / 3 for ids in expected])
    torch.testing.assert_close(found.sequences_scores, scores)


def test_all_end_tokens_at_once(gpt2):
    """More end tokens than others: some beams must still have something to go on with."""
    ends = [token for token in range(40) if token not in (7, 8)]
    for beams in (2, 5):
        found = gpt2.generate([PROMPT], num_beams=beams, max_new_tokens=NEW, eos_token_id=ends)
        assert found.shape[1] <= len(PROMPT) + NEW
