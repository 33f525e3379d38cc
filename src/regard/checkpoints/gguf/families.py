"""What a family is called in GGUF files: metadata to config.json, tensor names to those on disk.

The names of llama.cpp are those of `gguf.constants`; what its converter does to a tensor is undone
in `tensors.py`. A switch in the metadata that is not read here is an error, never ignored.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from regard.checkpoints.gguf.header import PLAIN, Header
from regard.errors import CheckpointError, listing

#: Factors on the rotary frequencies, which llama.cpp computes from Llama 3's configuration.
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Place:
    """What becomes of one tensor of a GGUF file.

    Attributes:
        name: Its name on disk, ``{}`` for the layer number.
        transposed: Whether the disk has it as (in, out).
        heads: The metadata key of its number of heads, if llama.cpp interleaves their halves.
    """

    name: str
    transposed: bool = False
    heads: str = ""


@dataclass(frozen=True)
class Architecture:
    """One family: what the classes are called, which keys and tensors its files have."""

    head: str
    config: Callable[[Header], dict[str, Any]]
    keys: frozenset[str]
    places: Mapping[str, Place]


def architecture(header: Header) -> Architecture:
    """Return the family of a file, or raise `CheckpointError` naming those that are read."""
    found = ARCHITECTURES.get(header.architecture)
    if found is None:
        raise CheckpointError(
            f"{header.file}: holds a model of the architecture {header.architecture!r}; "
            f"{', '.join(ARCHITECTURES)} are read"
        )
    if header.get("split.count", int, 0) > 1:
        raise CheckpointError(
            f"{header.file}: is one of {header.metadata['split.count']} parts; join them first "
            "(llama-gguf-split --merge)"
        )
    prefix = f"{header.architecture}."
    own = {k.removeprefix(prefix): v for k, v in header.metadata.items() if k.startswith(prefix)}
    unknown = [f"{key}={value!r}" for key, value in own.items() if key not in found.keys and value]
    if unknown:
        raise CheckpointError(
            f"{header.file}: asks for what is not implemented for {header.architecture!r}: "
            f"{listing(unknown)}"
        )
    return found


def places(header: Header) -> dict[str, Place]:
    """Return what becomes of each tensor by name, but for those that the configuration holds."""
    known = architecture(header).places
    found: dict[str, Place] = {}
    for name in header.tensors.keys() - {ROPE_FACTORS}:
        match = re.fullmatch(r"(?:blk\.(\d{1,9})\.)?(\w+)\.(weight|bias)", name, re.ASCII)
        layer, part, leaf = match.groups() if match else (None, name, "")
        place = known.get(part if layer is None else f"blk.{part}")
        if place is None:
            raise CheckpointError(
                f"{header.file}: the tensor {name[:80]!r} has no place in the architecture "
                f"{header.architecture!r}"
            )
        found[name] = replace(place, name=f"{place.name.format(layer)}.{leaf}")
    return found


def config_json(header: Header) -> bytes:
    """Return the config.json that the metadata stands for."""
    found = architecture(header)
    words = header.tensors.get("token_embd.weight")
    if words is None or len(words.shape) != 2:
        raise CheckpointError(f"{header.file}: there is no matrix 'token_embd.weight'")
    ids = {
        name: header.get(f"tokenizer.ggml.{key}", int, -1)
        for name, key in (
            ("bos_token_id", "bos_token_id"),
            ("eos_token_id", "eos_token_id"),
            ("pad_token_id", "padding_token_id"),
        )
    }
    config = found.config(header) | {
        "architectures": [found.head],
        "vocab_size": words.shape[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "dtype": PLAIN.get(words.kind, "float32"),
        **{name: None if number < 0 else number for name, number in ids.items()},
    }
    return json.dumps(config, indent=2).encode()


def _gpt2(header: Header) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "n_embd": header.need("gpt2.embedding_length", int),
        "n_layer": header.need("gpt2.block_count", int),
        "n_head": header.need("gpt2.attention.head_count", int),
        "n_positions": header.need("gpt2.context_length", int),
        "n_inner": header.need("gpt2.feed_forward_length", int),
        "layer_norm_epsilon": header.need("gpt2.attention.layer_norm_epsilon", float),
    }


def _llama(header: Header) -> dict[str, Any]:
    """Return the configuration of a Llama or one of its kin, whose names are the same."""
    kin = header.architecture
    width = header.need(f"{kin}.embedding_length", int)
    heads = header.need(f"{kin}.attention.head_count", int)
    head_dim = header.get(f"{kin}.rope.dimension_count", int, width // max(heads, 1))
    sizes = [f"{kin}.{key}" for key in ("attention.key_length", "attention.value_length")]
    sizes = [header.need(key, int) for key in sizes if key in header.metadata]
    head_dim = sizes[0] if sizes else head_dim
    if {*sizes, header.get(f"{kin}.rope.dimension_count", int, head_dim)} != {head_dim}:
        raise CheckpointError(
            f"{header.file}: heads whose keys, values and rotary parts differ in size are not read"
        )
    return {
        "model_type": kin,
        "hidden_size": width,
        "intermediate_size": header.need(f"{kin}.feed_forward_length", int),
        "num_hidden_layers": header.need(f"{kin}.block_count", int),
        "num_attention_heads": heads,
        "num_key_value_heads": header.get(f"{kin}.attention.head_count_kv", int, heads),
        "head_dim": head_dim,
        "max_position_embeddings": header.need(f"{kin}.context_length", int),
        "rms_norm_eps": header.need(f"{kin}.attention.layer_norm_rms_epsilon", float),
        "rope_parameters": _rotary(header, kin, head_dim),
        "attention_bias": kin != "qwen2" and "blk.0.attn_q.bias" in header.tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in header.tensors,
    }


def _rotary(header: Header, kin: str, head_dim: int) -> dict[str, Any]:
    theta = header.get(f"{kin}.rope.freq_base", float, 10000.0)
    if not 0 < theta < math.inf:
        raise CheckpointError(f"{header.file}: the base of the rotary frequencies is {theta}")
    scaling = header.get(f"{kin}.rope.scaling.type", str, "none")
    trained = header.get(f"{kin}.rope.scaling.original_context_length", int, 0)
    plain = {"rope_theta": theta, "rope_type": "default"}
    if ROPE_FACTORS in header.tensors:
        return plain | _llama3(header, theta, head_dim, trained or 8192)
    if scaling == "none":
        return plain
    if scaling not in ("linear", "yarn"):
        raise CheckpointError(
            f"{header.file}: rotary positions are scaled by {scaling!r}; linear and yarn are read"
        )
    factor = header.need(f"{kin}.rope.scaling.factor", float)
    known = {"original_max_position_embeddings": trained} if scaling == "yarn" and trained else {}
    return plain | {"rope_type": scaling, "factor": factor, **known}


def _llama3(header: Header, theta: float, head_dim: int, trained: int) -> dict[str, Any]:
    """Return the scaling that the factors in the file come from.

    Of its numbers the file keeps none, but only the factor ever varied: Llama 3.1 to 3.3 have 1 and
    4 turns and 8,192 positions. What these give must be what the file has.
    """
    found = header.floats(ROPE_FACTORS, head_dim // 2)
    # The factors were computed in single precision; theirs was a round number.
    low, high, factor = 1.0, 4.0, round(max(found, default=1.0), 3)
    expected: list[float] = []
    for pair in range(len(found)):
        turns = trained * theta ** (-2 * pair / head_dim) / (2 * math.pi)
        blend = min(max((turns - low) / (high - low), 0.0), 1.0)
        expected.append(1 / ((1 - blend) / factor + blend))
    alike = [math.isclose(*pair, rel_tol=1e-4) for pair in zip(found, expected, strict=True)]
    if not all(alike):
        raise CheckpointError(
            f"{header.file}: {ROPE_FACTORS!r} holds frequency factors other than those of Llama 3, "
            "which are not read"
        )
    numbers = {"factor": factor, "low_freq_factor": low, "high_freq_factor": high}
    return {"rope_type": "llama3", **numbers, "original_max_position_embeddings": trained}


def _keys(*own: str) -> frozenset[str]:
    common = ("embedding_length", "block_count", "context_length", "feed_forward_length")
    return frozenset({*common, "vocab_size", "attention.head_count", *own})


_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_KIN = {
    "token_embd": Place("model.embed_tokens"),
    "output_norm": Place("model.norm"),
    "output": Place("lm_head"),
    **{f"blk.{part}": Place(f"model.layers.{{}}.{name}") for part, name in _LAYER.items()},
}
#: Of the kin only Llama is interleaved: llama.cpp turns the halves of the others' heads as we do.
_INTERLEAVED = {
    "blk.attn_q": Place("model.layers.{}.self_attn.q_proj", heads="attention.head_count"),
    "blk.attn_k": Place("model.layers.{}.self_attn.k_proj", heads="attention.head_count_kv"),
}
_GPT2 = {
    "token_embd": Place("transformer.wte"),
    "position_embd": Place("transformer.wpe"),
    "output_norm": Place("transformer.ln_f"),
    "output": Place("lm_head"),
    "blk.attn_norm": Place("transformer.h.{}.ln_1"),
    "blk.attn_qkv": Place("transformer.h.{}.attn.c_attn", transposed=True),
    "blk.attn_output": Place("transformer.h.{}.attn.c_proj", transposed=True),
    "blk.ffn_norm": Place("transformer.h.{}.ln_2"),
    "blk.ffn_up": Place("transformer.h.{}.mlp.c_fc", transposed=True),
    "blk.ffn_down": Place("transformer.h.{}.mlp.c_proj", transposed=True),
}
_KIN_KEYS = _keys(
    *(f"attention.{name}" for name in ("head_count_kv", "key_length", "value_length")),
    "attention.layer_norm_rms_epsilon",
    *(f"rope.{name}" for name in ("dimension_count", "freq_base", "scaling.type")),
    *(f"rope.scaling.{name}" for name in ("factor", "original_context_length", "finetuned")),
    "tensor_data_layout",  # said in the first files: that they are interleaved, as all are
)

ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("LlamaForCausalLM", _llama, _KIN_KEYS, _KIN | _INTERLEAVED),
    "qwen2": Architecture("Qwen2ForCausalLM", _llama, _KIN_KEYS, _KIN),
    "qwen3": Architecture("Qwen3ForCausalLM", _llama, _KIN_KEYS, _KIN),
    "gpt2": Architecture("GPT2LMHeadModel", _gpt2, _keys("attention.layer_norm_epsilon"), _GPT2),
}
