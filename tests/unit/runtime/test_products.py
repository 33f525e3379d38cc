import pytest
import torch
import torch.nn.functional as F

import regard
from regard.layers.activations import ACTIVATIONS
from regard.native.library import library
from regard.runtime.precision import multiplies_int8
from regard.runtime.products import ROWS, Blocked, Plain, filled
from regard.runtime.quantized import FEW, FLOORS, Bytes, quantized

needs_bytes = pytest.mark.skipif(
    not multiplies_int8(torch.device("cpu")), reason="this processor has no VNNI"
)
BF16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return torch.randn(48, 96) / 10, torch.randn(48)


@pytest.mark.parametrize("rows", [1, 3, ROWS - 1, ROWS, ROWS + 1, 5 * ROWS, 333])
@pytest.mark.parametrize("act", [None, *sorted(ACTIVATIONS)])
def test_a_blocked_product_is_the_linear_map_and_its_activation(layer, rows, act):
    weight, bias = layer
    x = torch.randn(rows, 96)
    function = None if act is None else ACTIVATIONS[act]
    wanted = F.linear(x, weight, bias)
    wanted = wanted if function is None else function(wanted)
    with torch.inference_mode():
        found = Blocked(weight, bias, torch.float32)(x, function)
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5)
        bare = Blocked(weight, None, torch.float32)(x)
        torch.testing.assert_close(bare, F.linear(x, weight), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "kind", [Plain, pytest.param(Blocked, marks=pytest.mark.skipif(not BF16, reason="no bf16"))]
)
@pytest.mark.parametrize("act", [None, "gelu", "tanh"])
def test_products_in_bf16(layer, kind, act):
    weight, bias = layer
    x = torch.randn(70, 96)
    function = None if act is None else ACTIVATIONS[act]
    wanted = F.linear(x.bfloat16().float(), weight.bfloat16().float(), bias.bfloat16().float())
    wanted = wanted if function is None else function(wanted)
    with torch.inference_mode():
        found = kind(weight, bias, torch.bfloat16)(x, function)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.02, rtol=0.01)


def test_rows_are_filled_up_and_no_more_than_once():
    x = torch.randn(ROWS + 7, 16)
    first = filled(x, torch.bfloat16)
    assert first.shape == (2 * ROWS, 16)
    assert torch.equal(first[: ROWS + 7], x.bfloat16())
    again = filled(first[: ROWS + 7], torch.bfloat16)
    assert again.shape == (2 * ROWS, 16)
    assert again.data_ptr() == first.data_ptr()
    for rows in (1, ROWS, 3 * ROWS):
        few = torch.randn(rows, 16)
        assert filled(few, torch.float32) is few


def test_rows_without_room_behind_them_are_copied():
    whole = torch.randn(ROWS + 9, 16)
    part = whole[2 : ROWS + 5]
    again = filled(part, torch.float32)
    assert again.shape == (2 * ROWS, 16)
    assert torch.equal(again[: ROWS + 3], part)
    assert torch.equal(again[ROWS + 3 :], torch.zeros(ROWS - 3, 16))


@needs_bytes
class TestBytes:
    def error(self, product, x, weight, bias):
        with torch.inference_mode():
            wanted, found = F.linear(x, weight, bias), product(x)
        return float((found - wanted).norm() / (wanted - bias).norm())

    @pytest.mark.parametrize("rows", [1, 5, 200])
    def test_signed(self, layer, rows):
        weight, bias = layer
        product = Bytes(weight, bias, torch.zeros(96), torch.ones(96))
        assert self.error(product, torch.randn(201, 96)[:rows], weight, bias) < 0.02

    def test_columns_of_different_ranges(self, layer):
        """What is far wider than the rest, or far from zero, does not drown it."""
        weight, bias = layer
        x = torch.randn(400, 96)
        x[:, 5] = x[:, 5] * 60 + 40
        weight = weight.clone()
        weight[:, 5] /= 60
        plain = Bytes(weight, bias, torch.zeros(96), torch.ones(96))
        chosen = quantized(weight, bias, x[:300])
        assert self.error(chosen, x[300:], weight, bias) < 0.02
        assert self.error(plain, x[300:], weight, bias) > 0.05

    @pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu"])
    def test_unsigned_after_an_activation(self, layer, act):
        weight, bias = layer
        function = ACTIVATIONS[act]
        assert function(torch.linspace(-9, 9, 200_001)).min() >= FLOORS[function]
        x = function(torch.randn(400, 96))
        found = quantized(weight, bias, x[:300], FLOORS[function])
        assert not found.rounding.signs
        assert self.error(found, x[300:], weight, bias) < 0.015
        signed = quantized(weight, bias, x[:300])
        assert self.error(found, x[300:], weight, bias) < self.error(signed, x[300:], weight, bias)

    def test_rows_of_zeros(self, layer):
        weight, bias = layer
        x = torch.zeros(3, 96)
        with torch.inference_mode():
            for product in (
                Bytes(weight, bias, torch.zeros(96), torch.ones(96)),
                Bytes(weight, bias, torch.zeros(96), torch.ones(96), signs=False),
            ):
                torch.testing.assert_close(product(x), bias.expand(3, -1), atol=1e-5, rtol=1e-5)

    def test_a_row_is_its_own(self, layer):
        """One enormous row beside it moves no bit of another."""
        weight, bias = layer
        product = quantized(weight, bias, torch.randn(300, 96))
        x = torch.randn(8, 96)
        with torch.inference_mode():
            alone = product(x)
            x[3] *= 1e6
            beside = product(x)
        kept = [0, 1, 2, 4, 5, 6, 7]
        assert torch.equal(alone[kept], beside[kept])
        assert not torch.equal(alone[3], beside[3])

    @pytest.mark.parametrize("act", [None, "gelu", "silu"])
    @pytest.mark.parametrize("rows", [1, 5, FEW, FEW + 1])
    def test_few_rows_are_as_among_many(self, layer, rows, act):
        """The kernel for few rows multiplies the same bytes."""
        weight, bias = layer
        function = None if act is None else ACTIVATIONS[act]
        sample = torch.randn(300, 96)
        many, few = (quantized(weight, bias, sample, few=each) for each in (False, True))
        with torch.inference_mode():
            x = torch.randn(rows, 96)
            torch.testing.assert_close(few(x, function), many(x, function), atol=3e-5, rtol=1e-5)

    @pytest.mark.parametrize("rows", [1, 40])
    @pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu"])
    def test_two_products_with_an_activation_between(self, layer, rows, act):
        """In one go, or with what is between them written down: bytes may be rounded otherwise."""
        weight, bias = layer
        function = ACTIVATIONS[act]
        x = torch.randn(300, 96)
        first = quantized(weight, bias, x)
        inner = function(F.linear(x, weight, bias))
        last = quantized(torch.randn(32, 48) / 7, torch.randn(32), inner, FLOORS[function])
        with torch.inference_mode():
            found = first.then(x[:rows], function, last)
            wanted = last(function(first(x[:rows])))
        assert float((found - wanted).norm() / wanted.norm()) < 2e-3


@pytest.mark.skipif(not BF16, reason="no bf16")
@pytest.mark.parametrize("act", [None, "gelu", "silu"])
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_few_rows_in_bf16(layer, rows, act):
    weight, bias = layer
    function = None if act is None else ACTIVATIONS[act]
    product = Blocked(weight, bias, torch.bfloat16, few=True)
    with torch.inference_mode():
        x = torch.randn(rows, 96)
        wanted = F.linear(x, weight.bfloat16().float(), bias)
        wanted = wanted if function is None else function(wanted)
        torch.testing.assert_close(product(x, function).float(), wanted, atol=2e-2, rtol=1e-2)


@needs_bytes
def test_only_what_writes_is_laid_out_for_few_rows():
    torch.manual_seed(0)
    config = regard.MarianConfig(
        d_model=64, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=256, decoder_ffn_dim=256, vocab_size=300,
        pad_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    model = regard.optimize(regard.MarianMTModel(config), "int8")
    laid = {
        name: module.packed.product.few is not None
        for name, module in model.named_modules()
        if hasattr(module, "packed")
    }
    assert laid
    wanted = library() is not None and hasattr(library(), "regard_few_bytes")
    for name, found in laid.items():
        assert found == (wanted and "encoder" not in name), name
