"""Losses of the task heads: means over what is labelled, with labels checked first.

Everywhere -100 marks a place without a label. Where nothing at all is labelled the loss is zero,
not the NaN of a mean over nothing, so that one empty batch does not destroy a training run.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regard.batch import Layout
from regard.config import Config
from regard.errors import ConfigError
from regard.outputs import Loss

IGNORED = -100
SINGLE_LABEL = "single_label_classification"


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """How much one wrong answer costs.

    Attributes:
        smoothing: Probability taken from the label and spread over all classes (Szegedy et al.
            2016, section 7).
        gamma: Exponent of the focal loss, which counts easy items less (Lin et al. 2017, 3.2).
        weights: (classes,) weight of each class, or None.
    """

    smoothing: float = 0.0
    gamma: float = 0.0
    weights: Tensor | None = None

    def __call__(self, logits: Float[Tensor, "items classes"], labels: Tensor) -> Loss:
        """Return the loss of one label for each item; -100 is none."""
        labels = labels.long()
        if self.weights is not None and len(self.weights) != logits.shape[1]:
            raise ConfigError(
                f"there are {len(self.weights)} class weights for {logits.shape[1]} classes; give "
                "one for each"
            )
        weights = None if self.weights is None else self.weights.to(logits)
        how: dict[str, Any] = {"weight": weights, "label_smoothing": self.smoothing}
        if self.gamma == 0:
            total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum", **how)
        else:
            each = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none", **how)
            label = labels.clamp(min=0)[:, None]
            certainty = logits.softmax(-1).gather(1, label)[:, 0]
            # A root of nothing has no slope, so what is certain stays a little doubtful.
            doubt = (1 - certainty).clamp(min=torch.finfo(logits.dtype).eps)
            total = (each * doubt**self.gamma).sum()
        return Loss((total,), (self.count(labels),))

    def count(self, labels: Tensor) -> Tensor:
        """Return how many items have a label, or how much their labels weigh together."""
        labelled = labels != IGNORED
        if self.weights is None:
            return labelled.sum()
        known = labelled & (labels >= 0) & (labels < len(self.weights))
        return self.weights.to(labels.device)[labels[known].long()].sum()


PLAIN = CrossEntropy()


class Labelled:
    """What every head has for its labels.

    Attributes:
        criterion: What a wrong answer costs, where the head `classifies`.
        labelled_only: Whether a head that scores words scores those tokens only that have a label,
            where labels are given; its output then has a loss and no logits. In masked language
            modelling that is every seventh token.
        classifies: Whether the loss is a cross-entropy over the head's own classes.
        label_arguments: Names of the arguments that are labels, in the order of the loss's parts.
        mask_argument: Name of the mask that hides labels of tokens.
    """

    criterion: CrossEntropy = PLAIN
    labelled_only: bool = False
    classifies: ClassVar[bool] = False
    label_arguments: ClassVar[tuple[str, ...]] = ("labels",)
    mask_argument: ClassVar[str] = "attention_mask"

    def label_counts(self, inputs: Mapping[str, Any]) -> tuple[float, ...]:
        """Return how many labelled items each part of the loss is the mean of.

        Known before the forward, so that a step of several batches can divide by all its items.
        Empty if a label is missing.
        """
        criterion = self.criterion if self.classifies else PLAIN
        return tuple(float(criterion.count(each)) for each in self.labels_that_count(inputs))

    def labels_that_count(self, inputs: Mapping[str, Any]) -> list[Tensor]:
        """Return the labels of each part, beside what they are compared with, else -100.

        Empty if a label is missing.
        """
        given = [inputs.get(name) for name in self.label_arguments]
        labels = [each for each in given if isinstance(each, Tensor)]
        if len(labels) < len(given):
            return []
        mask = inputs.get(self.mask_argument)
        return [_unmasked(each, mask) for each in self.counted_labels(labels, inputs)]

    def counted_labels(
        self, labels: Sequence[Tensor], inputs: Mapping[str, Any]
    ) -> Sequence[Tensor]:
        """Return the labels as the loss counts them: -100 where it does not."""
        return labels


@contextmanager
def labelled_only(model: object, wanted: bool) -> Generator[None]:
    """Let a model score nothing but what is labelled, for as long as the block runs."""
    if not wanted or not isinstance(model, Labelled):
        yield
        return
    before, model.labelled_only = model.labelled_only, True
    try:
        yield
    finally:
        model.labelled_only = before


@contextmanager
def counted_by(model: object, criterion: CrossEntropy | None) -> Generator[None]:
    """Give a model another cost of wrong answers for as long as the block runs; None: its own."""
    if criterion is None or not isinstance(model, Labelled):
        yield
        return
    before = vars(model).get("criterion")
    model.criterion = criterion
    try:
        yield
    finally:
        if before is None:
            del model.criterion
        else:
            model.criterion = before


class SequenceLabelled(Labelled):
    """What heads have whose loss is `sequence_loss`."""

    classifies: ClassVar[bool] = True
    config: Any

    def label_counts(self, inputs: Mapping[str, Any]) -> tuple[float, ...]:
        """Return how many labels, or numbers, the batch has."""
        labels = inputs.get("labels")
        if isinstance(labels, Tensor) and problem_type(self.config, labels) != SINGLE_LABEL:
            return (float(labels.numel()),)
        return super().label_counts(inputs)


class LabelledSpans(Labelled):
    """The labels of a head that finds a span: where it starts, and where it ends."""

    label_arguments: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")

    def counted_labels(
        self, labels: Sequence[Tensor], inputs: Mapping[str, Any]
    ) -> Sequence[Tensor]:
        """Return positions, -100 for those that were cut off."""
        return counted_positions(labels, columns_of(inputs))


class LabelledSuccessors(Labelled):
    """The labels of a head that scores the next token: each is the label of the token before."""

    def counted_labels(
        self, labels: Sequence[Tensor], inputs: Mapping[str, Any]
    ) -> Sequence[Tensor]:
        """Return the labels where they are compared: a token before their own."""
        return [shifted_left(each) for each in labels]


def _unmasked(labels: Tensor, mask: Tensor | None) -> Tensor:
    fits = mask is not None and mask.shape == labels.shape
    return labels.masked_fill(mask == 0, IGNORED) if fits else labels


def shifted_left(labels: Tensor) -> Tensor:
    """Return for each token the label of the one after it; -100 for the last of a row."""
    return torch.cat([labels[..., 1:], labels.new_full((*labels.shape[:-1], 1), IGNORED)], -1)


def sequence_loss(
    logits: Float[Tensor, "rows labels"],
    labels: Tensor,
    config: Config,
    criterion: CrossEntropy = PLAIN,
) -> Loss:
    """Loss of one label, several labels or a number per sequence, as ``config.problem_type`` says.

    Without a problem type it is ``regression`` for one output, ``multi_label_classification`` for
    float labels and ``single_label_classification`` for integers.
    """
    kind = problem_type(config, labels)
    if kind != SINGLE_LABEL and criterion != PLAIN:
        raise ConfigError(
            f"class weights, focal loss and label smoothing are for one label of several; this is "
            f"{kind}"
        )
    if kind == "regression":
        _check_count(labels.numel(), logits.numel(), "labels", tuple(labels.shape), logits)
        numbers = labels.flatten().to(logits.dtype)
        return _plain(F.mse_loss(logits.flatten(), numbers, reduction="sum"), labels)
    if kind == "multi_label_classification":
        _check_count(labels.numel(), logits.numel(), "labels", tuple(labels.shape), logits)
        truths = labels.view_as(logits).to(logits.dtype)
        total = F.binary_cross_entropy_with_logits(logits, truths, reduction="sum")
        return _plain(total, labels)
    if kind == SINGLE_LABEL:
        return classification_loss(logits, labels, "labels", criterion)
    raise ValueError(
        f"problem_type {kind!r} is none of regression, single_label_classification, "
        "multi_label_classification"
    )


def classification_loss(
    logits: Float[Tensor, "rows classes"],
    labels: Tensor,
    name: str,
    criterion: CrossEntropy = PLAIN,
) -> Loss:
    """Cross-entropy with one integer label per row."""
    labels = labels.flatten()
    _check_count(len(labels), len(logits), name, tuple(labels.shape), logits)
    bad = _outside(labels, logits.shape[1])
    if bad is not None:
        raise ValueError(_label_error(name, f"example {bad}", int(labels[bad]), logits))
    return criterion(logits, labels)


def token_loss(
    logits: Float[Tensor, "tokens classes"],
    labels: Tensor,
    layout: Layout,
    name: str,
    criterion: CrossEntropy = PLAIN,
) -> Loss:
    """Cross-entropy with one integer label per token; labels at padding do not count.

    Args:
        logits: One row per packed token.
        labels: (batch, length), as the caller gave them.
        layout: How the tokens lie in the caller's rows.
        name: What to call the labels in messages.
        criterion: What a wrong answer costs.
    """
    packed = _pack_labels(labels, layout, name)
    bad = _outside(packed, logits.shape[1])
    if bad is not None:
        raise ValueError(_label_error(name, layout.where(bad), int(packed[bad]), logits))
    return criterion(logits, packed)


def labelled_loss(
    score: Callable[[Tensor], Tensor],
    hidden: Float[Tensor, "tokens width"],
    labels: Tensor,
    layout: Layout,
    criterion: CrossEntropy = PLAIN,
) -> Loss:
    """Return the `token_loss` of ``score(hidden)``, of which only labelled tokens are computed."""
    packed = _pack_labels(labels, layout, "labels")
    (places,) = (packed != IGNORED).nonzero(as_tuple=True)
    packed, logits = packed[places], score(hidden.index_select(0, places))
    bad = _outside(packed, logits.shape[1])
    if bad is not None:
        where = layout.where(int(places[bad]))
        raise ValueError(_label_error("labels", where, int(packed[bad]), logits))
    return criterion(logits, packed)


def detection_loss(
    logits: Float[Tensor, " tokens"], labels: Tensor, layout: Layout, name: str
) -> Loss:
    """Binary cross-entropy with a label 0 or 1 per token; arguments as in `token_loss`."""
    packed = _pack_labels(labels, layout, name)
    bad = _outside(packed.long(), 2)
    if bad is not None:
        found = packed[bad].item()
        raise ValueError(f"{name}: {layout.where(bad)} has label {found}; it must be 0 or 1")
    counted = packed != IGNORED
    losses = F.binary_cross_entropy_with_logits(logits, packed.to(logits.dtype), reduction="none")
    return Loss(((losses * counted).sum(),), (counted.sum(),))


def span_loss(
    start_logits: Float[Tensor, "rows columns"],
    end_logits: Float[Tensor, "rows columns"],
    positions: tuple[Tensor, Tensor],
) -> Loss:
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


def columns_of(inputs: Mapping[str, Any]) -> int:
    """Return how many columns the padded texts have that a model's tokens are scored in."""
    names = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
    return next(inputs[name] for name in names if inputs.get(name) is not None).shape[1]


def counted_positions(positions: Sequence[Tensor], columns: int) -> list[Tensor]:
    """Return positions as `span_loss` counts them: -100 for those past the last column."""
    return [torch.where(each >= columns, IGNORED, each) for each in positions]


def _position_loss(logits: Tensor, positions: Tensor, name: str) -> Loss:
    columns = logits.shape[1]
    _check_count(len(positions), len(logits), name, tuple(positions.shape), logits)
    (positions,) = counted_positions([positions], columns)
    bad = _outside(positions, columns)
    if bad is None:
        at = logits.gather(1, positions.clamp(min=0)[:, None])[:, 0]
        on_padding = (torch.isneginf(at) & (positions != IGNORED)).nonzero()
        bad = int(on_padding[0]) if len(on_padding) else None
    if bad is not None:
        raise ValueError(
            f"{name} of example {bad} is {int(positions[bad])}, which is no token of its text"
        )
    return PLAIN(logits, positions)


def _pack_labels(labels: Tensor, layout: Layout, name: str) -> Tensor:
    wanted = (len(layout.lengths), layout.columns)
    if tuple(labels.shape) != wanted:
        raise ValueError(
            f"{name} must have one label per token, shape {wanted}; found {tuple(labels.shape)}"
        )
    return layout.pack(labels)


def problem_type(config: Config, labels: Tensor) -> str:
    """Return what the labels of sequences are; see `sequence_loss`."""
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else SINGLE_LABEL


def _plain(total: Tensor, items: Tensor) -> Loss:
    return Loss((total,), (torch.tensor(items.numel(), device=total.device),))


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
