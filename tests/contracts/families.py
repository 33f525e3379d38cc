"""A tiny random model of every family, and what to feed it; a new family joins by itself."""

import inspect

import pytest
import torch

from regard.models.auto import FAMILIES, family

BASE = "base"

#: Sizes by the names that configurations have; each family takes those that it knows.
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "embedding_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
    "decoder_start_token_id": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "sliding_window": 6,
    "image_size": 8,
    "patch_size": 4,
    "encoder_stride": 4,
    "num_channels": 1,
}
LENGTH = 7
#: One family of each kind.
EXAMPLES = ("bert", "llama", "bart", "vit")
#: Families that are others' but for defaults and names; their parts are tested with those.
KIN = {"camembert", "deit", "mbart", "mistral", "mt5", "qwen2", "qwen3", "xlm-roberta"}


def tasks(model_type):
    """Return the tasks of a family, the base last."""
    return [*family(model_type).heads, BASE]


def every_task():
    return [(model_type, task) for model_type in FAMILIES for task in tasks(model_type)]


def but_kin(values):
    """Return families, or pairs that begin with one; those of kin run with the slow tests."""
    tuples = [(each,) if isinstance(each, str) else each for each in values]
    return [pytest.param(*each, marks=[pytest.mark.slow] * (each[0] in KIN)) for each in tuples]


def one_of_each_kind(model_types):
    """Return families; all but an encoder, a decoder, both and images run with the slow tests.

    For what is of the loader or of a kind of model more than of a family.
    """
    return [
        pytest.param(each, marks=[pytest.mark.slow] * (each not in EXAMPLES))
        for each in model_types
    ]


def each_once(pairs):
    """Return pairs of family and task; those with neither a new family nor task are slow."""
    seen, found = set(KIN), []
    for pair in pairs:
        new = {*pair} - seen
        seen |= new
        found.append(pytest.param(*pair, marks=[] if new else [pytest.mark.slow]))
    return found


def main_task(model_type):
    """Return what a family is best known for."""
    return tasks(model_type)[0]


def model_class(model_type, task):
    found = family(model_type)
    return found.base if task == BASE else found.heads[task]


def tiny(model_type, task=BASE, **options):
    """Return a tiny model whose every parameter is random, biases and norms too."""
    torch.manual_seed(0)
    config_class = family(model_type).config
    known = {*config_class.argument_names()}
    sizes = {name: size for name, size in SIZES.items() if name in known}
    if (config_class.pad_token_id or 0) >= SIZES["vocab_size"]:
        sizes["pad_token_id"] = 0
    if task == "CausalLM" and "is_decoder" in known:
        sizes["is_decoder"] = True
    model = model_class(model_type, task)(config_class(**sizes | options))
    count = model.num_parameters()
    assert count < 50_000, f"{model_type} has {count} parameters: name its sizes in SIZES"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def inputs(model, rows=3, *, seed=1):
    """Return full rows of whatever a model reads, by the names of its arguments."""
    generator = torch.Generator().manual_seed(seed)
    config = vars(model.config)
    takes = inspect.signature(model.forward).parameters
    batch = {}
    if "pixel_values" in takes:
        shape = (rows, config["num_channels"], config["image_size"], config["image_size"])
        batch["pixel_values"] = torch.randn(shape, generator=generator)
    for name in ("input_ids", "decoder_input_ids"):
        if name in takes:
            # Small ids stand for padding and its like in some family or other.
            batch[name] = torch.randint(
                5, config["vocab_size"], (rows, LENGTH), generator=generator
            )
    if "decoder_input_ids" in batch:  # some heads read the vector of the end token
        batch["input_ids"][:, -1] = config["eos_token_id"]
    return batch
