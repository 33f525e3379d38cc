"""A cache in pages gives what one in slots gives, and is as large as the tokens it holds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import regard
from regard.attention.paged import PagedCache
from regard.batch import TokenBatch
from regard.generation.batching import GenerationScheduler

from .test_batching import ENDS, PROMPT, alone, requests


@settings(max_examples=6, deadline=None)
@given(requests, st.integers(1, 4), st.sampled_from([None, 24]), st.integers(1, 9))
def test_whatever_the_order(gpt2, mistral, seq2seq, given_requests, slots, tokens, page_size):
    for model in (gpt2, mistral, seq2seq):
        scheduler = GenerationScheduler(model, slots=slots, tokens=tokens, page_size=page_size)
        coming, jobs, step = [*given_requests], [], 0
        while coming or scheduler.busy:
            for request in [each for each in coming if each[3] <= step]:
                coming.remove(request)
                ids, way, new, _, priority = request
                options = way | {"max_new_tokens": new, "eos_token_id": ENDS}
                jobs.append((scheduler.submit(ids, priority=priority, **options), ids, options))
            scheduler.step()
            step += 1
            assert_pages_are_in_order(scheduler._decoding.cache)
        for job, ids, options in jobs:
            assert job.result(0) == alone(model, ids, **options)


def assert_pages_are_in_order(cache):
    """Every page but the first is some sequence's, once, or free; none is more than needed."""
    owned = [page for table in cache.tables for page in table]
    assert sorted(owned + cache._free) == [*range(1, cache.pages)]
    for table, length in zip(cache.tables, cache.lengths, strict=True):
        assert len(table) * cache.capacity >= length
    for layer in cache.layers:
        assert layer.key is None or len(layer.key) == cache.pages


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3, "num_return_sequences": 2},
        {"do_sample": True, "num_return_sequences": 3, "seed": 5},
        {"penalty_alpha": 0.6, "top_k": 3},
        {"prompt_lookup_num_tokens": 3},
    ],
)
@pytest.mark.parametrize("page_size", [1, 3, 64])
def test_every_way_to_write(model, options, page_size, monkeypatch):
    """Beams copy and reorder, guesses are taken back."""
    rows = [PROMPT, [6], [9, 9, 31, 5, 5, 9]]
    options = options | {"max_new_tokens": 12, "eos_token_id": ENDS}
    expected = model.generate(rows, **options)
    new_cache, made = type(model).new_cache, []

    def paged(self):
        made.append(new_cache(self, page_size=page_size))
        return made[-1]

    monkeypatch.setattr(type(model), "new_cache", paged)
    assert torch.equal(model.generate(rows, **options), expected)
    assert isinstance(made[0], PagedCache)
    assert_pages_are_in_order(made[0])


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
@pytest.mark.parametrize("page_size", [1, 4])
def test_tokens_that_are_read_in_pieces(kind, page_size, make):
    """Several at once, none, and one, in rows of different lengths."""
    model = make(kind)
    rows = [[5, 9, 30, 8, 7, 6, 4, 11, 12], [9, 8, 7, 6, 5, 14, 13], [10, 11, 12]]
    whole = [model.base_model.encode(TokenBatch.from_sequences([row])) for row in rows]
    cache, done = model.new_cache(page_size=page_size), [0, 0, 0]
    for counts in ([3, 1, 2], [1, 1, 1], [4, 0, 0], [1, 5, 0]):
        parts = [row[n : n + count] for row, n, count in zip(rows, done, counts, strict=True)]
        layout = cache.layout(counts)
        ids = torch.tensor([token for row in layout.order for token in parts[row]])
        hidden = model.read(TokenBatch(layout, ids), cache)
        for row, place in enumerate(layout.rows.tolist()):
            start, end = layout.offsets[place], layout.offsets[place + 1]
            expected = whole[row][done[row] : done[row] + counts[row]]
            torch.testing.assert_close(hidden[start:end], expected)
            done[row] += counts[row]
    assert_pages_are_in_order(cache)


def test_memory_follows_the_tokens(gpt2):
    """One long text among many short ones: slots would all be as long as that one."""
    scheduler = GenerationScheduler(gpt2, slots=12, page_size=4)
    scheduler.submit([5] * 40, max_new_tokens=8, eos_token_id=[])
    for number in range(40):
        scheduler.submit([6 + number % 20] * 3, max_new_tokens=3, eos_token_id=[])
    while scheduler.busy:
        scheduler.step()
    cache = scheduler._decoding.cache
    # 47 tokens are kept of the first, 5 of each other; pages grow by a half.
    assert cache.pages <= 1 + 1.5 * (12 + 11 * 2)
    assert cache.layers[0].key.shape == (cache.pages, 4, 4, 6)
    assert cache.pages * 4 < 12 * 47 / 2


def test_what_is_over_gives_its_pages_before_more_are_made(gpt2):
    cache = gpt2.new_cache(page_size=2)
    read(gpt2, cache, [[5, 6, 7, 8], [9, 10, 11, 12]])
    before = cache.pages
    cache._take(len(cache._free))
    read(gpt2, cache, [[9, 9, 9, 9]])  # the second sequence is over
    assert cache.pages == before
    assert cache.lengths == [8, 0]
    assert cache.tables[1] == []


def read(model, cache, texts):
    layout = cache.layout([len(text) for text in texts])
    ids = torch.tensor([token for row in layout.order for token in texts[row]])
    return model.read(TokenBatch(layout, ids), cache)


def test_a_prompt_that_begins_alike_is_not_read_again(gpt2, monkeypatch):
    scheduler = GenerationScheduler(gpt2, slots=1, page_size=2)
    first = scheduler.submit(PROMPT, max_new_tokens=3, eos_token_id=[])
    assert [*scheduler.run()] == [first]
    counts, whole = [], type(gpt2).read

    def counting(self, batch, cache):
        counts.append(batch.layout.tokens)
        return whole(self, batch, cache)

    monkeypatch.setattr(type(gpt2), "read", counting)
    ids = [*PROMPT, *first.tokens, 7, 8]
    again = scheduler.submit(ids, max_new_tokens=2, eos_token_id=[])
    assert [*scheduler.run()] == [again]
    assert counts[0] == 3
    assert again.tokens == alone(gpt2, ids, max_new_tokens=2, eos_token_id=[])


def test_relative_positions():
    """A bias is by how far apart tokens are, which pages must not hide."""
    torch.manual_seed(0)
    sizes = {"d_model": 24, "d_kv": 6, "d_ff": 32, "num_layers": 2, "num_heads": 4}
    config = regard.T5Config(**sizes, vocab_size=40, decoder_start_token_id=1)
    model = regard.T5ForConditionalGeneration(config).double().eval()
    scheduler = GenerationScheduler(model, slots=2, page_size=3)
    options = {"max_new_tokens": 9, "eos_token_id": []}
    sources = [[5, 9, 30], [6], [7, 8, 9, 10, 11]]
    jobs = [scheduler.submit(ids, **options) for ids in sources]
    assert {*scheduler.run()} == {*jobs}
    for job, ids in zip(jobs, sources, strict=True):
        assert job.tokens == alone(model, ids, **options)


def test_what_cannot_be(gpt2):
    with pytest.raises(ValueError, match="at least 1 token; found 0"):
        PagedCache([None], 0)
    with pytest.raises(ValueError, match="page_size=-1"):
        GenerationScheduler(gpt2, page_size=-1)
    layout = gpt2.new_cache().layout([2])
    with pytest.raises(ValueError, match="in pages takes the layouts that it has made itself"):
        gpt2.read(TokenBatch(layout, torch.tensor([5, 6])), gpt2.new_cache(page_size=2))
