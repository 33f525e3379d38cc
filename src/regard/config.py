"""`Config`: the typed description of a model, and its config.json."""

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, cast, dataclass_transform

from regard.checkpoints.files import find_checkpoint, source_options
from regard.checkpoints.write import write_text
from regard.errors import ConfigError, listing, nearest, notices
from regard.limits import LIMITS

CONFIG_FILE = "config.json"

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

#: What `dtype` may be; the number formats that a model can be kept in.
DTYPES = ("float32", "bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2")


@dataclass_transform(kw_only_default=True)
@dataclasses.dataclass(init=False, repr=False, eq=False)
class Config:
    """Base of every configuration: typed fields, checked values, config.json both ways.

    A subclass lists its fields as annotations with defaults; it becomes a dataclass by itself and
    takes its fields as keyword arguments. ``num_labels`` is an argument and a property that stands
    for ``id2label``. Keys of a config.json that no field knows stay in `extra` and are written.

    Raises:
        TypeError: An argument that is no field; the message names the nearest one.
        ConfigError: A value of the wrong type or size, or a switch that is not implemented.
    """

    model_type: ClassVar[str] = ""
    #: Other spellings of a field: name on disk -> field. Written back as on disk.
    aliases: ClassVar[Mapping[str, str]] = {}
    #: Architecture switches of which we build one setting only: name -> that setting.
    only: ClassVar[Mapping[str, Any]] = {}

    #: Words that a field takes, or a list of them holds, or an object has as keys.
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    #: Fields of the family that config.json leaves out while they have their defaults.
    unsaid: ClassVar[tuple[str, ...]] = ()
    #: How many labels a head has while nothing says so.
    usual_labels: ClassVar[int] = 2

    architectures: list[str] | None = None
    dtype: str | None = None
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    problem_type: str | None = None
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    use_cache: bool = True
    output_attentions: bool = False
    output_hidden_states: bool = False

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, **values: Any) -> None:
        self.extra: dict[str, Any] = {}
        num_labels = values.pop("num_labels", None)
        given: dict[str, Any] = {}
        for name, value in values.items():
            field = self._field_of(name)
            if field in given and given[field] != value:
                raise ConfigError(f"{field} is given twice: {given[field]!r} and {value!r}")
            given[field] = value
        known = {field.name: field for field in _fields(type(self))}
        floats = {n for n, hint in _annotations(type(self)).items() if float in _kinds(hint)}
        for name, field in known.items():
            value = given.pop(name) if name in given else _default(field)
            setattr(self, name, _as_float(value) if name in floats else value)
        for name in [*given]:
            if name in self.only:
                self.extra[name] = given.pop(name)
        if given:
            unknown = next(iter(given))
            raise TypeError(
                f"{type(self).__name__} has no field {unknown!r}"
                f"{nearest(unknown, self.argument_names())}"
            )
        # Also takes torch.float16 and "torch.float16"; "auto" asks for what None does.
        dtype = None if self.dtype is None else str(self.dtype).removeprefix("torch.")
        self.dtype = None if dtype == "auto" else dtype
        self._drop_minus_ones()
        self._set_labels(num_labels)
        self.check()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the content of a config.json; unknown keys go to `extra`."""
        known = {*_annotations(cls), *cls._own_parameters(), "num_labels", *cls.only}
        values = {name: value for name, value in values.items() if name != "model_type"}
        arguments = {name: v for name, v in values.items() if cls._field_of(name) in known}
        if "id2label" in arguments:
            arguments.pop("num_labels", None)  # old files hold both; the names are the truth
        config = cls(**arguments)
        # What the constructor of a subclass works out for itself is no unknown key.
        known = {*arguments, *vars(config)}
        config.extra |= {name: v for name, v in values.items() if name not in known}
        return config

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Self:
        """Read config.json of a folder, an embedded package or the Hub.

        `options` are those of `regard.checkpoints.files.find_checkpoint`; any other is a field that
        replaces the file's value.
        """
        source = source_options(options)
        changes = {key: value for key, value in options.items() if key not in source}
        folder = find_checkpoint(name, **source)
        values = folder.read_json(CONFIG_FILE)
        found = values.get("model_type", cls.model_type)
        if found != cls.model_type:
            raise ConfigError(
                f"{name}: config.json describes a {found!r} model; "
                f"{cls.__name__} reads {cls.model_type!r}"
            )
        try:
            config = cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{folder.path(CONFIG_FILE)}: {error}") from error
        return config.replace(**changes) if changes else config

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one."""
        if changes.get("num_labels") == self.num_labels:
            changes = {name: v for name, v in changes.items() if name != "num_labels"}
        known = {*_annotations(type(self)), *self._own_parameters()} - {"num_labels"}
        values = {name: value for name, value in vars(self).items() if name in known}
        if changes.keys() & {"num_labels", "id2label", "label2id"}:
            values["id2label"] = values["label2id"] = None
        copy = type(self)(**values | {self._field_of(k): v for k, v in changes.items()})
        copy.extra = self.extra | copy.extra
        for name in vars(self).keys() - vars(copy).keys():  # set by hand
            setattr(copy, name, getattr(self, name))
        return copy

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json into `folder`, which is made if missing."""
        write_text(Path(folder) / CONFIG_FILE, self.to_json_string())

    def to_json_string(self) -> str:
        """Return the text of config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return what config.json holds: the family's fields, common ones if not the default."""
        on_disk = {field: name for name, field in self.aliases.items()}
        common = {field.name: _default(field) for field in _fields(Config)}
        usual = {field.name: _default(field) for field in _fields(type(self))}
        values: dict[str, Any] = {"model_type": self.model_type, **self.extra}
        for name, value in vars(self).items():
            # Left out is what no reader misses; a default that the family changed stays.
            plain = name in usual and value == usual[name] == common.get(name, value)
            plain = plain and (name in common or name in self.unsaid)
            unset = value is None and usual.get(name, value) is None
            if name != "extra" and not plain and not unset:
                values[on_disk.get(name, name)] = value
        if self.id2label == _generic_labels(2) and self.usual_labels == 2:
            del values["id2label"], values["label2id"]
        return values

    @property
    def num_labels(self) -> int:
        """How many labels a classification head has; setting it names them LABEL_0, LABEL_1, ..."""
        return len(self.id2label or {})

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        self.id2label, self.label2id = None, None
        self._set_labels(count)

    def check(self) -> None:
        """Raise `ConfigError` for a value that cannot be built; subclasses add their own rules."""
        for name, annotation in _annotations(type(self)).items():
            check_value(name, getattr(self, name), annotation, self._called_on_disk(name))
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise ConfigError(
                f"problem_type is {self.problem_type!r}; known: {', '.join(PROBLEM_TYPES)}"
            )
        if self.dtype not in (None, *DTYPES):
            raise ConfigError(
                f"dtype is {self.dtype!r}{nearest(str(self.dtype), DTYPES)}; "
                f"known: {', '.join(DTYPES)}"
            )
        vocabulary: int | None = getattr(self, "vocab_size", None)
        pad = self.pad_token_id
        if pad is not None and vocabulary is not None and pad >= vocabulary:
            raise ConfigError(f"pad_token_id is {pad}, outside the vocabulary of {vocabulary}")
        for name, known in self.choices.items():
            held: object = getattr(self, name)
            words = cast("list[object]", held if isinstance(held, list | dict) else [held])
            unknown = [word for word in words if word not in (None, *known)]
            if unknown:
                hint = nearest(str(unknown[0]), known)
                raise ConfigError(f"{name} says {unknown[0]!r}{hint}; known: {', '.join(known)}")
        kinds, layers = vars(self).get("layer_types"), vars(self).get("num_hidden_layers")
        if kinds is not None and len(kinds) != layers:
            raise ConfigError(
                f"layer_types names {len(kinds)} layers; num_hidden_layers is {layers}"
            )
        for name, setting in self.only.items():
            if self.extra.get(name, setting) != setting:
                raise ConfigError(
                    f"{name}={self.extra[name]!r} is not implemented for "
                    f"{self.model_type!r}; only {setting!r} is"
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it can change

    @classmethod
    def argument_names(cls) -> list[str]:
        """Return every name that the constructor takes, other spellings included."""
        fields = [*_annotations(cls), *cls._own_parameters()]
        return [*fields, *cls.aliases, *cls.only, "num_labels", "torch_dtype"]

    @classmethod
    def _own_parameters(cls) -> list[str]:
        """Return what a constructor of the subclass itself takes, beside fields."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD][1:]

    @classmethod
    def _field_of(cls, name: str) -> str:
        return "dtype" if name == "torch_dtype" else cls.aliases.get(name, name)

    def _called_on_disk(self, field: str) -> str:
        names = [name for name, known in self.aliases.items() if known == field]
        return f" (on disk it is {names[0]})" if names else ""

    def _drop_minus_ones(self) -> None:
        """Read -1 as no special token: old files, of Llamas above all, mean that by it."""
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if vars(self)[name] == -1:
                notices.warning("%s is -1, which is read as none", name)
                setattr(self, name, None)

    def _set_labels(self, count: int | None) -> None:
        if self.id2label is None and self.label2id:
            check_value("label2id", self.label2id, dict)
            numbered = {index: label for label, index in self.label2id.items()}
            if len(numbered) < len(self.label2id):
                raise ConfigError("label2id gives two labels the same number")
            self.id2label = _checked_labels(numbered, "label2id")
        if self.id2label is None:
            count = self.usual_labels if count is None else count
            check_value("num_labels", count, int)
            self.id2label = _generic_labels(count)
        self.id2label = _checked_labels(self.id2label, "id2label")
        if count is not None and count != len(self.id2label):
            raise ConfigError(f"num_labels is {count}, but id2label names {len(self.id2label)}")
        # The names of the numbers are the truth; the other direction follows from them.
        inverse = {label: index for index, label in self.id2label.items()}
        if self.label2id not in (None, inverse):
            notices.warning("label2id contradicts id2label and is made from it: %s", inverse)
        self.label2id = inverse


def _checked_labels(given: Any, field: str) -> dict[int, str]:
    check_value("id2label", given, dict)
    try:
        labels = {int(index): label for index, label in given.items()}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{field} must give each label its number ({error})") from error
    if sorted(labels) != [*range(len(labels))]:
        raise ConfigError(
            f"{field} must number its labels 0 to {len(labels) - 1} without gaps; "
            f"found {listing(map(str, sorted(labels)))}"
        )
    for index, label in labels.items():
        if isinstance(label, int):  # data sets whose labels are numbers
            labels[index] = str(label)
        else:
            check_value(f"id2label[{index}]", label, str)
    return labels


def _generic_labels(count: int) -> dict[int, str]:
    return {index: f"LABEL_{index}" for index in range(count)}


def _fields(cls: type[Config]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)  # pyright: ignore[reportArgumentType] - made by __init_subclass__


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        raise TypeError(f"field {field.name!r} of a Config needs a default")
    return field.default


@cache
def _annotations(cls: type[Config]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in _fields(cls)}


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the plain classes that an annotation allows."""
    return tuple(typing.get_origin(one) or one for one in _alternatives(annotation))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _as_float(value: Any) -> Any:
    """Return a whole number as a float; JSON and people write 0 for 0.0."""
    plain = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if plain else value


def check_value(name: str, value: object, annotation: Any, note: str = "") -> None:
    """Raise `ConfigError`, ending with `note`, for a value of another type or outside LIMITS."""
    if not _fits(value, annotation):
        names = " or ".join(_spelled(one) for one in _alternatives(annotation))
        raise ConfigError(f"{name} is {value!r}; it must be {names}{note}")
    low, high = LIMITS.get(name, (-float("inf"), float("inf")))
    if name in LIMITS and isinstance(value, int | float) and not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must be from {low:g} to {high:g}{note}")


def _fits(value: object, annotation: Any) -> bool:
    """Whether a value, and what it holds, has a type that an annotation allows."""
    plain = _kinds(annotation)
    accepted = (*plain, int) if float in plain else plain
    # A bool is an int to Python, yet `hidden_size: true` is a mistake.
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in plain):
        return False
    whole = next(
        (a for a in _alternatives(annotation) if typing.get_origin(a) is type(value)), None
    )
    inside = typing.get_args(whole)[-1:]
    if not isinstance(value, list | dict) or inside in ((), (Any,)):
        return True
    held = cast("list[object] | dict[object, object]", value)
    return all(_fits(one, *inside) for one in (held.values() if isinstance(held, dict) else held))


def _spelled(annotation: Any) -> str:
    """Return ``int``, ``list[str]`` or, for the type of None, ``null``."""
    plain = typing.get_origin(annotation) is None
    name = getattr(annotation, "__name__", str(annotation)) if plain else str(annotation)
    return name.replace("NoneType", "null")
