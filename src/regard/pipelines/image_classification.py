"""Labels for images."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from regard.checkpoints.files import source_options
from regard.images.pixels import as_array, is_picture, pillow
from regard.images.processor import AutoImageProcessor, ImageProcessor
from regard.models.auto import AutoModelForImageClassification
from regard.models.vision import ImageClassification
from regard.pipelines.job import Inputs, as_numpy
from regard.pipelines.passages import best_places
from regard.pipelines.preparing import prepare_model
from regard.pipelines.running import OnError, Runner
from regard.pipelines.text_classification import scoring_function

#: Images in one forward.
BATCH_SIZE = 8
#: An image takes the memory of this many texts.
WEIGHT = 64


class ImageClassificationPipeline(Runner):
    """Scores the labels that a model was trained for.

    Args:
        model: A model with a head over whole images.
        image_processor: What makes the model's input of images.
        batch_size: Images in one forward.
        on_error: As for `Pipeline`.
        defaults: Options of calls that do not say them.
    """

    task: ClassVar[str] = "image-classification"

    def __init__(
        self,
        model: ImageClassification,
        image_processor: ImageProcessor | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        on_error: OnError = "raise",
        **defaults: Any,
    ) -> None:
        super().__init__(on_error, defaults)
        if not isinstance(image_processor, ImageProcessor):
            raise TypeError(
                "a model that is loaded already needs what prepares its images: pass "
                "image_processor=ImageProcessor(...)"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.model, self.image_processor = model.eval(), image_processor
        self.batch_size = batch_size

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str | int | torch.device | None = None,
        image_processor: str | Path | ImageProcessor | None = None,
        precision: str | None = "auto",
        **options: Any,
    ) -> Self:
        """Load model and image processor; arguments as for `Pipeline.from_pretrained`.

        Raises:
            ValueError: No model is named.
            TypeError: The model does not classify images.
        """
        if name is None:
            raise ValueError(f"name a model for {cls.task}: there is no embedded one for it")
        known = {"batch_size", "on_error", *cls.call_options()}
        own = {key: options.pop(key) for key in [*options] if key in known}
        if not isinstance(image_processor, ImageProcessor):
            source = source_options(options)
            image_processor = AutoImageProcessor.from_pretrained(image_processor or name, **source)
        model = AutoModelForImageClassification.from_pretrained(name, **options)
        if not isinstance(model, ImageClassification):
            raise TypeError(f"{name} is a {type(model).__name__}, which does not label images")
        prepare_model(model, device, precision)
        return cls(model, image_processor, **own)

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """Return the options of `from_pretrained` that are the constructor's."""
        return frozenset({"batch_size", "on_error", "image_processor"})

    def __call__(
        self,
        images: Any,
        top_k: int | None = 5,
        function_to_apply: str | None = None,
    ) -> Any:
        """Return ``[{"label", "score"}]`` of each image, the best label first.

        Args:
            images: A path, a Pillow image, an array or tensor of one image; a list of them, an
                array with an axis of images, or a stream.
            top_k: How many labels; None for all.
            function_to_apply: ``"softmax"``, ``"sigmoid"`` or ``"none"``; the default is what the
                model was trained with.
        """
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; wanted at least 1, or None for all labels")
        config = self.model.config
        names: dict[int, str] = config.id2label or {}
        job = _Labelling(
            processor=self.image_processor,
            names=tuple(names[number] for number in range(len(names))),
            function=scoring_function(function_to_apply, config),
            top_k=top_k,
        )
        array = as_array(images)
        if array is not None and array.ndim > 3:
            return [*self.run([*array], job)]
        if isinstance(images, str | Path) or array is not None or is_picture(images):
            return next(self.run([images], job))
        return self.answer(images, job)

    def work(self, inputs: Sequence[Any], job: "_Labelling", shown: bool) -> Iterator[Any]:
        """Yield the labels of images that were prepared."""
        # Without a size that is set, images of one batch must be equal: each is then its own.
        size = self.batch_size if len({each.shape for each in inputs}) == 1 else 1
        for start in range(0, len(inputs), size):
            pixels = torch.from_numpy(np.stack(inputs[start : start + size]))
            with torch.inference_mode():
                batch = self.model.base_model.patches(pixels.to(self.model.device))
                logits = as_numpy(self.model.logits(batch))
            yield from map(job.answer, job.function(logits))


@dataclass(frozen=True, kw_only=True)
class _Labelling(Inputs[Any]):
    processor: ImageProcessor
    names: tuple[str, ...]
    function: Any
    top_k: int | None

    @property
    def spread(self) -> int:
        """Fewer are prepared together."""
        return WEIGHT

    def check(self, item: Any) -> Any:
        """Return the pixels of an image, as the model takes them."""
        image = read_image(item) if isinstance(item, str | Path) else item
        (pixels,) = self.processor(image)["pixel_values"]
        return pixels

    def answer(self, scores: Any) -> list[dict[str, Any]]:
        """Return the labels of an image, the best first."""
        best: list[int] = best_places(scores, self.top_k).tolist()
        return [{"label": self.names[i], "score": float(scores[i])} for i in best]


def read_image(path: str | Path) -> Any:
    """Return the picture in a file.

    Raises:
        OSError: There is none, or it is damaged.
        ValueError: It is of no format that Pillow knows.
    """
    module = pillow()
    try:
        with module.open(path) as picture:
            picture.load()
            return picture
    except importlib.import_module("PIL").UnidentifiedImageError as error:
        raise ValueError(f"{path}: no picture of a format that Pillow knows") from error
