"""Fine-tune MiniLM on sentences: the reference's Trainer and ours, in alternating runs.

    python benchmarks/train.py --data FOLDER [--rounds 3] [--epochs 1] [--examples 1000]

`FOLDER` holds ``train.tsv`` and ``validation.tsv`` with the columns ``label`` and ``text``, such as
SST-2. Every run is a process of its own, so that the peak of its memory is its own; all begin from
the same weights, with the same new head, and see the same examples in batches of 32 with the same
rate, warm-up, decay and clipping. Contenders:

* transformers: its Trainer, as people run it (batches padded to their longest, in random order);
* transformers, grouped: the same with ``group_by_length``, its best setting;
* transformers, bf16: the same with ``bf16``, where the processor has it;
* regard: our Trainer with the same arguments as the first;
* regard, grouped, and regard, bf16: the same settings as theirs.

Prints for each the examples per second (fastest and median run), the mean accuracy on the
validation sentences (every round has another seed), and the peak of resident memory, all from the
first step to the last, without loading.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH = 32
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
CONTENDERS = {
    "transformers": {},
    "transformers, grouped": {"train_sampling_strategy": "group_by_length"},
    "transformers, bf16, grouped": {"train_sampling_strategy": "group_by_length", "bf16": True},
    "regard": {},
    "regard, grouped": {"train_sampling_strategy": "group_by_length"},
    "regard, bf16, grouped": {"train_sampling_strategy": "group_by_length", "bf16": True},
}


def rows(path: Path, limit: int | None) -> list[tuple[int, str]]:
    """Return (label, text) of each line of a file with a header."""
    lines = path.read_text("utf-8").splitlines()[1:]
    split = [line.split("\t", 1) for line in lines]
    return [(int(label == "positive"), text) for label, text in split][:limit]


def prepare(folder: Path) -> None:
    """Write MiniLM with a new head of two classes into `folder`, for both to load."""
    import torch

    import regard

    torch.manual_seed(0)
    model = regard.AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=2)
    model.save_pretrained(folder)
    regard.AutoTokenizer.from_pretrained(MODEL).save_pretrained(folder)


def run(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Train and evaluate one contender in this process; return what is to be shown."""
    import torch

    if name.startswith("regard"):
        import regard as library
    else:
        import transformers as library
    torch.set_num_threads(options.threads)
    tokenizer = library.AutoTokenizer.from_pretrained(options.model)
    model = library.AutoModelForSequenceClassification.from_pretrained(options.model)

    def encoded(split: str, limit: int | None) -> list[dict[str, Any]]:
        labelled = rows(Path(options.data) / f"{split}.tsv", limit)
        ids = tokenizer([text for _, text in labelled], truncation=True, max_length=128)
        return [
            {"input_ids": row, "attention_mask": mask, "label": label}
            for (label, _), row, mask in zip(
                labelled, ids["input_ids"], ids["attention_mask"], strict=True
            )
        ]

    train, validation = encoded("train", options.examples), encoded("validation", None)
    with tempfile.TemporaryDirectory() as output:
        arguments = library.TrainingArguments(
            output_dir=output,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=BATCH,
            learning_rate=options.rate,
            warmup_steps=0.1,
            weight_decay=0.01,
            save_strategy="no",
            report_to="none",
            logging_steps=50,
            disable_tqdm=True,
            use_cpu=True,
            seed=options.seed,
            **CONTENDERS[name],
        )
        trainer = library.Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            processing_class=tokenizer,
            compute_metrics=lambda found: {
                "accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())
            },
        )
        before, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        seconds, cpu = time.perf_counter() - before, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        accuracy = trainer.evaluate()["eval_accuracy"]
    examples = len(train) * options.epochs
    return {
        "rate": examples / seconds,
        "cpu_rate": examples / cpu,
        "accuracy": accuracy,
        "peak": peak,
    }


def child(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one contender in a process of its own."""
    given = [f"--{key}={value}" for key, value in vars(options).items() if value is not None]
    command = [sys.executable, __file__, f"--contender={name}", *given]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Run all contenders in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--examples", type=int)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append")
    parser.add_argument("--contender")
    options = parser.parse_args()
    name, options.contender = options.contender, None
    chosen, options.only = options.only or [*CONTENDERS], None
    if name is not None:
        print(json.dumps(run(name, options)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        options.model = folder
        for _ in range(options.rounds):
            options.seed += 1  # one pass over few sentences says little: accuracies are means
            for name, results in found.items():
                results.append(child(name, options))
                print(name, results[-1], file=sys.stderr)
    print(f"{'':28} {'ex/s best':>9} {'median':>8} {'accuracy':>9} {'peak MiB':>9} {'ratio':>6}")
    first = max(result["rate"] for result in found[chosen[0]])
    for name, results in found.items():
        rates = [result["rate"] for result in results]
        print(
            f"{name:28} {max(rates):9.1f} {statistics.median(rates):8.1f} "
            f"{statistics.mean(result['accuracy'] for result in results):9.4f} "
            f"{max(result['peak'] for result in results):9.0f} "
            f"{max(rates) / first:6.2f}"
        )


if __name__ == "__main__":
    main()
