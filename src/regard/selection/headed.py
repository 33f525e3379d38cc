"""Candidates with a head: those that were trained for the task, and those that now are."""

import dataclasses
import tempfile
from typing import Any, ClassVar

import torch

from regard.config import Config
from regard.data.examples import Examples
from regard.errors import ConfigError
from regard.models.auto import AutoConfig
from regard.models.generative import Generative
from regard.models.multitask import task_configs
from regard.models.tasks import saved_task
from regard.selection.subject import Score, Subject, Terms, batch
from regard.selection.tasks import main_metric
from regard.training.arguments import TrainingArguments
from regard.training.job import make_trainer
from regard.training.resume import seed_everything
from regard.training.tasks.registry import has_head
from regard.training.tasks.task import Task
from regard.training.tasks.text_classification import SEVERAL
from regard.training.tasks.text_to_text import TextToText
from regard.training.trained import Opened, computing, open_model, without_answers

#: Examples of a forward while scores are computed.
TOGETHER = 32


class Trained(Subject):
    """A model that was trained for the task, as it is.

    Args:
        opened: The model and its task.
    """

    ready: ClassVar[bool] = True

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.model, self.processor = opened.model.eval(), opened.processor

    @property
    def method(self) -> str:
        """Say that nothing was learned."""
        return "as trained"

    def answer(self, examples: Examples) -> None:
        """Read and answer examples together; a text for a text is written to its end."""
        task, model, processor = self.opened.task, self.model, self.processor
        data = task.prepare(without_answers(task, examples), processor, model.config)
        inputs = batch(task, data, processor, model)
        with torch.inference_mode():
            if isinstance(task, TextToText) and isinstance(model, Generative):
                given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
                model.generate(**given, **task.writing(processor))
            else:
                model(**inputs)

    def score(self, terms: Terms) -> Score:
        """Return the metric of all examples, for none of them is learned from."""
        return self.found(self.opened.evaluate(terms.examples))

    def found(self, metrics: dict[str, float]) -> Score:
        """Return the score that is among metrics."""
        metric = main_metric(self.opened.task, self.model.config)
        return Score(metric, metrics[f"eval_{metric}"])


class Tuned(Trained):
    """A model that is trained now, for a few steps, on all folds but the first.

    Args:
        name: The checkpoint.
        terms: The task, its examples, and how to train.
    """

    ready = False

    def __init__(self, name: str, terms: Terms) -> None:
        args = computing(TOGETHER, use_cpu=True)
        seed_everything(dataclasses.replace(args, seed=terms.seed))  # a new head draws its weights
        task = terms.task
        fields = task.config_for(terms.examples, AutoConfig.from_pretrained(name))
        model = task.auto.from_pretrained(name, **fields)
        super().__init__(Opened(task, model, task.processor(name), args))
        self.steps = terms.steps

    @property
    def method(self) -> str:
        """Say how long it was trained."""
        return f"{self.steps} steps"

    def score(self, terms: Terms) -> Score:
        """Train, and return the metric of the first fold."""
        opened, examples = self.opened, terms.examples
        numbers = [*enumerate(terms.folds)]
        held = opened.prepare(examples.select(n for n, fold in numbers if fold == 0))
        known = opened.prepare(examples.select(n for n, fold in numbers if fold != 0))
        with tempfile.TemporaryDirectory() as folder:
            args = tuning(terms, folder)
            given = (opened.task, self.model, self.processor, args)
            trainer = make_trainer(*given, held, known.dataset)
            trainer.train()
            return self.found(opened.task.evaluate(trainer, held))


def tuning(terms: Terms, folder: str) -> TrainingArguments:
    """Return the arguments of a short training, which are those of ``regard train`` but for length.

    Raises:
        ConfigError: There is no such argument, or it has a wrong value.
    """
    usual: dict[str, Any] = {
        "per_device_train_batch_size": 32,
        "per_device_eval_batch_size": TOGETHER,
        "warmup_ratio": 0.1,
        "train_sampling_strategy": "group_by_length",
        "seed": terms.seed,
    }
    fixed: dict[str, Any] = {
        "output_dir": folder,
        "max_steps": terms.steps,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    try:
        return TrainingArguments(**usual | {**terms.arguments} | fixed)
    except TypeError as error:
        raise ConfigError(str(error)) from error


def find_trained(name: str, terms: Terms) -> Trained | None:
    """Return a candidate that was trained for the task and knows all labels, if it is one."""
    config, task = AutoConfig.from_pretrained(name), terms.task
    args = computing(TOGETHER, use_cpu=True)
    several = task_configs(config)
    for head, told in several.items():
        if saved_task(told).get("name") == task.name and _knows(told, terms):
            return Trained(open_model(name, head, {}, args))
    if several or not has_head(config, type(task)) or not _knows(config, terms):
        return None
    opened = Opened(
        _as_trained(task, config), task.auto.from_pretrained(name), task.processor(name), args
    )
    return Trained(opened)


def _as_trained(task: Task, config: Config) -> Task:
    """Return the task with the options of the model's training, where none are asked for."""
    told = saved_task(config)
    if told.pop("name", None) != task.name or task != type(task)():
        return task
    return task.with_options(told)


def _knows(config: Config, terms: Terms) -> bool:
    """Whether a head answers in the labels of the data."""
    fields = terms.task.config_for(terms.examples, config)
    if "id2label" in fields or fields.get("num_labels", config.num_labels) != config.num_labels:
        return False
    return (fields.get("problem_type") == SEVERAL) == (config.problem_type == SEVERAL)
