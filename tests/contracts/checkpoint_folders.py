"""Small checkpoints written by the reference, and ways to look into and to damage a folder."""

import json
import logging
from contextlib import contextmanager

import torch
import transformers
from safetensors.torch import load_file, save_file

from regard.errors import notices

HEADS = (
    "BertModel",
    "BertForMaskedLM",
    "BertForPreTraining",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForMultipleChoice",
)
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"


def reference(head="BertModel", dtype=torch.float32, **options):
    """Return a reference model whose every parameter is random, biases and norms too."""
    torch.manual_seed(0)
    model = getattr(transformers, head)(transformers.BertConfig(**SIZES | options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.to(dtype).eval()


def write(folder, head="BertModel", **options):
    """Write such a model into `folder`; return the folder."""
    reference(head, **options).save_pretrained(folder)
    return folder


def tensors(folder, file=WEIGHTS):
    return load_file(folder / file)


def rewrite(folder, change, file=WEIGHTS):
    """Let `change` edit the tensors of a safetensors file in place."""
    content = {name: tensor.clone() for name, tensor in tensors(folder, file).items()}
    change(content)
    save_file(content, folder / file, {"format": "pt"})


def edit_json(folder, file="config.json", **changes):
    content = json.loads((folder / file).read_text("utf-8"))
    (folder / file).write_text(json.dumps(content | changes), "utf-8")


def rename_all(folder, rename):
    """Rename every tensor of the folder's safetensors file."""
    content = {rename(name): tensor.clone() for name, tensor in tensors(folder).items()}
    save_file(content, folder / WEIGHTS, {"format": "pt"})


def assert_same_bits(found, expected):
    """Compare two dicts of tensors: the same names, types, shapes and bits."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(bits(found[name]), bits(tensor)), name


def bits(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def assert_same_state(model, other):
    assert_same_bits(model.state_dict(), other.state_dict())


def inputs(head="BertModel"):
    shape = (2, 3, 7) if head == "BertForMultipleChoice" else (2, 7)
    ids = torch.randint(1, SIZES["vocab_size"], shape, generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def assert_same_outputs(ours, theirs, head="BertModel", tolerance=1e-5):
    with torch.no_grad():
        found, expected = ours(**inputs(head)), theirs(**inputs(head))
    assert [*found.keys()] == [*expected.keys()]
    for name, value in expected.items():
        assert (found[name] - value).abs().max().item() <= tolerance, name


@contextmanager
def told():
    """Collect the notices that are given inside the block."""
    lines = []

    class Listener(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    listener = Listener()
    notices.addHandler(listener)
    try:
        yield lines
    finally:
        notices.removeHandler(listener)
