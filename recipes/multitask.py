"""One MiniLM for sentiment, kinds of questions and names: three heads over one encoder.

    REGARD_DATA=FOLDER python recipes/multitask.py --output OUT --epochs 3

The folder has `sentence_polarity`, `trec` and `wnut17`; where a corpus has no validation data, a
tenth of its training data is held out. Prints a row per task and writes `OUT/results.json`.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from regard.training.job import open_run
from regard.training.settings import read_settings

TASKS = {
    "sentiment": ("text-classification", "sentence_polarity"),
    "question": ("text-classification", "trec"),
    "names": ("token-classification", "wnut17"),
}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("REGARD_DATA"), help="folder of corpora")
    parser.add_argument("--output", required=True)
    parser.add_argument("--model", help="the checkpoint to begin with")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=[*TASKS], help="some tasks")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--bf16", action="store_true")
    found = parser.parse_args()
    if found.data is None:
        parser.error("give --data, or set REGARD_DATA to the folder of corpora")
    return found


def main() -> None:
    """Train, evaluate, and show the result."""
    given = arguments()
    told = {
        name: {"task": kind, "data": str(Path(given.data) / folder)}
        for name, (kind, folder) in TASKS.items()
        if name in given.only
    }
    settings = {
        "tasks": told,
        "model": given.model,
        "output": given.output,
        "epochs": given.epochs,
        "max_steps": given.max_steps,
        "batch_size": given.batch_size,
        "learning_rate": given.learning_rate,
        "task_temperature": given.temperature,
        "seed": given.seed,
        "bf16": given.bf16,
    }
    run = open_run(read_settings(settings))
    started = time.perf_counter()
    metrics = run.train()
    rows = {
        name: {
            "training": len(run.trainer.train_dataset[name]),
            "validation": len(run.trainer.eval_dataset[name]),
            "metric": metric,
            "score": metrics[f"eval_{name}_{metric}"],
            "loss": metrics[f"eval_{name}_loss"],
        }
        for name, metric in run.trainer.main_metrics.items()
    }
    result = {
        "settings": vars(given) | {"data": Path(given.data).name},
        "seconds": round(time.perf_counter() - started, 1),
        "best_step": run.trainer.state.best_global_step,
        "steps": run.trainer.state.global_step,
        "mean": metrics["eval_mean"],
        "tasks": rows,
    }
    Path(given.output, "results.json").write_text(json.dumps(result, indent=2) + "\n")
    lines = ["| task | training | validation | metric | score | loss |", "| --- " * 6 + "|"]
    lines += [
        f"| {name} | {row['training']} | {row['validation']} | {row['metric']} "
        f"| {row['score']:.4f} | {row['loss']:.4f} |"
        for name, row in rows.items()
    ]
    lines += [f"| mean | | | | {result['mean']:.4f} | {metrics['eval_loss']:.4f} |"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
