"""Streams: the text of `generate`, as far as it is read, and closed when it is."""

import asyncio
import gc
import queue
import threading
import weakref

import pytest
import torch

import regard
from regard.generation.streamers import TextIteratorStreamer, TextStreamer

from ...processes import PATIENCE

PROMPT = [5, 9, 30, 8, 14, 21, 7]


class Letters:
    """A tokenizer whose tokens are letters."""

    def decode(self, ids, skip_special_tokens=False):
        return "".join(chr(ord("A") + int(n)) for n in ids)


LETTERS = Letters()


def expected(model, **options):
    ids = model.generate([PROMPT], tokenizer=LETTERS, **options)[0]
    return LETTERS.decode(ids[1 if model.reads_source else len(PROMPT) :])


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "seed": 4}, {"max_new_tokens": 3}])
def test_the_pieces_are_the_text(model, options):
    stream = regard.TextStream(model, LETTERS, PROMPT, **options)
    text = expected(model, **options)
    assert [*stream] == [*text]
    assert LETTERS.decode(stream.tokens) == text
    assert stream.reason in ("end", "length")
    assert [*stream] == []


def test_no_token_is_lost_where_several_come_in_one_step(gpt2):
    more = {"prompt_lookup_num_tokens": 3, "max_new_tokens": 12}
    text = expected(gpt2, **more)
    stream = regard.TextStream(gpt2, LETTERS, PROMPT * 2, **more)
    whole = gpt2.generate([PROMPT * 2], **more)[0, 2 * len(PROMPT) :]
    assert "".join(stream) == LETTERS.decode(whole)
    streamer = TextIteratorStreamer(LETTERS, skip_prompt=True)
    gpt2.generate([PROMPT], streamer=streamer, **more)
    assert "".join(streamer) == text
    rewritten = gpt2.generate([PROMPT * 2], return_dict_in_generate=True, **more)
    assert sum(rewritten.accepted_tokens) > 0  # else there was nothing to lose


def test_it_decodes_as_far_as_it_is_read(gpt2):
    stream = regard.TextStream(gpt2, LETTERS, PROMPT)
    assert stream.tokens == []
    next(stream)
    assert len(stream.tokens) == 1
    assert stream.reason == ""


def test_no_tokens_are_no_pieces(gpt2):
    stream = regard.TextStream(gpt2, LETTERS, PROMPT, max_new_tokens=0)
    assert [*stream] == []
    assert stream.reason == "length"


def test_a_stop_string_is_no_part_of_it(gpt2):
    text = expected(gpt2, max_new_tokens=8)
    stop = text[4:6]
    place = text.index(stop)
    stream = regard.TextStream(gpt2, LETTERS, PROMPT, stop_strings=stop, max_new_tokens=8)
    assert "".join(stream) == text[:place]
    assert stream.reason == "string"
    # One that only begins is text in the end.
    almost = text[7:8] + "#"
    stream = regard.TextStream(gpt2, LETTERS, PROMPT, stop_strings=almost, max_new_tokens=8)
    assert "".join(stream) == text


def test_closing_lets_the_cache_go(gpt2):
    cache = gpt2.new_cache()
    gone = weakref.ref(cache)
    with regard.TextStream(gpt2, LETTERS, PROMPT, past_key_values=cache) as stream:
        next(stream)
        del cache
        gc.collect()
        assert gone() is not None
    gc.collect()
    assert gone() is None
    assert [*stream] == []
    assert stream.reason == "closed"


def test_closing_during_a_step_takes_effect_after_it(gpt2):
    stream = None
    steps = []

    def criterion(ids, scores):
        steps.append(ids.shape[1])
        if len(steps) == 2:
            stream.close()  # as another thread would, while the step goes on
        return False

    stream = regard.TextStream(gpt2, LETTERS, PROMPT, stopping_criteria=[criterion])
    assert len([*stream]) <= 2
    assert len(steps) == 2
    assert stream.reason == "closed"


def test_async(gpt2):
    async def read():
        async with regard.TextStream(gpt2, LETTERS, PROMPT, max_new_tokens=5) as stream:
            return [piece async for piece in stream]

    assert "".join(asyncio.run(read())) == expected(gpt2, max_new_tokens=5)


def test_cancelling_the_reader_closes_the_stream(gpt2):
    begun, go_on = threading.Event(), threading.Event()

    def criterion(ids, scores):
        begun.set()
        go_on.wait(PATIENCE)
        return False

    stream = regard.TextStream(gpt2, LETTERS, PROMPT, stopping_criteria=[criterion])

    async def read():
        task = asyncio.create_task(anext(stream))
        await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(read())
    assert [*stream] == []
    assert stream.reason == "closed"
    assert len(stream.tokens) == 1


def test_an_error_ends_it(gpt2):
    def criterion(ids, scores):
        raise RuntimeError("no more")

    stream = regard.TextStream(gpt2, LETTERS, PROMPT, stopping_criteria=[criterion])
    with pytest.raises(RuntimeError, match="no more"):
        next(stream)
    assert [*stream] == []


@pytest.mark.parametrize(
    "options", [{"num_beams": 2}, {"penalty_alpha": 0.5, "top_k": 3}, {"num_return_sequences": 2}]
)
def test_what_is_not_sure_before_the_end_is_refused(gpt2, options):
    sample = {"do_sample": True} if "num_return_sequences" in options else {}
    with pytest.raises(ValueError, match="streaming is for one prompt"):
        regard.TextStream(gpt2, LETTERS, PROMPT, **options, **sample)
    with pytest.raises(ValueError, match="streaming is for one prompt"):
        gpt2.generate([PROMPT], streamer=TextStreamer(LETTERS), **options, **sample)


def test_streamers_get_prompt_and_tokens(gpt2, capsys):
    whole = gpt2.generate([PROMPT], streamer=TextStreamer(LETTERS), max_new_tokens=4)[0]
    assert capsys.readouterr().out == LETTERS.decode(whole) + "\n"
    gpt2.generate([PROMPT], streamer=TextStreamer(LETTERS, skip_prompt=True), max_new_tokens=4)
    assert capsys.readouterr().out == LETTERS.decode(whole[len(PROMPT) :]) + "\n"


def test_a_streamer_is_an_iterator_for_another_thread(gpt2):
    streamer = TextIteratorStreamer(LETTERS, skip_prompt=True, timeout=PATIENCE)
    options = {"input_ids": torch.tensor([PROMPT]), "streamer": streamer, "max_new_tokens": 4}
    thread = threading.Thread(target=gpt2.generate, kwargs=options)
    thread.start()
    assert "".join(streamer) == expected(gpt2, max_new_tokens=4)
    thread.join()
    with pytest.raises(queue.Empty):
        next(TextIteratorStreamer(LETTERS, timeout=0.01))


def test_a_streamer_ends_with_an_error_too(gpt2):
    def criterion(ids, scores):
        raise RuntimeError("no more")

    streamer = TextIteratorStreamer(LETTERS, timeout=PATIENCE)
    with pytest.raises(RuntimeError, match="no more"):
        gpt2.generate([PROMPT], streamer=streamer, stopping_criteria=[criterion])
    assert "".join(streamer) == LETTERS.decode(PROMPT)
