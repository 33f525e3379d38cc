"""From the name of a candidate to what can be measured."""

from collections.abc import Callable, Mapping
from typing import Any

from regard.errors import ConfigError
from regard.selection.frozen import Pictures, Similar, Texts, Words
from regard.selection.headed import Tuned, find_trained
from regard.selection.ranked import Ranked
from regard.selection.subject import Subject, Terms
from regard.selection.tasks import Ranking, Similarity
from regard.training.tasks.image_classification import ImageClassification
from regard.training.tasks.predicate_identification import PredicateIdentification
from regard.training.tasks.task import Task
from regard.training.tasks.text_classification import TextClassification
from regard.training.tasks.text_regression import TextRegression
from regard.training.tasks.token_classification import TokenClassification

#: What is made of a model that has no head for a task. Roles are not among them: a word's vector
#: does not tell which predicate is asked about.
PROBES: Mapping[type[Task], Callable[[str, Any], Subject]] = {
    Ranking: Ranked,
    Similarity: Similar,
    ImageClassification: Pictures,
    TextClassification: Texts,
    TextRegression: Texts,
    TokenClassification: Words,
    PredicateIdentification: Words,
}


def open_subject(name: str, terms: Terms) -> Subject:
    """Load a candidate: to be tuned, as it was trained, or for its vectors.

    Raises:
        ConfigError: It has no head for the task, and the task cannot be scored without one.
        CheckpointError: It cannot be loaded.
        TypeError: It is of a family that cannot do the task.
    """
    task = terms.task
    if terms.steps is not None:
        return Tuned(name, terms)
    trained = None if isinstance(task, Ranking) else find_trained(name, terms)
    if trained is not None:
        return trained
    if type(task) not in PROBES:
        raise ConfigError(
            f"it was not trained for {task.name}, and vectors alone do not tell how good it would "
            "be: train it for a few steps (--fine-tune 100)"
        )
    return PROBES[type(task)](name, task)
