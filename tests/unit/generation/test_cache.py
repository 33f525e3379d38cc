"""Caches: what they keep, what they forget, and that nobody can tell from the texts."""

import pytest
import torch

from regard.attention.cache import Cache
from regard.batch import TokenBatch

PROMPT = [5, 9, 30, 8, 14, 21, 7]


def count_tokens(model, monkeypatch):
    """Return a list to which the number of tokens of each forward is added."""
    read, counts = type(model).read, []

    def counting(self, batch, cache):
        counts.append(batch.layout.tokens)
        return read(self, batch, cache)

    monkeypatch.setattr(type(model), "read", counting)
    return counts


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_a_prompt_that_begins_alike_is_not_read_again(kind, make, monkeypatch):
    model = make(kind)
    counts = count_tokens(model, monkeypatch)
    cache = model.new_cache()
    first = model.generate([PROMPT], max_new_tokens=6, past_key_values=cache, eos_token_id=[])
    assert counts[0] == len(PROMPT)
    longer = [*first[0].tolist(), 11, 12]
    alone = model.generate([longer], max_new_tokens=6, eos_token_id=[])
    counts.clear()
    found = model.generate([longer], max_new_tokens=6, past_key_values=cache, eos_token_id=[])
    assert torch.equal(found, alone)
    assert counts[0] == 3  # the last token of the first text had not been read
    other = [*PROMPT[:4], 33, 34]
    counts.clear()
    found = model.generate([other], max_new_tokens=6, past_key_values=cache, eos_token_id=[])
    assert torch.equal(found, model.generate([other], max_new_tokens=6, eos_token_id=[]))
    # A window that has moved on cannot return.
    assert counts[0] == (len(other) - 4 if kind == "gpt2" else len(other))


def test_the_same_prompt_again(gpt2):
    cache = gpt2.new_cache()
    first = gpt2.generate([PROMPT], max_new_tokens=6, past_key_values=cache)
    assert torch.equal(gpt2.generate([PROMPT], max_new_tokens=6, past_key_values=cache), first)


def test_rows_that_end_at_different_times_keep_their_place(mistral):
    """In a cache that a caller gave, and goes on with."""
    rows, ends = [PROMPT, [6], [9, 9, 31], [12, 4]], [2, *range(15, 30)]
    cache = mistral.new_cache()
    first = mistral.generate(rows, max_new_tokens=9, past_key_values=cache, eos_token_id=ends)
    width = max(map(len, rows))
    texts = []
    for row, ids in enumerate(first.tolist()):
        new = ids[width:]
        last = next((n for n, token in enumerate(new) if token in ends), len(new))
        texts.append([*rows[row], *new[: last + 1], 10])
    assert len({len(text) - len(row) for text, row in zip(texts, rows, strict=True)}) > 1
    again = mistral.generate(texts, max_new_tokens=5, past_key_values=cache)
    assert torch.equal(again, mistral.generate(texts, max_new_tokens=5))


def test_a_run_that_was_interrupted_leaves_nothing_wrong(gpt2):
    cache, other = gpt2.new_cache(), [5, 9, 30, 25, 26, 27, 28]
    gpt2.generate([PROMPT], max_new_tokens=4, past_key_values=cache)

    def stop(ids, scores):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpt2.generate([other], past_key_values=cache, stopping_criteria=[stop])
    found = gpt2.generate([PROMPT], max_new_tokens=8, past_key_values=cache)
    assert torch.equal(found, gpt2.generate([PROMPT], max_new_tokens=8))


def test_a_cache_of_a_fixed_size(gpt2):
    cache = gpt2.new_cache(10, grows=False)
    whole = gpt2.generate([PROMPT], max_new_tokens=4, past_key_values=cache, eos_token_id=[])
    assert torch.equal(whole, gpt2.generate([PROMPT], max_new_tokens=4, eos_token_id=[]))
    assert cache.layers[0].capacity == 10
    with pytest.raises(ValueError, match="11 tokens, and the cache was made for 10"):
        gpt2.generate([PROMPT], max_new_tokens=9, past_key_values=cache, eos_token_id=[])


def test_slots_grow_by_doubling(gpt2):
    cache = gpt2.new_cache(4)
    gpt2.generate([PROMPT], max_new_tokens=20, past_key_values=cache, eos_token_id=[])
    assert cache.capacity == 32  # 4, 8, 16, 32


def test_a_window_keeps_no_more_than_it_sees(mistral):
    cache = mistral.new_cache()
    mistral.generate([PROMPT * 3], max_new_tokens=20, past_key_values=cache, eos_token_id=[])
    assert {layer.capacity for layer in cache.layers} == {5}
    assert cache.layers[0].key.shape[1] == 5


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
@pytest.mark.parametrize("cuts", [[3, 4], [1, 1, 5], [6, 1], [2, 3, 2], [7]])
def test_tokens_that_are_read_in_pieces(kind, cuts, make):
    """Several at once, after others, in rows of different lengths."""
    model = make(kind)
    rows = [PROMPT, [9, 8, 7, 6, 5, 14, 13, 12, 11, 10]]
    whole = [model.base_model.encode(TokenBatch.from_sequences([row])) for row in rows]
    cache, done = model.new_cache(2), [0, 0]
    for number, piece in enumerate(cuts):
        last = number == len(cuts) - 1
        ends = [done[0] + piece, len(rows[1]) if last else done[1] + number + 1]
        parts = [row[a:b] for row, a, b in zip(rows, done, ends, strict=True)]
        layout = cache.layout([len(part) for part in parts])
        ids = torch.tensor([token for row in layout.order for token in parts[row]])
        hidden = model.read(TokenBatch(layout, ids), cache)
        for row, place in enumerate(layout.rows.tolist()):
            start, end = layout.offsets[place], layout.offsets[place + 1]
            torch.testing.assert_close(hidden[start:end], whole[row][done[row] : ends[row]])
        done = ends


def test_a_layout_that_a_cache_has_not_made(gpt2):
    with pytest.raises(ValueError, match="layouts that it has made itself"):
        gpt2.read(TokenBatch.from_sequences([PROMPT]), gpt2.new_cache())


def test_where_a_cache_cannot_be_given(gpt2, seq2seq):
    for model, options in ((gpt2, {"num_beams": 2}), (seq2seq, {})):
        with pytest.raises(ValueError, match="past_key_values is for prompts of a decoder"):
            model.generate([PROMPT], past_key_values=Cache([None]), **options)


def test_a_source_without_tokens():
    cache = Cache([None])
    layout = TokenBatch.from_sequences([[4, 5], []]).layout
    with pytest.raises(ValueError, match="sequence 1 has no tokens to attend to"):
        cache.remember([(torch.zeros(2, 1, 1), torch.zeros(2, 1, 1))], layout)


def test_a_row_that_has_no_new_tokens(gpt2):
    """As many new tokens as rows are not always one each."""
    rows = [PROMPT, [9, 8, 7]]
    cache = gpt2.new_cache()
    for counts, parts in (([4, 3], [PROMPT[:4], rows[1]]), ([2, 0], [PROMPT[4:6], []])):
        layout = cache.layout(counts)
        ids = torch.tensor([token for row in layout.order for token in parts[row]])
        hidden = gpt2.read(TokenBatch(layout, ids), cache)
    whole = gpt2.base_model.encode(TokenBatch.from_sequences([PROMPT]))
    torch.testing.assert_close(hidden, whole[4:6])
