"""Several processes, one run: what `torchrun` starts, and the sums they make together."""

import datetime
import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeGuard, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from regard.errors import CheckpointError, ConfigError
from regard.layers.blocks import Stack
from regard.models.multitask import MultiTaskModel
from regard.training.arguments import TrainingArguments

#: Where the processes of a sharded run put their parts of the optimiser, in a checkpoint.
PARTS = "optimizer"

#: Tells a folder to all processes.
Share = Callable[[Path], None]


@dataclass(frozen=True)
class Processes:
    """This process among all of a run.

    Attributes:
        rank: Its number among all.
        local_rank: Its number on this machine.
        world_size: How many there are.
        device: Where it computes.
    """

    rank: int
    local_rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all processes."""
        if self.world_size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        return flag if self.world_size == 1 else bool(self.total(torch.tensor(float(flag))) > 0)

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process, in order of rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world_size > 1:
            dist.barrier()


def join(args: TrainingArguments) -> Processes:
    """Join the processes that ``torchrun`` started; alone, without it."""
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    on_gpu = torch.cuda.is_available() and not args.use_cpu
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if world_size > 1 and not dist.is_initialized():
        backend = args.ddp_backend or ("nccl" if on_gpu else "gloo")
        dist.init_process_group(backend, timeout=datetime.timedelta(seconds=args.ddp_timeout))
    return Processes(int(os.environ.get("RANK", "0")), local_rank, world_size, device)


def changing(model: nn.Module) -> str | None:
    """Return why each forward of a model may use other parameters; None where that is not known."""
    if isinstance(model, MultiTaskModel):
        return "has several heads"
    dropping = any(isinstance(each, Stack) and each.layerdrop for each in model.modules())
    return "skips layers (layerdrop)" if dropping else None


def is_parallel(model: nn.Module) -> TypeGuard[nn.parallel.DistributedDataParallel]:
    """Whether the gradients of a model are averaged by its backward."""
    return isinstance(model, nn.parallel.DistributedDataParallel)


class Replicas:
    """Where a run's weights are: whole, on every process. `Sharded` has parts of them.

    Args:
        processes: Those of the run.
        find_unused: Whether each backward looks for parameters that its forward did not use; None:
            where there are any.
    """

    def __init__(self, processes: Processes, find_unused: bool | None = None) -> None:
        self.processes, self.find_unused = processes, find_unused

    def split(self, model: nn.Module) -> None:
        """Leave this process its part of the weights, before an optimiser is made of them."""

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return the model that steps are made with, `averaged` after each; all have equal weights.

        Gradients are averaged while the backward runs. That needs to be told whether a forward may
        leave parameters out, to look for them each time. What is not known shows in the first step.
        """
        if self.processes.world_size == 1:
            return model
        if self.find_unused is not None or changing(model):
            return self._parallel(model, self.find_unused is not False)
        for tensor in chain(model.parameters(), model.buffers()):
            dist.broadcast(tensor.detach(), 0)
        return model

    def averaged(self, model: nn.Module) -> nn.Module:
        """See to it that a step's gradients are averaged; return the model for the next step."""
        if self.processes.world_size == 1 or is_parallel(model):
            return model
        trained = [each for each in model.parameters() if each.requires_grad]
        used = torch.tensor([float(each.grad is not None) for each in trained])
        uses = cast("list[float]", self.processes.total(used).tolist())
        for parameter, count in zip(trained, uses, strict=True):
            if count:
                given = parameter.grad
                gradient = torch.zeros_like(parameter) if given is None else given
                parameter.grad = self.processes.total(gradient / self.processes.world_size)
        return self._parallel(model, any(count < self.processes.world_size for count in uses))

    def _parallel(self, model: nn.Module, find_unused: bool) -> nn.Module:
        devices = [self.processes.local_rank] if self.processes.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=devices, find_unused_parameters=find_unused
        )

    @contextmanager
    def without_sync(self, model: nn.Module, skip: bool) -> Generator[None]:
        """Keep gradients to this process while `skip`, for all forwards of a step but the last."""
        if skip and is_parallel(model):
            with model.no_sync():
                yield
        else:
            yield

    def whole(self, model: nn.Module) -> AbstractContextManager[None]:
        """Let each process run the model by itself in the block."""
        return nullcontext()

    def value(self, tensor: Tensor) -> float:
        """Return the number that is in a tensor."""
        return float(tensor)

    def is_whole(self, tensor: Tensor) -> bool:
        """Whether all of a tensor is here."""
        return True

    def full_weights(self, model: nn.Module) -> dict[str, Tensor] | None:
        """Return all weights where they are written, by name; None if the model has them."""
        return None

    def copy(self, target: Tensor, value: Tensor) -> None:
        """Set a tensor of the model to the whole `value`."""
        target.copy_(value)

    def write(self, write: Callable[[Share], Any], optimizer: Optimizer) -> None:
        """Call ``write(share)`` on the first process.

        It calls ``share(folder)``, and then every process has put its part of the optimiser there.
        """
        if self.processes.first:
            write(lambda _: None)

    def load_parts(self, optimizer: Optimizer, folder: Path) -> dict[str, Tensor]:
        """Return what `write` made every process put into a folder, as far as it is this one's."""
        if (folder / PARTS).exists():
            raise CheckpointError(
                f"{folder}: its optimizer is in parts, one for each process; resume with the fsdp "
                "that it was saved with"
            )
        return {}


def replicas(
    args: TrainingArguments, processes: Processes, optimizer: Optimizer | None
) -> Replicas:
    """Return how a run keeps its weights: whole, or sharded over several processes.

    Raises:
        ConfigError: The weights are to be sharded, and `optimizer` has them already.
    """
    if not args.fsdp or processes.world_size == 1:
        return Replicas(processes, args.ddp_find_unused_parameters)
    if optimizer is not None:
        raise ConfigError(
            "fsdp makes other parameters of the model's, which the given optimizer does not have: "
            "override create_optimizer, or name it in optim"
        )
    from regard.training.sharded import Sharded  # which costs most of a second

    return Sharded(args, processes)
