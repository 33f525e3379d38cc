"""Write text: transformers, CTranslate2 and regard, in turns.

    python benchmarks/generate.py [--job JOB]... [--rounds 3] [--threads 2] [--only PART]...
        [--keep FOLDER] [--small]

Models with random weights of the real sizes, which cost what trained ones do. Jobs:

* gpt2-1, gpt2-8: GPT-2 124M with its 50,257 words continues 1 and 8 prompts of 32 tokens by 128;
* marian-1, marian-8: 6 and 6 layers of width 512 and 58,101 words, the same from sources of 32;
* translate: 64 sources of 5 to 60 tokens for the Marian, 32 tokens each, by a beam of 4.

Contenders, each in a process of its own, which takes one turn a round: transformers in fp32;
CTranslate2 in fp32 and int8, and in translate also with one stream a thread; regard as loaded, and
optimized for fp32, bf16 and int8. Greedy but for the last job; no text ends before its time.

The first answers are compared with those of transformers: how many tokens are the same, and where
some are not, the mean log-likelihood of a token by transformers in fp32, for after one other token
a random model writes another text. One that is not installed or fails is left out by name. Prints
the fastest and the median turn, tokens per second, the ratios of the fastest, and what a step of
regard's greedy loop takes beside the model's forward. ``--only`` takes those contenders whose names
hold PART; ``--keep`` names a folder in which the models stay; ``--small`` shrinks all sizes, to see
whether it works.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from encode import place
from peers.turns import Contender, against, command, compete, serve, table
from peers.writers import WRITERS, Ids, Work, likelihood, overhead, prepare

PROMPT = 32
#: Model, texts, new tokens, beams.
JOBS = {
    "gpt2-1": ("gpt2", 1, 128, 1),
    "gpt2-8": ("gpt2", 8, 128, 1),
    "marian-1": ("marian", 1, 128, 1),
    "marian-8": ("marian", 8, 128, 1),
    "translate": ("marian", 64, 32, 4),
}


def sources(job: str) -> Ids:
    """Return random ids for a job."""
    numbers, count = random.Random(0), JOBS[job][1]
    lengths = [PROMPT] * count
    if job == "translate":
        lengths = [min(max(round(numbers.gammavariate(3, 9)), 5), 60) for _ in range(count)]
    return [[numbers.randrange(1, 500) for _ in range(length)] for length in lengths]


def work_of(job: str, options: argparse.Namespace) -> Work:
    """Return what a job is."""
    model, _, new, beams = JOBS[job]
    return Work(options.keep, model, 8 if options.small else new, beams, options.threads)


def rows(each: Contender) -> Ids:
    """Return what a contender wrote."""
    return [row.tolist() for row in each.answer()]


def remarks(found: Sequence[Contender], work: Work, job: str) -> dict[str, str]:
    """Say how far the others wrote the same as the first."""
    given, theirs = sources(job), rows(found[0])
    said, total = {}, sum(map(len, theirs))
    for each in found[1:]:
        ours = rows(each)
        pairs = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(a, b, strict=True)]
        equal = sum(a == b for a, b in pairs)
        said[each.name] = "the same tokens"
        if equal < total:
            likely = likelihood(work, given, ours)
            said[each.name] = f"{equal} of {total} tokens are the same, log-likelihood {likely:.3f}"
    said[found[0].name] = f"log-likelihood {likelihood(work, given, theirs):.3f}"
    return said


def report(job: str, options: argparse.Namespace) -> None:
    """Let all contenders take turns at one job and print the comparison."""
    only, work = options.only or [""], work_of(job, options)
    names = [name for name in WRITERS if any(part in name for part in only)]
    names = [name for name in names if job == "translate" or "streams" not in name]
    given = {"keep": options.keep, "threads": options.threads, "job": job}
    commands = {
        name: command(__file__, name, given, *(["--small"] if options.small else []))
        for name in names
    }
    found = compete(commands, options.rounds, options.keep)
    count = JOBS[job][1] * work.new
    print(f"\n{job}: {count} tokens, {options.threads} threads")
    said = remarks(found, work, job)
    if "regard" in said and work.beams == 1:
        said["regard"] += f"; loop {overhead(work, sources(job)):.3f} ms a step"
    table(found, count, "tokens", said)
    against(found)


def main() -> None:
    """Let all contenders take turns and print the comparison; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", choices=[*JOBS], action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", metavar="PART")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is not None:
        job = options.job[0]
        load, ids = WRITERS[options.contender], sources(job)

        def ready() -> object:
            run = load(work_of(job, options))
            return lambda: run(ids)

        serve(ready, options.answer)
        return
    with place(options.keep) as folder:
        options.keep = folder
        prepare(folder, options.small)
        for job in options.job or JOBS:
            report(job, options)


if __name__ == "__main__":
    main()
