"""Candidates without a head for the task: what their vectors, as they are, are good for."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from regard.batch import TokenBatch
from regard.config import Config
from regard.data.examples import Examples
from regard.data.labels import IGNORED
from regard.data.sampling import token_batches
from regard.models.auto import family_of
from regard.models.encoder import TextBase
from regard.models.vision import ImageEncoder
from regard.pipelines.feature_extraction import FeatureExtractionPipeline
from regard.pipelines.job import per_sequence
from regard.pipelines.pipeline import usual_tokens
from regard.pipelines.sentence_encoder import SentenceEncoder, normalized
from regard.selection.linear import cross_validated
from regard.selection.subject import Score, Subject, Terms, batch
from regard.selection.tasks import main_metric
from regard.training.metrics.loading import load_metric
from regard.training.metrics.metric import Array, Metric
from regard.training.tasks.task import Prepared, Task
from regard.training.tasks.text_classification import TextClassification
from regard.training.trained import without_answers


class Frozen(Subject):
    """A model whose vectors stay, and a linear model of them that is cross-validated."""

    @property
    def method(self) -> str:
        """Say what is learned."""
        return "linear"


class OneEach(Frozen):
    """One vector for each example, and a label or a number."""

    @abstractmethod
    def vectors(self, examples: Examples) -> Tensor:
        """Return (examples, width)."""

    def score(self, terms: Terms) -> Score:
        """Return the metric of what was held out."""
        task = cast("TextClassification", terms.task)
        config = settled(self.model.config, terms)
        labels = task.with_labels(terms.examples, config).column("labels")
        targets = torch.tensor(labels, dtype=None if isinstance(labels[0], int) else torch.float64)
        fold = torch.tensor([*terms.folds])
        kind, outputs = config.problem_type or "single_label_classification", config.num_labels
        said = cross_validated(self.vectors(terms.examples), targets, fold, outputs, kind)
        metric = task.metric(config, Prepared(terms.examples, terms.examples))
        return judged(metric, main_metric(task, config), said.numpy(), targets.numpy(), terms.folds)


class Texts(OneEach):
    """A vector for each text, or for each pair of texts.

    Args:
        name: The checkpoint.
        task: The task.
    """

    def __init__(self, name: str, task: Task) -> None:
        self.encoder = SentenceEncoder.from_pretrained(name)
        self.model, self.processor = self.encoder.model, self.encoder.tokenizer

    @property
    def longest(self) -> int | None:
        """Tokens of a window; a text of several is read whole."""
        return self.encoder.max_length

    def answer(self, examples: Examples) -> None:
        """Make the vectors."""
        self.both(examples)

    def both(self, examples: Examples) -> list[Any]:
        """Return the vectors of the texts, and those of their pairs if they have any."""
        names = [name for name in ("text", "text_pair") if name in examples.column_names]
        return [self.encoder.encode([*map(str, examples.column(name))]) for name in names]

    def vectors(self, examples: Examples) -> Tensor:
        """Return u; of a pair u, v, their difference and product (Conneau et al. 2017, fig. 1)."""
        u, *others = self.both(examples)
        parts = [u, *(part for v in others for part in (v, np.abs(u - v), u * v))]
        return torch.from_numpy(np.concatenate(parts, 1)).float()


class Similar(Texts):
    """The cosine of two texts, without any training."""

    ready: ClassVar[bool] = True

    @property
    def method(self) -> str:
        """Say what is compared."""
        return "cosine"

    def score(self, terms: Terms) -> Score:
        """Return how well the cosines order the pairs."""
        u, v = map(normalized, self.both(terms.examples))
        labels = terms.examples.cast("label", float).column("label")
        metric = main_metric(terms.task, self.model.config)
        return Score(metric, load_metric(metric).compute((u * v).sum(1), labels)[metric])


class Pictures(OneEach):
    """A vector for each picture: that of its class token.

    Args:
        name: The checkpoint.
        task: The task.
    """

    def __init__(self, name: str, task: Task) -> None:
        base: Any = family_of(name).base
        if not issubclass(base, ImageEncoder):
            raise TypeError(f"{name} is a {base.__name__}, which reads no pictures")
        self.task = task
        self.model = base.from_pretrained(name, add_pooling_layer=False).eval()
        self.processor = task.processor(name)

    def answer(self, examples: Examples) -> None:
        """Read the files and make the vectors."""
        self._together(examples)

    def vectors(self, examples: Examples) -> Tensor:
        """Return the vectors, some pictures at a time."""
        parts = [examples[start : start + 32] for start in range(0, len(examples), 32)]
        return torch.cat([*map(self._together, parts)])

    def _together(self, examples: Examples) -> Tensor:
        task, config = self.task, self.model.config
        data = task.prepare(without_answers(task, examples), self.processor, config)
        with torch.inference_mode():
            found = self.model(**batch(task, data, self.processor, self.model))
        return found.last_hidden_state[:, 0].float()


class Words(Frozen):
    """A vector for each word: that of its first token.

    Args:
        name: The checkpoint.
        task: The task.
    """

    def __init__(self, name: str, task: Task) -> None:
        self.model = FeatureExtractionPipeline.from_pretrained(name).model
        self.processor, self.task = task.processor(name), task

    def answer(self, examples: Examples) -> None:
        """Make the vectors of all tokens."""
        task = self.task
        data = task.prepare(without_answers(task, examples), self.processor, self.model.config)
        self._tokens(data.dataset)

    def score(self, terms: Terms) -> Score:
        """Return the metric of what was held out."""
        task, config = self.task, settled(self.model.config, terms)
        data = task.prepare(terms.examples, self.processor, config)
        rows: list[Array] = [np.array(each) for each in data.dataset.column("labels")]
        read = self._tokens(data.dataset)
        kept = [v[own != IGNORED] for v, own in zip(read, rows, strict=True)]
        labels = [own[own != IGNORED] for own in rows]
        owner: list[int] = [terms.folds[number] for number in data.dataset.column("example")]
        fold = np.repeat(np.array(owner), [*map(len, labels)])
        said = cross_validated(
            torch.from_numpy(np.concatenate(kept)).float(),
            torch.from_numpy(np.concatenate(labels)),
            torch.from_numpy(fold),
            config.num_labels,
            "single_label_classification",
        ).numpy()
        ends = np.cumsum([*map(len, labels)])[:-1]
        logits, wanted = padded(np.split(said, ends), 0.0), padded(labels, IGNORED)
        return judged(task.metric(config, data), main_metric(task, config), logits, wanted, owner)

    def _tokens(self, rows: Examples) -> list[Array]:
        """Return the vectors (tokens, width) of each row."""
        ids = rows.column("input_ids")
        segments = rows.column("token_type_ids") if "token_type_ids" in rows.column_names else None
        found: list[Any] = [None] * len(rows)
        for numbers in token_batches([*map(len, ids)], usual_tokens(self.model.device)):
            second = None if segments is None else [segments[n] for n in numbers]
            packed = TokenBatch.from_sequences([ids[n] for n in numbers], second)
            with torch.inference_mode():
                hidden = cast("TextBase", self.model).encode(packed)
            for number, vectors in zip(numbers, per_sequence(hidden, packed.layout), strict=True):
                found[number] = vectors
        return found


def settled(config: Config, terms: Terms) -> Config:
    """Return a configuration with the labels of the data."""
    return config.replace(**terms.task.config_for(terms.examples, config))


def padded(rows: Sequence[Array], filling: float) -> Array:
    """Return rows of different length as one array."""
    longest = max(map(len, rows))
    shape = (len(rows), longest, *rows[0].shape[1:])
    made = np.full(shape, filling, rows[0].dtype)
    for place, row in zip(made, rows, strict=True):
        place[: len(row)] = row
    return made


def judged(
    metric: Metric, name: str, predictions: Array, references: Array, folds: Sequence[int]
) -> Score:
    """Return the metric of all that was held out, and how it differs from fold to fold.

    All together, for the mean over folds is biased where the metric is a ratio of counts, as F1 is
    (Forman and Scholz 2010).
    """
    fold = np.array([*folds])
    parts = [fold == number for number in np.unique(fold)]
    each = [metric.compute(predictions[part], references[part])[name] for part in parts]
    known = [value for value in each if not np.isnan(value)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Score(name, metric.compute(predictions, references)[name], spread)
