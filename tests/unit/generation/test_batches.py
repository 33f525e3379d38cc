"""A row gets the same text in any batch, with any padding, with or without a cache."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

NEW = 12
TEXTS = [[5, 9, 30, 8], [7], [11, 12, 13, 14, 15, 16, 17, 18], [39, 4, 6], [7]]
WAYS = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": [4, 8, 15, 16, 23]},
    "beams": {"num_beams": 3},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "rules": {
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "encoder_no_repeat_ngram_size": 2,
        "bad_words_ids": [[5, 6], [8]],
        "eos_token_id": [2, 20, 21, 22, 23],
        "min_new_tokens": 3,
    },
}


def texts(model, rows, **options):
    """Return the continuations as lists, cut after the end."""
    found = model.generate(rows, max_new_tokens=NEW, **options)
    prompt = 1 if model.reads_source else max(len(row) for row in rows)
    return [cut(row[prompt:].tolist(), options) for row in found]


def cut(ids, options):
    ends = options.get("eos_token_id", [2])
    last = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return ids[: last + 1]


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_gives_what_each_row_gives_alone(model, way):
    options = WAYS[way]
    together = texts(model, TEXTS, **options)
    for row, ids in enumerate(TEXTS):
        own = options | ({"seed": options["seed"][row]} if "seed" in options else {})
        assert texts(model, [ids], **own) == [together[row]]
    assert len({tuple(each) for each in together[:4]}) == 4, "these texts show nothing"


@pytest.mark.parametrize("way", WAYS)
def test_without_a_cache_the_texts_are_the_same(model, way):
    assert texts(model, TEXTS, use_cache=False, **WAYS[way]) == texts(model, TEXTS, **WAYS[way])


@pytest.mark.parametrize("side", ["left", "right", "holes"])
def test_padding_does_not_count(model, side):
    width = 9
    ids, mask = torch.full((len(TEXTS), width), 3), torch.zeros(len(TEXTS), width, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    for row, text in enumerate(TEXTS):
        places = torch.arange(len(text))
        if side == "left" or (side == "holes" and model.reads_source):
            places = places + width - len(text)
        elif side == "holes":
            places = torch.randperm(width, generator=generator)[: len(text)].sort().values
        ids[row, places], mask[row, places] = torch.tensor(text), 1
    found = model.generate(ids, attention_mask=mask, max_new_tokens=NEW)
    start = 1 if model.reads_source else width
    assert [cut(row[start:].tolist(), {}) for row in found] == texts(model, TEXTS)
    if not model.reads_source:  # the prompt ends where the continuation begins
        for row, text in zip(found, TEXTS, strict=True):
            assert row[:width].tolist() == [3] * (width - len(text)) + text


def test_several_texts_of_a_prompt_are_drawn_apart(model):
    options = {"do_sample": True, "temperature": 2.0, "num_return_sequences": 3}
    found = texts(model, TEXTS[:2], seed=7, **options)
    assert len(found) == 6
    assert len({tuple(text) for text in found}) == 6
    alone = [
        texts(model, TEXTS[row // 3 : row // 3 + 1], do_sample=True, temperature=2.0, seed=7 + row)
        for row in range(6)
    ]
    assert [text for one in alone for text in one] == found
    one = torch.Generator().manual_seed(1)
    again = torch.Generator().manual_seed(1)
    drawn = texts(model, TEXTS[:2], generator=one, **options)
    assert drawn == texts(model, TEXTS[:2], generator=again, **options) != found


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(4, 39), min_size=1, max_size=12), min_size=1, max_size=6))
def test_any_prompts(gpt2, mistral, rows):
    for model in (gpt2, mistral):
        together = texts(model, rows)
        assert together == [texts(model, [row])[0] for row in rows]
