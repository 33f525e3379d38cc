"""A label for each picture, in a folder of pictures for each label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from regard.config import Config
from regard.data.collate import default_data_collator
from regard.data.examples import Examples
from regard.data.labels import encode_labels
from regard.data.origin import Origin
from regard.errors import DataError
from regard.images.pixels import pillow
from regard.images.processor import AutoImageProcessor
from regard.models.auto import AutoModelForImageClassification
from regard.training.tasks.task import Column, Prepared, label_fields
from regard.training.tasks.text_classification import TextClassification

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Pictures:
    """Pictures that are opened when they are asked for, so that a folder may be larger than memory.

    Args:
        examples: With the file of each picture in ``image``, and perhaps ``labels``.
        processor: Makes tensors of pictures.
    """

    def __init__(self, examples: Examples, processor: Any) -> None:
        self.examples, self.processor = examples, processor

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return ``pixel_values`` (channels, height, width), the label and the file's name."""
        row = self.examples[index]
        pixels = self.processor(_opened(row["image"]), return_tensors="pt")["pixel_values"][0]
        return {**row, "pixel_values": pixels}


@dataclass(frozen=True, kw_only=True)
class ImageClassification(TextClassification):
    """A label for each picture; without labels, the pictures of a folder."""

    name: ClassVar[str] = "image-classification"
    auto = AutoModelForImageClassification
    columns: ClassVar[tuple[Column, ...]] = (
        Column("image", ("file", "path", "image_path", "file_name")),
        Column("label", ("labels", "class", "category"), label=True),
    )

    def read(self, path: Any, file_format: str | None = None) -> Examples:
        """Read a folder with a folder of pictures per label, or a table of files and labels."""
        folder = Path(path)
        if not folder.is_dir():
            return super().read(path, file_format)
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
        outside = [f for f in files if not f.resolve().is_relative_to(folder.resolve())]
        if outside or not files:
            what = f"{outside[0]} is a link out of it" if outside else "there is no picture in it"
            raise DataError(f"{folder}: {what}; wanted files such as label/picture.png")
        columns = {"image": [*map(str, files)]}
        if all(file.parent != folder for file in files):
            columns["label"] = [file.relative_to(folder).parts[0] for file in files]
        numbers = np.arange(len(files), dtype=np.int32)
        origin = Origin(tuple(columns["image"]), numbers, np.zeros(len(files), np.int64))
        return Examples(columns, origin)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        """Return pictures, given their files."""
        return Examples({"image": [*texts]})

    def config_for(self, examples: Examples, config: Config) -> dict[str, Any]:
        """Return the labels that occur."""
        return label_fields(examples.labels("label"), config)

    def processor(self, source: str | Path, **options: Any) -> Any:
        """Load the image processor of a checkpoint."""
        return AutoImageProcessor.from_pretrained(source, **options)

    def prepare(self, examples: Examples, processor: Any, config: Config) -> Prepared:
        """Return pictures, opened when they are needed, and labels as numbers."""
        made = examples
        if "label" in examples.column_names:
            made = encode_labels(examples, "label", config.label2id or {}).keep(["image", "labels"])
        return Prepared(Pictures(made, processor), examples)

    def collator(self, processor: Any) -> Callable[..., Any]:
        """Return what puts pictures, which are all of one size, together."""
        return default_data_collator


def _opened(file: str) -> Any:
    try:
        with pillow().open(file) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise DataError(f"{file}: no picture that can be read ({error})") from error
