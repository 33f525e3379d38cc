"""The tasks that candidates are measured for: those of training, and two that need none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from regard.config import Config
from regard.data.examples import Examples
from regard.errors import ConfigError, DataError, nearest
from regard.training.tasks import registry
from regard.training.tasks.language_modeling import LanguageModeling
from regard.training.tasks.task import Column, Task
from regard.training.tasks.text_classification import (
    PAIR,
    TEXT,
    TextClassification,
    check_texts,
)
from regard.training.tasks.text_regression import TextRegression
from regard.training.tasks.token_classification import TokenClassification
from regard.training.tasks.words import check_words


@dataclass(frozen=True, kw_only=True)
class Similarity(TextRegression):
    """How close the meanings of two texts are, by the cosine of their vectors."""

    name: ClassVar[str] = "sentence-similarity"
    columns: ClassVar[tuple[Column, ...]] = (
        TEXT,
        Column(PAIR.name, PAIR.known),
        TextRegression.columns[-1],
    )


@dataclass(frozen=True, kw_only=True)
class Ranking(TextRegression):
    """Which documents answer a query: each row has one, and perhaps how well it does.

    Without numbers every row is an answer; else those above 0 are. A query is asked of the
    documents of all rows.
    """

    name: ClassVar[str] = "ranking"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("text", ("query", "question", "anchor")),
        Column("text_pair", ("document", "passage", "positive", "answer", "context")),
        Column("label", ("score", "relevance", "relevant"), label=True, optional=True),
    )


#: Tasks that are no tasks of training, by the names that people know them by.
UNTRAINED: Mapping[str, type[Task]] = {
    "sentence-similarity": Similarity,
    "text-similarity": Similarity,
    "similarity": Similarity,
    "sts": Similarity,
    "ranking": Ranking,
    "search": Ranking,
}

#: The metric that candidates are compared by, where it is not the one of checkpoints.
_MAIN: Mapping[str, str] = {
    "text-regression": "spearmanr",
    "sentence-similarity": "spearmanr",
    "translation": "chrf",
    "summarization": "rougeL",
    "ranking": "mrr",
}


def task_class(name: str) -> type[Task]:
    """Return a task by its name or another that people know.

    Raises:
        ConfigError: There is no such task, or it has no answers by which models could be compared.
    """
    key = name.lower().replace("_", "-").replace(" ", "-")
    if key in UNTRAINED:
        return UNTRAINED[key]
    known = [*registry.TASKS, *registry.ALIASES, *UNTRAINED]
    if key not in known:
        raise ConfigError(
            f"there is no task {name!r}{nearest(key, known)}; tasks: "
            f"{', '.join(dict.fromkeys([*registry.TASKS, 'sentence-similarity', 'ranking']))}"
        )
    found = registry.task_class(key)
    if issubclass(found, LanguageModeling):
        raise ConfigError(
            f"{found.name} learns from plain text, so there are no answers to compare models by; "
            "name the task that the model is for"
        )
    return found


def main_metric(task: Task, config: Config) -> str:
    """Return the metric that candidates are compared by; more is better."""
    return _MAIN.get(task.name) or task.best(config)


def check_examples(task: Task, examples: Examples) -> None:
    """Raise for examples that no candidate could be measured on, before one is loaded.

    Raises:
        DataError: A text is empty, a word has no label, a label is empty or no number, or there is
            one only; names file and line.
    """
    if isinstance(task, TokenClassification):
        check_words(examples, next(column.name for column in task.columns if column.label))
    if isinstance(task, TextClassification):
        for name in ("text", "text_pair"):
            if name in examples.column_names:
                check_texts(examples, name)
    if isinstance(task, Ranking) and "label" not in examples.column_names:
        return
    fields = task.config_for(examples, Config())
    if isinstance(task, TextRegression):
        labels: list[Any] = task.with_labels(examples, Config(**fields)).column("labels")
        if len(set(labels)) < 2 and not isinstance(task, Ranking):
            raise DataError(
                f"every 'label' is {labels[0]:g}; wanted different ones, else there is nothing to "
                "tell apart"
            )
