"""Models that come with regard itself: adapters over an embedded base, a folder each.

A folder is all there is to a model: its files as `save_pretrained` writes them, their hashes in
``SHA256SUMS``, and a card, ``README.md``, whose head says what it is in the words of the Hub
(https://huggingface.co/docs/hub/model-cards): so a new one needs no line of code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from regard.checkpoints.embedded import check_sha256
from regard.errors import CheckpointError, listing

#: What stands before the name of each.
OWNER = "regard"
FOLDER = Path(__file__).parent.parent / "shipped"
CARD, SUMS = "README.md", "SHA256SUMS"

_REINSTALL = "Reinstall it: pip install --no-deps --force-reinstall regard"


@dataclass(frozen=True)
class Shipped:
    """What the card of a shipped model says of it.

    Attributes:
        folder: Where it lies.
        task: The pipeline that asks it where no model is named.
        base: The model that it changes.
        license: Of its weights.
        datasets: What it was trained on.
        scores: Metric and data to value, such as ``"accuracy, SST-2 validation"``.
        size: Bytes of its files.
    """

    folder: Path
    task: str
    base: str
    license: str
    datasets: tuple[str, ...]
    scores: Mapping[str, float]
    size: int


@cache
def shipped_models(folder: Path = FOLDER) -> dict[str, Shipped]:
    """Return the models of the package by name; no weights are read.

    Raises:
        CheckpointError: A card lacks what it must say.
    """
    return {f"{OWNER}/{each.parent.name}": _read(each) for each in sorted(folder.glob(f"*/{CARD}"))}


def shipped_folder(name: str) -> Path | None:
    """Return the folder of the shipped model `name`, its files checked, or None.

    Raises:
        CheckpointError: A file is missing or is not what it was; names it and the fix.
    """
    found = shipped_models(FOLDER).get(name)
    if found is None:
        return None
    _verify(found.folder)
    return found.folder


def usual_model(task: str) -> str | None:
    """Return the name of the shipped model for a task, or None."""
    return next((name for name, each in shipped_models(FOLDER).items() if each.task == task), None)


def _read(card: Path) -> Shipped:
    import yaml  # what loads a model of another name needs none

    try:
        head: Any = yaml.safe_load(card.read_text("utf-8").split("---\n")[1])
        results = cast("list[dict[str, Any]]", head["model-index"][0]["results"])
        scores = {
            f"{metric['type']}, {result['dataset']['name']}": float(metric["value"])
            for result in results
            for metric in result["metrics"]
        }
        said = (head["pipeline_tag"], head["base_model"], head["license"], (*head["datasets"],))
    except (KeyError, IndexError, TypeError, ValueError, yaml.YAMLError) as error:
        what = str(error).split("\n", 1)[0]
        raise CheckpointError(
            f"{card}: its head, YAML between two lines of '---', cannot be read ({what}); wanted "
            f"pipeline_tag, base_model, license, datasets and model-index. {_REINSTALL}"
        ) from error
    size = sum(each.stat().st_size for each in card.parent.iterdir())
    return Shipped(card.parent, *said, scores, size)


@cache
def _verify(folder: Path) -> None:
    sums = folder / SUMS
    if not sums.is_file():
        raise CheckpointError(f"{sums} is missing; the package is damaged. {_REINSTALL}")
    wanted = {name: digest for digest, name in map(str.split, sums.read_text("utf-8").splitlines())}
    lost = sorted({each.name for each in folder.iterdir()} - {*wanted, CARD, SUMS})
    if lost:
        raise CheckpointError(f"{folder}: {listing(lost)} is not in {SUMS}. {_REINSTALL}")
    for name, digest in wanted.items():
        check_sha256(folder / name, digest, _REINSTALL)
