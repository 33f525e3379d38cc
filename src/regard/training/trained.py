"""Trained models with their tasks: what ``regard evaluate`` and ``regard predict`` do."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from regard.data.examples import Examples
from regard.errors import ConfigError, DataError, listing, nearest, notices
from regard.models.auto import AutoConfig
from regard.models.model import PreTrainedModel
from regard.models.multitask import MultiTaskModel, task_configs
from regard.training.arguments import TrainingArguments
from regard.training.job import make_trainer
from regard.training.tasks.registry import task_of
from regard.training.tasks.task import Prepared, Task
from regard.training.trainer import Trainer

#: What an encoder is told of a text.
INPUTS = ("input_ids", "token_type_ids")


@dataclass(frozen=True)
class Opened:
    """A trained model with its task.

    Attributes:
        task: What it was trained for.
        model: The model.
        processor: Its tokenizer, or what else makes tensors.
        args: To compute with.
    """

    task: Task
    model: PreTrainedModel
    processor: Any
    args: TrainingArguments

    def prepare(self, examples: Examples) -> Prepared:
        """Return examples as the trainer takes them."""
        return self.task.prepare(examples, self.processor, self.model.config)

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Return loss and metrics of examples that `Task.named` gave, with their answers."""
        data = self.prepare(examples)
        trainer = make_trainer(self.task, self.model, self.processor, self.args, data)
        return self.task.evaluate(trainer, data)

    def predict(self, examples: Examples) -> list[dict[str, Any]]:
        """Return a row for each example: its columns, but for answers, and what the model says."""
        inputs = without_answers(self.task, examples)
        trainer = make_trainer(self.task, self.model, self.processor, self.args, None)
        found = self.task.predict(trainer, self.prepare(inputs))
        return [{**given, **said} for given, said in zip(inputs, found, strict=True)]


@dataclass(frozen=True)
class OpenedTogether:
    """A trained model of several tasks, which answers all of them at once.

    Attributes:
        model: The model.
        parts: Name to task, whose model is a head of the model.
    """

    model: MultiTaskModel
    parts: Mapping[str, Opened]

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return a row for each text, with what each task says under ``NAME_`` and its names.

        Tasks to which a text is the same tokens (all, unless one is told to cut it shorter) share
        one pass of the encoder. Tasks that need more than a text are left out, with a notice.

        Raises:
            ConfigError: No task is left.
        """
        prepared = self._prepared(texts)
        rows: list[dict[str, Any]] = [{"text": text} for text in texts]
        said: dict[str, list[dict[str, Any]]] = {}
        for names in _alike(prepared):
            first, data = self.parts[names[0]], prepared[names[0]]
            trainer = Trainer(
                _Heads(self.model, names),
                first.args,
                data_collator=first.task.collator(first.processor),
            )
            found = trainer.predict(data.dataset).predictions
            for name, logits in zip(names, found if len(names) > 1 else [found], strict=True):
                part = self.parts[name]
                said[name] = part.task.decode(logits, prepared[name], part.model.config)
        for name, data in prepared.items():
            for row, given, answer in zip(rows, data.examples, said[name], strict=True):
                more = {key: value for key, value in given.items() if key != "text"}
                row |= {f"{name}_{key}": value for key, value in (more | answer).items()}
        return rows

    def _prepared(self, texts: Sequence[str]) -> dict[str, Prepared]:
        """Return the texts as the tasks take them that can be asked of a text alone."""
        found: dict[str, Prepared] = {}
        reasons: list[str] = []
        for name, part in self.parts.items():
            try:
                examples = part.task.from_texts(texts)
            except (ConfigError, DataError) as error:
                reasons.append(f"{name}: {error}")
                continue
            found[name] = part.prepare(examples)
        if not found:
            raise ConfigError("; ".join(reasons))
        for reason in reasons:
            notices.warning("left out: %s", reason)
        return found


class _Heads(nn.Module):
    """Some heads of a model, which answer one pass of its encoder.

    Args:
        model: The model.
        tasks: Names of the tasks.
    """

    def __init__(self, model: MultiTaskModel, tasks: Sequence[str]) -> None:
        super().__init__()
        self.model, self.tasks = model, tasks

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return no loss, and the logits of each task."""
        given = (input_ids, attention_mask, token_type_ids)
        found = self.model.answer_all(*given, tasks=self.tasks)
        return None, *(found[task]["logits"] for task in self.tasks)


def open_model(
    source: str, name: str | None, options: Mapping[str, Any], args: TrainingArguments
) -> Opened:
    """Load a trained model to evaluate it or to predict with it.

    Args:
        source: A checkpoint.
        name: Of a model of several tasks, which one. Of another, what to take it for, where the
            checkpoint does not say or another task is meant.
        options: Of the task, in place of those of training.
        args: To compute with; see `computing`.

    Raises:
        ConfigError: The model has no such task, or no head for it.
    """
    config = AutoConfig.from_pretrained(source)
    several = task_configs(config)
    if several and name not in several:
        what = "which task?" if name is None else f"no task {name!r}{nearest(name, several)};"
        raise ConfigError(f"{source}: {what} It has {listing(several)}: name one by --task")
    try:
        task = task_of(several[name]) if name in several else task_of(config, name)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    task = task.with_options(dataclasses.asdict(task) | dict(options))
    if name in several:
        model = MultiTaskModel.from_pretrained(source).extract(name)
    else:
        model = task.auto.from_pretrained(source)
    return Opened(task, model, task.processor(source), args)


def open_together(source: str, args: TrainingArguments) -> OpenedTogether | None:
    """Load a trained model of several tasks, to ask all at once; None if it is of one.

    Args:
        source: A checkpoint.
        args: To compute with; see `computing`.
    """
    if not task_configs(AutoConfig.from_pretrained(source)):
        return None
    model = MultiTaskModel.from_pretrained(source)
    parts: dict[str, Opened] = {}
    for name in model.tasks:
        head = model.head(name)
        task = task_of(head.config)
        parts[name] = Opened(task, head, task.processor(source), args)
    return OpenedTogether(model, parts)


def computing(batch_size: int, *, use_cpu: bool) -> TrainingArguments:
    """Return arguments to compute with.

    Args:
        batch_size: Examples that are computed together.
        use_cpu: Leave a GPU alone.
    """
    return TrainingArguments(
        per_device_eval_batch_size=batch_size,
        report_to="none",
        disable_tqdm=True,
        use_cpu=use_cpu,
    )


def without_answers(task: Task, examples: Examples) -> Examples:
    """Return the examples as they are when nobody knows the answers."""
    answers = [column.name for column in task.columns if column.label]
    return examples.keep([name for name in examples.column_names if name not in answers])


def _alike(prepared: Mapping[str, Prepared]) -> list[list[str]]:
    """Return the tasks by what they read: those of a group have the same tokens."""
    groups: list[tuple[list[Any], list[str]]] = []
    for name, data in prepared.items():
        rows = data.dataset
        read = [rows.column(each) for each in INPUTS if each in rows.column_names]
        known = next((names for seen, names in groups if seen == read), None)
        if known is None:
            groups.append((read, [name]))
        else:
            known.append(name)
    return [names for _, names in groups]
