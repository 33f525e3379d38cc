"""A GPT-2 from scratch on one text file: the loss of a character on the last tenth of it.

    python recipes/tinyshakespeare_gpt.py --data tinyshakespeare/input.txt --output out --epochs 10

With the usual --vocabulary of 257 every byte is a token, so the losses of token and character are
the same; a larger one is a byte-level BPE. The text is cut into windows of --context
tokens; a window's first token, which nothing foretells, counts as much as the mean of the others.
"""

import argparse
import json
import time
from pathlib import Path

import regard
from regard.training.job import open_run
from regard.training.settings import read_settings


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a text file")
    parser.add_argument("--output", type=Path, required=True, help="folder for model and results")
    parser.add_argument("--vocabulary", type=int, default=257, help="tokens; 257 are bytes")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()


def prepare(given):
    """Write both parts of the text, the tokenizer and the configuration; return their folder."""
    text = given.data.read_text(encoding="utf-8")
    cut = len(text) * 9 // 10
    start = given.output / "start"
    (start / "data").mkdir(parents=True, exist_ok=True)
    (start / "data" / "train.txt").write_text(text[:cut], encoding="utf-8")
    (start / "data" / "validation.txt").write_text(text[cut:], encoding="utf-8")
    tokenizer = regard.train_tokenizer(text[:cut].splitlines(), "gpt2", given.vocabulary)
    tokenizer.save_pretrained(start)
    regard.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=given.context,
        n_embd=given.width,
        n_layer=given.layers,
        n_head=given.heads,
        resid_pdrop=given.dropout,
        embd_pdrop=given.dropout,
        attn_pdrop=given.dropout,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    ).save_pretrained(start)
    return start


def main() -> None:
    """Train, measure, and write what was found."""
    given = options()
    start = prepare(given)
    run = open_run(
        read_settings(
            {
                "task": "causal-lm",
                "data": str(start / "data"),
                "from_config": str(start / "config.json"),
                "output_dir": str(given.output / "model"),
                "by": "document",
                "max_length": given.context,
                "num_train_epochs": given.epochs,
                "max_steps": given.max_steps,
                "per_device_train_batch_size": given.batch_size,
                "learning_rate": given.learning_rate,
                "lr_scheduler_type": "cosine",
                "weight_decay": 0.1,
                "seed": given.seed,
                "bf16": given.bf16,
            }
        )
    )
    began = time.perf_counter()
    metrics = run.train()
    seconds = time.perf_counter() - began
    parameters = run.trainer.model.num_parameters()
    result = {
        "options": {name: str(value) for name, value in vars(given).items()},
        "parameters": parameters,
        "steps": run.trainer.state.global_step,
        "tokens": run.trainer.state.tokens_seen,
        "seconds": seconds,
        "metrics": metrics,
    }
    (given.output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print("| parameters | vocabulary | steps | seconds | nats/character | bits/character | seed |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    nats, bits = (metrics[f"eval_{unit}_per_character"] for unit in ("nats", "bits"))
    row = f"| {parameters:,} | {run.trainer.model.config.vocab_size} | {result['steps']:,} "
    print(f"{row}| {seconds:.0f} | {nats:.4f} | {bits:.4f} | {given.seed} |")


if __name__ == "__main__":
    main()
