"""Llama, Mistral, Qwen2 and Qwen3 give the reference's numbers, from the files it writes."""

import pytest
import torch

import regard

from . import decoders
from .reference import assert_close

# Shorter than what the tests feed, which is what scaling is about.
SIZES = decoders.SIZES | {"max_position_embeddings": 8}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def scaled(kind, **numbers):
    return SMALL | {"rope_parameters": {"rope_type": kind, "rope_theta": 500.0, **numbers}}


class TestLlama(decoders.DecoderParity):
    prefix = "Llama"
    sizes = SIZES
    rates = ("attention_dropout", "classifier_dropout")
    configs = {
        "small": SMALL,
        "biases, tied, one key head, wide heads": SMALL
        | {
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "num_key_value_heads": 1,
            "head_dim": 16,
        },
        "gelu, own key heads": SMALL
        | {"hidden_act": "gelu", "num_key_value_heads": 4, "rms_norm_eps": 1e-5},
        "linear": scaled("linear", factor=4.0),
        "dynamic": scaled("dynamic", factor=4.0),
        "yarn": scaled("yarn", factor=4.0, original_max_position_embeddings=6),
        "yarn, every number": scaled(
            "yarn",
            factor=4.0,
            original_max_position_embeddings=6,
            beta_fast=20.0,
            beta_slow=2.0,
            mscale=0.7,
            mscale_all_dim=0.5,
            truncate=False,
        ),
        "llama3": scaled(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=6,
        ),
    }
    published = ({}, 6_607_343_616)  # Llama-7B without its output map

    def test_the_older_spelling_of_rotary_positions(self, tmp_path):
        theirs, ours = self.both("Model", tmp_path, **self.configs["linear"])
        config = regard.LlamaConfig(
            **SIZES | SMALL, rope_theta=500.0, rope_scaling={"type": "linear", "factor": 4.0}
        )
        older = regard.LlamaModel.from_pretrained(tmp_path, config=config)
        ids = torch.randint(1, 99, (2, 11))
        assert_close("hidden", older(ids)[0], theirs(ids)[0])
        other = regard.LlamaModel.from_pretrained(tmp_path, rope_theta=10.0)
        assert not torch.allclose(other(ids)[0], ours(ids)[0], atol=1e-3)


class TestMistral(decoders.DecoderParity):
    prefix = "Mistral"
    kin = True
    sizes = SIZES
    rates = ("attention_dropout", "classifier_dropout")
    configs = {"window": SMALL | {"sliding_window": 4}, "none": SMALL | {"sliding_window": None}}
    published = ({}, 7_110_660_096)  # Mistral-7B without its output map


class TestQwen2(decoders.DecoderParity):
    prefix = "Qwen2"
    kin = True
    sizes = SIZES
    rates = ("attention_dropout", "classifier_dropout")
    configs = {
        "small": SMALL,
        "window in the second layer, tied": SMALL
        | {
            "use_sliding_window": True,
            "sliding_window": 3,
            "max_window_layers": 1,
            "tie_word_embeddings": True,
        },
    }
    published = (
        {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
        },
        494_032_768,
    )  # Qwen2-0.5B


class TestQwen3(decoders.DecoderParity):
    prefix = "Qwen3"
    kin = True
    sizes = SIZES
    rates = ("attention_dropout", "classifier_dropout")
    configs = {
        "small": SMALL | {"head_dim": 16},
        "biases, window by layer": SMALL
        | {
            "head_dim": 8,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 3,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    }
    published = (
        {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
        },
        596_049_920,
    )  # Qwen3-0.6B


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rope_scaling": {"rope_type": "yran", "factor": 2.0}}, "did you mean 'yarn'"),
        ({"rope_scaling": {"rope_type": "linear"}}, "lacks 'factor'"),
        ({"head_dim": 5}, "even head size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads .3. must divide"),
    ],
)
def test_wrong_configurations(options, says):
    with pytest.raises(regard.ConfigError, match=says):
        regard.LlamaModel(regard.LlamaConfig(**SIZES | SMALL | options))
