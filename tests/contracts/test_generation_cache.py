"""What a cache holds is what would be computed again, in every family that writes text."""

import pytest
import torch

from regard.batch import TokenBatch
from regard.models.generative import Generative

from .families import KIN, LENGTH, every_task, inputs, model_class, tiny

NEW = 9
WRITERS = [
    (model_type, task)
    for model_type, task in every_task()
    if task in ("CausalLM", "Seq2SeqLM") and issubclass(model_class(model_type, task), Generative)
]
ASKED = {
    "max_new_tokens": NEW,
    "eos_token_id": [],
    "return_dict_in_generate": True,
    "output_scores": True,
}
#: How the tokens of the three texts are handed over: in how many pieces, and how long these are.
CUTS = {
    "one by one": [1] * LENGTH,
    "in two calls": [3, LENGTH - 3],
    "one after several": [LENGTH - 1, 1],
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, id="-".join(each), marks=[pytest.mark.slow] * (each[0] in KIN))
        for each in WRITERS
    ],
)
def model(request):
    """Return a writer in doubles, in which rounding hides no error."""
    model_type, task = request.param
    return tiny(model_type, task).double()


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def assert_same(found, expected):
    assert torch.equal(found.sequences, expected.sequences)
    assert len(found.scores) == NEW
    for one, other in zip(found.scores, expected.scores, strict=True):
        close(one, other)


def test_there_are_families():
    kinds = {model_class(*each).reads_source for each in WRITERS}
    assert len(WRITERS) > 12
    assert kinds == {True, False}


def test_the_texts_are_those_without(model):
    ids = inputs(model)["input_ids"]
    expected = model.generate(ids, use_cache=False, **ASKED)
    assert_same(model.generate(ids, **ASKED), expected)
    plain = model.generate(ids, use_cache=False, num_beams=3, **ASKED)
    assert_same(model.generate(ids, num_beams=3, **ASKED), plain)


def test_caches_that_are_given(model):
    """One that grows twice, one of just the size, and both once more with what they hold."""
    if model.reads_source:
        pytest.skip("a cache is given to decoders alone")
    ids = inputs(model)["input_ids"]
    expected = model.generate(ids, use_cache=False, **ASKED)
    for cache in (model.new_cache(2), model.new_cache(LENGTH + NEW, grows=False)):
        assert_same(model.generate(ids, past_key_values=cache, **ASKED), expected)
        assert cache.capacity >= LENGTH + NEW - 1
        again = model.generate(ids[:, :4], past_key_values=cache, **ASKED)
        assert_same(again, model.generate(ids[:, :4], use_cache=False, **ASKED))
        for layer in cache.layers:
            if layer.window is not None:
                assert layer.capacity == layer.window + 1 < LENGTH + NEW


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@torch.no_grad()
def test_tokens_in_pieces(model, cuts):
    given = inputs(model)
    expected = model(**given).logits
    texts = given["decoder_input_ids" if model.reads_source else "input_ids"].tolist()
    cache, done, scores = model.new_cache(2), 0, []
    if model.reads_source:
        model.remember(TokenBatch.from_sequences(given["input_ids"].tolist()), cache)
    for count in cuts:
        layout = cache.layout([count] * len(texts))
        ids = [token for row in layout.order for token in texts[row][done : done + count]]
        hidden = model.read(TokenBatch(layout, torch.tensor(ids)), cache)
        scores.append(layout.pad(model.score(hidden)))
        done += count
    close(torch.cat(scores, 1), expected)
