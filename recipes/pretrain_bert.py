"""A small BERT from scratch: vocabulary, masked language modelling, and then a classification.

    python recipes/pretrain_bert.py --text reviews/ --classification sst2/ --output out

The same net is fine-tuned once from the pre-trained and once from random weights, with the same
settings and seed; what pre-training is worth is the difference. The text is plain,
one in each line; the classification is a folder with files called train and validation.
"""

import argparse
import json
import time
from pathlib import Path

import regard
from regard.data.loading import load_dataset
from regard.training.job import open_run
from regard.training.settings import read_settings


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--text", required=True, help="file or folder of unlabelled text")
    parser.add_argument("--classification", required=True, help="folder with train, validation")
    parser.add_argument("--output", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--epochs", type=float, default=20, help="of pre-training")
    parser.add_argument("--max-steps", type=int, default=-1, help="of pre-training, not epochs")
    parser.add_argument("--tuning-epochs", type=float, default=4)
    parser.add_argument("--tuning-steps", type=int, default=-1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="of pre-training")
    parser.add_argument("--tuning-rate", type=float, default=1e-4)
    parser.add_argument("--streaming", action="store_true", help="for text larger than memory")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()


def begin(given):
    """Train the vocabulary; write it with the configuration, and return their folder."""
    start = given.output / "start"
    rows = load_dataset(given.text, "text", streaming=True)
    tokenizer = regard.train_tokenizer(
        (row["text"] for row in rows), "bert", given.vocabulary, model_max_length=256
    )
    tokenizer.save_pretrained(start)
    regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=given.width,
        num_hidden_layers=given.layers,
        num_attention_heads=given.heads,
        intermediate_size=4 * given.width,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(start)
    return start


def run(given, name, task, **more):
    """Run a task; return its metrics and seconds."""
    common = {"task": task, "output_dir": str(given.output / name), "seed": given.seed}
    found = open_run(read_settings({**common, "bf16": given.bf16, **more}))
    began = time.perf_counter()
    return found.train(), time.perf_counter() - began


def main() -> None:
    """Train, measure, and write what was found."""
    given = options()
    start = str(begin(given) / "config.json")
    held_out = {"streaming": True, "validation_split": 0.0} if given.streaming else {}
    learned, seconds = run(
        given,
        "pretrained",
        "masked-lm",
        data=given.text,
        data_format="text",
        from_config=start,
        num_train_epochs=given.epochs,
        max_steps=given.max_steps,
        per_device_train_batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        weight_decay=0.01,
        **held_out,
    )
    results = {"pre-training": {"seconds": seconds, **learned}}
    sources = {
        "from pre-trained weights": {"model": str(given.output / "pretrained")},
        "from random weights": {"from_config": start},
    }
    for name, source in sources.items():
        metrics, taken = run(
            given,
            name.replace(" ", "-"),
            "text-classification",
            data=given.classification,
            num_train_epochs=given.tuning_epochs,
            max_steps=given.tuning_steps,
            learning_rate=given.tuning_rate,
            **source,
        )
        results[name] = {"seconds": taken, **metrics}
    said = {name: str(value) for name, value in vars(given).items()}
    text = json.dumps({"options": said, "results": results}, indent=2)
    (given.output / "result.json").write_text(text + "\n")
    accuracy = [results[name]["eval_accuracy"] for name in sources]
    print("| masked perplexity | accuracy, pre-trained | accuracy, random | seconds | seed |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    perplexity = learned.get("eval_perplexity", float("nan"))
    shares = " | ".join(f"{each:.4f}" for each in accuracy)
    print(f"| {perplexity:.2f} | {shares} | {seconds:.0f} | {given.seed} |")


if __name__ == "__main__":
    main()
