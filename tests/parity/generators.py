"""Tiny random models that write varied texts, of every family that decodes."""

import torch
import transformers

import regard

DECODER = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.5,
}
#: The reference computes norms and angles in fp32 whatever the weights are: larger weights would
#: make more of that than 1e-5.
SHARED = DECODER | {"num_key_value_heads": 2, "initializer_range": 0.25}
CAUSAL = DECODER | {"is_decoder": True, "initializer_range": 0.1, "tie_word_embeddings": False}
SIDES = {
    "vocab_size": 61,
    "d_model": 32,
    "encoder_layers": 3,  # the reference counts these where a decoder is alone
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
    "init_std": 0.1,
    "tie_word_embeddings": False,  # with the words themselves as scores, texts repeat one word
}
T5 = {
    "vocab_size": 61,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "pad_token_id": 3,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "initializer_factor": 2.0,
}
GATED = {"feed_forward_proj": "gated-gelu", "initializer_factor": 1.3}
#: Of models that else repeat one word.
SEEDS = {"t5": 3}

#: Class of the model, and the fields of its configuration.
DECODERS = {
    "gpt2": ("GPT2LMHeadModel", {**DECODER, "n_inner": 48}),
    "llama": ("LlamaForCausalLM", SHARED),
    "llama-dynamic": (
        "LlamaForCausalLM",
        SHARED | {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    ),
    "mistral": ("MistralForCausalLM", SHARED | {"sliding_window": 5}),
    "qwen2": ("Qwen2ForCausalLM", SHARED),
    "qwen3": ("Qwen3ForCausalLM", SHARED | {"head_dim": 12}),
    "bert": ("BertLMHeadModel", CAUSAL),
    "electra": ("ElectraForCausalLM", CAUSAL | {"embedding_size": 24}),
    "roberta": ("RobertaForCausalLM", CAUSAL),
    "xlm-roberta": ("XLMRobertaForCausalLM", CAUSAL),
    "camembert": ("CamembertForCausalLM", CAUSAL),
    "bart-decoder": ("BartForCausalLM", SIDES),
    "mbart-decoder": ("MBartForCausalLM", SIDES),
    "marian-decoder": ("MarianForCausalLM", SIDES),
}
SEQ2SEQ = {
    "bart": ("BartForConditionalGeneration", SIDES),
    "mbart": ("MBartForConditionalGeneration", SIDES),
    "marian": ("MarianMTModel", SIDES | {"scale_embedding": True}),
    "t5": ("T5ForConditionalGeneration", T5),
    "t5-gated": (
        "T5ForConditionalGeneration",
        T5 | GATED | {"tie_word_embeddings": False},
    ),
    "mt5": ("MT5ForConditionalGeneration", T5 | GATED),
}
FAMILIES = {**DECODERS, **SEQ2SEQ}


#: They begin to count positions elsewhere.
ROBERTAS = ("Roberta", "XLMRoberta", "Camembert")
PREFIXES = (
    *("GPT2", "Llama", "Mistral", "Qwen2", "Qwen3", "Bert", "Electra"),
    *ROBERTAS,
    *("Bart", "MBart", "Marian", "T5", "MT5"),
)


def both(family, folder, **options):
    """Return the reference's model and ours, loaded from what it saved.

    In doubles: rounding grows where scores are as far apart as they are here.
    """
    name, sizes = FAMILIES[family]
    prefix = next(each for each in PREFIXES if name.startswith(each))
    torch.manual_seed(SEEDS.get(family, 1))
    config = getattr(transformers, f"{prefix}Config")(**sizes | options)
    theirs = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for path, parameter in theirs.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.02)
            if path.endswith((".q.weight", ".k.weight")):  # T5's, whose scores nothing divides
                parameter.mul_(0.5)
        if prefix in ("T5", "MT5") and not config.tie_word_embeddings:
            theirs.lm_head.weight.mul_(0.1)
        if prefix in ROBERTAS:
            theirs.lm_head.decoder.bias[3] = theirs.lm_head.bias[3] = -100.0
        if "final_logits_bias" in dict(theirs.named_buffers()):
            theirs.final_logits_bias.normal_(std=0.3)
    if prefix in ROBERTAS:
        number_as_in_training(theirs)
    theirs.save_pretrained(folder)
    return theirs.double(), getattr(regard, name).from_pretrained(folder).double()


def number_as_in_training(theirs):
    """Let a RoBERTa count its positions itself.

    They begin after that of padding, and `generate` of the reference gives it 0, 1, 2, ..., so that
    it does not write what its own forward says. Padding, which has no number, is never written.
    """
    prepare = theirs.prepare_inputs_for_generation

    def prepare_without(*given, **kwargs):  # the reference looks for this name
        return {**prepare(*given, **kwargs), "position_ids": None}

    theirs.prepare_inputs_for_generation = prepare_without


def close(found, expected):
    """Whether scores are equal to 1e-5, of their size where that is above 1."""
    there = expected.isfinite()
    assert torch.equal(found.isfinite(), there)
    assert torch.equal(found[~there], expected[~there])
    torch.testing.assert_close(found[there], expected[there], rtol=1e-5, atol=1e-5)


def prompts(rows=4, length=7):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(5, 61, (rows, length), generator=generator)
