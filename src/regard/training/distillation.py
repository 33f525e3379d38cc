"""Train a student on what a teacher says, beside the labels (Hinton et al. 2015)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regard.data.labels import IGNORED
from regard.errors import ConfigError
from regard.models.losses import SINGLE_LABEL, Labelled, SequenceLabelled, problem_type
from regard.outputs import Loss
from regard.training import loaders
from regard.training.trainer import Trainer


@dataclass(frozen=True)
class Distillation:
    """How a student learns from a teacher.

    Attributes:
        temperature: Scores are divided by it, so that small probabilities count more.
        alpha: Weight of the teacher's answers; the labels have the rest.
        hidden: How hidden vectors are compared: ``"cosine"`` (Sanh et al. 2019, section 3),
            ``"mse"`` (Jiao et al. 2020, section 3.1), or None: they are not.
        hidden_weight: Weight of that, which is added.
        layers: Student's layer -> the teacher's that it is like, counted from 1; 0 is what the
            first one reads. By default all, evenly spread over the teacher's.
    """

    temperature: float = 2.0
    alpha: float = 0.5
    hidden: str | None = None
    hidden_weight: float = 1.0
    layers: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        if self.hidden not in (None, "cosine", "mse"):
            raise ConfigError(f"Distillation: hidden is {self.hidden!r}; 'cosine', 'mse' or None")
        if not (self.temperature > 0 and 0 <= self.alpha <= 1):
            raise ConfigError(
                f"Distillation: temperature is {self.temperature}, it must be above 0; alpha is "
                f"{self.alpha}, it must be from 0 to 1"
            )

    def answers(
        self, student: Float[Tensor, "items classes"], teacher: Float[Tensor, "items classes"]
    ) -> Loss:
        """Return how far the student's probabilities are from the teacher's (section 2).

        The square of the temperature keeps the gradients as large as those of the labels.
        """
        if student.shape != teacher.shape:
            raise ConfigError(
                f"the student gives {student.shape[-1]} scores and the teacher "
                f"{teacher.shape[-1]}; both must have the same classes, or the same vocabulary"
            )
        ours = F.log_softmax(student / self.temperature, -1)
        theirs = F.log_softmax(teacher / self.temperature, -1)
        total = F.kl_div(ours, theirs, reduction="sum", log_target=True) * self.temperature**2
        return Loss((total,), (torch.tensor(len(student), device=student.device),))

    def likeness(
        self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], mask: Tensor
    ) -> Loss:
        """Return how far hidden vectors are from the teacher's: the mean over tokens and layers.

        Args:
            student: What each layer reads and the last gives, each (batch, length, width).
            teacher: The same of the teacher.
            mask: (batch, length), where tokens are.
        """
        deep, deeper = len(student) - 1, len(teacher) - 1
        pairs = self.layers or {n: n * deeper // deep for n in range(1, deep + 1)}
        if any(not (0 <= a <= deep and 0 <= b <= deeper) for a, b in pairs.items()):
            raise ConfigError(
                f"Distillation: layers is {dict(pairs)}; the student has {deep} layers and the "
                f"teacher {deeper}"
            )
        total = student[0].new_zeros(())
        for ours, theirs in pairs.items():
            total = total + self._distance(student[ours][mask], teacher[theirs][mask])
        return Loss((total / len(pairs),), (mask.sum(),))

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        if student.shape != teacher.shape:
            raise ConfigError(
                f"Distillation: hidden vectors of {student.shape[-1]} and {teacher.shape[-1]} "
                "numbers cannot be compared; leave hidden out"
            )
        if self.hidden == "mse":
            return (student - teacher).pow(2).mean(-1).sum()
        return (1 - F.cosine_similarity(student, teacher, dim=-1)).sum()


class DistillationTrainer(Trainer):
    """A `Trainer` whose model learns from a teacher too.

    For heads that choose among classes or words. Only what has a label counts, for the teacher's
    answers as for the labels, so that a step does not depend on how it is cut into batches.

    Args:
        model: The student.
        args: Settings.
        teacher: A model with the same classes; it is put into evaluation mode and does not train.
        distillation: How to learn from it.
        more: Arguments of `Trainer`.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: Any = None,
        *,
        teacher: nn.Module,
        distillation: Distillation | None = None,
        **more: Any,
    ) -> None:
        super().__init__(model, args, **more)
        self.distillation = distillation or Distillation()
        self.teacher = teacher.to(self.processes.device).eval()
        head = self.model
        if not isinstance(head, Labelled) or not head.classifies or len(head.label_arguments) > 1:
            raise ConfigError(
                f"distillation is for a regard model that chooses among classes or words; "
                f"{type(head).__name__} is none"
            )

    def call_model(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """Ask the student, without what only the teacher reads."""
        return self._ask(model, self.model, inputs)

    def count_items(self, inputs: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the counts of the labels, of the teacher's answers, and of the tokens."""
        counts, items = super().count_items(inputs), self._items(inputs)
        if items is None:
            return counts
        tokens = [] if self.distillation.hidden is None else [self._tokens(inputs)]
        return (*counts, *(float(each.sum()) for each in (items, *tokens)))

    def loss_parts(self, outputs: Any, inputs: dict[str, Any]) -> Loss | None:
        """Add to the loss of the labels what the teacher says."""
        labelled, how = super().loss_parts(outputs, inputs), self.distillation
        items = self._items(inputs)
        if labelled is None or items is None:
            return None
        with torch.no_grad():
            answers = self._ask(self.teacher, self.teacher, inputs)
        soft = how.answers(outputs.logits[items], answers.logits[items])
        loss = labelled * (1 - how.alpha) + soft * how.alpha
        if how.hidden is not None:
            if outputs.hidden_states is None or answers.hidden_states is None:
                raise ConfigError("Distillation: student or teacher gives no hidden_states")
            states = outputs.hidden_states, answers.hidden_states
            loss = loss + how.likeness(*states, self._tokens(inputs)) * how.hidden_weight
        return loss

    def _collate(self) -> loaders.Collate:
        collate = super()._collate()
        theirs = loaders.columns_of(self.teacher, ())
        if collate.columns is not None:
            collate.columns = None if theirs is None else (*collate.columns, *theirs)
        return collate

    def _ask(self, model: nn.Module, takes: nn.Module, inputs: Mapping[str, Any]) -> Any:
        known = loaders.columns_of(takes, ())
        given = {n: value for n, value in inputs.items() if known is None or n in known}
        if self.distillation.hidden is not None:
            given["output_hidden_states"] = True
        return model(**given)

    def _items(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """Return, for each row of scores, whether it has a label; None where nothing has."""
        head = self.model
        labels = head.labels_that_count(inputs) if isinstance(head, Labelled) else []
        if not labels:
            return None
        if isinstance(head, SequenceLabelled):
            kind = problem_type(head.config, labels[0])
            if kind != SINGLE_LABEL:
                raise ConfigError(f"distillation is for one label of several; this is {kind}")
        return labels[0] != IGNORED

    def _tokens(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return (batch, length), where tokens are."""
        mask = inputs.get("attention_mask")
        return torch.ones_like(inputs["input_ids"]).bool() if mask is None else mask.bool()
