"""The compiled kernels against PyTorch's operations, for every library that this processor runs."""

import ctypes
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from regard.attention.attention import Attention
from regard.attention.cache import Cache
from regard.attention.compiled import compiled, compiled_fits
from regard.attention.kernels import eager
from regard.attention.patterns import ALL, Pattern
from regard.batch import Layout
from regard.layers.activations import ACTIVATIONS
from regard.layers.blocks import PostNormLayer
from regard.layers.feed_forward import FeedForward
from regard.layers.norms import normalized_sum
from regard.native import attention, best, bytes, calls, few, norm  # noqa: A004 - a module's name
from regard.native.library import FOLDER, LIBRARIES, library
from regard.processor import flags
from regard.runtime.curves import curve_of

KERNELS = [
    each for module in (attention, best, bytes, few, norm) for each in vars(module).values()
    if isinstance(each, calls.Kernel)
]  # fmt: skip


@pytest.fixture(params=[*LIBRARIES], autouse=True)
def built(request, monkeypatch):
    """Let calls go to one of the libraries."""
    file = FOLDER / request.param
    if library() is None or not file.exists() or not LIBRARIES[request.param] <= flags():
        pytest.skip(f"no {request.param} here, or not for this processor")
    found = ctypes.CDLL(str(file))
    found.regard_threads(getattr(ctypes.CDLL(None), "GOMP_parallel", None))
    monkeypatch.setattr(calls, "library", lambda: found)
    for kernel in KERNELS:
        monkeypatch.setattr(kernel, "function", None)
    return request.param


@pytest.fixture(params=[1, 2], autouse=True)
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    random.seed(0)


def plain(width, *, signs=False):
    """Numbers as they are."""
    return bytes.Rounding(torch.ones(width), torch.zeros(width), signs)


@pytest.mark.parametrize("rows", [1, 15, 16, 50])
def test_levels_of_both_signs(rows):
    x, factor, offset = torch.randn(rows, 48), torch.rand(48) + 0.5, torch.randn(48)
    found = bytes.levels(x, bytes.Rounding(factor, offset, True), rows + 3)
    even = x * factor + offset
    steps = even.abs().amax(1, keepdim=True) / 127
    assert found.bytes.shape == (rows + 3, 48)
    torch.testing.assert_close(found.steps, steps)
    wrong = found.bytes[:rows].float() - 128 - even / found.steps
    assert wrong.abs().max() <= 0.5 + 1e-4


def test_levels_above_a_floor():
    x, factor = torch.rand(20, 32) * 3 - 0.17, torch.rand(32) + 0.5
    even = (x + 0.17) * factor
    found = bytes.levels(x, bytes.Rounding(factor, 0.17 * factor, False), 20)
    torch.testing.assert_close(found.steps, even.amax(1, keepdim=True) / 255)
    assert ((found.bytes * found.steps - even).abs() <= found.steps * 0.5001).all()


def test_a_row_of_zeros_has_levels():
    found = bytes.levels(torch.zeros(1, 16), plain(16, signs=True), 1)
    assert (found.bytes == 128).all()
    assert found.steps.item() > 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("signed", [True, False])
def test_what_is_no_number_stays_none(bad, signed):
    x = torch.rand(2, 32)
    x[1, 20] = bad
    steps = bytes.levels(x, plain(32, signs=signed), 2).steps
    assert steps[0].isfinite()
    assert not steps[1].isfinite()


@pytest.mark.parametrize("width", [16, 40, 48, 7])
@pytest.mark.parametrize("name", [None, "gelu", "gelu_new", "relu"])
def test_finish(width, name):
    act = None if name is None else ACTIVATIONS[name]
    sums, steps, bias = torch.randn(33, width) * 2, torch.rand(33, 1) + 0.5, torch.randn(width)
    wanted = sums * steps + bias
    wanted = wanted if act is None else act(wanted)
    curve = None if act is None else curve_of(act)
    bytes.finish_(sums, steps, bias, curve)
    torch.testing.assert_close(sums, wanted, atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "relu"])
def test_curves_are_near_everywhere(name):
    x = torch.linspace(-12, 12, 4096)[None]
    found = x.clone()
    bytes.finish_(found, torch.ones(1, 1), torch.zeros(4096), curve_of(ACTIVATIONS[name]))
    assert (found - ACTIVATIONS[name](x)).abs().max() < 3e-5


@pytest.mark.parametrize("name", ["gelu", "relu"])
def test_nan_passes_an_activation(name):
    x = torch.full((1, 16), torch.nan)
    bytes.finish_(x, torch.ones(1, 1), torch.zeros(16), curve_of(ACTIVATIONS[name]))
    assert x.isnan().all()


def test_relevel_is_finish_and_levels():
    sums, steps, bias = torch.randn(18, 64), torch.rand(18, 1), torch.randn(64)
    curve = curve_of(ACTIVATIONS["gelu"])
    rounding = bytes.Rounding(torch.rand(64) + 0.5, torch.rand(64), True)
    found = bytes.relevel(sums, steps, bias, curve, rounding, 20)
    bytes.finish_(sums, steps, bias, curve)
    wanted = bytes.levels(sums, rounding, 20)
    torch.testing.assert_close(found.steps, wanted.steps)
    assert torch.equal(found.bytes[:18], wanted.bytes[:18])


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("rows", [1, 17, 40])
def test_norm_of_a_sum(half, rows):
    x, added = torch.randn(rows, 48) * 3, torch.randn(rows, 48)
    added = added.bfloat16() if half else added
    weight, bias = torch.randn(48), torch.randn(48)
    found = norm.add_norm(x, added, weight, bias, 1e-5)
    torch.testing.assert_close(found, F.layer_norm(x + added, (48,), weight, bias, 1e-5))


@pytest.mark.parametrize("words", [5, 16, 100, 257])
def test_best_scores(words):
    scores = torch.randn(9, words) * 5
    values, places, totals = best.best(scores, 5)
    wanted = scores.topk(5)
    assert torch.equal(values, wanted.values)
    assert torch.equal(places, wanted.indices)
    torch.testing.assert_close(totals, scores.logsumexp(1, keepdim=True))


def test_best_of_equals_is_the_first():
    scores = torch.zeros(1, 40)
    scores[0, 30] = 1
    assert best.best(scores, 3)[1].tolist() == [[30, 0, 1]]


def test_best_of_what_is_forbidden_and_of_no_number():
    scores = torch.full((2, 40), -torch.inf)
    scores[0, 7], scores[1, 8] = 2.0, torch.nan
    values, places, totals = best.best(scores, 2)
    assert (values[0, 0], places[0, 0], totals[0, 0]) == (2, 7, 2)
    assert totals[1].isnan()


@pytest.mark.parametrize("rows", [*range(1, 8), 13])
@pytest.mark.parametrize("outputs", [64, 70, 130])
def test_few_rows_of_bytes(rows, outputs, built):
    if built == "kernels-avx2.so.1":
        pytest.skip("only AVX-512 VNNI has the instruction")
    weight = torch.randint(-127, 128, (outputs, 48), dtype=torch.int8)
    scale, bias = torch.rand(outputs), few.with_room(torch.randn(outputs))
    x, rounding = torch.randn(rows, 48), bytes.Rounding(torch.rand(48) + 0.5, torch.randn(48), True)
    laid = few.few_bytes(weight, scale)
    found = few.multiply_few_bytes(x, rounding, laid, bias, None)
    given = bytes.levels(x, rounding, rows)
    sums = ((given.bytes.float() - 128) @ weight.float().T) * scale
    torch.testing.assert_close(found, sums * given.steps + bias)
    above = few.multiply_few_bytes(x.abs(), plain(48), laid, bias, curve_of(F.relu))
    given = bytes.levels(x.abs(), plain(48), rows)
    sums = (given.bytes.float() @ weight.float().T) * scale
    torch.testing.assert_close(above, F.relu(sums * given.steps + bias))


@pytest.mark.parametrize("rows", [1, 4, 6, 9])
@pytest.mark.parametrize(("outputs", "width"), [(64, 48), (70, 33), (130, 7)])
def test_few_rows_of_halves(rows, outputs, width):
    weight, bias = torch.randn(outputs, width).bfloat16(), few.with_room(torch.randn(outputs))
    x, laid = torch.randn(rows, width), few.few_halves(weight)
    found = few.multiply_few_halves(x, laid, bias, None)
    torch.testing.assert_close(found, x @ weight.float().T + bias, atol=1e-5, rtol=1e-5)
    found = few.multiply_few_halves(x, laid, bias, curve_of(F.relu))
    wanted = F.relu(x @ weight.float().T + bias)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def projections(tokens, heads, key_heads, size, dtype):
    """Queries, keys and values as one product gives them: not side by side."""
    whole = torch.randn(tokens, (heads + 2 * key_heads) * size).to(dtype)
    sizes = [heads * size, key_heads * size, key_heads * size]
    return [part.unflatten(1, (-1, size)) for part in whole.split(sizes, 1)]


CLOSE = {torch.float32: {"atol": 2e-6, "rtol": 1e-5}, torch.bfloat16: {"atol": 2e-2, "rtol": 1e-2}}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pattern", [ALL, Pattern(causal=True), Pattern(scale=0.3)])
@pytest.mark.parametrize(("heads", "key_heads", "size"), [(3, 3, 16), (4, 2, 64), (2, 1, 48)])
def test_attention(dtype, pattern, heads, key_heads, size):
    lengths = [1, 5, 6, 7, 16, 17, 40, 0, 33, 1]
    layout = Layout.from_lengths(lengths)
    query, key, value = projections(sum(lengths), heads, key_heads, size, dtype)
    assert compiled_fits(query, key, value, layout, pattern, 0.0)
    found = compiled(query, key, value, layout, pattern)
    exact = eager(query.double(), key.double(), value.double(), layout, pattern)
    # About as near as PyTorch's own operations come in the same type; the largest error is chance.
    usual = (eager(query, key, value, layout, pattern) - exact).square().mean().sqrt()
    assert (found - exact).square().mean().sqrt() < 1.3 * usual
    assert (found - exact).abs().max() < 20 * usual


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("heads", [2, 6])
def test_attention_to_a_cache(dtype, beams, heads):
    """Of one token at a time, and of several that share what they attend to."""
    lengths, size = [3, 40, 17, 16], 32
    cache = Cache([None])
    for count in (lengths, [1] * 4):
        layout = cache.layout(count)
        query, key, value = projections(sum(count), heads, 2, size, dtype)
        keys, values, scope = cache.layers[0].append(key, value, layout)
        cache.advance(layout)
    assert compiled_fits(query, keys, values, scope, Pattern(causal=True), 0.0)
    found = compiled(query, keys, values, scope, Pattern(causal=True))
    wanted = eager(query.float(), keys.float(), values.float(), scope, Pattern(causal=True))
    torch.testing.assert_close(found.float(), wanted, **CLOSE[dtype])

    cache.remember([(key, value)], Layout.from_lengths([1] * 4))
    source = Layout.from_lengths([9, 2, 30, 4])
    key, value = projections(45, heads, 2, size, dtype)[1:]
    cache.remember([(key, value)], source)
    cache.expand(beams, share=beams > 1)
    layout = cache.layout([1] * 4 * beams)
    query = torch.randn(4 * beams, heads, size).to(dtype)
    seen = cache.remembered(0, layout)
    assert compiled_fits(query, seen.key, seen.value, seen.scope, ALL, 0.0)
    found = compiled(query, seen.key, seen.value, seen.scope, ALL)
    wanted = eager(query.float(), seen.key.float(), seen.value.float(), seen.scope, ALL)
    torch.testing.assert_close(found.float(), wanted, **CLOSE[dtype])


def test_what_they_do_not_do():
    layout = Layout.from_lengths([4, 4])
    query = torch.randn(8, 2, 32)
    fits = compiled_fits(query, query, query, layout, ALL, 0.0)
    assert fits
    assert not compiled_fits(query, query, query, layout, ALL, 0.1)
    assert not compiled_fits(query, query, query, layout, Pattern(window=2), 0.0)
    odd = torch.randn(8, 2, 24)
    assert not compiled_fits(odd, odd, odd, layout, ALL, 0.0)
    double = query.double()
    assert not compiled_fits(double, double, double, layout, ALL, 0.0)
    assert not compiled_fits(query.requires_grad_(), query, query, layout, ALL, 0.0)


def test_who_transforms_operations_sees_them_all():
    norm, x, added = nn.LayerNorm(32).requires_grad_(False), torch.randn(3, 32), torch.randn(3, 32)

    def run(y):
        return normalized_sum(norm, y, added)

    def defined(y):
        return norm(y + added)

    torch.testing.assert_close(run(x), defined(x))
    assert calls.usable(x)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, added)
        tangents = [forward_ad.unpack_dual(each(dual)).tangent for each in (run, defined)]
    torch.testing.assert_close(*tangents)
    torch.testing.assert_close(torch.func.jacrev(run)(x), torch.func.jacrev(defined)(x))
    several = torch.randn(5, 3, 32)
    torch.testing.assert_close(torch.func.vmap(run)(several), defined(several))
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            seen.append(str(operation))
            return operation(*args, **(kwargs or {}))

    with Watch():
        Attention(64, 2).eval().mix(*[torch.randn(9, 2, 32)] * 3, Layout.from_lengths([4, 5]))
    assert any("attention" in each for each in seen)


def test_an_encoder_takes_them(monkeypatch):
    """And gives the same without them."""
    layer = PostNormLayer(
        Attention(64, 2), FeedForward(64, 96, "gelu"), (nn.LayerNorm(64), nn.LayerNorm(64))
    ).eval()
    layout, x = Layout.from_lengths([5, 9]), torch.randn(14, 64)
    called = []
    for kernel in KERNELS:
        bound = kernel._bound
        monkeypatch.setattr(
            kernel,
            "_bound",
            lambda bound=bound, kernel=kernel: called.append(kernel.name) or bound(),
        )
    with torch.inference_mode():
        found = layer(x, layout)
        assert {*called} == {"regard_attention", "regard_add_norm"}
        for module in ("attention.compiled", "layers.norms"):
            monkeypatch.setattr(f"regard.{module}.usable", lambda *_: False)
        torch.testing.assert_close(found, layer(x, layout))
