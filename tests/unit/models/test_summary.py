"""The figures of a summary are those of the real model, for every family and head."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import regard
from regard.errors import ConfigError
from regard.layers.blocks import Stack
from regard.models.auto import FAMILIES, family
from regard.models.summary import PARTS, model_summary

from ...contracts.families import but_kin, each_once

LENGTH = 7
HEADS = [(name, head) for name in FAMILIES for head in (None, *family(name).heads)]


def built(config, head):
    found = family(config.model_type)
    return (found.heads[head] if head else found.base)(config).eval()


@pytest.mark.parametrize(("name", "head"), but_kin(HEADS))
def test_parameters_are_the_models(tiny_config, name, head):
    config = tiny_config(name, is_decoder=head == "CausalLM")
    summary, model = model_summary(config, head=head), built(config, head)
    assert summary.model == type(model).__name__
    assert [*summary.parts] == [*PARTS]
    assert summary.parameters == sum(p.numel() for p in model.parameters())
    assert summary.parts["other"].parameters == 0
    for part in ("embeddings", "attention", "feed_forward", "norms"):
        assert summary.parts[part].parameters > 0, part
    for part in ("attention", "feed_forward"):
        assert sum(summary.parts[part].per_layer) == summary.parts[part].parameters, part
    layers = [p.numel() for n, p in model.named_parameters() if ".layers." in n]
    assert sum(sum(part.per_layer) for part in summary.parts.values()) == sum(layers)
    depth = {len(part.per_layer) for part in summary.parts.values()}
    assert depth == {sum(len(each.layers) for each in model.modules() if isinstance(each, Stack))}


@pytest.mark.parametrize(("name", "head"), each_once(HEADS))
def test_operations_are_those_that_torch_counts(tiny_config, name, head):
    config = tiny_config(name, is_decoder=head == "CausalLM")
    summary, model = model_summary(config, head=head, length=LENGTH), built(config, head)
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(**model.example_inputs(LENGTH))
    assert summary.flops == counter.get_total_flops() > 0
    quadratic = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
    assert summary.score_flops == quadratic > 0


def test_parts_of_a_known_model():
    summary = model_summary(regard.BertConfig(), head="SequenceClassification", length=100)
    width, inner, words, layers = 768, 3072, 30522, 12
    assert {name: part.parameters for name, part in summary.parts.items()} == {
        "embeddings": (words + 512 + 2) * width,
        "attention": layers * 4 * (width + 1) * width,
        "cross_attention": 0,
        "feed_forward": layers * (2 * width * inner + inner + width),
        "norms": (2 * layers + 1) * 2 * width,
        "other": 0,
        "head": (width + 1) * width + (width + 1) * 2,
    }
    assert summary.parts["norms"].per_layer == (4 * width,) * layers
    assert summary.parts["attention"].flops == layers * 100 * 2 * 4 * width**2
    assert summary.parts["head"].flops == 2 * width * (width + 2)  # of one token
    assert summary.score_flops == layers * 2 * 2 * 100**2 * width
    assert summary.tokens == 100
    assert summary.weight_bytes == {
        "float32": 4 * summary.parameters,
        "bfloat16": 2 * summary.parameters,
        "int8": summary.parameters,
    }
    assert summary.training_bytes == 16 * summary.parameters


def test_a_cache_is_what_causal_layers_keep():
    grouped = regard.LlamaConfig(num_hidden_layers=2, num_key_value_heads=4)
    summary = model_summary(grouped, head="CausalLM", length=1)
    assert summary.cached_numbers == 2 * 2 * 4 * 128
    assert summary.cache_bytes == {"float32": 8192, "bfloat16": 4096}
    assert model_summary(regard.BertConfig(), length=1).cached_numbers == 0


def test_a_source_and_a_target(tiny_config):
    config = tiny_config("transformer", num_decoder_layers=1)
    parts = model_summary(config, length=LENGTH).parts
    projections = 4 * (16 * 16 + 16)
    assert parts["attention"].per_layer == (projections,) * 4
    assert parts["cross_attention"].per_layer == (0, 0, 0, projections)
    assert parts["cross_attention"].flops == LENGTH * 2 * 4 * 16 * 16


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_output_is_counted_once_and_computed_always(tiny_config, tied):
    config = tiny_config("gpt2", tie_word_embeddings=tied)
    summary = model_summary(config, head="CausalLM", length=LENGTH)
    assert summary.parts["head"].parameters == (0 if tied else 31 * 16)
    assert summary.parts["head"].flops == 2 * LENGTH * 31 * 16


def test_the_architecture_that_the_config_names(tiny_config):
    config = tiny_config("bert", architectures=["Other", "BertForMaskedLM"])
    assert model_summary(config).model == "BertForMaskedLM"
    assert model_summary(config, head="MultipleChoice").model == "BertForMultipleChoice"
    config.architectures = ["Other"]
    assert model_summary(config).model == "BertModel"


def test_layers_without_number_and_models_without_layers(tiny_config):
    none = model_summary(tiny_config("bert", num_hidden_layers=0), length=LENGTH)
    assert none.parts["attention"].per_layer == ()
    assert (none.tokens, none.score_flops) == (LENGTH, 0)


def test_lengths(tiny_config):
    assert model_summary(regard.BertConfig(num_hidden_layers=1)).tokens == 512
    assert model_summary(tiny_config("bert")).tokens == 20
    assert (
        model_summary(tiny_config("roberta")).tokens == 18
    )  # the first two positions are never used
    assert model_summary(tiny_config("llama")).tokens == 512
    assert model_summary(tiny_config("llama"), length=9000).tokens == 9000
    assert model_summary(tiny_config("vit"), length=5).tokens == 1 + 9
    assert model_summary(tiny_config("deit")).tokens == 2 + 9


def test_wrong_inputs(tiny_config):
    with pytest.raises(ValueError, match=r"length is 21; .* at most the 20 positions"):
        model_summary(tiny_config("bert"), length=21)
    with pytest.raises(ValueError, match="length is 0; it must be at least 1"):
        model_summary(tiny_config("llama"), length=0)
    with pytest.raises(ConfigError, match="has no head 'MaskedLN'; did you mean 'MaskedLM'"):
        model_summary(tiny_config("bert"), head="MaskedLN")
    with pytest.raises(ConfigError, match="must divide hidden_size"):
        model_summary(tiny_config("bert", num_attention_heads=3))


def test_nothing_takes_memory():
    huge = regard.LlamaConfig(hidden_size=2**18, num_attention_heads=2**11, num_hidden_layers=4)
    assert model_summary(huge, length=100_000).parameters > 10**12
