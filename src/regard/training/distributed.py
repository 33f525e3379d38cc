"""Several processes, one run: what `torchrun` starts, and the sums they make together."""

import datetime
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from regard.training.arguments import TrainingArguments


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


def wrapped(model: nn.Module, processes: Processes) -> nn.Module:
    """Return a model whose gradients are averaged over all processes."""
    if processes.world_size == 1:
        return model
    devices = [processes.local_rank] if processes.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(
        model, device_ids=devices, find_unused_parameters=True
    )


@contextmanager
def without_sync(model: nn.Module, skip: bool) -> Generator[None]:
    """Keep gradients to this process while `skip`, for all forwards of a step but the last."""
    if skip and isinstance(model, nn.parallel.DistributedDataParallel):
        with model.no_sync():
            yield
    else:
        yield
