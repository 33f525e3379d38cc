"""Flash attention over a whole batch gives what `eager` gives, and is taken where it can be.

The processor has no such kernel: a function of the same signature stands in, which follows the
definition and refuses what torch's refuses. What is tested here is all that surrounds the call.
"""

import inspect
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import regard
from regard.attention.cache import Cache
from regard.attention.kernels import KERNELS, eager, sdpa, varlen
from regard.attention.patterns import ALL, Pattern
from regard.batch import Layout
from regard.crossing import Crossing
from regard.generation.batching import GenerationScheduler

from . import flash
from .test_kernels import PATTERNS, shuffled, tensors


@pytest.fixture
def calls(monkeypatch):
    return flash.use(monkeypatch)


def test_the_stand_ins_have_the_signature_that_torch_has():
    from torch.nn.attention.varlen import varlen_attn

    theirs, new, old = (
        [*inspect.signature(each).parameters]
        for each in (varlen_attn, flash.varlen_attn, flash.old_varlen_attn)
    )
    assert {*theirs} >= {*new} or theirs == old


def assert_like_eager(kernel, scope, pattern, heads=(4, 2)):
    query = tensors(scope.queries.tokens, heads[0], 8, torch.float64)[0]
    _, key, value = tensors(scope.keys.tokens, heads[0], 8, torch.float64, key_heads=heads[1])
    expected = eager(query, key, value, scope, pattern)
    found = kernel(query, key, value, scope, pattern)
    assert torch.allclose(found, expected, atol=1e-12)
    if not len(query):
        return
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weights).sum(), (query, key, value))
    given_ = torch.autograd.grad((found * weights).sum(), (query, key, value))
    for left, right in zip(given_, wanted, strict=True):
        assert torch.allclose(left, right, atol=1e-12)


@settings(max_examples=30)
@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=6),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (4, 1)]),
    pattern=st.sampled_from(PATTERNS),
    newer=st.booleans(),
)
def test_sequences_that_attend_to_themselves_and_to_others(rows, heads, pattern, newer):
    queries = shuffled([count for count, _ in rows])
    keys = shuffled([max(pair) for pair in rows])
    with pytest.MonkeyPatch.context() as patch:
        flash.use(patch, flash.varlen_attn if newer else flash.old_varlen_attn)
        assert_like_eager(varlen, queries, pattern, heads)
        assert_like_eager(varlen, Crossing.between(queries, keys), pattern, heads)
        assert_like_eager(sdpa, Crossing.between(queries, keys), pattern, heads)


def filled(cache, counts, heads=2):
    """Read so many tokens into each slot of a cache of one layer."""
    layout = cache.layout(counts)
    _, key, value = tensors(layout.tokens, heads, 8, torch.float64)
    cache.layers[0].append(key, value, layout)
    cache.advance(layout)


@pytest.mark.parametrize("window", [None, 255])
@pytest.mark.parametrize("fresh", [[1, 1, 1, 1], [1, 1, 0, 1], [3, 1, 2, 3]])
@pytest.mark.parametrize("counts", [[5, 300, 9, 2], [7, 7, 7, 7]])
def test_what_a_cache_holds(counts, fresh, window, calls):
    cache = Cache([window], 256)
    filled(cache, counts)
    layout = cache.layout(fresh)
    query = tensors(layout.tokens, 4, 8, torch.float64)[0].detach()
    _, key, value = tensors(layout.tokens, 2, 8, torch.float64)
    key, value, scope = cache.layers[0].append(key, value, layout)
    pattern = Pattern(causal=True, window=window)
    expected = eager(query, key, value, scope, pattern)
    if window is not None and fresh != [1] * 4:
        with pytest.raises(ValueError, match="do not lie one after the other"):
            varlen(query, key, value, scope, pattern)
        assert torch.allclose(sdpa(query, key, value, scope, pattern), expected, atol=1e-12)
        assert not calls
        return
    assert torch.allclose(varlen(query, key, value, scope, pattern), expected, atol=1e-12)
    assert len(calls) == 1


@pytest.mark.parametrize("shared", [1, 2])
def test_sources_that_a_cache_remembers(shared, calls):
    """Several beams of a source are as many queries to it."""
    source = Layout.from_lengths([4, 9, 2])
    _, key, value = tensors(source.tokens, 2, 8, torch.float64)
    cache = Cache([None])
    cache.remember([(key, value)], source)
    cache.shared = shared
    cache.lengths = [0] * 3 * shared
    layout = cache.layout([1] * 3 * shared)
    kept = cache.remembered(0, layout)
    query = tensors(layout.tokens, 2, 8, torch.float64)[0].detach()
    expected = eager(query, kept.key, kept.value, kept.scope, ALL)
    stores = [torch.zeros(3, 256, 2, 8, dtype=torch.float64) for _ in range(2)]
    for store, old in zip(stores, (kept.key, kept.value), strict=True):
        store[:, : old.shape[1]] = old
    assert torch.allclose(varlen(query, *stores, kept.scope), expected, atol=1e-12)


def test_a_ragged_batch_is_one_call(calls):
    layout = Layout.from_lengths([5, 3, 3, 8])
    assert_like_eager(sdpa, layout, ALL)
    assert_like_eager(sdpa, layout, Pattern(causal=True))
    assert_like_eager(sdpa, Layout.from_lengths([200, 200]), Pattern(window=4))
    holes = Layout.from_mask(torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0]]).bool())
    assert_like_eager(sdpa, holes, Pattern(causal=True))
    assert len(calls) == 4


def test_equal_lengths_are_one_call_anyway(calls):
    for pattern in (ALL, Pattern(causal=True), Pattern(window=9)):
        assert_like_eager(sdpa, Layout.from_lengths([5, 5, 5]), pattern)
    assert_like_eager(sdpa, Layout.from_lengths([0, 0]), ALL)
    assert not calls


def test_what_it_cannot_do_is_left_to_others(calls):
    layout = Layout.from_lengths([5, 3])
    query, key, value = tensors(8, 2, 8, torch.float64)
    bias = tuple(torch.zeros(1, 2, n, n, dtype=torch.float64) for n in (5, 3))
    cases = (
        (layout, Pattern(scale=-1.0), 0.0, "needs a scale above 0"),
        (layout, ALL, 0.5, "knows no dropout"),
        (replace(layout, bias=bias), ALL, 0.0, "knows no bias"),
    )
    for scope, pattern, dropout, message in cases:
        sdpa(query, key, value, scope, pattern, dropout)
        with pytest.raises(ValueError, match=f"{message}.*Use attn_implementation"):
            varlen(query, key, value, scope, pattern, dropout)
    for size in (4, 264):
        query, key, value = tensors(8, 2, size, torch.float64)
        sdpa(query, key, value, layout)
        with pytest.raises(ValueError, match=r"multiple of 8, up to 256; found .* heads of"):
            varlen(query, key, value, layout)
    assert not calls


def test_caches_that_it_cannot_read(monkeypatch):
    calls = flash.use(monkeypatch)
    for capacity, gradient, older, message in (
        (32, False, False, "multiple of 256 tokens long"),
        (256, True, False, "has no gradient"),
        (256, False, True, "from PyTorch 2.12 on"),
    ):
        if older:
            flash.use(monkeypatch, flash.old_varlen_attn)
        cache = Cache([None], capacity)
        filled(cache, [5, 3])
        layout = cache.layout([1, 1])
        query, key, value = tensors(2, 2, 8, torch.float64)
        query = query.detach().requires_grad_(gradient)
        inputs = query, *cache.layers[0].append(key, value, layout), Pattern(causal=True)
        assert torch.allclose(sdpa(*inputs), eager(*inputs), atol=1e-12)
        with pytest.raises(ValueError, match=message):
            varlen(*inputs)
    assert not calls


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40}
DECODERS = {
    "gpt2": lambda: regard.GPT2LMHeadModel(regard.GPT2Config(**SIZES)),
    "llama": lambda: regard.LlamaForCausalLM(
        regard.LlamaConfig(**SIZES, num_key_value_heads=2, intermediate_size=48)
    ),
    "mistral": lambda: regard.MistralForCausalLM(
        regard.MistralConfig(**SIZES, num_key_value_heads=1, intermediate_size=48, sliding_window=6)
    ),
}


@pytest.mark.parametrize("kind", DECODERS)
def test_whole_decoders(kind, monkeypatch):
    """Prompts of many lengths, and one token after the other from the cache."""
    torch.manual_seed(0)
    model = DECODERS[kind]().double().eval()
    prompts = [[5, 6, 7, 8, 9], [5, 6], [30, 9], [4] * 11]
    options = {"max_new_tokens": 8, "eos_token_id": []}
    expected = model.generate(prompts, **options)
    calls = flash.use(monkeypatch)
    cache = model.new_cache(256)
    assert torch.equal(model.generate(prompts, past_key_values=cache, **options), expected)
    layers = SIZES["num_hidden_layers"]
    # A ring is not as long as the kernel's pages have to be.
    assert len(calls) == layers * (1 if kind == "mistral" else 8)


@pytest.mark.parametrize("kind", DECODERS)
def test_requests_over_pages(kind, monkeypatch):
    """The scheduler takes pages where they are read, and each step is one call per layer."""
    torch.manual_seed(0)
    model = DECODERS[kind]().double().eval()
    prompts = [[5, 6, 7, 8, 9], [5, 6], [4] * 300]
    options = {"max_new_tokens": 8, "eos_token_id": []}
    expected = [model.generate([ids], **options)[0, len(ids) :].tolist() for ids in prompts]
    calls = flash.use(monkeypatch)
    scheduler = GenerationScheduler(model)
    assert scheduler.page_size == 256
    jobs = [scheduler.submit(ids, **options) for ids in prompts]
    assert {*scheduler.run()} == {*jobs}
    assert [job.tokens for job in jobs] == expected
    assert len(calls) == 8 * SIZES["num_hidden_layers"]
    assert calls[-1][1]["block_table"].shape == (3, 2)


def test_a_whole_encoder(monkeypatch):
    torch.manual_seed(0)
    model = regard.BertModel(regard.BertConfig(**SIZES, intermediate_size=48)).eval()
    batch = regard.TokenBatch.from_sequences([[5, 6, 7], [8], [9, 10], [11, 12, 13]])
    expected = model.encode(batch)
    calls = flash.use(monkeypatch)
    torch.testing.assert_close(model.encode(batch), expected)
    assert len(calls) == SIZES["num_hidden_layers"]


def test_only_half_precision_on_cuda():
    query, key, value = tensors(4, 2, 8, torch.float32)
    message = r"needs half precision on a CUDA device.*; found torch.float32 on cpu, heads of 8"
    with pytest.raises(ValueError, match=message):
        varlen(query, key, value, Layout.from_lengths([4]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", ["varlen", "sdpa"])
def test_on_a_gpu(name, pattern, dtype):
    scope = Layout.from_lengths([70, 3, 300, 3], "cuda")
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(3, scope.tokens, 4, 64, generator=generator, dtype=torch.float64)
    expected = eager(*whole, Layout.from_lengths([70, 3, 300, 3]), pattern)
    inputs = whole.to("cuda", dtype).requires_grad_()
    found = KERNELS[name](*inputs, scope, pattern)
    assert (found.cpu().double() - expected).norm() / expected.norm() < 1e-2
    found.sum().backward()
    assert bool(inputs.grad.isfinite().all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("fresh", [[1, 1, 1], [4, 1, 2]])
def test_a_cache_on_a_gpu(fresh):
    caches = [Cache([None], 256) for _ in range(2)]
    found = []
    for cache, device, dtype in zip(
        caches, ("cpu", "cuda"), (torch.float64, torch.bfloat16), strict=True
    ):
        for counts in ([5, 300, 9], fresh):
            layout = cache.layout(counts, device=device)
            made = torch.randn(3, layout.tokens, 2, 64, generator=torch.Generator().manual_seed(1))
            query, key, value = made.to(device, dtype)
            inputs = query, *cache.layers[0].append(key, value, layout), Pattern(causal=True)
            cache.advance(layout)
        found.append((eager if device == "cpu" else sdpa)(*inputs))
    assert (found[1].cpu().double() - found[0]).norm() / found[0].norm() < 1e-2
