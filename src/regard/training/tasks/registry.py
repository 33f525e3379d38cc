"""Tasks by name, and the task of a trained model."""

import importlib
from collections.abc import Mapping

from regard.config import Config
from regard.errors import ConfigError, nearest
from regard.models.auto import family
from regard.models.tasks import saved_task
from regard.training.tasks.task import Task

#: Name -> ``module:class``. A new task adds its line here.
TASKS: Mapping[str, str] = {
    "text-classification": "regard.training.tasks.text_classification:TextClassification",
    "text-regression": "regard.training.tasks.text_regression:TextRegression",
    "token-classification": "regard.training.tasks.token_classification:TokenClassification",
    "predicate-identification": "regard.training.tasks.predicate_identification:"
    "PredicateIdentification",
    "semantic-role-labeling": "regard.training.tasks.semantic_role_labeling:SemanticRoleLabeling",
    "question-answering": "regard.training.tasks.question_answering:QuestionAnswering",
    "multiple-choice": "regard.training.tasks.multiple_choice:MultipleChoice",
    "translation": "regard.training.tasks.text_to_text:Translation",
    "summarization": "regard.training.tasks.text_to_text:Summarization",
    "image-classification": "regard.training.tasks.image_classification:ImageClassification",
    "masked-lm": "regard.training.tasks.language_modeling:MaskedLM",
    "masked-lm-nsp": "regard.training.tasks.next_sentence:MaskedLMWithNextSentence",
    "causal-lm": "regard.training.tasks.language_modeling:CausalLM",
    "denoising": "regard.training.tasks.language_modeling:Denoising",
    "span-corruption": "regard.training.tasks.language_modeling:SpanCorruption",
    "replaced-token-detection": "regard.training.tasks.language_modeling:ReplacedTokenDetection",
}

#: Other names that people know tasks by.
ALIASES: Mapping[str, str] = {
    "sentiment-analysis": "text-classification",
    "sequence-classification": "text-classification",
    "multi-label-classification": "text-classification",
    "natural-language-inference": "text-classification",
    "text-similarity": "text-regression",
    "sentence-similarity": "text-regression",
    "regression": "text-regression",
    "sts": "text-regression",
    "ner": "token-classification",
    "named-entity-recognition": "token-classification",
    "pos": "token-classification",
    "srl": "semantic-role-labeling",
    "qa": "question-answering",
    "squad": "question-answering",
    "mlm": "masked-lm",
    "clm": "causal-lm",
    "language-modeling": "causal-lm",
    "electra": "replaced-token-detection",
}


def task_class(name: str) -> type[Task]:
    """Return a task by its name or another that people know.

    Raises:
        ConfigError: There is no such task; names the nearest one.
    """
    key = name.lower().replace("_", "-").replace(" ", "-")
    key = ALIASES.get(key, key)
    if key not in TASKS:
        raise ConfigError(
            f"there is no task {name!r}{nearest(key, [*TASKS, *ALIASES])}; tasks: "
            f"{', '.join(TASKS)}"
        )
    module, _, found = TASKS[key].partition(":")
    return getattr(importlib.import_module(module), found)


def task_of(config: Config, name: str | None = None) -> Task:
    """Return the task that a model was trained for, with the options that it was trained with.

    A model of another library does not say; then its head does: of the tasks with that head the
    first in `TASKS` (a token classifier is taken for one of names, not of roles).

    Args:
        config: The model's.
        name: The task to take it for, in place of what it says.

    Raises:
        ConfigError: The model has no head for the task, or says nothing and none is named.
    """
    saved = saved_task(config)
    said = saved.pop("name", None)
    found = None if name is None else task_class(name)
    if found is None:
        classes = [task_class(said)] if said is not None else [task_class(each) for each in TASKS]
        found = next((each for each in classes if has_head(config, each)), None)
    architecture = ", ".join(config.architectures or ["it names no architecture"])
    if found is None or not has_head(config, found):
        wanted = f"for {found.name}" if found else "of any task"
        raise ConfigError(
            f"the model has no trained head {wanted} ({architecture}); train one: "
            f"regard train --task {found.name if found else 'TASK'}"
        )
    return found.with_options(saved if said == found.name else {})


def has_head(config: Config, task: type[Task]) -> bool:
    """Whether a saved model has the head that a task needs."""
    head = task.auto.head
    heads = family(config.model_type).heads.items()
    names = {each.__name__ for name, each in heads if head is not None and name.startswith(head)}
    return not names.isdisjoint(config.architectures or [])
