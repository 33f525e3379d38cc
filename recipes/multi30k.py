"""The Transformer from scratch on Multi30k: English captions to German ones, greedily decoded.

    REGARD_DATA=FOLDER python recipes/multi30k.py --output OUT --bf16

The folder has `multi30k` with `train.en.gz`, `train.de.gz` and `val` alike (Elliott et al. 2016).
One vocabulary for both languages is learned from the training data. The model is the paper's
(Vaswani et al. 2017) in small; its best pass by validation loss is decoded. Prints a row and writes
`OUT/result.json` with sacrebleu's BLEU.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import regard
from regard.data.loading import load_dataset
from regard.training.job import open_run
from regard.training.settings import read_settings
from regard.training.splits import find_splits


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("REGARD_DATA"), help="folder of corpora")
    parser.add_argument("--output", type=Path, required=True, help="folder for model and results")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="de")
    parser.add_argument("--vocabulary", type=int, default=6000)
    parser.add_argument("--layers", type=int, default=3, help="of each side")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--epochs", type=float, default=7)
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--tokens", type=int, default=1024, help="source tokens of a batch")
    parser.add_argument("--learning-rate", type=float, default=7e-4)
    parser.add_argument("--beams", type=int, default=1, help="1 is greedy")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--bf16", action="store_true")
    found = parser.parse_args()
    if found.data is None:
        parser.error("give --data, or set REGARD_DATA to the folder of corpora")
    return found


def begin(given: argparse.Namespace, data: Path) -> Path:
    """Learn the vocabulary; write it with the configuration, and return their folder."""
    start = given.output / "start"
    pairs = load_dataset(find_splits(data).training)
    texts = (text for side in (given.source, given.target) for text in pairs.column(side))
    tokenizer = regard.train_tokenizer(texts, "bart", given.vocabulary, model_max_length=256)
    tokenizer.save_pretrained(start)
    regard.TransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=given.width,
        num_hidden_layers=given.layers,
        num_attention_heads=given.heads,
        intermediate_size=4 * given.width,
        hidden_dropout_prob=given.dropout,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
    ).save_pretrained(start)
    return start


def main() -> None:
    """Train, decode, and write what was found."""
    given = options()
    data = Path(given.data) / "multi30k"
    start = begin(given, data)
    settings = {
        "task": "translation",
        "data": str(data),
        "columns": {"text": given.source, "target": given.target},
        "from_config": str(start / "config.json"),
        "output": str(given.output / "model"),
        "epochs": given.epochs,
        "max_steps": given.max_steps,
        "per_device_train_tokens": given.tokens,
        "learning_rate": given.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "adam_beta2": 0.98,
        "label_smoothing_factor": 0.1,
        "max_new_tokens": 64,
        "num_beams": given.beams,
        "seed": given.seed,
        "bf16": given.bf16,
    }
    run = open_run(read_settings(settings))
    began = time.perf_counter()
    metrics = run.train()
    state, model = run.trainer.state, run.trainer.model
    result = {
        "options": {n: str(v) for n, v in vars(given).items() if n not in ("data", "output")},
        "parameters": model.num_parameters(),
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "training_seconds": next(
            each["train_runtime"] for each in state.log_history if "train_runtime" in each
        ),
        "seconds": time.perf_counter() - began,
        "metrics": metrics,
    }
    (given.output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    lines = [
        "| parameters | vocabulary | steps | training, s | perplexity | BLEU | chrF | seed |",
        "| ---: " * 8 + "|",
        f"| {result['parameters']:,} | {model.config.vocab_size} | {result['steps']:,} "
        f"| {result['training_seconds']:.0f} | {metrics['eval_perplexity']:.2f} "
        f"| {metrics['eval_bleu']:.2f} | {metrics['eval_chrf']:.2f} | {given.seed} |",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
