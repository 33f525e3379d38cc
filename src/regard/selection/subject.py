"""`Subject`: a candidate in memory, which answers and is scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from regard.data.examples import Examples
from regard.errors import ConfigError
from regard.models.model import PreTrainedModel
from regard.pipelines.preparing import longest_input
from regard.text.tokenizer import Tokenizer
from regard.training.loaders import columns_of
from regard.training.tasks.task import Prepared, Task


class Score(NamedTuple):
    """How good a candidate is.

    Attributes:
        metric: The name of the number.
        value: The number; more is better.
        spread: Its standard deviation over folds, or None.
    """

    metric: str
    value: float
    spread: float | None = None


@dataclass(frozen=True)
class Terms:
    """On what terms all candidates of a task are measured.

    Attributes:
        task: The task, with its options.
        examples: With answers.
        folds: The fold of each example.
        seed: Of new heads, dropout and order.
        steps: Of fine-tuning; None is none.
        arguments: Of `TrainingArguments`, for fine-tuning.
    """

    task: Task
    examples: Examples
    folds: Sequence[int]
    seed: int = 42
    steps: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Subject(ABC):
    """A candidate in memory.

    Attributes:
        ready: Whether it does the task as it is.
        model: The model.
        processor: Its tokenizer, or what else makes tensors.
    """

    ready: ClassVar[bool] = False
    model: PreTrainedModel
    processor: Any

    @property
    @abstractmethod
    def method(self) -> str:
        """How it is scored, in a word or two."""

    @abstractmethod
    def answer(self, examples: Examples) -> None:
        """Do the work whose time is taken: from inputs to what the model says of them."""

    @abstractmethod
    def score(self, terms: Terms) -> Score:
        """Return how good the candidate is."""

    @property
    def longest(self) -> int | None:
        """Tokens of the longest input that is read at once; None if there is no such limit."""
        if not isinstance(self.processor, Tokenizer):
            return None
        try:
            return longest_input(self.model, self.processor)
        except ConfigError:
            return None


def batch(task: Task, data: Prepared, processor: Any, model: PreTrainedModel) -> dict[str, Any]:
    """Return examples that were prepared as one batch, with what the model's ``forward`` takes."""
    taken = columns_of(model, ())
    rows = [data.dataset[number] for number in range(len(data.dataset))]
    kept = [{name: row[name] for name in row if taken is None or name in taken} for row in rows]
    return dict(task.collator(processor)(kept))
