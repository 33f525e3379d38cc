"""A task in one precision after the other: how fast it is, and how far answers move."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from regard.pipelines.running import Runner
from regard.pipelines.sentence_encoder import SentenceEncoder
from regard.pipelines.tasks import pipeline
from regard.runtime.precision import multiplies_bf16, multiplies_int8


@dataclass(frozen=True)
class Compared:
    """What one precision gave.

    Attributes:
        precision: Its name; ``"as loaded"`` is the model without `regard.optimize`.
        fastest: Seconds of the fastest round.
        median: Seconds of the middle one.
        agreement: Mean cosine of vectors to those of the model as loaded, or the share of
            labels, words and places that are the same; None where it was not asked for.
        least: The least cosine; None for answers that are no vectors.
    """

    precision: str
    fastest: float
    median: float
    agreement: float | None = None
    least: float | None = None


def compare(
    task: str, model: str | Path | None, texts: Sequence[str], rounds: int, *, accuracy: bool
) -> list[Compared]:
    """Measure each precision that this processor is fast in, in turns.

    Args:
        task: As for `regard.pipeline`, or ``"sentence-embedding"``.
        model: A folder or name; None is the task's own.
        texts: What it works on.
        rounds: How often each has its turn.
        accuracy: Whether to compare answers too.

    Raises:
        ValueError: There are no texts, or the task takes other inputs than texts.
    """
    if not texts or rounds < 1:
        raise ValueError("there is nothing to measure: give texts, and at least one round")
    cpu = torch.device("cpu")
    kinds = ["fp32", *["bf16"] * multiplies_bf16(cpu), *["int8"] * multiplies_int8(cpu)]
    runs = {"as loaded": _answering(task, model, None)}
    runs |= {kind: _answering(task, model, kind) for kind in kinds}
    answers = {name: run(texts) for name, run in runs.items()}  # also warms up
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begun = time.perf_counter()
            run(texts)
            times[name].append(time.perf_counter() - begun)
    found = [Compared(name, min(each), statistics.median(each)) for name, each in times.items()]
    if not accuracy:
        return found
    usual = answers["as loaded"]
    return [
        Compared(row.precision, row.fastest, row.median, *agreement(answers[row.precision], usual))
        for row in found
    ]


def agreement(found: Any, wanted: Any) -> tuple[float, float | None]:
    """Return how near answers are to others: mean and least cosine, or the share of equal facts.

    A fact is an entry of an answer: its labels, words and places, without its scores. The share is
    that of what both say in what either says.
    """
    if isinstance(wanted, np.ndarray):
        return _cosines(found, wanted)
    pairs = [(_facts(one), _facts(other)) for one, other in zip(found, wanted, strict=True)]
    every = sum(len(one | other) for one, other in pairs)
    return sum(len(one & other) for one, other in pairs) / max(every, 1), None


def _cosines(found: Any, wanted: Any) -> tuple[float, float]:
    sizes = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = (found * wanted).sum(1) / np.maximum(sizes, 1e-12)
    return float(cosines.mean()), float(cosines.min())


def _facts(answer: Any, around: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    """Return what an answer says, entry by entry, each with that of the entries around it."""
    if isinstance(answer, list | tuple):
        found = set[tuple[Any, ...]]()
        for part in cast("Sequence[Any]", answer):
            found |= _facts(part, around)
        return found
    if not isinstance(answer, Mapping):
        return {(*around, answer)}
    entry = cast("Mapping[str, Any]", answer)
    plain = {name: part for name, part in entry.items() if isinstance(part, str | int)}
    fact = (*around, *sorted(plain.items()))
    nested = [part for name, part in entry.items() if name not in plain and _has_parts(part)]
    return {fact} | _facts(nested, fact)


def _has_parts(value: Any) -> bool:
    return isinstance(value, list | tuple | Mapping)


def _answering(
    task: str, model: str | Path | None, precision: str | None
) -> Callable[[Sequence[str]], Any]:
    """Return what answers a list of texts in a precision."""
    if task == SentenceEncoder.task:
        return SentenceEncoder.from_pretrained(model, precision=precision).encode
    found = pipeline(task, model, precision=precision)
    if not isinstance(found, Runner):
        raise ValueError(f"{task} writes texts; benchmarks/generate.py measures that")
    return lambda texts: found([*texts])
