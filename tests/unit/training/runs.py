"""Tiny runs with every source of chance on, and what of a run must be the same bit for bit."""

import json
import logging
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file

from regard.data.masking import DataCollatorForLanguageModeling
from regard.errors import notices
from regard.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification
from regard.text import BertTokenizer
from regard.training.arguments import TrainingArguments
from regard.training.callbacks import TrainerCallback
from regard.training.trainer import Trainer

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
#: For runs whose weights are compared but for rounding. Some gradients are nothing else, such as
#: a key's bias's, which adds the same to all scores of a query: Adam would make whole steps of it.
TAMED = {"adam_epsilon": 1e-4}
HEADS = {"classify": BertForSequenceClassification, "mask": BertForMaskedLM}


def model(head="classify", seed=0, **changes):
    torch.manual_seed(seed)
    return HEADS[head](BertConfig(**SIZES | changes))


def examples(count=11, seed=1, *, labelled=True):
    """Return ragged examples whose label can be learned."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        length = int(torch.randint(2, 9, (), generator=draw))
        ids = torch.randint(5, 40, (length,), generator=draw).tolist()
        rows.append({"input_ids": [2, *ids, 3]} | ({"labels": ids[0] % 2} if labelled else {}))
    return rows


def pad(rows):
    """Pad as a tokenizer would."""
    width = max(len(row["input_ids"]) for row in rows)
    batch = {
        "input_ids": [row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows],
        "attention_mask": [
            [1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows
        ],
        "labels": [row["labels"] for row in rows],
    }
    return {name: torch.tensor(value) for name, value in batch.items()}


def arguments(folder, **changes):
    usual = {
        "max_steps": 7,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "weight_decay": 0.1,
        "logging_steps": 2,
        "save_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return TrainingArguments(folder, **usual | changes)


def trainer(folder, **changes):
    """Return a trainer of a tiny model; what is no argument of it goes to TrainingArguments."""
    own = ("model", "model_init", "train_dataset", "eval_dataset", "data_collator", "callbacks")
    given = {name: changes.pop(name) for name in (*own, "optimizers") if name in changes}
    if "model_init" not in given:
        given.setdefault("model", model())
    usual = {"train_dataset": examples(), "data_collator": pad}
    return Trainer(args=arguments(folder, **changes), **usual | given)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(35))]


def masked(**changes):
    """Return what a run of masked language modelling is made of; its labels differ in number."""
    return {
        "model": model("mask", **changes),
        "train_dataset": examples(labelled=False),
        "data_collator": DataCollatorForLanguageModeling(
            BertTokenizer({word: number for number, word in enumerate(WORDS)}), mlm_probability=0.4
        ),
    }


class StopAt(TrainerCallback):
    """Ends a run at a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **run):
        control.should_training_stop |= state.global_step == self.step


def weights(run):
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(found, wanted):
    """Compare dicts of tensors bit for bit."""
    differ = [name for name in wanted if not torch.equal(found[name], wanted[name])]
    return found.keys() == wanted.keys() and not differ


def history(run):
    """Return what was logged, without what a clock says."""
    clock = ("runtime", "per_second", "train_loss")
    kept = [
        {k: v for k, v in log.items() if not k.endswith(clock)} for log in run.state.log_history
    ]
    return [log for log in kept if log.keys() - {"epoch", "step"}]


def contents(folder):
    """Return every tensor and number in a checkpoint that is not of a clock or a place."""
    folder = Path(folder)
    found = {}
    for file in sorted(folder.rglob("*.safetensors")):
        place = file.relative_to(folder)
        found |= {f"{place}/{name}": value for name, value in load_file(file).items()}
    for name in ("optimizer.json", "scheduler.json"):
        found[name] = json.loads((folder / name).read_text())
    return found


def equal_contents(first, second):
    first, second = contents(first), contents(second)
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name])
        if isinstance(value, torch.Tensor)
        else value == second[name]
        for name, value in first.items()
    )


@contextmanager
def heard():
    """Collect notices."""
    texts = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    notices.addHandler(handler)
    try:
        yield texts
    finally:
        notices.removeHandler(handler)
