"""Small GGUF files, written by the package `gguf` from models of the reference."""

import gguf
import numpy as np
import torch
import transformers

SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}
#: Where GPT-2 has another word than the others.
GPT2_SIZES = {"n_inner": 96, "n_head": 4, "n_layer": 2, "n_embd": 64, "n_positions": 32}
HEADS = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}
F32, Q8_0 = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0


def reference(family="llama", **options):
    """Return a random reference model of `family`, biases and norms random too."""
    sizes = {k: SIZES[k] for k in ("vocab_size", "bos_token_id", "eos_token_id")} | GPT2_SIZES
    head = getattr(transformers, HEADS[family])
    torch.manual_seed(0)
    model = head(head.config_class(**(sizes if family == "gpt2" else SIZES) | options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def stored(family, name, weight, config):
    """Return a weight as llama.cpp's converter stores it."""
    if family == "gpt2":
        turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
        return weight.T if name.endswith(turned) else weight
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = next((n for part, n in heads.items() if f".{part}." in name), None)
    if family != "llama" or count is None:
        return weight
    halves = weight.reshape(count, 2, len(weight) // count // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def tensors(model, family):
    """Yield the tensors of a model by their GGUF names, as llama.cpp stores them."""
    config = model.config
    names = gguf.get_tensor_name_map(ARCHITECTURES[family], config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        yield found, np.ascontiguousarray(stored(family, name, weight.numpy(), config))


def write_gguf(path, model, family="llama", kind=F32, change=None, vocabulary=None):
    """Write `model` to `path`; matrices are stored as `kind`. Returns the path.

    `change(writer)` adds metadata, `vocabulary(writer)` a tokenizer.
    """
    config = model.config
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if family == "gpt2":
        writer.add_feed_forward_length(config.n_inner)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        if family != "qwen2":
            writer.add_key_length(config.head_dim)
    if vocabulary is None:
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
    else:
        vocabulary(writer)
    if change is not None:
        change(writer)
    for name, weight in tensors(model, family):
        matrix = kind if weight.ndim == 2 else F32
        writer.add_tensor(name, gguf.quantize(weight, matrix), raw_dtype=matrix)
    finish(writer)
    return path


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
