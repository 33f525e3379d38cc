"""GGUF files give the reference's numbers: what it wrote, as llama.cpp's converter stores it."""

import gguf
import numpy as np
import pytest
import torch
import transformers
from transformers.integrations.gguf.dequant import dequantize

import regard
from regard.checkpoints.files import find_checkpoint
from regard.checkpoints.tensors import open_tensors

from ..contracts.gguf_files import Q8_0, SIZES, finish, reference, stored, tensors, write_gguf
from .reference import assert_close

Types = gguf.GGMLQuantizationType
CONFIGS = {
    "llama": {},
    "llama, biases, tied": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "llama, wide heads": {"head_dim": 32, "num_key_value_heads": 1},
    "qwen2": {},
    "qwen3, tied": {"head_dim": 32, "tie_word_embeddings": True},
    "gpt2": {},
    "gpt2, untied": {"tie_word_embeddings": False},
}
IDS = torch.randint(3, SIZES["vocab_size"], (2, 11), generator=torch.Generator().manual_seed(0))
HALVES = {"F16": torch.float16, "BF16": torch.bfloat16}
#: Where the scales (float16) stand in a block; random ones would be infinite, or no numbers.
SCALES = {"Q2_K": (80, 84), "Q3_K": (108, 110), "Q4_K": (0, 4), "Q5_K": (0, 4), "Q6_K": (208, 210)}


def load(path, **options):
    return regard.AutoModelForCausalLM.from_pretrained(path, **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits(name, tmp_path):
    family = name.split(",")[0]
    theirs = reference(family, **CONFIGS[name])
    ours = load(write_gguf(tmp_path / "any name.gguf", theirs, family))
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.config.tie_word_embeddings == theirs.config.tie_word_embeddings
    with torch.no_grad():
        assert_close("logits", ours(IDS).logits, theirs(IDS).logits)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_a_matrix_is_what_another_reader_makes_of_its_bytes(family, kind, tmp_path):
    theirs, form = reference(family), Types[kind]
    write_gguf(tmp_path / "model.gguf", theirs, family, form)
    found = open_tensors(find_checkpoint(tmp_path))
    for name, (_, weight) in zip(names(theirs), tensors(theirs, family), strict=True):
        given = found[name].read()
        again = torch.from_numpy(stored(family, name, given.float().numpy(), theirs.config))
        matrix = weight.ndim == 2
        dtype = HALVES.get(kind, torch.float32) if matrix else torch.float32
        assert (given.dtype, found[name].dtype, found[name].shape) == (dtype, dtype, given.shape)
        assert found[name].quantised == (kind if matrix and kind not in HALVES else None)
        expected = torch.from_numpy(weight)
        if matrix:
            expected = expected.to(dtype).float() if kind in HALVES else blocks(weight, form)
        assert torch.equal(again, expected), name


def names(model):
    """Return the names of the tensors of a model, as `tensors` yields them."""
    tied = model.config.tie_word_embeddings
    return [name for name in model.state_dict() if name != "lm_head.weight" or not tied]


def blocks(weight, form):
    """Return a matrix after quantising, as the reference's own reader has it."""
    stored_bytes = torch.from_numpy(gguf.quantize(weight, form))
    return dequantize(stored_bytes.flatten(), int(form)).view(weight.shape)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0"])
def test_the_type_of_the_model(kind, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", reference(), kind=Types[kind])
    assert load(path).dtype == HALVES.get(kind, torch.float32)
    whole, half = load(path, dtype=torch.float32), load(path, dtype=torch.bfloat16)
    assert {p.dtype for p in whole.parameters()} == {torch.float32}
    for name, parameter in half.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name).to(torch.bfloat16)), name


@pytest.mark.parametrize("kind", [*SCALES, "IQ4_XS", "Q5_0", "Q5_1", "IQ4_NL"])
def test_every_usual_quantisation(kind, tmp_path):
    """The package cannot write all of them: random blocks, with scales that are numbers."""
    form = Types[kind]
    block, size = gguf.GGML_QUANT_SIZES[form]
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, (SIZES["vocab_size"], 256 // block * size), dtype=np.uint8)
    first, last = SCALES.get(kind, (0, 4 if kind == "Q5_1" else 2))
    scales = np.full((last - first) // 2, 0.01, np.float16).view(np.uint8)
    rows.reshape(-1, size)[:, first:last] = scales
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("token_embd.weight", rows, raw_dtype=form)
    finish(writer)
    (found,) = open_tensors(find_checkpoint(tmp_path)).values()
    assert (found.shape, found.quantised, found.dtype) == ((64, 256), kind, torch.float32)
    if kind in ("Q5_0", "Q5_1"):  # the reference's own reader lacks them
        expected = torch.from_numpy(gguf.dequantize(rows, form))
    else:
        expected = dequantize(torch.from_numpy(rows).flatten(), int(form)).view(64, 256)
    assert found.read().std() > 0.01
    assert (found.read() - expected).abs().max() <= 1e-6


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 6},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ],
    ids=lambda scaling: scaling["rope_type"],
)
def test_scaled_rotary_positions(scaling, tmp_path):
    rotary = {"rope_theta": 500000.0, **scaling}
    # Wide heads, or no frequency is low enough to be scaled.
    longest = 131072 if scaling["rope_type"] == "llama3" else 32
    theirs = reference(rope_parameters=rotary, head_dim=64, max_position_embeddings=longest)
    path = write_gguf(tmp_path / "model.gguf", theirs, change=lambda writer: say(writer, scaling))
    ours = load(path)
    assert ours.config.rotary() == (500000.0, scaling)
    with torch.no_grad():
        assert_close("logits", ours(IDS).logits, theirs(IDS).logits)


def say(writer, scaling):
    """Write the scaling of rotary positions as llama.cpp's converter does."""
    if scaling["rope_type"] == "llama3":
        rotary = {"rope_theta": 500000.0, **scaling}
        config = transformers.LlamaConfig(
            head_dim=64, rope_parameters=rotary, max_position_embeddings=131072
        )
        scaled = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0]
        plain = 500000.0 ** -(torch.arange(0, 64, 2) / 64)
        assert (plain / scaled).max() > 7.9
        writer.add_tensor("rope_freqs.weight", (plain / scaled).numpy().astype(np.float32))
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
    writer.add_rope_scaling_factor(scaling["factor"])
    if scaling["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def test_saving_writes_a_folder_that_the_reference_reads(tmp_path):
    for family in ("llama", "qwen2", "gpt2"):
        path = write_gguf(tmp_path / family / "model.gguf", reference(family), family, Q8_0)
        ours = load(path)
        ours.save_pretrained(tmp_path / family / "saved")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / family / "saved")
        again = load(tmp_path / family / "saved")
        with torch.no_grad():
            assert_close("logits", ours(IDS).logits, theirs.eval()(IDS).logits)
            assert torch.equal(ours(IDS).logits, again(IDS).logits)


def test_training_does_not_write_into_the_file(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", reference())
    before = path.read_bytes()
    model = load(path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert path.read_bytes() == before
