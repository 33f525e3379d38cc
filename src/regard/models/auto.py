"""Choose the class by the ``model_type`` that a checkpoint's config.json names."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from regard.checkpoints.files import find_checkpoint, source_options
from regard.config import CONFIG_FILE, Config
from regard.errors import ConfigError, nearest
from regard.models.family import Family
from regard.models.model import PreTrainedModel

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
    model_type = find_checkpoint(name, **source).read_json(CONFIG_FILE).get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError(f"{name}: {CONFIG_FILE} names no model_type; use the family's own class")
    return family(model_type)


class AutoConfig:
    """Reads the configuration of any family."""

    @staticmethod
    def from_pretrained(name: str | Path, **options: Any) -> Config:
        """Read config.json as the class that its ``model_type`` asks for."""
        return family_of(name, **source_options(options)).config.from_pretrained(name, **options)


class AutoModel:
    """Loads the base model of any family; the subclasses load one with a head."""

    head: ClassVar[str | None] = None

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> PreTrainedModel:
        """Load a checkpoint; `options` as in `PreTrainedModel.from_pretrained`."""
        config = options.get("config")
        found = family(config.model_type) if config else family_of(name, **source_options(options))
        return cls._choose(found).from_pretrained(name, **options)

    @classmethod
    def from_config(cls, config: Config) -> PreTrainedModel:
        """Build a random model."""
        return cls._choose(family(config.model_type))(config)

    @classmethod
    def _choose(cls, found: Family) -> type[PreTrainedModel]:
        if cls.head is None:
            return found.base
        if cls.head not in found.heads:
            raise ConfigError(
                f"{found.config.model_type} has no {cls.__name__}; it has "
                f"{', '.join(sorted(found.heads))}"
            )
        return found.heads[cls.head]


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
