"""Small random models of the reference with labels, to compare pipelines on."""

from collections.abc import Sequence
from pathlib import Path

import torch
import transformers

from regard.checkpoints.files import find_checkpoint

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def save_labelled_bert(places: dict[str, Path], labels: Sequence[str]) -> None:
    """Write BERTs of large random weights, which say different things of neighbouring tokens.

    Args:
        places: Head, as after ``BertFor``, to the folder of its model and a real tokenizer.
        labels: What they tell apart.
    """
    folder = find_checkpoint(MINILM).path("config.json").parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
    )
    for head, place in places.items():
        getattr(transformers, f"BertFor{head}")(config).save_pretrained(place)
        tokenizer.save_pretrained(place)
