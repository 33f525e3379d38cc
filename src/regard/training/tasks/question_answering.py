"""Answers to questions, found in a text."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from regard.config import Config
from regard.data.collate import DataCollatorWithPadding
from regard.data.examples import Examples
from regard.data.windows import question_answering_windows
from regard.models.auto import AutoModelForQuestionAnswering
from regard.training.metrics.answers import Answers
from regard.training.metrics.metric import as_array
from regard.training.tasks.task import Column, Prepared, Task


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering(Task):
    """The part of a context that answers a question, as in SQuAD.

    Attributes:
        doc_stride: Tokens that the windows of a long context share; by default 128, or a third of
            the window where that is less.
        no_answer: Whether a question may have no answer; by default whether one of the training
            data has none.
    """

    name: ClassVar[str] = "question-answering"
    auto = AutoModelForQuestionAnswering
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", optional=True),
        Column("title", optional=True),
        Column("question"),
        Column("context", ("passage", "paragraph", "document")),
        Column("answers", ("answer",), label=True),
    )

    usual_length: ClassVar[int] = 384
    units: ClassVar[tuple[str, ...]] = ("title", "context")

    doc_stride: int | None = None
    no_answer: bool | None = None

    def settled(self, examples: Examples) -> Self:
        """Return the task that knows whether questions may have no answer."""
        if self.no_answer is not None:
            return self
        without = any(not answers["text"] for answers in examples.column("answers"))
        return dataclasses.replace(self, no_answer=without)

    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return windows of the contexts, with the answer's place in each."""
        if "id" not in examples.column_names:
            examples = examples.with_column("id", [*map(str, range(len(examples)))])
        length = self.length(processor, config)
        stride = min(128, length // 3) if self.doc_stride is None else self.doc_stride

        def windows(batch: dict[str, list[Any]]) -> Any:
            return question_answering_windows(
                batch, processor, max_length=length, doc_stride=stride
            )

        made = examples.map(windows, batched=True, remove_columns=examples.column_names)
        return Prepared(made, examples)

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what pads to the longest window of a batch."""
        return DataCollatorWithPadding(processor)

    def metric(self, config: Config, data: Prepared) -> Answers:
        """Return exact match and F1 of the answers."""
        threshold = 0.0 if self.no_answer else None
        return Answers(data.examples, data.dataset, no_answer_threshold=threshold)

    def best(self, config: Config) -> str:
        """Return F1."""
        return "f1"

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return ``answer``, empty where there is none, and how much likelier that is, as logit."""
        start, end = (as_array(each) for each in predictions[:2])
        found = self.metric(config, data).read(start, end, [*data.examples])
        rows = [(each["prediction_text"], each["no_answer_probability"]) for each in found]
        return [
            {"answer": "" if self.no_answer and nothing > 0 else text, "no_answer_score": nothing}
            for text, nothing in rows
        ]
