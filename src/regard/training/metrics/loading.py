"""Metrics by name, and the usual ones of a task."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from regard.config import Config
from regard.errors import ConfigError, nearest
from regard.training.metrics.answers import Answers
from regard.training.metrics.classification import Classification, MultiLabel
from regard.training.metrics.metric import Metric
from regard.training.metrics.ranking import Regression, RocAuc
from regard.training.metrics.spans import Spans, is_span_label, label_names
from regard.training.metrics.texts import Perplexity, Rouge, Translation


def load_metric(name: str, **options: Any) -> Metric:
    """Return a metric by its name, for a Trainer's ``compute_metrics`` or a loop of your own.

    Args:
        name: ``accuracy``, ``f1``, ``precision``, ``recall``, ``matthews_correlation``,
            ``roc_auc``, ``multilabel``, ``seqeval``, ``squad``, ``pearsonr``,
            ``spearmanr``, ``mse``, ``mae``, ``bleu``, ``chrf``, ``rouge``, ``perplexity``, or
            another name that people know them by.
        options: Of the metric, such as ``average="macro"`` for ``f1``.

    Raises:
        ConfigError: There is no such metric, or its package is not installed.
    """
    key = name.lower().replace("-", "_").replace(" ", "_")
    key = ALIASES.get(key, key)
    if key not in METRICS:
        raise ConfigError(
            f"there is no metric {name!r}{nearest(key, [*METRICS, *ALIASES])}; known: "
            f"{', '.join(METRICS)}"
        )
    make, numbers = METRICS[key]
    metric = make(**options)
    return metric if numbers is None else metric.limited(numbers)


def metrics_for(task: str, config: Config | None = None, **options: Any) -> Metric:
    """Return the usual metrics of a task as one.

    Args:
        task: As `pipeline` names it: ``text-classification``, ``token-classification``,
            ``question-answering``, ``translation``, ``summarization``, ``text-generation``,
            ``fill-mask``, ...; also ``regression`` and ``multi-label-classification``.
        config: The model's configuration: says how many labels there are, what they are called,
            and whether one of them, several or a number is predicted.
        options: Of the metric, such as ``average="macro"``.

    Raises:
        ConfigError: There is no such task, or a package is not installed.
    """
    key = task.lower().replace("_", "-")
    if key not in TASKS:
        raise ConfigError(
            f"no metrics are known for task {task!r}{nearest(key, TASKS)}; known: "
            f"{', '.join(TASKS)}"
        )
    return TASKS[key](config, **options)


def _classes(config: Config | None, **options: Any) -> Metric:
    kind = None if config is None else config.problem_type
    if kind == "regression" or (kind is None and config is not None and config.num_labels == 1):
        return Regression(**options)
    if kind == "multi_label_classification":
        return MultiLabel(**options)
    return Classification(**_sized(config, options))


def _tags(config: Config | None, **options: Any) -> Metric:
    """Spans, unless the labels have names of which none could be of a span (parts of speech)."""
    if config is not None:
        options.setdefault("id2label", config.id2label)
    given = options.get("id2label")
    if given is not None and not all(map(is_span_label, label_names(given).values())):
        del options["id2label"]
        return Classification(**_sized(config, options))
    return Spans(**options)


def _sized(config: Config | None, options: dict[str, Any]) -> dict[str, Any]:
    return options if config is None else {"num_labels": config.num_labels, **options}


def _without_config(make: Callable[..., Metric]) -> Callable[..., Metric]:
    def made(config: Config | None, **options: Any) -> Metric:
        return make(**options)

    return made


def _choices(config: Config | None, **options: Any) -> Metric:
    return Classification(**options).limited(["accuracy"])


#: Name -> how the metric is made, and which of its numbers the name stands for (None: all).
METRICS: Mapping[str, tuple[Callable[..., Metric], tuple[str, ...] | None]] = {
    "accuracy": (Classification, ("accuracy",)),
    "f1": (Classification, ("f1",)),
    "f1_macro": (Classification, ("f1_macro",)),
    "f1_micro": (Classification, ("f1_micro",)),
    "precision": (Classification, ("precision",)),
    "recall": (Classification, ("recall",)),
    "matthews_correlation": (Classification, ("matthews_correlation",)),
    "classification": (Classification, None),
    "multilabel": (MultiLabel, None),
    "roc_auc": (RocAuc, None),
    "seqeval": (Spans, None),
    "squad": (Answers, None),
    "regression": (Regression, None),
    "pearsonr": (Regression, ("pearsonr",)),
    "spearmanr": (Regression, ("spearmanr",)),
    "mse": (Regression, ("mse",)),
    "mae": (Regression, ("mae",)),
    "bleu": (partial(Translation, scores=("bleu",)), None),
    "chrf": (partial(Translation, scores=("chrf",)), None),
    "rouge": (Rouge, None),
    "rouge1": (Rouge, ("rouge1",)),
    "rouge2": (Rouge, ("rouge2",)),
    "rougel": (Rouge, ("rougeL",)),
    "perplexity": (Perplexity, None),
}

#: Other names that people know metrics by.
ALIASES: Mapping[str, str] = {
    "acc": "accuracy",
    "macro_f1": "f1_macro",
    "micro_f1": "f1_micro",
    "mcc": "matthews_correlation",
    "matthews_corrcoef": "matthews_correlation",
    "multi_label": "multilabel",
    "auc": "roc_auc",
    "auroc": "roc_auc",
    "span_f1": "seqeval",
    "spans": "seqeval",
    "conll": "seqeval",
    "conlleval": "seqeval",
    "ner": "seqeval",
    "squad_v2": "squad",
    "exact_match": "squad",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "stsb": "regression",
    "sacrebleu": "bleu",
    "rouge_1": "rouge1",
    "rouge_2": "rouge2",
    "rouge_l": "rougel",
    "ppl": "perplexity",
}

TASKS: Mapping[str, Callable[..., Metric]] = {
    "text-classification": _classes,
    "sentiment-analysis": _classes,
    "sequence-classification": _classes,
    "image-classification": _classes,
    "next-sentence-prediction": _classes,
    "multi-label-classification": _without_config(MultiLabel),
    "regression": _without_config(Regression),
    "sentence-similarity": _without_config(Regression),
    "multiple-choice": _choices,
    "token-classification": _tags,
    "ner": _tags,
    "question-answering": _without_config(Answers),
    "translation": _without_config(Translation),
    "summarization": _without_config(Rouge),
    "text2text-generation": _without_config(Rouge),
    "text-generation": _without_config(partial(Perplexity, shift=True)),
    "causal-lm": _without_config(partial(Perplexity, shift=True)),
    "fill-mask": _without_config(Perplexity),
    "masked-lm": _without_config(Perplexity),
}
