"""Losses of the task heads: means over what is labelled, with labels checked first.

Everywhere -100 marks a place without a label. Where nothing at all is labelled the loss is zero,
not the NaN of a mean over nothing, so that one empty batch does not destroy a training run.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regard.batch import Layout
from regard.config import Config

IGNORED = -100


def sequence_loss(logits: Float[Tensor, "rows labels"], labels: Tensor, config: Config) -> Tensor:
    """Loss of one label, several labels or a number per sequence, as ``config.problem_type`` says.

    Without a problem type it is ``regression`` for one output, ``multi_label_classification`` for
    float labels and ``single_label_classification`` for integers.
    """
    kind = config.problem_type or _problem_type(logits, labels)
    if kind == "regression":
        _check_count(labels.numel(), logits.numel(), "labels", tuple(labels.shape), logits)
        return F.mse_loss(logits.flatten(), labels.flatten().to(logits.dtype))
    if kind == "multi_label_classification":
        _check_count(labels.numel(), logits.numel(), "labels", tuple(labels.shape), logits)
        return F.binary_cross_entropy_with_logits(logits, labels.view_as(logits).to(logits.dtype))
    if kind == "single_label_classification":
        return classification_loss(logits, labels, "labels")
    raise ValueError(
        f"problem_type {kind!r} is none of regression, single_label_classification, "
        "multi_label_classification"
    )


def classification_loss(
    logits: Float[Tensor, "rows classes"], labels: Tensor, name: str
) -> Float[Tensor, ""]:
    """Cross-entropy with one integer label per row."""
    labels = labels.flatten()
    _check_count(len(labels), len(logits), name, tuple(labels.shape), logits)
    bad = _outside(labels, logits.shape[1])
    if bad is not None:
        raise ValueError(_label_error(name, f"example {bad}", int(labels[bad]), logits))
    return _cross_entropy(logits, labels)


def token_loss(
    logits: Float[Tensor, "tokens classes"], labels: Tensor, layout: Layout, name: str
) -> Float[Tensor, ""]:
    """Cross-entropy with one integer label per token; labels at padding do not count.

    Args:
        logits: One row per packed token.
        labels: (batch, length), as the caller gave them.
        layout: How the tokens lie in the caller's rows.
        name: What to call the labels in messages.
    """
    packed = _pack_labels(labels, layout, name)
    bad = _outside(packed, logits.shape[1])
    if bad is not None:
        raise ValueError(_label_error(name, layout.where(bad), int(packed[bad]), logits))
    return _cross_entropy(logits, packed)


def detection_loss(
    logits: Float[Tensor, " tokens"], labels: Tensor, layout: Layout, name: str
) -> Float[Tensor, ""]:
    """Binary cross-entropy with a label 0 or 1 per token; arguments as in `token_loss`."""
    packed = _pack_labels(labels, layout, name)
    bad = _outside(packed.long(), 2)
    if bad is not None:
        found = packed[bad].item()
        raise ValueError(f"{name}: {layout.where(bad)} has label {found}; it must be 0 or 1")
    counted = packed != IGNORED
    losses = F.binary_cross_entropy_with_logits(logits, packed.to(logits.dtype), reduction="none")
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def span_loss(
    start_logits: Float[Tensor, "rows columns"],
    end_logits: Float[Tensor, "rows columns"],
    positions: tuple[Tensor, Tensor],
) -> Float[Tensor, ""]:
    """Mean of the cross-entropies of start and end; padding, at minus infinity, takes no part.

    A position of -100, or one past the last column (an answer that was cut off), is not counted.
    """
    losses = [
        _position_loss(logits, position.flatten(), name)
        for logits, position, name in zip(
            (start_logits, end_logits), positions, ("start_positions", "end_positions"), strict=True
        )
    ]
    return (losses[0] + losses[1]) / 2


def both_labels(**labels: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Return two kinds of labels that a loss needs together, or None when neither is given."""
    (first_name, first), (second_name, second) = labels.items()
    if first is not None and second is not None:
        return first, second
    if first is not None or second is not None:
        raise ValueError(f"give both {first_name} and {second_name}, or neither")
    return None


def _position_loss(logits: Tensor, positions: Tensor, name: str) -> Tensor:
    columns = logits.shape[1]
    _check_count(len(positions), len(logits), name, tuple(positions.shape), logits)
    positions = torch.where(positions >= columns, IGNORED, positions)
    bad = _outside(positions, columns)
    if bad is None:
        at = logits.gather(1, positions.clamp(min=0)[:, None])[:, 0]
        on_padding = (torch.isneginf(at) & (positions != IGNORED)).nonzero()
        bad = int(on_padding[0]) if len(on_padding) else None
    if bad is not None:
        raise ValueError(
            f"{name} of example {bad} is {int(positions[bad])}, which is no token of its text"
        )
    return _cross_entropy(logits, positions)


def _pack_labels(labels: Tensor, layout: Layout, name: str) -> Tensor:
    wanted = (len(layout.lengths), layout.columns)
    if tuple(labels.shape) != wanted:
        raise ValueError(
            f"{name} must have one label per token, shape {wanted}; found {tuple(labels.shape)}"
        )
    return layout.pack(labels)


def _problem_type(logits: Tensor, labels: Tensor) -> str:
    if logits.shape[1] == 1:
        return "regression"
    if labels.is_floating_point():
        return "multi_label_classification"
    return "single_label_classification"


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(logits, labels.long(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def _outside(labels: Tensor, classes: int) -> int | None:
    """Return the first place whose label is neither ignored nor below `classes`."""
    if labels.is_floating_point():
        raise TypeError(f"class labels must be integers; found {labels.dtype}")
    wrong = ((labels < 0) & (labels != IGNORED)) | (labels >= classes)
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None


def _label_error(name: str, place: str, label: int, logits: Tensor) -> str:
    return (
        f"{name}: {place} has label {label}; this model has {logits.shape[1]} labels, "
        f"0 to {logits.shape[1] - 1}. Load it with num_labels={label + 1} or check the data"
    )


def _check_count(
    found: int, wanted: int, name: str, shape: tuple[int, ...], logits: Tensor
) -> None:
    if found != wanted:
        raise ValueError(
            f"{name} of shape {shape} do not fit logits of shape {tuple(logits.shape)}"
        )
