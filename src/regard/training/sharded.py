"""Fully sharded data parallelism: FSDP2 for the weights, DCP for the optimiser's state.

Each process keeps a part of every tensor, and a layer is put together where it computes (Zhao et
al. 2023, https://arxiv.org/abs/2304.11277). A checkpoint has the weights as always, so that any
model loads them, and the optimiser as each process has it, in safetensors that say where their part
belongs.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load  # pyright: ignore[reportUnknownVariableType] - typed as PathLike[Unknown]
from torch.distributed.checkpoint.state_dict_saver import save  # pyright: ignore[reportUnknownVariableType] - typed as PathLike[Unknown]
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from regard.errors import CheckpointError, ConfigError
from regard.layers.blocks import Stack
from regard.training.arguments import TrainingArguments
from regard.training.checkpoint import optimizer_state
from regard.training.distributed import PARTS, Processes, Replicas, Share, changing
from regard.training.resume import SavedInParts


class Sharded(Replicas):
    """Every process has a part of each weight, gradient and state of the optimiser.

    Args:
        args: Say how, and in which precision layers compute.
        processes: Those of the run.

    Raises:
        ConfigError: Something else is asked for that needs whole tensors.
    """

    def __init__(self, args: TrainingArguments, processes: Processes) -> None:
        super().__init__(processes)
        asked = {
            "fp16": args.fp16,
            "optim='muon'": args.optim == "muon",
            "lora": args.lora,
            "ema_decay": args.ema_decay,
        }
        for name, given in asked.items():
            if given:
                raise ConfigError(f"{name} needs whole tensors; leave it out, or fsdp")
        # Free after the forward what the backward has to gather again.
        self.frees = args.fsdp == "full_shard"
        self.bf16 = args.bf16

    def split(self, model: nn.Module) -> None:
        """Shard every layer, and then the rest; of all processes the first one's weights count."""
        if isinstance(model, FSDPModule):
            return
        _refuse(model)
        for tensor in chain(model.parameters(), model.buffers()):
            dist.broadcast(tensor.detach(), 0)
        mesh = init_device_mesh(self.processes.device.type, (self.processes.world_size,))
        kind = torch.bfloat16 if self.bf16 else None
        # Gradients are summed in full precision.
        policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32)
        for stack in [module for module in model.modules() if isinstance(module, Stack)]:
            for layer in stack.layers:
                fully_shard(layer, mesh=mesh, reshard_after_forward=self.frees, mp_policy=policy)
        # What is around the layers is needed at the beginning of the backward: it stays.
        fully_shard(model, mesh=mesh, reshard_after_forward=False, mp_policy=policy)

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return the model, which is sharded itself."""
        return model

    def averaged(self, model: nn.Module) -> nn.Module:
        """Return the model, whose backward has averaged the gradients."""
        return model

    @contextmanager
    def without_sync(self, model: nn.Module, skip: bool) -> Generator[None]:
        """Keep gradients whole and to this process while `skip`."""
        for module in _shards(model):
            module.set_requires_gradient_sync(not skip, recurse=False)
        yield

    @contextmanager
    def whole(self, model: nn.Module) -> Generator[None]:
        """Put all weights together in the block, so that no forward in it waits for another."""
        shards = _shards(model)
        for module in shards:
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
        try:
            yield
        finally:
            for module in shards:
                module.reshard()
                is_layer = module is not shards[0]
                module.set_reshard_after_forward(self.frees and is_layer, recurse=False)

    def value(self, tensor: Tensor) -> float:
        """Return the number that is in a tensor, put together from its parts."""
        return float(_full(tensor))

    def is_whole(self, tensor: Tensor) -> bool:
        """Whether all of a tensor is here."""
        return not isinstance(tensor, DTensor)

    def full_weights(self, model: nn.Module) -> dict[str, Tensor] | None:
        """Return all weights on the first process, gathered one by one; no others elsewhere."""
        found: dict[str, Tensor] = {}
        for name, tensor in model.state_dict().items():
            full = _full(tensor.detach())
            if self.processes.first:
                found[name] = full.cpu()
        return found

    def copy(self, target: Tensor, value: Tensor) -> None:
        """Set this process's part of a tensor to that of the whole `value`."""
        if isinstance(target, DTensor):
            value = value.to(target.device)
            # Every process has read the file, so nothing needs to be sent.
            value = distribute_tensor(
                value, target.device_mesh, target.placements, src_data_rank=None
            )
        target.copy_(value)

    def write(self, write: Callable[[Share], Any], optimizer: Optimizer) -> None:
        """Call ``write(share)`` on the first process; all write when it shares the folder."""
        told = False

        def share(folder: Path | None) -> None:
            nonlocal told
            told = True
            found = self._told(folder)
            if found is not None:
                self._save(optimizer, found / PARTS)

        if not self.processes.first:
            share(None)
            return
        try:
            write(share)
        finally:
            # A folder that cannot be made must not leave the others waiting for it.
            if not told:
                share(None)

    def load_parts(self, optimizer: Optimizer, folder: Path) -> dict[str, Tensor]:
        """Return this process's part of each tensor of the optimiser's state."""
        if not (folder / PARTS).is_dir():
            raise CheckpointError(
                f"{folder} was saved by a run without fsdp; resume it without, or start from its "
                "weights"
            )
        reader = HuggingFaceStorageReader(str(folder / PARTS))
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        parts: dict[str, Tensor] = {}
        for name, stored in reader.read_metadata().state_dict_metadata.items():
            number = int(name.partition(".")[0])
            fits = number < len(parameters) and parameters[number].shape == cast("Any", stored).size
            if not fits:
                raise CheckpointError(
                    f"{folder}: its optimizer does not fit this model and these arguments ({name})"
                )
            kind = cast("Any", stored).properties.dtype
            parts[name] = torch.zeros_like(parameters[number].detach(), dtype=kind)
        load(cast("dict[str, Any]", parts), storage_reader=reader)
        return parts

    def _told(self, folder: Path | None) -> Path | None:
        """Return the folder that the first process gives."""
        told = [None if folder is None else str(folder)]
        dist.broadcast_object_list(told, 0, device=self.processes.device)
        return None if told[0] is None else Path(told[0])

    def _save(self, optimizer: Optimizer, folder: Path) -> None:
        """Write this process's part of the optimiser, as safetensors: DCP's own format pickles."""
        tensors, _ = optimizer_state(optimizer.state_dict())
        parts = {name: each for name, each in tensors.items() if isinstance(each, DTensor)}
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        try:
            save(cast("dict[str, Any]", parts), storage_writer=writer)
        except CheckpointException as error:
            reasons = "; ".join(str(each[0]) for each in error.failures.values())
            raise CheckpointError(
                f"{folder} cannot be written: {reasons}. Checkpoints saved before it are untouched"
            ) from error


def _refuse(model: nn.Module) -> None:
    """Raise for a model of which processes may use different parts in the same step."""
    why = "is several models" if isinstance(model, SavedInParts) else changing(model)
    if why is not None:
        raise ConfigError(
            f"fsdp: every process must use the same weights in a step, and this model {why}; leave "
            "fsdp out"
        )


def _shards(model: nn.Module) -> list[FSDPModule]:
    """Return the parts of a model that are gathered by themselves, the model itself first."""
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
