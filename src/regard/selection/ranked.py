"""Candidates that put documents in order."""

from typing import Any

import numpy as np

from regard.data.examples import Examples
from regard.pipelines.ranking import RankingPipeline
from regard.selection.headed import Trained
from regard.selection.subject import Score, Subject, Terms
from regard.selection.tasks import Ranking
from regard.training.trained import Opened, computing


class Ranked(Subject):
    """A bi-encoder, or a cross-encoder, without any training.

    Args:
        name: The checkpoint.
        task: The task.
    """

    ready = True

    def __init__(self, name: str, task: Ranking) -> None:
        self.pipeline = RankingPipeline.from_pretrained(name)
        self.model, self.processor = self.pipeline.model, self.pipeline.tokenizer
        opened = Opened(task, self.model, self.processor, computing(32, use_cpu=True))
        self.reader = None if self.pipeline.cross_encoder is None else Trained(opened)

    @property
    def method(self) -> str:
        """Say how documents are compared with queries."""
        return "cosine" if self.reader is None else "reads pairs"

    def answer(self, examples: Examples) -> None:
        """Read queries and documents: one by one, or each query with its document."""
        if self.reader is not None:
            self.reader.answer(examples)
            return
        self.pipeline.encode([*texts(examples, "text"), *texts(examples, "text_pair")])

    def score(self, terms: Terms) -> Score:
        """Return the mean reciprocal rank of the first document that answers a query."""
        wanted = answers(terms.examples)
        documents = [*dict.fromkeys(texts(terms.examples, "text_pair"))]
        ranks: list[int] = []
        for query, found in zip(wanted, self.pipeline([*wanted], documents), strict=True):
            order = [hit["text"] for hit in found]
            ranks.append(min(order.index(text) for text in wanted[query]))
        return Score("mrr", float(np.mean([1 / (rank + 1) for rank in ranks])))


def answers(examples: Examples) -> dict[str, list[str]]:
    """Return the documents that answer each query which has any."""
    there = "label" in examples.column_names
    values: list[Any] = examples.cast("label", float).column("label") if there else []
    pairs = [*zip(texts(examples, "text"), texts(examples, "text_pair"), strict=True)]
    found: dict[str, list[str]] = {}
    for number, (query, document) in enumerate(pairs):
        if not there or values[number] > 0:
            found.setdefault(query, []).append(document)
    return found


def texts(examples: Examples, name: str) -> list[str]:
    """Return a column of texts."""
    return [*map(str, examples.column(name))]
