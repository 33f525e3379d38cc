"""Contenders in processes of their own that take turns.

The thread pools of torch, OpenVINO and onnxruntime go on spinning for a while after each call, in
each other's way if they share a process. Here every contender has a process, which loads, answers
once (that warms it up, and is the answer that is compared) and then waits, asleep, for its turns.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Seconds between two turns, in which the last contender's threads go to sleep.
REST = 0.3
Vectors = list[np.ndarray]


def serve(load: Callable[[], Callable[[], Any]], answer: Path) -> None:
    """Be a contender: load, write the first answer, and then run once for each line that comes.

    Args:
        load: Returns what is timed; it gives arrays, or lists of numbers.
        answer: The file that gets the first answer, and beside it, in .json, what loading took.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    begun = time.perf_counter()
    run = load()
    loaded = time.perf_counter() - begun
    found = run()
    first = time.perf_counter() - begun - loaded
    np.savez(answer, *[as_array(each) for each in found])
    print(json.dumps({"load": loaded, "first": first}), file=replies, flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        run()
        print(time.perf_counter() - begun, file=replies, flush=True)


def as_array(each: Any) -> np.ndarray:
    """Return a tensor (NumPy has no bf16), array or list as an array."""
    return np.asarray(each.float() if hasattr(each, "float") else each)


class Contender:
    """A process that answers when it is its turn.

    Args:
        name: What it is called in the table.
        command: What runs it; its last argument is the file for its first answer.
        folder: Where its answer and what it says on the way are written.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name, self.seconds = name, list[float]()
        place = folder / name.replace(" ", "-").replace(",", "")
        self.file, self.log = place.with_suffix(".npz"), place.with_suffix(".log")
        self.process = subprocess.Popen(
            [*command, str(self.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log.open("w"), text=True,
        )  # fmt: skip
        line = self.line()
        #: Seconds until it was loaded, and of its first answer.
        self.start: dict[str, float] = json.loads(line)

    def line(self) -> str:
        """Return the next line that the process says.

        Raises:
            RuntimeError: It has ended; the message is the last line that it wrote.
        """
        if line := self.process.stdout.readline():
            return line
        self.process.wait()
        said = [each for each in self.log.read_text().splitlines() if each.strip()]
        raise RuntimeError(said[-1] if said else f"exit status {self.process.returncode}")

    def turn(self) -> None:
        """Let it run once, and say at once what that took, should the rest be cut off."""
        time.sleep(REST)
        print(file=self.process.stdin, flush=True)
        self.seconds.append(float(self.line()))
        print(f"{self.name}: {self.seconds[-1]:.3f} s", file=sys.stderr)

    def answer(self) -> Vectors:
        """Return its first answer."""
        with np.load(self.file) as found:
            return [found[name] for name in found.files]

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def compete(commands: Mapping[str, Sequence[str]], rounds: int, folder: Path) -> list[Contender]:
    """Start all contenders, give each a turn in every round, and stop them.

    One that cannot start, because it is not installed or fails, is left out by name.
    """
    found: list[Contender] = []
    for name, command in commands.items():
        try:
            found.append(Contender(name, command, folder))
        except RuntimeError as error:
            print(f"{name} is left out: {error}")
    for _ in range(rounds):
        for each in found:
            each.turn()
    for each in found:
        each.stop()
    return found


def command(program: str, name: str, options: Mapping[str, Any], *switches: str) -> list[str]:
    """Return what runs `program` as the contender `name`; the file for its answer comes last."""
    given = [f"--{key}={value}" for key, value in options.items()]
    return [sys.executable, program, *given, *switches, f"--contender={name}", "--answer"]


def cosines(ours: Vectors, theirs: Vectors) -> np.ndarray:
    """Return the cosine of each pair of vectors: arrays (width,) or (tokens, width), all tokens."""
    left = np.concatenate([np.atleast_2d(each) for each in ours]).astype(np.float64)
    right = np.concatenate([np.atleast_2d(each) for each in theirs]).astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(1) / lengths


def closeness(each: Contender, reference: Contender) -> str:
    """Say how close the vectors of a contender are to those of the reference."""
    if each is reference:
        return "the others are compared with it"
    ours, theirs = each.answer(), reference.answer()
    worst = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    found = cosines(ours, theirs)
    return f"cosine {found.mean():.5f}, least {found.min():.5f}, differs by {worst:.0e}"


def table(found: Sequence[Contender], count: int, unit: str, remarks: Mapping[str, str]) -> None:
    """Print the fastest and the median turn of all, and how they compare with the first.

    Args:
        found: The contenders.
        count: How many `unit` a turn works through.
        unit: What is counted.
        remarks: What else to say of a contender.
    """
    first = min(found[0].seconds)
    wide = max(len(each.name) for each in found)
    for each in found:
        low, middle = min(each.seconds), statistics.median(each.seconds)
        print(
            f"  {each.name:{wide}}  min {low * 1e3:8.1f} ms  median {middle * 1e3:8.1f} ms  "
            f"{count / low:8.1f} {unit}/s  {first / low:5.2f} of the first's speed  "
            f"{remarks.get(each.name, '')}"
        )


def against(found: Sequence[Contender]) -> None:
    """Print how many times as fast each of ours is as each of the others."""
    ours = [each for each in found if each.name.startswith("regard")]
    for mine in ours:
        ratios = [
            f"{min(each.seconds) / min(mine.seconds):.2f} times {each.name}"
            for each in found
            if each not in ours
        ]
        print(f"  {mine.name}: {'; '.join(ratios)}")
