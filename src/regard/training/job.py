"""A training run from its settings to a trained model in a folder: what ``regard train`` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from regard.checkpoints.embedded import EMBEDDED
from regard.checkpoints.write import write_text
from regard.config import Config
from regard.data.examples import Examples
from regard.errors import ConfigError, notices
from regard.models.auto import AutoConfig, read_config
from regard.models.model import PreTrainedModel
from regard.models.multitask import MultiTaskModel, task_configs
from regard.models.tasks import SAVED_AS
from regard.training import resume
from regard.training.arguments import TrainingArguments
from regard.training.mappings import read_mapping
from regard.training.multitask import MultiTaskTrainer
from regard.training.names import ALIASES
from regard.training.settings import ALONE, Settings, TaskSettings, of_task
from regard.training.splits import Splits, Where, find_splits
from regard.training.tasks.task import Prepared, Task
from regard.training.trainer import Trainer

#: The settings of a run, in its folder; ``regard train --config`` repeats it.
SETTINGS_FILE = "settings.json"
#: The model to begin with where none is given.
USUAL_MODEL = next(iter(EMBEDDED))
#: The share of the training data that is held out where nothing else is there to evaluate on.
HELD_OUT = 0.1


class Data(NamedTuple):
    """The examples of a run.

    Attributes:
        known: Those that say which labels there are: all of the training file, so that a label
            which by chance is only among those held out is no surprise.
        training: Those to train on.
        validation: Those to evaluate on, if any.
    """

    known: Examples
    training: Examples
    validation: Examples | None


@dataclass(frozen=True)
class Part:
    """A task of a run.

    Attributes:
        task: The task, with what it learned from the data.
        processor: Its tokenizer, or what else makes tensors.
        config: Of the head that answers it.
        training: What is trained on.
        validation: What is evaluated on, if anything.
    """

    task: Task
    processor: Any
    config: Config
    training: Prepared
    validation: Prepared | None


@dataclass(frozen=True)
class Run:
    """A run that can begin.

    Attributes:
        settings: What was asked for.
        parts: Name to task; the only one of most runs is called `ALONE`.
        trainer: With model, data and arguments.
    """

    settings: Settings
    parts: Mapping[str, Part]
    trainer: Trainer

    def train(self, resume_from_checkpoint: str | bool | None = None) -> dict[str, float]:
        """Train, save the model into ``output_dir``, and return the metrics of evaluation."""
        trainer, output = self.trainer, Path(self.trainer.args.output_dir)
        if trainer.is_world_process_zero():
            write_text(output / SETTINGS_FILE, self.settings.to_json_string())
        trainer.train(resume_from_checkpoint)
        trainer.save_model()
        if ALONE not in self.parts:
            return trainer.evaluate() if trainer.eval_dataset else {}
        part = self.parts[ALONE]
        return {} if part.validation is None else part.task.evaluate(trainer, part.validation)


def open_run(settings: Settings) -> Run:
    """Read the data, load the model and put both into a trainer.

    Several tasks are a `MultiTaskModel`, whose heads go on where the checkpoint has such tasks;
    `regard predict` and `regard evaluate` know it, and `MultiTaskModel.extract` gives a model of
    one of them.

    Raises:
        ConfigError: A setting is wrong, or no setting of this model or task; names the task.
        DataError: The data does not fit the task; names file and line.
        CheckpointError: The model cannot be loaded.
    """
    base, seed = _config(settings), _seed(settings)
    begun = {name: _begin(name, told, base, seed) for name, told in settings.tasks.items()}
    evaluated = any(each.data.validation is not None for each in begun.values())
    args = arguments_for(settings, _best(begun), evaluated=evaluated)
    # New heads draw their weights now.
    resume.seed_everything(args)
    model = _model(settings, base, begun)
    parts: dict[str, Part] = {}
    for name, (task, data, _, _) in begun.items():
        processor = task.processor(_processor_source(settings))
        config = model.head(name).config if isinstance(model, MultiTaskModel) else model.config
        training = task.prepare(data.training, processor, config)
        held = data.validation
        validation = None if held is None else task.prepare(held, processor, config)
        parts[name] = Part(task, processor, config, training, validation)
    return Run(settings, parts, _trainer(model, args, parts))


def make_trainer(
    task: Task,
    model: Any,
    processor: Any,
    args: TrainingArguments,
    judged: Prepared | None,
    training: Any = None,
) -> Trainer:
    """Return a trainer for a task.

    Args:
        task: The task.
        model: The model.
        processor: Its tokenizer, or what else makes tensors.
        args: The arguments.
        judged: What it evaluates on; it then keeps of its predictions what the metric needs.
        training: What it trains on.
    """
    metric = None if judged is None else task.metric(model.config, judged)
    return Trainer(
        model,
        args,
        data_collator=task.collator(processor),
        train_dataset=training,
        eval_dataset=None if judged is None else judged.dataset,
        processing_class=processor,
        compute_metrics=metric,
        preprocess_logits_for_metrics=None if metric is None else metric.preprocess,
    )


def read_data(task: Task, told: TaskSettings, seed: int) -> Data:
    """Read what to train on and what to evaluate on, with the task's columns.

    Args:
        task: The task, with its options.
        told: Where the data is; of several places each holds out its own share, or has validation
            data.
        seed: Draws what is held out.
    """
    splits = {place: find_splits(place) for place in told.places}
    given = told.validation or next((p for p, each in splits.items() if each.validation), None)
    divided = told.validation is None and not all(each.validation for each in splits.values())
    if given and told.validation_split and not divided:
        raise ConfigError(
            f"validation_split={told.validation_split:g} would hold out training examples, and "
            f"there is validation data: {given}; leave one of them out"
        )
    parts = [_read_place(task, told, place, each, seed) for place, each in splits.items()]
    judged = [part.validation for part in parts if part.validation is not None]
    if told.validation is not None:
        judged = [_read(task, told, find_splits(told.validation).training)]
    return Data(
        task.relabelled(_joined([part.known for part in parts]), all_there=True),
        task.relabelled(_joined([part.training for part in parts])),
        task.relabelled(_joined(judged)) if judged else None,
    )


def _joined(parts: Sequence[Examples]) -> Examples:
    if len(parts) == 1:
        return parts[0]
    if not all(isinstance(part, Examples) for part in cast("Sequence[object]", parts)):
        raise ConfigError("a stream reads one file or folder: put the data into one")
    return parts[0].joined(*parts[1:])


def _read_place(task: Task, told: TaskSettings, place: str, splits: Splits, seed: int) -> Data:
    """Return the examples of one corpus; where it has no validation data a share is held out."""
    known, share = _read(task, told, splits.training), told.validation_split
    if told.validation is not None or (splits.validation is None and share == 0):
        return Data(known, known, None)
    if splits.validation is not None:
        return Data(known, known, _read(task, told, splits.validation))
    if share is None:
        share = HELD_OUT
        notices.warning(
            "%s: no validation data: %g %% of the examples are held out; validation_split says how "
            "many, 0 for none",
            place,
            100 * share,
        )
    return Data(known, *task.split(known, share, seed))


def _read(task: Task, told: TaskSettings, where: Where) -> Examples:
    return task.named(task.read(where, told.data_format), told.columns)


def held_out(task: Task, settings: Settings, name: str) -> Examples | None:
    """Return what a run evaluates a task on, if anything: what it held out, or was given."""
    return read_data(task, settings.tasks[name], _seed(settings)).validation


def arguments_for(settings: Settings, best: str, *, evaluated: bool) -> TrainingArguments:
    """Return the training arguments: what was asked for, and what most people want besides.

    That is: texts of similar length together, an evaluation and a checkpoint after each pass, and
    in the end the best of these by the metric `best`.
    """
    given = {ALIASES.get(name, name): value for name, value in settings.arguments.items()}
    usual: dict[str, Any] = {"logging_steps": 0.05, "warmup_ratio": 0.1, "save_total_limit": 1}
    if "per_device_train_tokens" not in given:
        usual["per_device_train_batch_size"] = 32
        if "group_by_length" not in given:
            usual["train_sampling_strategy"] = "group_by_length"
    usual["per_device_eval_batch_size"] = 64
    when = given.get("eval_strategy", "epoch" if evaluated else "no")
    usual |= {"eval_strategy": when, "save_strategy": "epoch" if when == "no" else when}
    if "eval_steps" in given:
        usual["save_steps"] = given["eval_steps"]
    if when != "no" and given.get("save_strategy", when) in (when, "best"):
        usual |= {"load_best_model_at_end": True, "metric_for_best_model": best}
    if "warmup_steps" in given:
        del usual["warmup_ratio"]
    try:
        return TrainingArguments(**usual | given)
    except TypeError as error:
        raise ConfigError(str(error)) from error


class Begun(NamedTuple):
    """A task whose data was read.

    Attributes:
        task: The task, with what it learned from the data.
        data: Its examples.
        fields: Of the configuration, that follow from the data.
        config: Of the model to begin with.
    """

    task: Task
    data: Data
    fields: Mapping[str, Any]
    config: Config


def _begin(name: str, told: TaskSettings, base: Config, seed: int) -> Begun:
    """Read the data of a task; its head keeps what the model to begin with has of it."""
    config = task_configs(base).get(name, base)
    try:
        task = told.task.with_options(told.options)
        data = read_data(task, told, seed)
        task = task.settled(data.known)
        return Begun(task, data, task.config_for(data.known, config), config)
    except ConfigError as error:
        raise ConfigError(f"{of_task(name)}{error}") from error


def _best(begun: Mapping[str, Begun]) -> str:
    """Return the metric by which checkpoints are compared: of several tasks the mean of theirs."""
    found = [each.task.best(each.config.replace(**each.fields)) for each in begun.values()]
    return found[0] if ALONE in begun else "loss" if "loss" in found else "mean"


def _model(settings: Settings, base: Config, begun: Mapping[str, Begun]) -> PreTrainedModel:
    """Return the model to train, with a head for the task or one for each."""
    source, random = settings.model or USUAL_MODEL, settings.from_config is not None
    if ALONE in begun:
        task, fields = begun[ALONE].task, begun[ALONE].fields
        if random:
            model = task.auto.from_config(base.replace(**fields))
        else:
            model = task.auto.from_pretrained(source, **fields)
        model.config.extra[SAVED_AS] = task.saved()
        model.config.extra.pop("tasks", None)  # of a checkpoint of several, whose heads are gone
        return model
    heads = {name: _head(each) for name, each in begun.items()}
    if random:
        return MultiTaskModel.from_config(base, heads)
    return MultiTaskModel.from_pretrained(source, tasks=heads)


def _head(begun: Begun) -> dict[str, Any]:
    """Return what a head is told: the labels that it has had too, where the task keeps them."""
    task, fields = begun.task, begun.fields
    kept = "id2label" not in fields and "num_labels" not in fields
    labels = {"id2label": begun.config.id2label} if kept else {}
    return {"head": task.auto.head, **labels, **fields, "extra": {SAVED_AS: task.saved()}}


def _trainer(model: Any, args: TrainingArguments, parts: Mapping[str, Part]) -> Trainer:
    if ALONE in parts:
        part = parts[ALONE]
        given = (part.validation, part.training.dataset)
        return make_trainer(part.task, model, part.processor, args, *given)
    judged = {name: part for name, part in parts.items() if part.validation is not None}
    best = {name: part.task.best(part.config) for name, part in judged.items()}
    return MultiTaskTrainer(
        model,
        args,
        data_collator={name: part.task.collator(part.processor) for name, part in parts.items()},
        train_dataset={name: part.training.dataset for name, part in parts.items()},
        eval_dataset={name: cast("Prepared", p.validation).dataset for name, p in judged.items()},
        compute_metrics={
            name: part.task.metric(part.config, cast("Prepared", part.validation))
            for name, part in judged.items()
        },
        main_metrics={name: metric for name, metric in best.items() if metric != "loss"},
        processing_class=next(iter(parts.values())).processor,
    )


def _seed(settings: Settings) -> int:
    return TrainingArguments(seed=settings.arguments.get("seed")).seed


def _config(settings: Settings) -> Config:
    """Return the configuration of the model to begin with."""
    if settings.from_config is None:
        return AutoConfig.from_pretrained(settings.model or USUAL_MODEL)
    if settings.model is not None:
        raise ConfigError(
            "model and from_config are both given: one begins with trained weights, the other with "
            "random ones"
        )
    return read_config(read_mapping(Path(settings.from_config)), settings.from_config)


def _processor_source(settings: Settings) -> str:
    """Return where the tokenizer is: with the model, or beside the configuration."""
    if settings.tokenizer is not None:
        return settings.tokenizer
    if settings.from_config is not None:
        return str(Path(settings.from_config).parent)
    return settings.model or USUAL_MODEL
