"""Small random encoders with real tokenizers, as the reference saves them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from regard.checkpoints.files import find_checkpoint

from .tokenizer_texts import train_byte_level

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.5,
}


def encoder_folder(folder: Path, family: str, head: str, **sizes: Any) -> Path:
    """Save a BERT (with two segments) or a RoBERTa (with one) and its tokenizer in `folder`.

    Args:
        folder: Where; it must not exist.
        family: ``"bert"`` or ``"roberta"``.
        head: Such as ``"ForMaskedLM"``.
        sizes: Fields of the configuration other than `SIZES`.
    """
    if family == "bert":
        found = find_checkpoint(MINILM).path("config.json").parent
        tokenizer = transformers.AutoTokenizer.from_pretrained(found)
        kind, more = "Bert", {}
    else:
        made = train_byte_level(folder, SPECIAL)
        mask = {"content": "<mask>", "lstrip": True}
        (made / "special_tokens_map.json").write_text(json.dumps({"mask_token": mask}))
        tokenizer = transformers.RobertaTokenizer.from_pretrained(made)
        ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
        kind, more = "Roberta", {**ids, "type_vocab_size": 1, "max_position_embeddings": 514}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), **{**SIZES, **more, **sizes}
    )
    getattr(transformers, f"{kind}{head}")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
