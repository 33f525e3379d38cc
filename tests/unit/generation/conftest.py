"""Tiny random models that write varied texts."""

import logging

import pytest
import torch

import regard
from regard.errors import notices

SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 48,
    "initializer_range": 0.4,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny(kind, **options):
    torch.manual_seed(3)
    sizes = SIZES | options
    if kind == "seq2seq":
        sizes = {
            **sizes,
            "num_decoder_layers": 2,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 32,
            "decoder_start_token_id": 1,
            "tie_word_embeddings": False,
        }
        model = regard.MBartForConditionalGeneration(regard.MBartConfig(**sizes))
    elif kind == "gpt2":
        model = regard.GPT2LMHeadModel(regard.GPT2Config(**sizes))
    else:
        model = regard.MistralForCausalLM(
            regard.MistralConfig(**sizes, num_key_value_heads=2, sliding_window=5)
        )
    return model.double().eval()


@pytest.fixture(scope="session")
def make():
    return tiny


@pytest.fixture(scope="session", params=["gpt2", "mistral", "seq2seq"])
def model(request):
    return tiny(request.param)


@pytest.fixture(scope="session")
def gpt2():
    return tiny("gpt2")


@pytest.fixture(scope="session")
def mistral():
    return tiny("mistral")


@pytest.fixture(scope="session")
def seq2seq():
    return tiny("seq2seq")


@pytest.fixture
def told():
    """Return a list to which every notice is added."""
    lines, listener = [], logging.Handler()
    listener.emit = lambda record: lines.append(record.getMessage())
    notices.addHandler(listener)
    yield lines
    notices.removeHandler(listener)
