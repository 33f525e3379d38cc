"""BART gives the reference's numbers, from the files it writes."""

from typing import ClassVar

import regard

from .seq2seq import Seq2SeqParity

SIZES = {
    "vocab_size": 61,
    "max_position_embeddings": 20,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 24,
    "use_cache": False,
}
SMALL = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
}
RATES = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "encoder_layerdrop",
    "decoder_layerdrop",
)


class TestBart(Seq2SeqParity):
    prefix = "Bart"
    tasks = (
        "Model",
        "ForConditionalGeneration",
        "ForSequenceClassification",
        "ForQuestionAnswering",
        "ForCausalLM",
    )
    sizes = SIZES
    rates = (*RATES, "classifier_dropout")
    configs: ClassVar = {
        "small": SMALL,
        "scaled, relu": SMALL | {"scale_embedding": True, "activation_function": "relu"},
        "one layer, untied": {
            "d_model": 24,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 3,
            "decoder_attention_heads": 3,
            "tie_word_embeddings": False,
            "num_labels": 4,
        },
    }
    base_size: ClassVar = {
        "d_model": 768,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "encoder_attention_heads": 12,
        "decoder_attention_heads": 12,
        "encoder_ffn_dim": 3072,
        "decoder_ffn_dim": 3072,
    }
    sized: ClassVar = {
        "facebook/bart-base": (base_size, 139_420_416),
        "facebook/bart-large": ({}, 406_291_456),
    }

    def base_class(self, task):
        if task == "ForCausalLM":
            from regard.models.bart import BartDecoder

            return BartDecoder
        return regard.BartModel
