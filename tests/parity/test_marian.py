"""Marian gives the reference's numbers, from the files it writes."""

from typing import ClassVar

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import regard
from regard.models.marian import MarianDecoder

from .reference import assert_close
from .seq2seq import Seq2SeqParity
from .test_bart import RATES, SIZES, SMALL

APART = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 73}


class TestMarian(Seq2SeqParity):
    prefix = "Marian"
    tasks = ("Model", "MTModel", "ForCausalLM")
    sizes: ClassVar = SIZES | {
        "pad_token_id": 3,
        "decoder_start_token_id": 3,
        "activation_function": "swish",
    }
    rates = RATES
    configs: ClassVar = {
        "small": SMALL,
        "scaled": SMALL | {"scale_embedding": True},
        "untied": SMALL | {"tie_word_embeddings": False},
    }
    opus: ClassVar = {
        "d_model": 512,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
        "decoder_ffn_dim": 2048,
        "max_position_embeddings": 512,
    }
    #: Without the sinusoids, 2 x 512 x 512 numbers that the reference counts.
    sized: ClassVar = {"Helsinki-NLP/opus-mt-en-de": (opus, 74_410_496 - 2 * 512 * 512)}
    unlearned = tuple(
        f"{prefix}{side}.embed_positions.weight"
        for prefix in ("", "model.")
        for side in ("encoder", "decoder")
    )

    test_sequence_losses = None
    test_ragged_questions_equal_the_reference_one_by_one = None

    def base_class(self, task):
        return MarianDecoder if task == "ForCausalLM" else regard.MarianModel
