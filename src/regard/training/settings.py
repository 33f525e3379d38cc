"""What a run is told, by a file and by options: names sorted by who understands them."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from regard.errors import ConfigError, listing, nearest
from regard.training.arguments import TrainingArguments
from regard.training.mappings import read_mapping
from regard.training.names import ALIASES, NO_EFFECT, TRANSLATED
from regard.training.tasks.registry import task_class
from regard.training.tasks.task import Task

#: Short names of the commonest training arguments.
SHORT: Mapping[str, str] = {
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "output": "output_dir",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


#: What the task of a run is called that has no others beside it.
ALONE = ""


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What a run is told of one task.

    Attributes:
        task: What to train for.
        data: A file, or a folder; see `find_splits`. Or several: corpora to learn from together.
        validation: A file to evaluate on, where `data` has none.
        validation_split: The share of the training data to hold out in its place; 0 for none.
        data_format: How to read the data, where names do not tell.
        columns: The task's names of columns, and what the data calls them.
        options: Of the task.
    """

    task: type[Task]
    data: str | Sequence[str]
    validation: str | None = None
    validation_split: float | None = None
    data_format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def places(self) -> list[str]:
        """The files or folders of the data."""
        return [self.data] if isinstance(self.data, str) else [*self.data]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name, without those that say nothing."""
        own = {name: getattr(self, name) for name in _OF_A_TASK}
        named = {"task": self.task.name, "columns": dict(self.columns)}
        return _said({**own, **named, **self.options})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is told.

    Attributes:
        tasks: Name to what is told of the task; the only one of most runs is called `ALONE`.
        model: The checkpoint to begin with; None is the embedded one.
        from_config: A config.json: train a model of that shape from random weights.
        tokenizer: The checkpoint with the tokenizer, for `from_config`.
        arguments: Of `TrainingArguments`.
    """

    tasks: Mapping[str, TaskSettings]
    model: str | None = None
    from_config: str | None = None
    tokenizer: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as `read_settings` takes them."""
        tasks = {name: each.to_dict() for name, each in self.tasks.items()}
        told = tasks.get(ALONE, {"tasks": tasks})
        own = {name: getattr(self, name) for name in _OF_A_RUN}
        return _said({**told, **own, **self.arguments})

    def to_json_string(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"


_OF_A_TASK = [each.name for each in dataclasses.fields(TaskSettings)][:-1]
_OF_A_RUN = [each.name for each in dataclasses.fields(Settings)][1:-1]
_ARGUMENTS = [each.name for each in dataclasses.fields(TrainingArguments)]


def read_settings(given: Mapping[str, Any], file: str | Path | None = None) -> Settings:
    """Return the settings of a file and of options, which count more.

    ``tasks`` maps names to what is told of each; what stands beside it of a task's settings holds
    for every task that does not say otherwise. So a run of one task is one of a task that says
    nothing itself.

    Args:
        given: Options by name, those of the run, of `TrainingArguments` and of the task alike; None
            is not given.
        file: JSON or YAML with the same names.

    Raises:
        ConfigError: A name that nothing knows: says where it stands and names the nearest one; or
            no task, or no data.
    """
    values = {} if file is None else _plain(read_mapping(Path(file)))
    places = {name: "" if file is None else _place(Path(file), name) for name in values}
    values |= _plain({name: value for name, value in given.items() if value is not None})
    start = places.get("tasks", "")
    told: dict[str, dict[str, Any]] = {ALONE: {}}
    if "tasks" in values:
        told = _told(values.pop("tasks"), start)
    kinds = {name: _kind(name, {**values, **each}, start) for name, each in told.items()}
    parts: dict[str, Any] = {"run": {}, "task": {}, "arguments": {}}
    for name, value in values.items():
        where = "" if name in given or name not in places else places[name]
        parts[_owner(name, [*kinds.values()], where)][name] = value
    for name in parts["task"]:
        if all(name in own for own in told.values()):
            raise ConfigError(
                f"{start}{name} is given for all tasks, and each of {listing(told)} says its own; "
                "change it there"
            )
    tasks = {name: _of_task(name, kinds[name], parts["task"], told[name], start) for name in told}
    if not values.get("output_dir"):
        raise ConfigError("no output is given: --output OUT")
    return Settings(tasks=tasks, **parts["run"], arguments=parts["arguments"])


def of_task(name: str) -> str:
    """Return how a message about a task begins: with its name, if it has one."""
    return "" if name == ALONE else f"task {name!r}: "


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {})}


def _told(tasks: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return what is told of each task, under long names."""
    named: Mapping[Any, Any] = {}
    if isinstance(tasks, Mapping):
        named = cast("Mapping[Any, Any]", tasks)
    if not (named and all(named) and all(isinstance(each, Mapping) for each in named.values())):
        raise ConfigError(f"{where}tasks is {tasks!r}; wanted NAME: {{task: ..., data: ...}} each")
    return {str(name): _plain(each) for name, each in named.items()}


def _kind(name: str, values: Mapping[str, Any], where: str) -> type[Task]:
    for setting, example in (("task", "text-classification"), ("data", "FOLDER")):
        if not values.get(setting):
            beside = "" if name == ALONE else f", or {setting}: {example} in its settings"
            start = "" if name == ALONE else where
            raise ConfigError(
                f"{start}{of_task(name)}no {setting} is given: --{setting} {example}{beside}"
            )
    try:
        return task_class(str(values["task"]))
    except ConfigError as error:
        raise ConfigError(f"{where}{of_task(name)}{error}") from error


def _of_task(
    name: str, kind: type[Task], common: Mapping[str, Any], own: Mapping[str, Any], where: str
) -> TaskSettings:
    """Return the settings of a task: its own, and of those for all what it understands."""
    known = [*_OF_A_TASK, *kind.option_names()]
    for setting in own:
        if setting not in known:
            elsewhere = setting in (*_OF_A_RUN, *_ARGUMENTS, *ALIASES, *TRANSLATED, *NO_EFFECT)
            what = (
                f"{setting} is said once, for all tasks"
                if elsewhere
                else f"no setting is called {setting!r}{nearest(setting, known)}; those of "
                f"{kind.name} are {', '.join(known)}"
            )
            raise ConfigError(f"{where}{of_task(name)}{what}")
    values = {setting: each for setting, each in common.items() if setting in known}
    values |= {**own, "task": kind}
    columns: Any = values.get("columns", {})
    if not isinstance(columns, Mapping):
        raise ConfigError(f"{of_task(name)}columns is {columns!r}; wanted NAME=COLUMN for each")
    data: object = values["data"]
    places = cast("list[object]", data if isinstance(data, list) else [data])
    if not all(isinstance(each, str) for each in places):
        raise ConfigError(f"{of_task(name)}data is {data!r}; wanted a file or folder, or a list")
    options = {each: values.pop(each) for each in kind.option_names() if each in values}
    return TaskSettings(**values, options=options)


def named_values(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """Return ``name=value`` texts as a mapping, numbers as numbers; see `named_texts`."""
    return {name: _value(text) for name, text in named_texts(pairs, option).items()}


def named_texts(pairs: Sequence[str], option: str) -> dict[str, str]:
    """Return ``name=value`` texts as a mapping.

    Raises:
        ConfigError: A text is of another form.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ConfigError(f"{option} {pair!r}: wanted NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under their long names; numbers that YAML takes for texts are numbers."""
    long: dict[str, Any] = {}
    for name, value in values.items():
        plain = str(name).replace("-", "_")
        plain = SHORT.get(plain, plain)
        if plain in long:
            raise ConfigError(f"{plain} is given twice, as {name!r} and under another name")
        long[plain] = value
    texts = {*_OF_A_TASK, *_OF_A_RUN, "output_dir"}
    return {name: value if name in texts else _value(value) for name, value in long.items()}


def _value(value: Any) -> Any:
    """Return what a text says: a number, true or false, a list, or itself."""
    if not isinstance(value, str):
        return value
    if _NUMBER.fullmatch(value):
        return float(value) if re.search(r"[.eE]", value) else int(value)
    if value.lower() in ("true", "false", "null", "none"):
        return {"true": True, "false": False}.get(value.lower())
    if value.startswith("[") and value.endswith("]"):
        return [_value(part.strip()) for part in value[1:-1].split(",") if part.strip()]
    return value


def _owner(name: str, kinds: Sequence[type[Task]], where: str) -> str:
    """Return who understands a name."""
    options = list(dict.fromkeys(name for kind in kinds for name in kind.option_names()))
    if name in _OF_A_RUN:
        return "run"
    if name in (*_OF_A_TASK, *options):
        return "task"
    if name in (*_ARGUMENTS, *ALIASES, *TRANSLATED, *NO_EFFECT):
        return "arguments"
    known = [*_OF_A_RUN, *_OF_A_TASK, *SHORT, *options, *_ARGUMENTS, *ALIASES]
    raise ConfigError(
        f"{where}no setting is called {name!r}{nearest(name, known)}; settings are those of the "
        f"command, of TrainingArguments, and of {listing(kind.name for kind in kinds)}: "
        f"{', '.join(options)}"
    )


def _place(file: Path, name: str) -> str:
    """Return where a setting stands, to begin a message."""
    pattern = re.compile(
        rf"^\s*[\"']?{re.escape(name).replace('_', '[_-]')}[\"']?\s*:", re.MULTILINE
    )
    text = file.read_text("utf-8")
    found = pattern.search(text)
    if found is None:
        return f"{file}: "
    return f"{file}, line {text.count(chr(10), 0, found.end()) + 1}: "
