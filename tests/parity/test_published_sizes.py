"""Every family at the size of published models: names, shapes and count, built on ``meta``."""

import pytest

from .reference import assert_published_size

LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
ROBERTA_LARGE = ROBERTA | LARGE
XLM = ROBERTA | {"vocab_size": 250_002}
BASE_WIDTH = {
    "embedding_size": 768,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
LLAMA3 = {
    "vocab_size": 128_256,
    "rms_norm_eps": 1e-5,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
}
ROPE3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
IMAGENET = {"num_labels": 1000}
TEACHER = ("DeiT", "ForImageClassificationWithTeacher")


def deit(width, heads):
    sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width}
    return IMAGENET | sizes


#: Name of the published model, the class it was published for, its fields, its parameters.
PUBLISHED = [
    ("bert-base-uncased", "Bert", "ForPreTraining", {}, 110_106_428),
    ("bert-base-uncased", "Bert", "ForMaskedLM", {}, 109_514_298),
    ("bert-base-uncased", "Bert", "LMHeadModel", {"is_decoder": True}, 109_514_298),
    ("bert-base-cased", "Bert", "Model", {"vocab_size": 28_996}, 108_310_272),
    ("bert-base-multilingual-cased", "Bert", "Model", {"vocab_size": 119_547}, 177_853_440),
    ("bert-large-uncased", "Bert", "Model", LARGE, 335_141_888),
    ("roberta-base", "Roberta", "ForMaskedLM", ROBERTA, 124_697_433),
    ("roberta-large", "Roberta", "Model", ROBERTA_LARGE, 355_359_744),
    ("roberta-large", "Roberta", "ForMaskedLM", ROBERTA_LARGE, 355_412_057),
    (
        "roberta-large-mnli",
        "Roberta",
        "ForSequenceClassification",
        ROBERTA_LARGE | {"num_labels": 3},
        355_362_819,
    ),
    ("xlm-roberta-base", "XLMRoberta", "ForMaskedLM", XLM, 278_295_186),
    ("xlm-roberta-large", "XLMRoberta", "Model", XLM | LARGE, 559_890_432),
    ("camembert-base", "Camembert", "ForMaskedLM", ROBERTA | {"vocab_size": 32_005}, 110_655_493),
    ("answerdotai/ModernBERT-base", "ModernBert", "ForMaskedLM", {}, 149_655_232),
    (
        "answerdotai/ModernBERT-large",
        "ModernBert",
        "ForMaskedLM",
        {
            "hidden_size": 1024,
            "intermediate_size": 2624,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
        },
        395_881_664,
    ),
    ("distilbert-base-uncased", "DistilBert", "ForMaskedLM", {}, 66_985_530),
    (
        "distilbert-base-uncased-finetuned-sst-2",
        "DistilBert",
        "ForSequenceClassification",
        {},
        66_955_010,
    ),
    ("electra-small-discriminator", "Electra", "ForPreTraining", {}, 13_549_057),
    ("electra-base-discriminator", "Electra", "Model", BASE_WIDTH, 108_891_648),
    ("electra-base-discriminator", "Electra", "ForPreTraining", BASE_WIDTH, 109_483_009),
    ("electra-small-generator", "Electra", "ForMaskedLM", {}, 13_546_682),
    ("gpt2", "GPT2", "LMHeadModel", {}, 124_439_808),
    ("gpt2", "GPT2", "DoubleHeadsModel", {}, 124_440_577),
    (
        "gpt2-medium",
        "GPT2",
        "LMHeadModel",
        {"n_embd": 1024, "n_layer": 24, "n_head": 16},
        354_823_168,
    ),
    (
        "gpt2-large",
        "GPT2",
        "LMHeadModel",
        {"n_embd": 1280, "n_layer": 36, "n_head": 20},
        774_030_080,
    ),
    (
        "gpt2-xl",
        "GPT2",
        "LMHeadModel",
        {"n_embd": 1600, "n_layer": 48, "n_head": 25},
        1_557_611_200,
    ),
    ("distilgpt2", "GPT2", "LMHeadModel", {"n_layer": 6}, 81_912_576),
    ("Llama-2-7b", "Llama", "ForCausalLM", {}, 6_738_415_616),
    (
        "TinyLlama-1.1B",
        "Llama",
        "ForCausalLM",
        {
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 22,
            "num_key_value_heads": 4,
        },
        1_100_048_384,
    ),
    (
        "Meta-Llama-3-8B",
        "Llama",
        "ForCausalLM",
        LLAMA3 | {"intermediate_size": 14_336, "rope_theta": 500_000.0},
        8_030_261_248,
    ),
    (
        "Llama-3.2-1B",
        "Llama",
        "ForCausalLM",
        LLAMA3
        | {
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "head_dim": 64,
            "tie_word_embeddings": True,
            "rope_parameters": ROPE3,
        },
        1_235_814_400,
    ),
    (
        "SmolLM2-135M",
        "Llama",
        "ForCausalLM",
        {
            "vocab_size": 49_152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
        },
        134_515_008,
    ),
    ("Mistral-7B-v0.1", "Mistral", "ForCausalLM", {"rms_norm_eps": 1e-5}, 7_241_732_096),
    (
        "Qwen2-0.5B",
        "Qwen2",
        "ForCausalLM",
        {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        494_032_768,
    ),
    (
        "Qwen2-7B",
        "Qwen2",
        "ForCausalLM",
        {
            "vocab_size": 152_064,
            "hidden_size": 3584,
            "intermediate_size": 18_944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
        7_615_616_512,
    ),
    (
        "Qwen3-0.6B",
        "Qwen3",
        "ForCausalLM",
        {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
        },
        596_049_920,
    ),
    (
        "Qwen3-8B",
        "Qwen3",
        "ForCausalLM",
        {
            "hidden_size": 4096,
            "intermediate_size": 12_288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
        8_190_735_360,
    ),
    ("vit-base-patch16-224-in21k", "ViT", "Model", {}, 86_389_248),
    ("vit-base-patch16-224", "ViT", "ForImageClassification", IMAGENET, 86_567_656),
    (
        "vit-base-patch32-384",
        "ViT",
        "ForImageClassification",
        IMAGENET | {"image_size": 384, "patch_size": 32},
        88_297_192,
    ),
    ("vit-large-patch16-224", "ViT", "ForImageClassification", IMAGENET | LARGE, 304_326_632),
    ("vit-base-patch16-224-in21k", "ViT", "ForMaskedImageModeling", {}, 86_390_016),
    ("deit-tiny-distilled-patch16-224", *TEACHER, deit(192, 3), 5_910_800),
    ("deit-small-distilled-patch16-224", *TEACHER, deit(384, 6), 22_436_432),
    ("deit-base-distilled-patch16-224", *TEACHER, deit(768, 12), 87_338_192),
    ("deit-base-distilled-patch16-224", "DeiT", "ForMaskedImageModeling", {}, 86_391_552),
]


@pytest.mark.parametrize(
    ("prefix", "task", "options", "count"),
    [pytest.param(*each, id=f"{name}-{each[1]}") for name, *each in PUBLISHED],
)
def test_published_models_have_their_names_shapes_and_counts(prefix, task, options, count):
    same_names = prefix not in ("ViT", "DeiT")
    assert_published_size(prefix, task, options, count, same_names=same_names)
