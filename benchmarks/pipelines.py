"""Texts to answers, end to end: pipelines of transformers and ours, interleaved in one process.

    python benchmarks/pipelines.py [--texts FILE] [--rounds 5] [--threads N] [--only JOB]
        [--precision auto]

Jobs, all over MiniLM with heads whose weights are the same on both sides:

* classification: `text-classification`, a label and a score for each text;
* entities: `token-classification` with ``aggregation_strategy="simple"``;
* words: `fill-mask`, five words for a gap in each text;
* vectors: embeddings, against sentence-transformers at its default and best batch size.

The texts are the lines of a file, or 256 made of the vocabulary's words with the lengths of a
sentence corpus. transformers runs at its default (one text at a time) and at the best of some batch
sizes, which is found before the rounds. Ours multiplies in what `--precision` says, by default in
what it takes by itself. The answers are compared before anything is timed: labels, groups, words
and places have to be equal, scores and vectors to 1e-4 in fp32; in fewer digits the share of
labels, words and places that are the same is printed, or the mean cosine. Prints the fastest and
the median round, texts per second, and the ratios of the fastest.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import regard
from regard.checkpoints.files import find_checkpoint
from regard.pipelines.comparing import agreement

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
BATCHES = (8, 16, 32, 64, 128)
TOLERANCE = 1e-4
HEADS = {
    "classification": ("text-classification", "SequenceClassification", {}),
    "entities": (
        "token-classification",
        "TokenClassification",
        {"aggregation_strategy": "simple"},
    ),
    "words": ("fill-mask", "MaskedLM", {}),
}
Run = Callable[..., Any]


def made(count: int = 256) -> list[str]:
    """Return texts of words from the vocabulary, 5 to 121 tokens long, about 38 in the mean."""
    tokenizer = regard.AutoTokenizer.from_pretrained(MINILM)
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 2)
    numbers = np.random.default_rng(0)
    lengths = np.clip(numbers.gamma(2.2, 17.5, count), 5, 121).astype(int)
    return [" ".join(numbers.choice(words, length)) for length in lengths]


def save_head(folder: Path, head: str) -> None:
    """Write MiniLM under a head with weights that say different things of different texts."""
    torch.manual_seed(0)
    labels = {} if head == "MaskedLM" else {"num_labels": 5}
    model = getattr(regard, f"AutoModelFor{head}").from_pretrained(MINILM, **labels)
    for name, weight in model.named_parameters():
        if "classifier" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    regard.AutoTokenizer.from_pretrained(MINILM).save_pretrained(folder)


def pipelines(job: str, folder: Path, texts: Sequence[str], precision: str) -> dict[str, Run]:
    """Return the contenders of a job whose answers are a pipeline's."""
    task, head, options = HEADS[job]
    save_head(folder, head)
    name = str(folder)
    theirs = transformers.pipeline(task, model=name, device="cpu", **options)
    ours = regard.pipeline(task, model=name, precision=precision, **options)
    found = {"transformers": theirs}
    for size in BATCHES:
        found[f"transformers, batches of {size}"] = at(theirs, "batch_size", size)
    return best_of(found, texts) | {"regard": ours}


def encoders(texts: Sequence[str], precision: str) -> dict[str, Run]:
    """Return the contenders that embed."""
    import sentence_transformers

    folder = find_checkpoint(MINILM).path("config.json").parent
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    ours = regard.SentenceEncoder.from_pretrained(MINILM, precision=precision)
    quiet = at(theirs.encode, "show_progress_bar", False)
    found = {"sentence-transformers": quiet}
    for size in BATCHES:
        found[f"sentence-transformers, batches of {size}"] = at(quiet, "batch_size", size)
    return best_of(found, texts) | {"regard": ours.encode}


def at(run: Run, option: str, value: Any) -> Run:
    """Return `run` with an option."""
    return lambda texts, **more: run(list(texts), **{option: value}, **more)


def best_of(runs: dict[str, Run], texts: Sequence[str]) -> dict[str, Run]:
    """Return the first, which is the default, and the fastest of the others."""
    default, *others = runs
    runs[default](texts[:16])
    times = {name: min(timed(runs[name], texts)[0] for _ in range(2)) for name in others}
    best = min(times, key=times.__getitem__)
    return {default: runs[default], f"{best} (its best)": runs[best]}


def timed(run: Run, texts: Sequence[str]) -> tuple[float, Any]:
    """Return seconds and answers."""
    begun = time.perf_counter()
    found = run(list(texts))
    return time.perf_counter() - begun, found


def differences(one: Any, other: Any) -> int:
    """Return how many answers differ."""
    if isinstance(one, np.ndarray):
        return int((np.abs(one - other).max(-1) > TOLERANCE).sum())
    return sum(not same(a, b) for a, b in zip(one, other, strict=True))


def same(one: Any, other: Any) -> bool:
    """Whether two answers say the same, their scores to `TOLERANCE`."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float | np.floating):
        return abs(float(one) - float(other)) <= TOLERANCE
    return one == other


def report(job: str, seconds: dict[str, list[float]], count: int) -> None:
    """Print the table of a job."""
    print(f"\n{job}: {count} texts")
    ours = min(seconds["regard"])
    for name, found in seconds.items():
        low, middle = min(found), statistics.median(found)
        print(
            f"  {name:48} min {low * 1e3:8.1f} ms  median {middle * 1e3:8.1f} ms  "
            f"{count / low:8.1f} texts/s  regard is {low / ours:5.2f} times as fast"
        )


def main() -> None:
    """Run the jobs and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=[*HEADS, "vectors"], action="append")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    given = made() if options.texts is None else options.texts.read_text("utf-8").splitlines()
    for job in options.only or [*HEADS, "vectors"]:
        texts = [f"{text} [MASK]" for text in given] if job == "words" else given
        with tempfile.TemporaryDirectory() as folder:
            if job == "vectors":
                runs = encoders(texts, options.precision)
            else:
                runs = pipelines(job, Path(folder), texts, options.precision)
            answers = {name: timed(run, texts)[1] for name, run in runs.items()}
            first = next(iter(answers))
            if options.precision != "fp32":
                near, _ = agreement(answers["regard"], answers[first])
                print(f"{job}: answers agree to {near:.5f}", file=sys.stderr)
            elif wrong := differences(answers[first], answers["regard"]):
                print(f"{job}: {wrong} of {len(texts)} answers differ", file=sys.stderr)
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(options.rounds):
                for name, run in runs.items():
                    seconds[name].append(timed(run, texts)[0])
        report(job, seconds, len(texts))


if __name__ == "__main__":
    main()
