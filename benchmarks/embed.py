"""Texts to vectors: sentence-transformers, its backends, fastembed and regard, in turns.

    python benchmarks/embed.py [--data FOLDER] [--texts FILE] [--count 512] [--rounds 5]
        [--threads N] [--only PART]... [--job sentences|long] [--keep FOLDER]

MiniLM-L6 embeds two kinds of text:

* sentences: those of ``validation.tsv`` in FOLDER, such as SST-2, column ``text``; without a folder
  texts made of the vocabulary's words with the lengths of a sentence corpus;
* long: the lines of FILE, one text each, without it made ones of 80 to 240 tokens.

Texts of more than 256 tokens, where sentence-transformers stops reading, are cut there for all.
Contenders, each in a process of its own, which takes one turn a round:

* sentence-transformers in fp32 as people run it, and in bf16;
* sentence-transformers around OpenVINO in bf16 and in int8, calibrated with nncf on other texts,
  and around onnxruntime in int8;
* fastembed, which has onnxruntime inside, in fp32 and int8;
* regard as people run it, and optimized for fp32, bf16 and int8.

The first answers are compared with those of sentence-transformers in fp32. Prints the fastest and
the median turn, texts per second, and the ratios of the fastest. ``--only`` takes those contenders
whose names hold PART; ``--keep`` names a folder in which the exports stay for the next time.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from encode import MINILM, place
from peers.embedders import EMBEDDERS
from peers.exports import export
from peers.turns import against, closeness, command, compete, serve, table

LONGEST, CALIBRATION = 256, 128
JOBS = ("sentences", "long")


def made(tokenizer: Any, job: str, count: int) -> list[str]:
    """Return texts of words from the vocabulary."""
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 2)
    numbers = np.random.default_rng(0)
    lengths = (
        numbers.integers(80, 240, count)
        if job == "long"
        else np.clip(numbers.gamma(2.2, 17.5, count), 5, 121).astype(int)
    )
    return [" ".join(numbers.choice(words, length)) for length in lengths]


def read(options: argparse.Namespace, tokenizer: Any, job: str) -> list[str]:
    """Return the texts of a job, and as many again as nncf is calibrated with, if there are."""
    count = options.count + CALIBRATION
    if job == "sentences" and options.data:
        lines = (options.data / "validation.tsv").read_text("utf-8").splitlines()
        column = lines[0].split("\t").index("text")
        return [line.split("\t")[column] for line in lines[1:]][:count]
    if job == "long" and options.texts:
        return [line for line in options.texts.read_text("utf-8").splitlines() if line][:count]
    return made(tokenizer, job, count)


def cut(tokenizer: Any, text: str) -> str:
    """Return as much of a text as `LONGEST` tokens hold."""
    encoding = tokenizer.backend_tokenizer.encode(text)
    if len(encoding.ids) <= LONGEST:
        return text
    return text[: encoding.offsets[LONGEST - 2][1]]


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Write the checkpoint, the texts of all jobs, and the exports."""
    import regard
    from regard.checkpoints.files import find_checkpoint

    if not (folder / "config.json").exists():
        source = find_checkpoint(MINILM).path("config.json").parent
        shutil.copytree(source, folder, dirs_exist_ok=True)
    tokenizer = regard.AutoTokenizer.from_pretrained(MINILM)
    calibration: list[list[int]] = []
    for job in JOBS:
        texts = [cut(tokenizer, text) for text in read(options, tokenizer, job)]
        measured = texts[: max(len(texts) - CALIBRATION, 1)]
        (folder / f"{job}.json").write_text(json.dumps(measured), "utf-8")
        calibration += [
            tokenizer.backend_tokenizer.encode(text).ids for text in texts[-CALIBRATION // 2 :]
        ]
    export(folder, calibration)


def texts_of(folder: Path, job: str) -> list[str]:
    """Return the texts of a job that are embedded."""
    return json.loads((folder / f"{job}.json").read_text("utf-8"))


def main() -> None:
    """Let all contenders take turns and print the comparison; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--texts", type=Path, metavar="FILE")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", metavar="PART")
    parser.add_argument("--job", choices=JOBS)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is not None:
        load, texts = EMBEDDERS[options.contender], texts_of(options.keep, options.job)

        def ready() -> object:
            run = load(options.keep, options.threads)
            return lambda: run(texts)

        serve(ready, options.answer)
        return
    with place(options.keep) as folder:
        prepare(options, folder)
        for job in [options.job] if options.job else JOBS:
            report(options, folder, job)


def report(options: argparse.Namespace, folder: Path, job: str) -> None:
    """Let all contenders take turns at one job and print the comparison."""
    only = options.only or [""]
    names = [name for name in EMBEDDERS if any(part in name for part in only)]
    given = {"keep": folder, "threads": options.threads, "job": job}
    commands = {name: command(__file__, name, given) for name in names}
    found = compete(commands, options.rounds, folder)
    texts = texts_of(folder, job)
    words = sum(len(text.split()) for text in texts)
    print(f"\n{job}: {len(texts)} texts, {words} words, {options.threads} threads")
    said = {each.name: closeness(each, found[0]) for each in found}
    table(found, len(texts), "texts", said)
    against(found)


if __name__ == "__main__":
    main()
