"""What a wrong answer costs in training: smoothing, focal loss and class weights of the arguments.

The weights of classes are those of scikit-learn's ``class_weight="balanced"`` (King and Zeng 2001,
section 4.2): the examples, divided by the classes and by the examples of the class.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from regard.data.labels import IGNORED
from regard.errors import ConfigError, listing
from regard.models.losses import CrossEntropy, Labelled
from regard.training.arguments import TrainingArguments

#: Columns in which data sets have the labels.
_COLUMNS = ("labels", "label", "label_ids")


def criterion_of(
    model: nn.Module, args: TrainingArguments, train_dataset: Any
) -> CrossEntropy | None:
    """Return the loss that the arguments ask for; None where they leave the model its own.

    Raises:
        ConfigError: The model's loss is none that the arguments can change, or the weights of
            classes cannot be counted.
    """
    asked = {
        "label_smoothing_factor": args.label_smoothing_factor,
        "focal_gamma": args.focal_gamma,
        "class_weights": args.class_weights,
    }
    names = [name for name, value in asked.items() if value]
    if not names:
        return None
    if not isinstance(model, Labelled) or not model.classifies:
        raise ConfigError(
            f"{' and '.join(names)} change the cross-entropy of a regard model that classifies; "
            f"{type(model).__name__} is none. Leave them out, or give Trainer a compute_loss_func"
        )
    weights = args.class_weights
    if isinstance(weights, str):
        weights = balanced_weights(train_dataset, cast("Any", model).config.num_labels)
    return CrossEntropy(
        smoothing=args.label_smoothing_factor,
        gamma=args.focal_gamma,
        weights=torch.tensor(weights, dtype=torch.float32) if weights else None,
    )


def balanced_weights(dataset: Any, classes: int) -> list[float]:
    """Return weights with which every class counts the same in the training data.

    Raises:
        ConfigError: The data is a stream, has no labels, or none of some class.
    """
    if dataset is None or not hasattr(dataset, "__len__"):
        raise ConfigError(
            "class_weights='balanced' counts the labels of a train_dataset that has a length; "
            "give the weights as a list"
        )
    counts = torch.zeros(classes, dtype=torch.long)
    for number in range(len(dataset)):
        labels = _labels_of(dataset[number], number)
        labels = labels[labels != IGNORED]
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise ConfigError(
                f"train_dataset: example {number} has label {int(wrong[0])}; this model has "
                f"{classes} labels"
            )
        counts += torch.bincount(labels, minlength=classes)
    missing = [str(label) for label in range(classes) if counts[label] == 0]
    if missing:
        raise ConfigError(
            f"class_weights='balanced': no training example has label {listing(missing)};"
            " give the weights as a list, or take the labels out of the model"
        )
    return cast("list[float]", (counts.sum() / (classes * counts)).tolist())


def _labels_of(example: Any, number: int) -> Tensor:
    """Return the integer labels of an example, in one row."""
    given = cast("Mapping[str, Any]", example if isinstance(example, Mapping) else vars(example))
    found = next((given[name] for name in _COLUMNS if given.get(name) is not None), None)
    if found is None:
        raise ConfigError(
            f"class_weights='balanced': example {number} has none of {', '.join(_COLUMNS)}"
        )
    labels = torch.as_tensor(found).flatten()
    if labels.is_floating_point():
        raise ConfigError("class_weights='balanced' counts classes; the labels are numbers")
    return labels.long()
