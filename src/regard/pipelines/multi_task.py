"""Many answers about a text, of one pass of the encoder."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from regard.batch import TokenBatch
from regard.errors import listing, nearest
from regard.models.encoder import TextBase
from regard.models.heads import MaskedLM, QuestionAnswering, SequenceLabels, TokenClassification
from regard.models.lent import EncodedBatch
from regard.models.multitask import MultiTaskModel
from regard.pipelines.fill_mask import FillMaskPipeline
from regard.pipelines.job import Failure, TextJob, is_one, shaped
from regard.pipelines.pipeline import Pipeline
from regard.pipelines.question_answering import QuestionAnsweringPipeline
from regard.pipelines.semantic_role_labeling import SemanticRoleLabelingPipeline, heads_of_roles
from regard.pipelines.tags import split_label
from regard.pipelines.text_classification import TextClassificationPipeline
from regard.pipelines.token_classification import TokenClassificationPipeline
from regard.text.tokenizer import Tokenizer

#: What answers by a head; those of the first two kinds need nothing but a text.
_BY_HEAD: Mapping[type, type[Pipeline]] = {
    SequenceLabels: TextClassificationPipeline,
    TokenClassification: TokenClassificationPipeline,
    QuestionAnswering: QuestionAnsweringPipeline,
    MaskedLM: FillMaskPipeline,
}
_Plain = TextClassificationPipeline | TokenClassificationPipeline

#: Task to what is told of its answers.
Options = Mapping[str, Mapping[str, Any]]


class MultiTaskPipeline(Pipeline):
    """Asks the heads of a model of several tasks about texts.

    Each answers as the pipeline of its own task does, but that names come whole: where the labels
    of a head begin and go on (``B-PER``, ``I-PER``), its answers are spans by default.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        options: As for `Pipeline`.

    Attributes:
        parts: Task to what answers it.
    """

    task: ClassVar[str] = "multi-task"
    default_model: ClassVar[str | None] = None
    takes = MultiTaskModel

    def __init__(self, model: MultiTaskModel, tokenizer: Tokenizer, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        own: dict[str, Any] = {name: getattr(self, name) for name in Pipeline.own_options()}
        self.finder, self.roles = heads_of_roles(model)
        self.parts: dict[str, Pipeline] = {}
        for name in model.tasks:
            head = model.head(name)
            kind = next((p for each, p in _BY_HEAD.items() if isinstance(head, each)), None)
            if name == self.roles:
                self.parts[name] = SemanticRoleLabelingPipeline(model, tokenizer, **own)
            elif kind is not None:
                told: dict[str, Any] = own | _usual(head)
                self.parts[name] = kind(head, tokenizer, **told)

    @classmethod
    def load_model(
        cls, name: str | Path, source: Mapping[str, Any], options: dict[str, Any]
    ) -> MultiTaskModel:
        """Return the model with all of its heads."""
        return MultiTaskModel.from_pretrained(name, **options)

    def __call__(
        self,
        inputs: str | Iterable[str],
        *,
        tasks: Iterable[str] | None = None,
        question: str | Iterable[str] | None = None,
        predicates: Iterable[Any] | None = None,
        options: Options | None = None,
    ) -> Any:
        """Return for each text a dict: task to its answer.

        All tasks that need the text alone share one pass of the encoder. The others have a pass of
        their own: answers to questions, when there is one; semantic roles, which read single
        sentences, when predicates are given or the model finds them; and words for masks, when
        `tasks` names the task.

        Args:
            inputs: A text of any length, a list, or a stream of texts.
            tasks: Which; by default all that can be answered.
            question: A question to the text; to many, the same or one for each.
            predicates: Those of the text, or for each text, as semantic-role-labeling takes them.
            options: Task to options of its answers, as its own pipeline takes them:
                ``{"names": {"aggregation_strategy": "first"}}``.

        Raises:
            ValueError: There is no such task, or it needs what is not given.
        """
        given = {"question": question, "predicates": predicates}
        names = self._chosen(tasks, given, options or {})
        items: Any = [inputs] if is_one(inputs) else inputs
        if is_one(inputs) and predicates is not None:
            given["predicates"] = [predicates]
        return shaped(inputs, self._answers(items, names, given, options or {}))

    def _answers(
        self, items: Iterable[Any], names: Sequence[str], given: Mapping[str, Any], options: Options
    ) -> Iterator[Any]:
        """Yield what all passes say of each text."""
        together = [name for name in names if isinstance(self.parts[name], _Plain)]
        apart = [name for name in names if name not in together]
        count = len(apart) + bool(together)
        copies = [items] * count if isinstance(items, Sized) else [*itertools.tee(items, count)]
        passes: list[Iterator[dict[str, Any] | Failure]] = []
        if together:
            passes.append(self.run(copies.pop(), self._job(together, options)))
        for name in apart:
            told = options.get(name, {})
            passes.append(self._ask(name, copies.pop(), given, told))
        for said in zip(*passes, strict=True):
            yield _merged(said, names)

    def _ask(
        self, name: str, items: Any, given: Mapping[str, Any], told: Mapping[str, Any]
    ) -> Iterator[Any]:
        """Yield the answers of a task that has a pass of its own."""
        part = self.parts[name]
        if isinstance(part, QuestionAnsweringPipeline):
            answers = part(question=given["question"], context=items, **told)
        elif isinstance(part, SemanticRoleLabelingPipeline):
            answers = part(items, given["predicates"], **told)
        else:
            answers = cast("FillMaskPipeline", part)(items, **told)
        for answer in answers:
            yield answer if isinstance(answer, Failure) else {name: answer}

    def _job(self, names: Sequence[str], options: Options) -> "Together":
        """Return what asks heads that read the same windows."""
        reader, jobs = self.reader(), dict[str, TextJob]()
        for name in names:
            job = cast("_Plain", self.parts[name]).job(**options.get(name, {}))
            if (job.reader.max_length, job.reader.stride) != (reader.max_length, reader.stride):
                raise ValueError(f"{name}: all tasks share their windows; give the pipeline stride")
            jobs[name] = job
        base = cast("MultiTaskModel", self.model).base_model
        return Together(reader, any(job.offsets for job in jobs.values()), base=base, jobs=jobs)

    def _chosen(
        self, tasks: Iterable[str] | None, given: Mapping[str, Any], options: Options
    ) -> list[str]:
        """Return the tasks to answer; raise `ValueError` for one that cannot be."""
        needs = {name: self._needs(name, given) for name in self.parts}
        names = [name for name in needs if not needs[name]] if tasks is None else [*tasks]
        for name in (*names, *options):
            if name not in self.parts:
                raise ValueError(
                    f"no task {name!r}{nearest(name, self.parts)}; this model answers "
                    f"{listing(self.parts)}"
                )
        lacking = [name for name in names if needs[name] and tasks is not None]
        lacking = [name for name in lacking if not isinstance(self.parts[name], FillMaskPipeline)]
        if lacking or not names:
            wanted = [f"{name} needs {needs[name]}" for name in lacking or needs]
            raise ValueError("; ".join(wanted) or "this model has no head that answers about texts")
        for name, value in given.items():
            if value is not None and not any(self._takes(each) == name for each in names):
                raise ValueError(f"{name} is given, and none of {', '.join(names)} takes it")
        return names

    def _takes(self, name: str) -> str:
        """Return what a task takes beside a text, or nothing."""
        part = self.parts[name]
        if isinstance(part, QuestionAnsweringPipeline):
            return "question"
        return "predicates" if isinstance(part, SemanticRoleLabelingPipeline) else ""

    def _needs(self, name: str, given: Mapping[str, Any]) -> str:
        """Return what a task lacks, or nothing."""
        if isinstance(self.parts[name], FillMaskPipeline):
            return "to be named in tasks"
        takes = self._takes(name)
        found = takes == "predicates" and self.finder is not None
        return f"{takes}=..." if takes and given[takes] is None and not found else ""


@dataclass(frozen=True, kw_only=True)
class Together(TextJob):
    """Answers of several heads to a text, which is encoded once.

    Args:
        base: The encoder of all of them.
        jobs: Task to what asks its head.
    """

    base: TextBase
    jobs: Mapping[str, TextJob]

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return for each window what each head says of it."""
        encoded = EncodedBatch(**vars(batch), hidden=self.base.encode(batch))
        said = [job.forward(encoded) for job in self.jobs.values()]
        return [*zip(*said, strict=True)]

    def answer(self, given: str, cut: Any, found: Sequence[Any]) -> dict[str, Any]:
        """Return the answer of each task."""
        return {
            name: job.answer(given, cut, [window[number] for window in found])
            for number, (name, job) in enumerate(self.jobs.items())
        }


def _usual(head: Any) -> dict[str, Any]:
    """Return what is told of the answers of a head that labels tokens as parts of spans."""
    if not isinstance(head, TokenClassification):
        return {}
    spans = any(split_label(label)[0] for label in (head.config.id2label or {}).values())
    return {"aggregation_strategy": "simple"} if spans else {}


def _merged(
    said: Sequence[dict[str, Any] | Failure], names: Sequence[str]
) -> dict[str, Any] | Failure:
    """Return the answers of all passes; where one has none, the input has failed."""
    answers: dict[str, Any] = {}
    for each in said:
        if isinstance(each, Failure):
            return each
        answers |= each
    return {name: answers[name] for name in names}
