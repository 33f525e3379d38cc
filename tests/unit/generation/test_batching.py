"""Continuous batching: a request gets what it gets alone, whoever else is there, and when."""

import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.generation.batching import GenerationScheduler
from regard.generation.engine import GenerationEngine

from ...processes import PATIENCE

PROMPT = [5, 9, 30, 8]
ENDS = [2, *range(20, 26)]
#: Rules, stops and random numbers of one request.
WAYS = (
    {},
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"do_sample": True, "seed": 4},
    {"do_sample": True, "seed": 9, "temperature": 2.0, "top_k": 7},
    {"bad_words_ids": [[7], [8, 9]], "min_new_tokens": 3},
)


def alone(model, ids, **options):
    """Return the new tokens of a call by itself, without what fills the row."""
    found = model.generate([ids], **options)[0].tolist()
    new = found[1 if model.reads_source else len(ids) :]
    ends = options.get("eos_token_id", [2])
    last = next((place for place, token in enumerate(new) if token in ends), len(new))
    return new[: last + 1]


requests = st.lists(
    st.tuples(
        st.lists(st.integers(4, 39), min_size=1, max_size=9),
        st.sampled_from(WAYS),
        st.integers(0, 12),  # new tokens
        st.integers(0, 6),  # the step at which it comes
        st.integers(-1, 1),  # priority
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=10, deadline=None)
@given(requests, st.integers(1, 4), st.sampled_from([None, 24, 60]))
def test_whatever_the_order(gpt2, mistral, seq2seq, given_requests, slots, tokens):
    for model in (gpt2, mistral, seq2seq):
        scheduler = GenerationScheduler(model, slots=slots, tokens=tokens)
        coming, jobs, step = [*given_requests], [], 0
        while coming or scheduler.busy:
            for request in [each for each in coming if each[3] <= step]:
                coming.remove(request)
                ids, way, new, _, priority = request
                options = way | {"max_new_tokens": new, "eos_token_id": ENDS}
                job = scheduler.submit(ids, priority=priority, **options)
                jobs.append((job, ids, options))
            scheduler.step()
            assert len(scheduler.active) <= slots
            assert tokens is None or sum(job.size for job in scheduler.active) <= tokens
            step += 1
        for job, ids, options in jobs:
            assert job.result(0) == job.tokens == [*job] == alone(model, ids, **options)


def test_priority_then_arrival(gpt2):
    scheduler = GenerationScheduler(gpt2, slots=1)
    options = {"max_new_tokens": 2, "eos_token_id": []}
    low, first, high, second = (
        scheduler.submit(PROMPT, priority=priority, **options) for priority in (-1, 0, 5, 0)
    )
    assert [*scheduler.run()] == [high, first, second, low]


def test_requests_join_and_leave_between_steps(gpt2):
    scheduler = GenerationScheduler(gpt2, slots=2)
    long = scheduler.submit(PROMPT, max_new_tokens=9, eos_token_id=[])
    scheduler.step()
    short = scheduler.submit([7, 7], max_new_tokens=2, eos_token_id=[])
    assert scheduler.step() == []
    assert (len(long.tokens), len(short.tokens)) == (2, 1)
    assert scheduler.step() == [short]
    assert (short.ended, long.ended) == ("length", "")
    later = scheduler.submit(PROMPT, max_new_tokens=3, eos_token_id=[])
    scheduler.step()
    assert later.tokens == long.tokens[:1]
    assert {*scheduler.run()} == {long, later}


def test_cancelled_requests_leave(gpt2):
    scheduler = GenerationScheduler(gpt2, slots=2)
    jobs = [scheduler.submit([7 + n, 5], max_new_tokens=8, eos_token_id=[]) for n in range(3)]
    scheduler.step()
    jobs[0].cancel()  # it is decoded
    scheduler.step()
    assert len(jobs[2].tokens) == 1
    waits = scheduler.submit(PROMPT)
    waits.cancel()
    ended = [*scheduler.run()]
    assert ended[0] is waits
    for job, count in ((jobs[0], 1), (waits, 0)):
        assert (job.ended, len(job.tokens)) == ("cancelled", count)
        with pytest.raises(CancelledError):
            job.result()
    for number in (1, 2):
        ids = [7 + number, 5]
        assert jobs[number].result(0) == alone(gpt2, ids, max_new_tokens=8, eos_token_id=[])


def test_an_error_concerns_the_request_alone(gpt2):
    def broken(ids, scores):
        raise RuntimeError("not I")

    def silent(ids, scores):
        return scores.new_full(scores.shape, torch.nan)

    def deaf(token):
        raise OSError("gone")

    scheduler = GenerationScheduler(gpt2)
    options = {"max_new_tokens": 6, "eos_token_id": []}
    good = [scheduler.submit(PROMPT, **options)]
    bad = [
        scheduler.submit(PROMPT, logits_processor=[broken], **options),
        scheduler.submit(PROMPT, logits_processor=[silent], **options),
        scheduler.submit(PROMPT, stopping_criteria=[broken], **options),
        scheduler.submit(PROMPT, on_token=deaf, **options),
    ]
    good.append(scheduler.submit([9], **options))
    assert {*scheduler.run()} == {*good, *bad}
    for job, ids in zip(good, (PROMPT, [9]), strict=True):
        assert job.result(0) == alone(gpt2, ids, **options)
    errors = [(RuntimeError, "not I"), (ValueError, "is nan"), (RuntimeError, "not I")]
    for job, (kind, message) in zip(bad, [*errors, (OSError, "gone")], strict=True):
        assert job.ended == "error"
        with pytest.raises(kind, match=message):
            job.result(0)


def test_an_error_of_the_model_ends_what_was_there_and_nothing_later(make, monkeypatch):
    model = make("gpt2")
    scheduler = GenerationScheduler(model)
    job = scheduler.submit(PROMPT, max_new_tokens=6)
    scheduler.step()
    with monkeypatch.context() as patch:

        def full(*_):
            raise MemoryError("full")

        patch.setattr(model, "read", full)
        assert scheduler.step() == [job]
    with pytest.raises(MemoryError, match="full"):
        job.result(0)
    again = scheduler.submit(PROMPT, max_new_tokens=6)
    assert [*scheduler.run()] == [again]
    assert again.result(0) == alone(model, PROMPT, max_new_tokens=6)


def test_what_a_request_cannot_ask_for(gpt2):
    scheduler = GenerationScheduler(gpt2, tokens=20)
    for options in (
        {"num_beams": 2},
        {"num_return_sequences": 2, "do_sample": True},
        {"prompt_lookup_num_tokens": 3},
        {"assistant_model": gpt2},
        {"penalty_alpha": 0.6},
        {"use_cache": False},
        {"past_key_values": gpt2.new_cache()},
    ):
        with pytest.raises(ValueError, match="a request continues one text"):
            scheduler.submit(PROMPT, **options)
    with pytest.raises(ValueError, match="return_dict_in_generate"):
        scheduler.submit(PROMPT, return_dict_in_generate=True)
    with pytest.raises(ValueError, match="may grow to 48 tokens, and there is room for 20"):
        scheduler.submit(PROMPT)
    with pytest.raises(TypeError, match="no option 'temperature_'"):
        scheduler.submit(PROMPT, temperature_=2.0)
    with pytest.raises(ValueError, match="row 0 has no tokens"):
        scheduler.submit([])
    with pytest.raises(ValueError, match="slots=0"):
        GenerationScheduler(gpt2, slots=0)
    assert not scheduler.busy


def test_threads_share_an_engine(seq2seq):
    texts = [([4 + n, 9, 30][: n % 3 + 1], WAYS[n % len(WAYS)]) for n in range(24)]
    with GenerationEngine(seq2seq, slots=3) as engine, ThreadPoolExecutor(6) as pool:

        def ask(request):
            ids, way = request
            return [*engine.submit(ids, max_new_tokens=7, **way)]

        found = [*pool.map(ask, texts)]
    for (ids, way), tokens in zip(texts, found, strict=True):
        assert tokens == alone(seq2seq, ids, max_new_tokens=7, **way)
    with pytest.raises(RuntimeError, match="was closed"):
        engine.submit(PROMPT)


def test_tokens_come_while_the_engine_works(gpt2):
    heard, go = [], threading.Event()

    def listen(token):
        heard.append(token)
        if len(heard) == 2:
            go.wait(PATIENCE)

    with GenerationEngine(gpt2) as engine:
        job = engine.submit(PROMPT, max_new_tokens=9, eos_token_id=[], on_token=listen)
        first = next(iter(job))
        assert not job.future.done()
        go.set()
        assert [*job] == job.result(PATIENCE) == heard
        assert heard[0] == first
    assert heard == alone(gpt2, PROMPT, max_new_tokens=9, eos_token_id=[])


def test_an_engine_that_is_closed_in_a_hurry(gpt2):
    go = threading.Event()
    engine = GenerationEngine(gpt2, slots=1)
    first = engine.submit(PROMPT, max_new_tokens=30, on_token=lambda token: go.wait(PATIENCE))
    second = engine.submit(PROMPT)
    closing = threading.Thread(target=engine.close, kwargs={"cancel": True})
    closing.start()
    while not second.cancelled:
        time.sleep(0.001)
    go.set()
    closing.join(PATIENCE)
    for job in (first, second):
        with pytest.raises(CancelledError):
            job.result(PATIENCE)
