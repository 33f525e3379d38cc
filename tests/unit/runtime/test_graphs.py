"""Forwards of fixed shapes: buckets, filling up, and that nothing looks at the batch's own numbers.

There is no CUDA graph on a processor. Two things stand in: `record` as it is, which calls the same
function on the same buffers again; and `traced`, which writes down PyTorch's operations with all
numbers that the host knew, as a graph does, and runs these. What looks at a value fails in that.
"""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import regard
from regard.generation.batching import GenerationScheduler
from regard.layers import embeddings
from regard.runtime import graphs
from regard.runtime.graphs import Captured, DecodeGraphs, EncodeGraphs, bucket_of

from ...contracts import flash

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 48,
    "initializer_range": 0.4,
}
MODELS = {
    "gpt2": lambda: regard.GPT2LMHeadModel(regard.GPT2Config(**SIZES)),
    "llama": lambda: regard.LlamaForCausalLM(
        regard.LlamaConfig(**SIZES, num_key_value_heads=2, intermediate_size=48)
    ),
    "mistral": lambda: regard.MistralForCausalLM(
        regard.MistralConfig(**SIZES, num_key_value_heads=1, intermediate_size=48, sliding_window=5)
    ),
    "bert": lambda: regard.BertModel(regard.BertConfig(**SIZES, intermediate_size=48)),
    "modernbert": lambda: regard.ModernBertModel(
        regard.ModernBertConfig(
            **SIZES,
            intermediate_size=48,
            local_attention=8,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=1,
            sep_token_id=2,
        )
    ),
}
DECODERS = ["gpt2", "llama", "mistral"]
ENCODERS = ["bert", "modernbert"]


def make(kind):
    torch.manual_seed(3)
    return MODELS[kind]().double().eval()


def traced(function, inputs, pool):
    """Record the operations of a computation, and run what was recorded."""
    steps = make_fx(function)(*inputs)
    outputs = tuple(each.clone() for each in steps(*inputs))

    def again():
        for place, each in zip(outputs, steps(*inputs), strict=True):
            place.copy_(each)

    return outputs, again


@pytest.fixture(params=["called again", "recorded"])
def recording(request, monkeypatch):
    """Record as on a processor, or as a graph does; ids are not looked at on an accelerator."""
    if request.param == "recorded":
        monkeypatch.setattr(graphs, "record", traced)
        monkeypatch.setattr(embeddings, "check_ids", lambda *given: None)
    return request.param


def test_what_is_recorded_looks_at_nothing():
    """The stand-in for a graph notices what a graph would."""
    value = torch.tensor([1.0])
    with pytest.raises(RuntimeError):
        traced(lambda x: (x * float(x.sum()),), (value,), None)
    (output,), again = traced(lambda x: (x + 1,), (value,), None)
    value.fill_(5)
    again()
    assert output.tolist() == [6]


def test_inputs_are_copied_and_filled_up():
    seen = []

    def function(left, right):
        seen.append((left, right))
        return left + right.sum(), left * 2

    captured = Captured(function, [torch.ones(4), torch.ones(2, 2)])
    assert [each.tolist() for each in captured.outputs] == [[0.0] * 4] * 2
    first = captured(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.ones(2, 2))
    assert [each.tolist() for each in first] == [[5, 6, 7, 8], [2, 4, 6, 8]]
    second = captured(torch.tensor([1.0]), torch.ones(1, 2))
    assert [each.tolist() for each in second] == [[3, 2, 2, 2], [2, 0, 0, 0]]
    assert all(old is new for old, new in zip(first, second, strict=True))
    assert all(given[0] is captured.inputs[0] for given in seen)
    with pytest.raises(ValueError, match=r"input 1 has shape \(3, 1\), .* room for \(2, 2\)"):
        captured(torch.ones(4), torch.ones(3, 1))


def test_buckets_hold_what_they_are_for_and_waste_little():
    for steps in (1, 4, 8):
        sizes = [bucket_of(count, steps=steps, least=8) for count in range(1, 3000)]
        assert sizes == sorted(sizes)
        for count, size in enumerate(sizes, 1):
            assert size >= count
            assert size <= max(8, count * (1 + 1 / steps))
            assert bucket_of(size, steps=steps, least=8) == size
    assert [bucket_of(n) for n in (1, 2, 3, 5, 8, 9)] == [1, 2, 4, 8, 8, 16]


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize(
    ("recording", "page_size"),
    [("called again", 1), ("called again", 4), ("recorded", 32)],
    indirect=["recording"],
)
def test_requests_get_what_they_get_without(kind, page_size, recording):
    """Rows join and leave, the cache grows, and every step is some graph's."""
    model = make(kind)
    step = DecodeGraphs(model)
    scheduler = GenerationScheduler(model, slots=3, page_size=page_size, step=step)
    jobs = []
    for number, prompt in enumerate([[5, 9, 30, 8], [7], [6, 6, 9], [11] * 9, [4, 5]]):
        options = {"max_new_tokens": 3 + 2 * number, "eos_token_id": []}
        jobs.append((scheduler.submit(prompt, **options), prompt, options))
        scheduler.step()
    while scheduler.busy:
        scheduler.step()
    for job, prompt, options in jobs:
        expected = model.generate([prompt], **options)[0, len(prompt) :]
        assert job.tokens == expected.tolist()
    assert len(step.graphs) >= 1


@pytest.mark.parametrize("kind", DECODERS)
def test_a_text_up_to_the_end_of_the_context(kind):
    """A bucket's last page may reach beyond the last position."""
    model = make(kind)
    scheduler = GenerationScheduler(model, slots=2, page_size=5, step=DecodeGraphs(model))
    job = scheduler.submit([5, 9], max_length=48, eos_token_id=[])
    assert [*scheduler.run()] == [job]
    assert job.tokens == model.generate([[5, 9]], max_length=48, eos_token_id=[])[0, 2:].tolist()


def test_rows_that_fill_up_touch_no_others():
    """Three rows in a bucket of four: the fourth writes where nobody reads."""
    model = make("gpt2")
    caches = [model.new_cache(page_size=4) for _ in range(2)]
    step, found = DecodeGraphs(model), []
    for cache, read in zip(caches, (step, None), strict=True):
        layout = cache.layout([4, 2, 3])
        model.read(regard.TokenBatch(layout, torch.arange(9) + 4), cache)
        layout = cache.layout([1, 1, 1])
        batch = regard.TokenBatch(layout, torch.tensor([5, 6, 7]))
        found.append(read(batch, cache)[0] if read else model.read(batch, cache))
    torch.testing.assert_close(*found)
    assert caches[0].lengths == caches[1].lengths
    for left, right in zip(caches[0].layers, caches[1].layers, strict=True):
        torch.testing.assert_close(left.key[1:], right.key[1:])
        torch.testing.assert_close(left.value[1:], right.value[1:])


def test_graphs_are_kept_until_the_store_moves_or_there_are_too_many():
    model = make("gpt2")
    step = DecodeGraphs(model, most=2)
    scheduler = GenerationScheduler(model, slots=4, page_size=64, step=step)

    def run(count):
        for _ in range(count):
            scheduler.submit([5], max_new_tokens=4, eos_token_id=[])
        assert len([*scheduler.run()]) == count
        return dict(step.graphs._captured)

    for count, buckets in ((1, [(1, 1)]), (2, [(2, 1)]), (3, [(4, 1)])):
        assert [*run(count)] == buckets  # each time there is a page more, in another store
    kept = run(3)[4, 1]
    found = run(1)
    assert [*found] == [(4, 1), (1, 1)]
    assert found[4, 1] is kept
    assert [*run(2)] == [(1, 1), (2, 1)]
    assert [*run(1)] == [(2, 1), (1, 1)]


def test_what_decoding_cannot_be_captured():
    model = make("gpt2")
    step = DecodeGraphs(model)
    scheduler = GenerationScheduler(model, page_size=0, step=step)
    job = scheduler.submit([5, 6], max_new_tokens=3)
    assert [*scheduler.run()] == [job]
    with pytest.raises(ValueError, match="over a cache in pages: give GenerationScheduler"):
        job.result(0)
    cache = model.new_cache(page_size=4)
    with pytest.raises(ValueError, match="one token of each row, after a prompt"):
        step(regard.TokenBatch(cache.layout([1]), torch.tensor([5])), cache)
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        DecodeGraphs(make("gpt2").train())
    config = regard.LlamaConfig(**SIZES, rope_scaling={"rope_type": "dynamic", "factor": 2.0})
    with pytest.raises(regard.ConfigError, match="type 'dynamic' turn by the length"):
        DecodeGraphs(regard.LlamaForCausalLM(config).eval())
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 40}
    source = regard.BartForConditionalGeneration(regard.BartConfig(**sizes)).eval()
    with pytest.raises(ValueError, match="reads a source; graphs are for decoders alone"):
        DecodeGraphs(source)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(
    "lengths", [[5, 3, 9], [1], [16, 16], [48, 2, 2, 2, 1], [7] * 11, [3, 0, 2]]
)
def test_encoding_by_graphs(kind, lengths, monkeypatch, recording):
    """Flash attention is stood in for, once it is known what the model gives without it."""
    model = make(kind)
    batch = regard.TokenBatch.from_sequences([[4 + n % 30] * n for n in lengths])
    expected = model.encode(batch)
    calls = flash.use(monkeypatch, flash.padded_varlen_attn)
    encode = EncodeGraphs(model)
    torch.testing.assert_close(encode(batch), expected)
    assert len(calls) >= SIZES["num_hidden_layers"]
    other = regard.TokenBatch.from_sequences([[9, 8], [7] * 6])
    kept = encode(batch)
    torch.testing.assert_close(encode(other), model.encode(other))
    torch.testing.assert_close(kept, expected)  # results are the caller's


def test_segments_and_buckets_of_encoding(monkeypatch, recording):
    model = make("bert")
    flash.use(monkeypatch, flash.padded_varlen_attn)
    encode = EncodeGraphs(model)
    rows, segments = [[5, 6, 7], [8, 9]], [[0, 1, 1], [0, 1]]
    batch = regard.TokenBatch.from_sequences(rows, segments)
    torch.testing.assert_close(encode(batch), model.encode(batch))
    assert len(encode.graphs) == 1
    batch = regard.TokenBatch.from_sequences([[5, 6, 7, 8, 8, 9], [8]], [[1] * 6, [0]])
    torch.testing.assert_close(encode(batch), model.encode(batch))
    assert len(encode.graphs) == 1
    batch = regard.TokenBatch.from_sequences(rows)
    torch.testing.assert_close(encode(batch), model.encode(batch))
    assert len(encode.graphs) == 2


def test_what_encoding_cannot_be_captured(monkeypatch):
    model = make("bert")
    batch = regard.TokenBatch.from_sequences([[5, 6, 7]])
    with pytest.raises(ValueError, match="kernel 'varlen' needs half precision on a CUDA"):
        EncodeGraphs(model)(batch)
    with pytest.raises(ValueError, match="longer than the 48 positions of this model"):
        EncodeGraphs(model)(regard.TokenBatch.from_sequences([[5] * 49]))
    with pytest.raises(ValueError, match="graphs encode token ids"):
        EncodeGraphs(model)(regard.TokenBatch(batch.layout, None, embeds=torch.zeros(3, 32)))
    layout = graphs.Bucketed((3,), (0,), 3, (), batch.layout.offsets, batch.layout.positions, None)
    with pytest.raises(ValueError, match="does not know where sequences end"):
        model.encode(regard.TokenBatch(layout, batch.ids))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", DECODERS)
def test_decoding_on_a_gpu(kind):
    model = make(kind).to("cuda", torch.bfloat16)
    prompts = [[5, 9, 30, 8], [7], [6, 6, 9]]
    options = {"max_new_tokens": 8, "eos_token_id": []}
    found = []
    for step in (None, DecodeGraphs(model)):
        scheduler = GenerationScheduler(model, page_size=256, step=step)
        jobs = [scheduler.submit(ids, **options) for ids in prompts]
        assert {*scheduler.run()} == {*jobs}
        found.append([job.tokens for job in jobs])
    assert found[0] == found[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoding_on_a_gpu(kind):
    model = make(kind).to("cuda", torch.bfloat16)
    encode = EncodeGraphs(model)
    for lengths in ([5, 3, 9], [1], [7, 7, 6]):
        rows = [[4 + n % 30] * n for n in lengths]
        batch = regard.TokenBatch.from_sequences(rows, device="cuda")
        with torch.inference_mode():
            expected = model.encode(batch)
        torch.testing.assert_close(encode(batch), expected, atol=2e-2, rtol=2e-2)
