"""A tiny model of three tasks and their data, for tests of runs over several tasks."""

import numpy as np
import torch

from regard.data.collate import DataCollatorForTokenClassification
from regard.models.bert import BertConfig
from regard.models.multitask import MultiTaskModel
from regard.text import BertTokenizer
from regard.training.multitask import MultiTaskTrainer

if __package__:
    from .runs import SIZES, WORDS, arguments
else:  # in the program that `test_multitask.py` starts
    from runs import SIZES, WORDS, arguments


TASKS = {
    "mood": {"head": "sequence-classification", "num_labels": 3},
    "names": {"head": "token-classification", "num_labels": 4},
    "span": {"head": "question-answering"},
    "degree": {"head": "sequence-classification", "num_labels": 1, "problem_type": "regression"},
}
COUNTS = {"mood": 11, "names": 6, "span": 4, "degree": 3}

METRICS = {
    "mood": lambda found: {
        "accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())
    },
    "names": lambda found: {"f1": 0.25, "recall": 0.5},
    "span": lambda found: {"exact": float(len(found.predictions[0]))},
    "degree": lambda found: {"spearman": float(np.mean(found.label_ids))},
}


def tokenizer():
    return BertTokenizer({word: number for number, word in enumerate(WORDS)})


def model(seed=0, tasks=TASKS, **changes):
    torch.manual_seed(seed)
    return MultiTaskModel.from_config(BertConfig(**SIZES | changes), tasks)


def data(task, count, seed=1):
    """Return ragged examples of a task; some tokens have no label."""
    draw = torch.Generator().manual_seed(seed + len(task))

    def below(high, low=0):
        return int(torch.randint(low, high, (), generator=draw))

    rows = []
    for _ in range(count):
        ids = [2, *(below(40, 5) for _ in range(below(9, 2))), 3]
        row = {"input_ids": ids, "attention_mask": [1] * len(ids), "noise": "x"}
        if task == "mood":
            row["label"] = below(3)
        elif task == "names":
            row["labels"] = [below(4) if below(3) else -100 for _ in ids]
        elif task == "degree":
            row["labels"] = below(100) / 10
        else:
            start = below(len(ids))
            row |= {"start_positions": start, "end_positions": below(len(ids), start)}
        rows.append(row)
    return rows


def several(seed=1, counts=COUNTS):
    return {task: data(task, count, seed) for task, count in counts.items()}


def multi_trainer(folder, **changes):
    """Return a trainer of a tiny model; what is no argument of it goes to TrainingArguments."""
    names = ("model", "train_dataset", "eval_dataset", "compute_metrics", "main_metrics")
    given = {n: changes.pop(n) for n in (*names, "callbacks") if n in changes}
    usual = {
        "model": given.pop("model", None) or model(),
        "train_dataset": several(),
        "data_collator": {"names": DataCollatorForTokenClassification(tokenizer())},
        "processing_class": tokenizer(),
    }
    return MultiTaskTrainer(args=arguments(folder, **changes), **usual | given)
