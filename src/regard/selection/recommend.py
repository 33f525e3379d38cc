"""`recommend`: candidates for a task, measured on the caller's data and machine, best first."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regard.selection.candidates import candidates
from regard.selection.survey import MOST, Asked, Recommendation


def recommend(
    task: str,
    data: Any,
    models: Iterable[str | Path] | None = None,
    *,
    latency: float | None = None,
    memory: float | None = None,
    folds: int = 5,
    seed: int = 42,
    fine_tune: int | None = None,
    columns: Mapping[str, str] | None = None,
    data_format: str | None = None,
    options: Mapping[str, Any] | None = None,
    max_examples: int = MOST,
) -> list[Recommendation]:
    """Measure candidates for a task on your data and machine; return them best first.

    A model that was trained for the task, and knows the labels, is scored as it is, which is fair
    on data that it was not trained on. Of others a linear model of their vectors is cross-validated
    (labels of texts, pairs, words and pictures; numbers), cosines are compared with the given
    numbers (sentence-similarity), or documents are put in order (ranking): that takes seconds, and
    tells which model to train. What cannot be scored so (question-answering, ...) needs
    `fine_tune`.

    Each candidate has a process of its own. Scores are the same for the same `seed`; times are not.
    One that cannot be measured says why in ``reason``, and so does one over a limit: these come
    last.

    Args:
        task: As ``regard train`` names it; or ``"sentence-similarity"``, or ``"ranking"``.
        data: A file or folder of labelled examples, `Examples`, a mapping of columns or a list of
            rows.
        models: Names or folders; a folder of checkpoints stands for all in it. The default is all
            embedded models that are installed and can do the task.
        latency: Milliseconds for one example that are allowed.
        memory: Megabytes that are allowed.
        folds: Parts of the data, each of which is held out once.
        seed: Draws the folds, and the examples if there are more than `max_examples`.
        fine_tune: Instead: train each candidate for so many steps, and measure the first fold.
        columns: The data's name of some of the task's columns.
        data_format: How to read the data, where its name does not tell.
        options: Of the task; with `fine_tune` of `TrainingArguments` too.
        max_examples: Examples that are measured on at most.

    Raises:
        ConfigError: There is no such task or option, or no candidate.
        DataError: The data does not fit the task; names file and line.
    """
    asked = Asked(
        task=task,
        data=data,
        latency=latency,
        memory=memory,
        folds=folds,
        seed=seed,
        fine_tune=fine_tune,
        columns=columns or {},
        data_format=data_format,
        options=options or {},
        max_examples=max_examples,
    )
    survey = asked.survey()
    names = candidates(survey.terms, models)
    return survey.ordered(survey.measure(name) for name in names)
