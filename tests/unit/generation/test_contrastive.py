"""Contrastive search, against its definition written out."""

import pytest
import torch
import torch.nn.functional as F

from regard.batch import TokenBatch

PROMPTS = [[5, 9, 30, 8], [7], [11, 12, 13, 14, 15, 16]]


def define(model, source, ids, candidates, alpha, new, ends=()):
    """Su et al. 2022, equation 5, reading the whole text for each candidate."""

    def read(text):
        batch = TokenBatch.from_sequences([text])
        if not model.reads_source:
            hidden = model.base_model.encode(batch)
        else:
            given = TokenBatch.from_sequences([source])
            memory = model.base_model.encode(given)
            hidden = model.base_model.decode(batch, memory, given.layout)
        return F.normalize(hidden.float(), dim=-1), model.score(hidden[-1:])[0].float().softmax(-1)

    ids = [*ids]
    for _ in range(new):
        before, probabilities = read(ids)
        values = []
        for probability, token in zip(*probabilities.topk(candidates), strict=True):
            vector = read([*ids, int(token)])[0][-1]
            repeated = (before @ vector).max()
            values.append(((1 - alpha) * probability - alpha * repeated, int(token)))
        ids.append(max(values)[1])
        if ids[-1] in ends:
            break
    return ids


@pytest.mark.parametrize(("candidates", "alpha"), [(2, 0.6), (4, 0.6), (5, 0.95)])
@torch.inference_mode()
def test_texts_are_those_of_the_definition(model, candidates, alpha):
    ends = (2, *range(20, 26))
    found = model.generate(
        PROMPTS, penalty_alpha=alpha, top_k=candidates, max_new_tokens=9, eos_token_id=[*ends]
    )
    cached = model.generate(
        PROMPTS,
        penalty_alpha=alpha,
        top_k=candidates,
        max_new_tokens=9,
        eos_token_id=[*ends],
        use_cache=False,
    )
    assert torch.equal(found, cached)
    greedy = model.generate(PROMPTS, max_new_tokens=9, eos_token_id=[*ends])
    assert found.tolist() != greedy.tolist()
    for row, prompt in zip(found.tolist(), PROMPTS, strict=True):
        begun = [1] if model.reads_source else prompt
        text = define(model, prompt, begun, candidates, alpha, 9, ends)
        width = 1 if model.reads_source else max(map(len, PROMPTS))
        written = row[width - len(begun) :]
        assert written[: len(text)] == text
        assert set(written[len(text) :]) <= {3}


def test_without_a_weight_it_is_greedy(model):
    """Almost: what repeats counts nearly nothing."""
    found = model.generate(PROMPTS, penalty_alpha=1e-9, top_k=3, max_new_tokens=9)
    assert torch.equal(found, model.generate(PROMPTS, max_new_tokens=9))
