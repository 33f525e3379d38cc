"""The record that every family file ends with."""

from collections.abc import Mapping
from dataclasses import dataclass

from regard.config import Config
from regard.models.model import PreTrainedModel


@dataclass(frozen=True)
class Family:
    """What a family has: its configuration, its base model and its heads by task.

    Attributes:
        config: The configuration class; its ``model_type`` is the family's name on disk.
        base: The model without a head.
        heads: Task, as in the ``AutoModelFor...`` names, to model.
    """

    config: type[Config]
    base: type[PreTrainedModel]
    heads: Mapping[str, type[PreTrainedModel]]
