"""Train with and without compiled layers, and print what came of it; see `test_step_options.py`.

A process of its own: what checks shapes in tests is no code that torch compiles.
"""

import json
import sys
from pathlib import Path

import torch
from runs import examples, pad, trainer
from torch._dynamo.utils import counters

from regard.models.auto import family

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "d_model": 16,
    "num_hidden_layers": 3,
    "num_layers": 3,
    "num_attention_heads": 2,
    "num_heads": 2,
    "d_kv": 8,
    "d_ff": 24,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "pad_token_id": 0,
    "eos_token_id": 3,
    "bos_token_id": None,
}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout_rate", "dropout")
DROPOUTS += ("resid_pdrop", "embd_pdrop", "attn_pdrop", "attention_dropout", "classifier_dropout")


def model(name):
    torch.manual_seed(0)
    found = family(name)
    known = {*found.config.argument_names()}
    given = SIZES | dict.fromkeys(DROPOUTS, 0.0)
    config = found.config(**{name: value for name, value in given.items() if name in known})
    return found.heads["SequenceClassification"](config)


def losses(folder, name, **more):
    run = trainer(
        folder,
        model=model(name),
        train_dataset=examples(30),
        data_collator=pad,
        eval_dataset=examples(9, seed=3),
        eval_strategy="steps",
        eval_steps=5,
        max_steps=15,
        logging_steps=1,
        save_strategy="no",
        **more,
    )
    run.train()
    keys = ("loss", "eval_loss")
    return [log[key] for log in run.state.log_history for key in keys if key in log]


if __name__ == "__main__":
    name, folder, more = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    wanted = losses(folder / "eager", name, **more)
    found = losses(folder / "compiled", name, torch_compile=True, **more)
    graphs = counters["stats"]["unique_graphs"]
    sys.stdout.write(json.dumps({"wanted": wanted, "found": found, "graphs": graphs}))
