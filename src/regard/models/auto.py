"""Choose the class by the ``model_type`` that a checkpoint's config.json names."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from regard.checkpoints.files import find_checkpoint, source_options
from regard.config import CONFIG_FILE, Config
from regard.errors import ConfigError, nearest
from regard.models.family import Family
from regard.models.model import PreTrainedModel
from regard.models.origin import find_origin

#: ``model_type`` -> the module that ends with its `Family`. A new family adds its line here.
FAMILIES: Mapping[str, str] = {
    "bart": "regard.models.bart",
    "bert": "regard.models.bert",
    "camembert": "regard.models.camembert",
    "deit": "regard.models.deit",
    "distilbert": "regard.models.distilbert",
    "electra": "regard.models.electra",
    "gpt2": "regard.models.gpt2",
    "llama": "regard.models.llama",
    "marian": "regard.models.marian",
    "mbart": "regard.models.mbart",
    "mistral": "regard.models.mistral",
    "modernbert": "regard.models.modernbert",
    "mt5": "regard.models.mt5",
    "qwen2": "regard.models.qwen2",
    "qwen3": "regard.models.qwen3",
    "roberta": "regard.models.roberta",
    "t5": "regard.models.t5",
    "transformer": "regard.models.transformer",
    "vit": "regard.models.vit",
    "xlm-roberta": "regard.models.xlm_roberta",
}


def family(model_type: str) -> Family:
    """Return the family called `model_type`, or raise `ConfigError` naming the nearest one."""
    if model_type not in FAMILIES:
        raise ConfigError(
            f"unknown model_type {model_type!r}{nearest(model_type, FAMILIES)}; "
            f"families: {', '.join(FAMILIES)}"
        )
    return importlib.import_module(FAMILIES[model_type]).FAMILY


def family_of(name: str | Path, **source: Any) -> Family:
    """Return the family of a checkpoint; `source` as in `find_checkpoint`."""
    return _described(name, source)[0]


def read_config(values: Mapping[str, Any], source: str | Path) -> Config:
    """Return the configuration that the content of a config.json describes; errors name `source`.

    `AutoConfig.from_pretrained` finds the file too.
    """
    found = _named_family(values, source)
    try:
        return found.config.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def _described(name: str | Path, source: Mapping[str, Any]) -> tuple[Family, object]:
    """Return the family of a checkpoint, and what it says under ``architectures``."""
    described = find_origin(name, source).described
    values = find_checkpoint(described, **source).read_json(CONFIG_FILE)
    return _named_family(values, name), values.get("architectures")


def _named_family(values: Mapping[str, Any], source: str | Path) -> Family:
    model_type = values.get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError(
            f"{source}: {CONFIG_FILE} names no model_type; use the family's own class"
        )
    return family(model_type)


def model_class(config: Config, head: str | None = None) -> type[PreTrainedModel]:
    """Return the model that `config` is for.

    Args:
        config: Of any family.
        head: A task, as in the ``AutoModelFor...`` names; None is the model that ``architectures``
            names, and the base model where it names none of the family's.
    """
    found = family(config.model_type)
    if head is not None:
        if head not in found.heads:
            raise ConfigError(
                f"{config.model_type} has no head {head!r}{nearest(head, found.heads)}; it has "
                f"{', '.join(found.heads)}"
            )
        return found.heads[head]
    classes = {each.__name__: each for each in (found.base, *found.heads.values())}
    return next((classes[n] for n in config.architectures or [] if n in classes), found.base)


class AutoConfig:
    """Reads the configuration of any family."""

    @staticmethod
    def from_pretrained(name: str | Path, **options: Any) -> Config:
        """Read config.json as the class that its ``model_type`` asks for."""
        source = source_options(options)
        described = find_origin(name, source).described
        return family_of(name, **source).config.from_pretrained(described, **options)


class AutoModel:
    """Loads the base model of any family; the subclasses load one with a head.

    Where a family has several heads for a task (``ImageClassification`` and
    ``ImageClassificationWithTeacher``), it is the one that the checkpoint was saved with.
    """

    head: ClassVar[str | None] = None

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> PreTrainedModel:
        """Load a checkpoint; `options` as in `PreTrainedModel.from_pretrained`."""
        config: Config | None = options.get("config")
        if config is None:
            found, saved_with = _described(name, source_options(options))
        else:
            found, saved_with = family(config.model_type), config.architectures
        return cls._choose(found, saved_with).from_pretrained(name, **options)

    @classmethod
    def from_config(cls, config: Config) -> PreTrainedModel:
        """Build a random model."""
        return cls._choose(family(config.model_type), config.architectures)(config)

    @classmethod
    def _choose(cls, found: Family, saved_with: object) -> type[PreTrainedModel]:
        if cls.head is None:
            return found.base
        if cls.head not in found.heads:
            raise ConfigError(
                f"{found.config.model_type} has no {cls.__name__}; it has "
                f"{', '.join(sorted(found.heads))}"
            )
        variants = [head for task, head in found.heads.items() if task.startswith(cls.head)]
        named = cast("list[object]", saved_with) if isinstance(saved_with, list) else []
        return next((v for v in variants if v.__name__ in named), found.heads[cls.head])


class AutoModelForMaskedLM(AutoModel):
    """Loads a model that fills in masked words."""

    head = "MaskedLM"


class AutoModelForCausalLM(AutoModel):
    """Loads a model that continues text."""

    head = "CausalLM"


class AutoModelForSeq2SeqLM(AutoModel):
    """Loads a model that turns one text into another."""

    head = "Seq2SeqLM"


class AutoModelForPreTraining(AutoModel):
    """Loads a model with the heads that it was pre-trained with."""

    head = "PreTraining"


class AutoModelForSequenceClassification(AutoModel):
    """Loads a model that labels whole texts."""

    head = "SequenceClassification"


class AutoModelForTokenClassification(AutoModel):
    """Loads a model that labels tokens."""

    head = "TokenClassification"


class AutoModelForQuestionAnswering(AutoModel):
    """Loads a model that finds answers in a text."""

    head = "QuestionAnswering"


class AutoModelForMultipleChoice(AutoModel):
    """Loads a model that chooses among continuations."""

    head = "MultipleChoice"


class AutoModelForNextSentencePrediction(AutoModel):
    """Loads a model that tells whether one text follows another."""

    head = "NextSentencePrediction"


class AutoModelForImageClassification(AutoModel):
    """Loads a model that labels images."""

    head = "ImageClassification"


class AutoModelForMaskedImageModeling(AutoModel):
    """Loads a model that fills in hidden patches of images."""

    head = "MaskedImageModeling"
