"""Checkpoints of a run: whole or not there, checked before they are believed, and without pickle.

A checkpoint is a folder ``checkpoint-STEP``: the model as `save_pretrained` writes it, and what the
run needs to go on. It is written beside its place, flushed to the disk, and renamed. Its
``manifest.json`` holds the size and SHA-256 of every file.
"""

import hashlib
import itertools
import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType] - typed as PathLike[Unknown]
from torch import Tensor
from torch.optim import Optimizer

from regard.checkpoints.save import write_shard
from regard.errors import CheckpointError, notices

MANIFEST = "manifest.json"
_FOLDER = re.compile(r"checkpoint-(\d+)")


def write_checkpoint(output: Path, step: int, write: Callable[[Path], None]) -> Path:
    """Let ``write(folder)`` fill a folder, and make it ``checkpoint-STEP`` in `output`.

    Until the last moment it has another name, so whatever happens meanwhile, a full disk or a
    power cut, older checkpoints stay and no half one is seen.

    Raises:
        CheckpointError: The folder cannot be written; says why, and that older ones are whole.
    """
    final = output / f"checkpoint-{step}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{final.name}-", dir=output) as beside:
            partial = Path(beside) / "files"
            partial.mkdir()
            write(partial)
            files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
            described = {str(path.relative_to(partial)): _described(path) for path in files}
            write_json(partial / MANIFEST, described)
            for path in (*partial.rglob("*"), partial):
                _flush(path)
            _put(partial, final, Path(beside) / "replaced")
            _flush(output)
    except OSError as error:
        raise CheckpointError(
            f"{final} cannot be written: {error}. Checkpoints saved before it are untouched"
        ) from error
    return final


def check_writable(output: Path) -> None:
    """Raise `CheckpointError` now if no checkpoint could be written later."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise CheckpointError(
            f"output_dir={str(output)!r} cannot be written: {error}. Give another folder, or "
            "save_strategy='no'"
        ) from error


def recover(output: Path) -> None:
    """Clear away what a run that was killed while it saved left beside its checkpoints.

    A checkpoint that was whole, and only lacked its name, gets it.
    """
    for beside in output.glob(".checkpoint-*-*"):
        final = output / beside.name[1:].rpartition("-")[0]
        for found in (beside / "files", beside / "replaced"):
            if not final.exists() and damage(found) is None:
                found.rename(final)
        shutil.rmtree(beside)


def set_aside(folders: Iterable[Path]) -> Path | None:
    """Move checkpoints to a new folder ``earlier-N`` beside them, and return that.

    So none of them is taken for the newest of the run that begins, or counts among those to keep.
    """
    place: Path | None = None
    for folder in folders:
        if place is None:
            places = (folder.with_name(f"earlier-{number}") for number in itertools.count(1))
            place = next(each for each in places if not each.exists())
            place.mkdir()
        folder.rename(place / folder.name)
    return place


def step_of(folder: Path) -> int:
    """Return the step of a checkpoint by its name; -1 for a folder that is called otherwise."""
    match = _FOLDER.fullmatch(folder.name)
    return int(match[1]) if match else -1


def damage(folder: Path) -> str | None:
    """Say what is wrong with a checkpoint, or return None for a whole one."""
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))
        for name, wanted in files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                return f"{MANIFEST} names {name!r}, which lies elsewhere"
            if not path.is_file():
                return f"{name} is missing"
            if _described(path) != wanted:
                return f"{name} is not what was saved"
    except (OSError, ValueError, AttributeError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    return None


def checkpoints(output: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first, whole or not."""
    if not output.is_dir():
        return []
    found = [path for path in output.iterdir() if path.is_dir() and step_of(path) >= 0]
    return sorted(found, key=step_of)


def newest_whole(output: Path) -> Path | None:
    """Return the newest checkpoint that is whole; a notice for each newer one that is not."""
    for folder in reversed(checkpoints(output)):
        wrong = damage(folder)
        if wrong is None:
            return folder
        notices.warning("%s is skipped: %s", folder, wrong)
    return None


def prune(output: Path, keep: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints but `keep`; the best one always stays, the newest too."""
    found = checkpoints(output)
    if keep is None or len(found) <= keep:
        return
    kept = {found[-1], *(path for path in found if best and path == Path(best))}
    for path in reversed(found):
        if len(kept) < keep:
            kept.add(path)
    for path in found:
        if path not in kept:
            shutil.rmtree(path)


def save_optimizer(
    optimizer: Optimizer, folder: Path, is_whole: Callable[[Tensor], bool] = lambda _: True
) -> None:
    """Write an optimiser's state: tensors that are whole as safetensors, numbers as JSON."""
    state = optimizer.state_dict()
    tensors, numbers = optimizer_state(state)
    whole = {name: tensor for name, tensor in tensors.items() if is_whole(tensor)}
    write_shard(whole, folder / "optimizer.safetensors")
    content = {"groups": state["param_groups"], "numbers": numbers}
    write_json(folder / "optimizer.json", {"kind": type(optimizer).__name__, **content})


def optimizer_state(
    state: Mapping[str, Any],
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Return the tensors and the numbers of an optimiser's ``state_dict``.

    Tensors are called by parameter and name (``"3.exp_avg"``), numbers lie below their parameter.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    return tensors, numbers


def load_optimizer(
    optimizer: Optimizer, folder: Path, parts: Mapping[str, Tensor] | None = None
) -> None:
    """Read what `save_optimizer` wrote; `parts` are the tensors that it did not write.

    Raises:
        CheckpointError: It belongs to another model or optimiser.
    """
    content = read_json(folder / "optimizer.json")
    if content["kind"] != type(optimizer).__name__:
        raise CheckpointError(
            f"{folder} was saved with the optimizer {content['kind']}, this run has "
            f"{type(optimizer).__name__}; resume with the same optim"
        )
    state: dict[int, dict[str, Any]] = {}
    for index, values in content["numbers"].items():
        state[int(index)] = dict(values)
    for key, tensor in (read_tensors(folder / "optimizer.safetensors") | dict(parts or {})).items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = [_with_tuples(group) for group in content["groups"]]
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except ValueError as error:
        raise CheckpointError(
            f"{folder}: its optimizer does not fit this model and these arguments ({error})"
        ) from error


class RandomState(NamedTuple):
    """The state of every random generator of one process: numbers, and torch's as bytes."""

    numbers: dict[str, Any]
    tensors: dict[str, Tensor]


def random_state() -> RandomState:
    """Return the state of every random generator of this process."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast("tuple[Any, ...]", np.random.get_state())
    numbers = {
        "python": [version, [*internal], gauss],
        "numpy": [str(name), keys.tolist(), int(position), int(has_gauss), float(cached)],
    }
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return RandomState(numbers, tensors)


def save_random(folder: Path, rank: int, state: RandomState) -> None:
    """Write the random generators of one process."""
    write_json(folder / f"random-{rank}.json", state.numbers)
    write_shard(state.tensors, folder / f"random-{rank}.safetensors")


def load_random(folder: Path, rank: int) -> None:
    """Read what `save_random` wrote."""
    numbers = read_json(folder / f"random-{rank}.json")
    version, internal, gauss = numbers["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = numbers["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    tensors = read_tensors(folder / f"random-{rank}.safetensors")
    torch.set_rng_state(tensors["cpu"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])


def write_json(path: Path, content: Any) -> None:
    """Write JSON; not-a-numbers are written as Python does, and read back."""
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """Read JSON, or raise `CheckpointError` naming the file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or raise `CheckpointError` naming it."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _with_tuples(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter group as torch had it: JSON knows lists only."""
    lists = (k for k, v in group.items() if isinstance(v, list) and k != "params")
    return {**group, **{k: tuple(group[k]) for k in lists}}


def _put(new: Path, final: Path, aside: Path) -> None:
    """Give a folder its name; one that has it already moves aside, and back if that fails."""
    if final.exists():
        final.rename(aside)
    try:
        new.rename(final)
    except BaseException:
        if aside.exists():
            aside.rename(final)
        raise


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "size": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _flush(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
