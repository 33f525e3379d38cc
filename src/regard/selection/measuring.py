"""How fast a candidate is on this machine, taken while it works."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from regard.data.examples import Examples
from regard.selection.subject import Subject

#: How often each time is taken, and how many examples are answered together.
TIMES = 25
BATCH = 32
#: Seconds after which no further time is taken; three are, whatever they take.
ENOUGH = 3.0
LEAST = 3


@dataclass(frozen=True)
class Speed:
    """How fast a candidate is; medians.

    Attributes:
        latency: Milliseconds for one example.
        throughput: Examples in a second, `BATCH` at once.
    """

    latency: float
    throughput: float


def speed_of(subject: Subject, examples: Examples, seed: int) -> Speed:
    """Return how fast a candidate answers examples, drawn at random."""
    order: list[int] = np.random.default_rng(seed).permutation(len(examples)).tolist()
    count = min(BATCH, len(examples))
    single = [[number] for number in order]
    many = [
        [order[(n + i) % len(order)] for i in range(count)] for n in range(0, len(order), count)
    ]
    # What is only done once (kernels chosen, memory asked for) is no part of the speed.
    subject.answer(examples.select(single[0]))
    latency = statistics.median(_seconds(subject, examples, single))
    subject.answer(examples.select(many[0]))
    rates = [count / seconds for seconds in _seconds(subject, examples, many)]
    return Speed(1000 * latency, statistics.median(rates))


def _seconds(subject: Subject, examples: Examples, groups: list[list[int]]) -> Iterator[float]:
    begun = time.perf_counter()
    for number in range(TIMES):
        chosen = examples.select(groups[number % len(groups)])
        start = time.perf_counter()
        subject.answer(chosen)
        end = time.perf_counter()
        yield end - start
        if end - begun > ENOUGH and number + 1 >= LEAST:
            return
