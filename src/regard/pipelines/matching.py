"""Texts matched with others, by their vectors or by a model that reads both at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from regard.checkpoints.files import CheckpointFolder, source_options
from regard.config import CONFIG_FILE
from regard.models.auto import AutoConfig, model_class, read_config
from regard.models.encoder import EncoderModel, TextModel
from regard.models.heads import SequenceLabels
from regard.pipelines.sentence_encoder import Embedding, SentenceEncoder


class Matcher(SentenceEncoder):
    """A task for both kinds of models (Reimers and Gurevych 2019, section 1).

    A bi-encoder makes a vector of each text, once; a cross-encoder, which is a classifier of pairs,
    reads every text with every other: better, and slow where there are many.
    """

    takes: ClassVar[type[TextModel]] = TextModel

    def __init__(self, model: TextModel, tokenizer: Any, *args: Any, **options: Any) -> None:
        if not isinstance(model, EncoderModel | SequenceLabels):
            raise TypeError(
                f"{type(model).__name__} cannot do {self.task}: wanted an encoder, or a classifier "
                "of pairs"
            )
        super().__init__(model, tokenizer, *args, **options)

    @classmethod
    def load_model(
        cls, name: str | Path, source: Mapping[str, Any], options: dict[str, Any]
    ) -> Any:
        """Return the classifier that the checkpoint was saved as, or its encoder."""
        kind = model_class(AutoConfig.from_pretrained(name, **source_options(options)))
        if issubclass(kind, SequenceLabels):
            return kind.from_pretrained(name, **options)
        return super().load_model(name, source, options)

    @classmethod
    def read_settings(cls, folder: CheckpointFolder) -> dict[str, Any]:
        """Return the pooling of an encoder; a classifier has none."""
        if folder.find(CONFIG_FILE) is not None:
            kind = model_class(read_config(folder.read_json(CONFIG_FILE), folder.name))
            if issubclass(kind, SequenceLabels):
                return {}
        return super().read_settings(folder)

    @property
    def cross_encoder(self) -> SequenceLabels | None:
        """The model, if it reads two texts at once."""
        return self.model if isinstance(self.model, SequenceLabels) else None

    @property
    def labels(self) -> list[str]:
        """What the model calls its labels."""
        names = self.model.config.id2label or {}
        return [names[number] for number in range(len(names))]

    def job(self) -> Embedding:
        """Return what makes vectors of texts."""
        if self.cross_encoder is not None:
            raise TypeError(
                f"{type(self.model).__name__} is a classifier of pairs, which makes no vectors"
            )
        return super().job()
