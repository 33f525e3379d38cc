"""Where the examples to train on are, and those to evaluate on: a folder says so by its names."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from regard.data.loading import SUFFIXES
from regard.errors import DataError, listing

TRAINING = ("train", "training")
VALIDATION = ("validation", "valid", "val", "dev")

#: What `load_dataset` takes: a path, or one for each language.
Where = Path | Mapping[str, Path]


class Splits(NamedTuple):
    """Where each part is; None where there is none."""

    training: Where
    validation: Where | None


def find_splits(path: str | Path) -> Splits:
    """Return the parts that a file, or a folder, has.

    A folder has parts if files or folders in it are called ``train`` and perhaps ``validation``,
    ``valid``, ``val`` or ``dev``, whatever their suffixes. Several files of a part are parallel
    text (``train.en.gz``, ``train.de.gz``), and their suffixes the columns. Any other folder is one
    part.

    Raises:
        DataError: A part has several files that are no parallel text.
        OSError: There is no such path.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(2, "No such file or folder", str(place))
    if not place.is_dir():
        return Splits(place, None)
    training = _part(place, TRAINING)
    return Splits(place if training is None else training, _part(place, VALIDATION))


def _part(folder: Path, names: tuple[str, ...]) -> Where | None:
    found = sorted(each for each in folder.iterdir() if each.name.lower().split(".")[0] in names)
    if len(found) < 2:
        return found[0] if found else None
    languages = {each.name.removesuffix(".gz").rpartition(".")[2]: each for each in found}
    known = [each for each in found if f".{each.name.split('.')[-1].lower()}" in SUFFIXES]
    if known or len(languages) < len(found) or any(each.is_dir() for each in found):
        raise DataError(
            f"{folder}: which of {listing(each.name for each in found)} is it? Name the file"
        )
    return languages
