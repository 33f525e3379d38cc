"""An average of the weights over the steps, which is often better than the last ones."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regard.checkpoints.save import write_shard
from regard.errors import CheckpointError, ConfigError
from regard.training.callbacks import TrainerCallback
from regard.training.checkpoint import read_tensors

#: In a checkpoint the model is the average; here are the weights that training goes on with.
WEIGHTS_FILE = "training_weights.safetensors"


class WeightAverage(TrainerCallback):
    """Exponential moving average of the weights that train (Tarvainen and Valpola 2017, section 2).

    The first step's weights are its start. While the model is evaluated or saved, it has the
    average, and it keeps that when training ends.

    Args:
        decay: How much of the average stays at each step.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.means: dict[str, Tensor] = {}
        self._shown = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Begin, or go on where a checkpoint was."""
        if state.global_step == 0:
            self.means = {}
        halves = {str(p.dtype) for p in _trained(run["model"]).values() if p.element_size() < 4}
        if halves:
            raise ConfigError(
                f"ema_decay: in {', '.join(halves)} the average would stand still; load the model "
                "with dtype='float32' (bf16=True still computes in half precision)"
            )

    @torch.no_grad()
    def on_optimizer_step(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Move the average towards the new weights."""
        trained = _trained(run["model"])
        if not self.means:
            self.means = {name: each.detach().clone() for name, each in trained.items()}
            return
        for name, each in trained.items():
            self.means[name].lerp_(each, 1 - self.decay)

    @contextmanager
    def shown(self, model: nn.Module) -> Generator[None]:
        """Within the block the model has the average."""
        if self._shown or not self.means:
            yield
            return
        self._shown = True
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)
            self._shown = False

    @torch.no_grad()
    def settle(self, model: nn.Module) -> None:
        """Give the model the average for good."""
        if self.means:
            for name, each in _trained(model).items():
                each.copy_(self.means[name])
        self.means = {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the weights that are not those of the model's own files."""
        write_shard({n: p.detach() for n, p in _trained(model).items()}, folder / WEIGHTS_FILE)

    @torch.no_grad()
    def load(self, model: nn.Module, folder: Path) -> None:
        """Take back what `save` wrote; the model holds the average when this is called."""
        trained, weights = _trained(model), read_tensors(folder / WEIGHTS_FILE)
        if weights.keys() != trained.keys():
            raise CheckpointError(f"{folder / WEIGHTS_FILE}: other weights train in this run")
        self.means = {name: each.detach().clone() for name, each in trained.items()}
        for name, each in trained.items():
            each.copy_(weights[name])

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        for name, each in _trained(model).items():
            weights = each.detach().clone()
            each.copy_(self.means[name])
            self.means[name].copy_(weights)


def load_run(average: WeightAverage | None, model: nn.Module, folder: Path) -> None:
    """Take back the weights and their average, if a run has one.

    Raises:
        CheckpointError: The run that was saved had one and this has none, or the other way round.
    """
    if (folder / WEIGHTS_FILE).is_file() != (average is not None):
        was = "without" if average is not None else "with"
        raise CheckpointError(f"{folder} was saved {was} ema_decay; resume with the same")
    if average is not None:
        average.load(model, folder)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: each for name, each in model.named_parameters() if each.requires_grad}
