import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import regard
from regard.data.sampling import token_batches
from regard.observe import observing
from regard.pipelines.sentence_encoder import SentenceEncoder
from regard.runtime.precision import multiplies_int8
from regard.runtime.streams import even_budget, side_by_side, streams_of

needs_bytes = pytest.mark.skipif(
    not multiplies_int8(torch.device("cpu")), reason="this processor has no VNNI"
)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_results_come_in_order(streams):
    def work(item):
        time.sleep(0.002 * (5 - item % 5))
        return item * item

    assert [*side_by_side(work, range(12), streams)] == [item * item for item in range(12)]


def test_several_are_worked_on_at_a_time(two_threads):
    meeting = threading.Barrier(2, timeout=20)

    def work(item):
        meeting.wait()  # no one passes alone
        return torch.get_num_threads()

    assert [*side_by_side(work, range(4), 2)] == [1] * 4
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:  # threads that come later have as many as before
        assert pool.submit(torch.get_num_threads).result() == 2


def test_an_error_is_raised_in_its_place(two_threads):
    done = []

    def work(item):
        if item == 2:
            raise ValueError("two")
        done.append(item)
        return item

    results = side_by_side(work, range(100), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    count = len(done)
    assert count < 100, "what nobody waits for is not begun"
    time.sleep(0.05)
    assert len(done) == count
    assert torch.get_num_threads() == 2


@needs_bytes
def test_a_pipeline_answers_as_with_one_stream(two_threads, monkeypatch):
    encoder = SentenceEncoder.from_pretrained(precision="int8", batch_tokens=64)
    texts = [f"{word} " * count for count, word in enumerate(["river", "stone", "cloud"] * 8, 1)]
    assert streams_of(encoder.model) == 2
    found = encoder.encode(texts)
    monkeypatch.setattr("regard.pipelines.pipeline.streams_of", lambda _: 1)
    assert encoder.encode(texts) == pytest.approx(found, abs=1e-5)


@needs_bytes
def test_who_looks_sees_everything(two_threads):
    encoder = SentenceEncoder.from_pretrained(precision="int8", batch_tokens=16)
    seen = []
    layer = encoder.model.encoder.layers[0]
    with observing({layer: lambda *_: seen.append(threading.get_ident())}):
        assert streams_of(encoder.model) == 1
        encoder.encode(["one text", "another text of more words"] * 4)
    assert set(seen) == {threading.get_ident()}


@pytest.mark.parametrize("precision", [None, "fp32", "bf16"])
def test_other_precisions_have_one(precision, two_threads):
    model = regard.BertModel(regard.BertConfig(num_hidden_layers=1)).eval()
    assert streams_of(model if precision is None else regard.optimize(model, precision)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_has_threads_of_its_own(two_threads):
    assert [*side_by_side(abs, [-1, -2], 2)] == [1, 2]
    program = """
import os, torch
from regard.runtime.streams import side_by_side
assert [*side_by_side(abs, [-1, -2], 2)] == [1, 2]
child = os.fork()
if not child:
    os._exit([*side_by_side(abs, [-3, -4], 2)] != [3, 4])
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "0\n"


@given(st.lists(st.integers(1, 60), min_size=1, max_size=300), st.sampled_from([2, 3, 4]))
def test_streams_end_together(lengths, streams):
    budget = even_budget(lengths, 256, streams)
    sizes = [sum(lengths[i] for i in batch) for batch in token_batches(lengths, budget)]
    rounds = -(-sum(lengths) // (256 * streams))
    assert len(sizes) <= rounds * streams, "no stream has a batch more than the others"
    assert max(sizes) <= 256 + 2 * max(lengths)
