"""`Task`: all that training, evaluating and predicting need to know of a task."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from regard.config import Config
from regard.data.examples import Examples
from regard.data.loading import load_dataset
from regard.data.splitting import held_out_units
from regard.errors import ConfigError, DataError, listing, nearest
from regard.models.auto import AutoModel
from regard.text.families import AutoTokenizer
from regard.training.metrics.metric import Metric


@dataclass(frozen=True)
class Column:
    """A column that a task reads.

    Attributes:
        name: What the task calls it.
        known: What data sets call it; the first that is there is taken.
        label: Whether it holds the answers, which nobody has when predicting.
        optional: Whether the task does without.
    """

    name: str
    known: tuple[str, ...] = ()
    label: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Prepared:
    """Examples on their way through a trainer.

    Attributes:
        dataset: What the trainer is given, often tokenized; maybe several rows of one example.
        examples: What it was made of, with the task's columns.
    """

    dataset: Any
    examples: Any


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A task; its fields are options, which the trained model keeps in its config.json.

    A new task is a subclass in a file of its own, and a line in ``registry.TASKS``. It is used so:
    `read` and `named` give examples; `settled` and `config_for` are what the task and the model's
    configuration take from these; `prepare` makes what a trainer takes, `collator` and `metric` go
    to that trainer, and `predict` makes rows for people.

    Attributes:
        name: As users call it.
        auto: Loads a model with the head that it needs.
        columns: The columns that it reads.
        usual_length: Tokens of an example at most, where neither the user nor the model sets
            another limit.
        units: Columns that several examples share, such as the text that questions are about; those
            that share the first one which is filled in are held out together, for else what is
            learned is measured.
        max_length: Tokens of an example at most; by default what the model takes, and no more than
            `usual_length`.
    """

    name: ClassVar[str]
    auto: ClassVar[type[AutoModel]]
    columns: ClassVar[tuple[Column, ...]]
    usual_length: ClassVar[int] = 512
    units: ClassVar[tuple[str, ...]] = ()

    max_length: int | None = None

    @classmethod
    def with_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the task with these of its fields changed.

        Raises:
            ConfigError: It has no such option, and the nearest one is named; or it has one of
                another type.
        """
        known = cls.option_names()
        hints = get_type_hints(cls)
        for option, value in options.items():
            if option not in known:
                raise ConfigError(
                    f"the task {cls.name} has no option {option!r}{nearest(option, known)}; it has "
                    f"{', '.join(known)}"
                )
            kinds = tuple(get_origin(kind) or kind for kind in _kinds(hints[option]))
            fits = isinstance(value, (*kinds, int) if float in kinds else kinds)
            if not fits or (isinstance(value, bool) and bool not in kinds):
                names = " or ".join(each.__name__ for each in kinds).replace("NoneType", "none")
                raise ConfigError(f"{option} is {value!r}; it must be {names}")
        return cls(**options)

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of its options."""
        return [field.name for field in dataclasses.fields(cls)]

    def saved(self) -> dict[str, Any]:
        """Return what the trained model's config.json keeps under `models.tasks.SAVED_AS`."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def read(self, path: Any, file_format: str | None = None) -> Examples:
        """Read examples; the arguments are those of `load_dataset`."""
        return load_dataset(path, file_format)

    def named(
        self, examples: Examples, given: Mapping[str, str] | None = None, *, labelled: bool = True
    ) -> Examples:
        """Return the examples with the task's columns, under the task's names.

        Args:
            examples: As they were read.
            given: The data's name of some of the columns; the others are found by their usual
                names.
            labelled: Whether the answers must be there; else they are taken if they are.

        Raises:
            DataError: There are no examples; or a column is not there, and which there are and how
                to name it is said.
        """
        given, known = given or {}, [column.name for column in self.columns]
        for name in given:
            if name not in known:
                raise DataError(
                    f"{self.name} reads no column {name!r}{nearest(name, known)}; it reads "
                    f"{', '.join(known)}"
                )
        found: dict[str, str] = {}
        for column in self.columns:
            place = given.get(column.name) or _usual(column, examples, {*given.values()})
            if place is not None:
                found[place] = column.name
            elif not (column.optional or (column.label and not labelled)):
                raise DataError(_missing(self.name, column, examples))
        if not len(examples):
            raise DataError(f"the data holds no example of {self.name}")
        return examples.keep([*found]).rename(found)

    def relabelled(self, examples: Examples, *, all_there: bool = False) -> Examples:
        """Return the examples with labels under the names that this task has for them.

        Args:
            examples: From `named`.
            all_there: Whether the labels that are to be renamed must occur.
        """
        return examples

    def from_texts(self, texts: Sequence[str]) -> Examples:
        """Return examples of plain texts, to predict.

        Raises:
            DataError: A text alone is no example of this task.
        """
        needed = [each.name for each in self.columns if not (each.label or each.optional)]
        if needed != ["text"]:
            raise DataError(
                f"{self.name} needs {' and '.join(needed)}, so a text alone is not enough: give a "
                f"file with these columns, such as lines of JSON"
            )
        return Examples({"text": [*texts]})

    def shared_column(self, examples: Examples) -> str | None:
        """Return the first of `units` that is filled in and parts the examples, or None.

        Where none parts them it is the last, which will be told.
        """
        there = [each for each in self.units if each in examples.column_names]
        filled = [each for each in there if all(examples.column(each))]
        parting = (each for each in filled if len({*map(str, examples.column(each))}) > 1)
        return next(parting, filled[-1] if filled else None)

    def split(self, examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
        """Return two parts, drawn at random: to train on, and `fraction` of it to evaluate on.

        Each label is as frequent in both; examples that share one of their `units` are in the same.
        """
        unit = self.shared_column(examples)
        if unit is None:
            groups = next((column.name for column in self.columns if column.label), None)
            plain = groups is not None and all(
                isinstance(each, str | int) for each in examples.column(groups)
            )
            return examples.split(fraction, seed, stratify=groups if plain else None)
        units = [str(each) for each in examples.column(unit)]
        chosen = held_out_units(units, fraction, seed)
        second = [number for number, unit in enumerate(units) if unit in chosen]
        first = [number for number, unit in enumerate(units) if unit not in chosen]
        return examples.select(first), examples.select(second)

    def settled(self, examples: Examples) -> Self:
        """Return the task with the options that follow from the training data."""
        return self

    def config_for(self, examples: Examples, config: Config) -> dict[str, Any]:
        """Return the fields of the configuration that follow from the training data."""
        return {}

    def processor(self, source: str | Path, **options: Any) -> Any:
        """Load the tokenizer, or what else makes tensors, of a checkpoint.

        One that knows no padding (of a GPT-2, or a Llama) pads with the end of a text: the mask
        hides it, whatever it is.
        """
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        if tokenizer.pad_token is None and tokenizer.eos_token is not None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @abstractmethod
    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return the examples as a trainer takes them.

        Args:
            examples: From `named`, with or without answers.
            processor: The tokenizer, or what else `processor` loads.
            config: The model's.

        Raises:
            DataError: A label that the model does not have, or a value that cannot be read; names
                file and line.
        """

    @abstractmethod
    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what makes a batch of prepared examples."""

    @abstractmethod
    def metric(self, config: Config, data: Prepared) -> Metric:
        """Return what measures predictions of `data`."""

    def best(self, config: Config) -> str:
        """Return the metric by which checkpoints are compared."""
        return "loss"

    def evaluate(self, trainer: Any, data: Prepared) -> dict[str, float]:
        """Return loss and metrics of `data`, each name beginning with ``eval_``."""
        return trainer.evaluate(data.dataset)

    def predict(self, trainer: Any, data: Prepared) -> list[dict[str, Any]]:
        """Return what the model says, a row for each example.

        Args:
            trainer: Without metrics, which keep but a part of what a model says.
            data: From `prepare`.
        """
        found = trainer.predict(data.dataset)
        return self.decode(found.predictions, data, trainer.model.config)

    def decode(self, predictions: Any, data: Prepared, config: Config) -> list[dict[str, Any]]:
        """Return a row for each example, from the arrays that `Trainer.predict` gives.

        Raises:
            ConfigError: What the task teaches is no answer to anything.
        """
        raise self.no_answers()

    def no_answers(self) -> ConfigError:
        """Return the error of a task that teaches no answer to anything."""
        return ConfigError(f"{self.name} makes no predictions; its models are evaluated, or tuned")

    def length(self, processor: Any, config: Config) -> int:
        """Return how many tokens a row may have."""
        positions = vars(config).get("max_position_embeddings") or self.usual_length
        most = min(processor.model_max_length, positions, self.usual_length)
        return int(most) if self.max_length is None else self.max_length


def label_fields(labels: Sequence[str], config: Config) -> dict[str, Any]:
    """Return the fields that name the labels, in a configuration for training.

    A model that has all of them already keeps its own, in its own order: so one that was trained
    goes on, and one that tells three classes apart may be shown two.

    Raises:
        DataError: There is one label only, and so nothing to learn.
    """
    if len(labels) < 2:
        raise DataError(f"the only label is {listing(labels) or 'none'}; wanted two or more")
    if set(labels) <= set(config.label2id or {}):
        return {}
    return {"id2label": dict(enumerate(labels))}


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows."""
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _usual(column: Column, examples: Examples, taken: set[str]) -> str | None:
    """Return the data's name of a column, where it is a usual one and stands for no other."""
    there = {name.lower(): name for name in examples.column_names if name not in taken}
    return next((there[name] for name in (column.name, *column.known) if name in there), None)


def _missing(task: str, column: Column, examples: Examples) -> str:
    files = listing(filter(None, examples.origin.files), 2) or "the data"
    what = "answers" if column.label else "input"
    return (
        f"{files}: no column {column.name!r}, the {what} of {task}; the columns are "
        f"{listing(examples.column_names) or 'none'}. Say which it is: --columns "
        f"{column.name}=NAME, or columns in a file of settings"
    )
