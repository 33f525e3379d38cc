"""What a run needs to go on to the same bits: saved and read again."""

import dataclasses
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from regard.adapters.adapter import attached
from regard.adapters.base import Base
from regard.adapters.files import restore_adapters
from regard.checkpoints.files import find_checkpoint
from regard.checkpoints.restore import restore_weights
from regard.errors import CheckpointError, notices
from regard.models.model import PreTrainedModel
from regard.training import averaging
from regard.training import checkpoint as files
from regard.training.arguments import ARGUMENTS_FILE, TrainingArguments
from regard.training.callbacks import TrainerState
from regard.training.distributed import Replicas

if TYPE_CHECKING:
    from regard.training.trainer import Trainer

STATE_FILE = "trainer_state.json"
BASE_FILE = "adapter_base.json"


#: Settings that decide which examples a batch of the run has.
_ORDER = (
    "per_device_train_batch_size",
    "per_device_train_tokens",
    "gradient_accumulation_steps",
    "train_sampling_strategy",
    "dataloader_drop_last",
    "seed",
    "data_seed",
    "task_temperature",
)


@runtime_checkable
class SavedInParts(Protocol):
    """A model that is saved as several, each in a folder of its own."""

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The models by their places in the folder."""
        ...


def seed_everything(args: TrainingArguments, more: int = 0) -> None:
    """Seed every random generator; with ``full_determinism`` allow exact algorithms only.

    Args:
        args: Say the seed.
        more: Is added to it: other numbers for another process, or another pass.
    """
    seed = args.seed + more
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if args.full_determinism:
        torch.use_deterministic_algorithms(True)
    if args.tf32 is not None:
        torch.backends.cuda.matmul.allow_tf32 = args.tf32


def where_to_resume(asked: str | bool | None, output: Path) -> Path | None:
    """Return the checkpoint to go on from: the one asked for, or for True the newest whole one.

    Raises:
        CheckpointError: It is damaged, or there is none.
    """
    if not asked:
        return None
    if asked is True:
        found = files.newest_whole(output)
        if found is None:
            raise CheckpointError(f"{output} holds no whole checkpoint to resume from")
        return _with_state(found)
    folder = Path(asked)
    wrong = files.damage(folder)
    if wrong is not None:
        others = files.newest_whole(folder.parent)
        hint = "" if others is None else f"; the newest whole checkpoint there is {others}"
        raise CheckpointError(f"{folder} cannot be resumed from: {wrong}{hint}")
    return _with_state(folder)


def _with_state(folder: Path) -> Path:
    """Return a checkpoint that can be resumed; raise for one that holds the model only."""
    if not (folder / "optimizer.json").is_file():
        raise CheckpointError(
            f"{folder} holds the model only (save_only_model); it can be loaded, not resumed"
        )
    return folder


def find_start(trainer: "Trainer", asked: str | bool | None) -> Path | None:
    """Return the checkpoint to go on from, and make the output folder ready for the run.

    Checkpoints there that are newer, or of another run, are moved aside; with
    ``overwrite_output_dir`` those of another run are removed.

    Raises:
        CheckpointError: The checkpoint is damaged, or there is none, or none can be written.
    """
    args, processes = trainer.args, trainer.processes
    output = Path(args.output_dir)
    if processes.first:
        if args.save_strategy != "no":
            files.check_writable(output)
        files.recover(output)
    processes.wait()
    folder = where_to_resume(args.resume_from_checkpoint if asked is None else asked, output)
    processes.wait()
    if processes.first:
        _clear(output, folder, overwrite=args.overwrite_output_dir)
    processes.wait()
    return folder


def _clear(output: Path, folder: Path | None, *, overwrite: bool) -> None:
    """Leave no checkpoint in `output` that is not of the run that begins, or of its future."""
    found = files.checkpoints(output)
    if folder is not None and folder.resolve().parent == output.resolve():
        found = [each for each in found if files.step_of(each) > files.step_of(folder)]
    elif folder is not None:
        # It may well be that the folder asked for lies in one of them.
        overwrite = False
    elif overwrite:
        for each in found:
            shutil.rmtree(each)
        return
    place = files.set_aside(found)
    if place is not None:
        names = ", ".join(each.name for each in found)
        notices.warning("%s: not of the run that begins, moved to %s", names, place)


def save_run(
    trainer: "Trainer",
    folder: Path,
    randoms: Sequence[files.RandomState],
    weights: Mapping[str, Tensor] | None,
) -> None:
    """Write the model and, unless ``save_only_model``, all that a resumed run needs.

    Args:
        trainer: The run.
        folder: Where to write.
        randoms: The random generators of every process, in order of rank.
        weights: Of the model, where it does not have all of them itself.
    """
    trainer.write_model(folder, weights)
    state = dataclasses.replace(trainer.state, callbacks=trainer.callbacks.state_dict())
    files.write_json(folder / STATE_FILE, dataclasses.asdict(state))
    if trainer.args.save_only_model:
        return
    if trainer.average is not None:
        trainer.average.save(trainer.model, folder)
    files.save_optimizer(trainer.optimizer, folder, trainer.replicas.is_whole)
    if trainer.base is not None:
        files.write_json(folder / BASE_FILE, trainer.base.to_dict())
    files.write_json(folder / "scheduler.json", _plain(trainer.lr_scheduler.state_dict()))
    if trainer.scaler is not None:
        files.write_json(folder / "scaler.json", trainer.scaler.state_dict())
    for rank, state in enumerate(randoms):
        files.save_random(folder, rank, state)


def load_run(trainer: "Trainer", folder: Path) -> None:
    """Take back what `save_run` wrote, but for the random generators.

    Those come last, when the data is in place.

    Raises:
        CheckpointError: It is of another model, optimiser or number of processes.
    """
    _check_plan(trainer, folder)
    if trainer.base is not None:
        _check_base(trainer.base, folder)
    load_weights(trainer.model, folder, trainer.replicas)
    averaging.load_run(trainer.average, trainer.model, folder)
    fresh = trainer.state
    try:
        state = TrainerState(**files.read_json(folder / STATE_FILE))
    except TypeError as error:
        raise CheckpointError(f"{folder / STATE_FILE} is of another version: {error}") from error
    if state.max_steps != fresh.max_steps:
        notices.warning(
            "%s was saved by a run of %d steps, this one has %d; the learning rate goes on as this "
            "run's schedule says",
            *(folder, state.max_steps, fresh.max_steps),
        )
    if state.best_model_checkpoint is not None:
        # It lies beside this one, wherever both were moved.
        best = folder.parent / Path(state.best_model_checkpoint).name
        state.best_model_checkpoint = str(best)
    state.max_steps, state.num_train_epochs = fresh.max_steps, fresh.num_train_epochs
    state.is_world_process_zero = fresh.is_world_process_zero
    state.is_local_process_zero = fresh.is_local_process_zero
    trainer.state = state
    trainer.callbacks.load_state_dict(state.callbacks)
    parts = trainer.replicas.load_parts(trainer.optimizer, folder)
    files.load_optimizer(trainer.optimizer, folder, parts)
    schedule = files.read_json(folder / "scheduler.json")
    if isinstance(trainer.lr_scheduler, LambdaLR):
        schedule["lr_lambdas"] = [None] * len(trainer.lr_scheduler.lr_lambdas)
    trainer.lr_scheduler.load_state_dict(schedule)
    if trainer.scaler is not None:
        trainer.scaler.load_state_dict(files.read_json(folder / "scaler.json"))


def load_weights(model: nn.Module, folder: Path, replicas: Replicas) -> None:
    """Fill the model of a run, or each model that it is saved as, from one of its checkpoints."""
    if attached(model) is not None:
        restore_adapters(model, folder)
        return
    for place, part in saved_parts(model).items():
        second = part.anatomy().aliases if isinstance(part, PreTrainedModel) else ()
        restore_weights(part, find_checkpoint(folder / place), second, replicas.copy)


def saved_parts(model: nn.Module) -> Mapping[str, nn.Module]:
    """Return the models that one is saved as, by their places in the folder: most are one."""
    return model.parts if isinstance(model, SavedInParts) else {"": model}


def _check_base(base: Base, folder: Path) -> None:
    """Refuse an adapter that was trained on other weights than the base of this run has."""
    if not (folder / BASE_FILE).is_file():
        raise CheckpointError(
            f"{folder} holds no adapter, and this run trains one over {base.name}; load the model "
            "from there instead"
        )
    before = Base(**files.read_json(folder / BASE_FILE))
    if before.mark != base.mark:
        raise CheckpointError(
            f"{folder} is an adapter of {before.name}, and this run's base is {base.name}, whose "
            "weights are others; resume with the base that the adapter was trained on"
        )


def _check_plan(trainer: "Trainer", folder: Path) -> None:
    """Refuse another number of processes; say so where other settings change the batches."""
    saved = len([*folder.glob("random-*.json")])
    if saved != trainer.processes.world_size:
        raise CheckpointError(
            f"{folder} was saved by {saved} processes, this run has "
            f"{trainer.processes.world_size}; resume with as many"
        )
    before = files.read_json(folder / ARGUMENTS_FILE)
    now = trainer.args.to_dict()
    changed = [f"{name} {before.get(name)!r} -> {now[name]!r}" for name in _ORDER]
    changed = [
        text for name, text in zip(_ORDER, changed, strict=True) if before.get(name) != now[name]
    ]
    if changed:
        notices.warning(
            "%s: the rest of this pass has other batches than it would have had: %s",
            *(folder, ", ".join(changed)),
        )


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "lr_lambdas"}
