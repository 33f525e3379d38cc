"""What a run will do, before it does: examples, tokens, steps, what trains, memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import ConfigError
from regard.models.model import PreTrainedModel
from regard.models.summary import BYTES
from regard.training import loaders
from regard.training.job import Part, Run
from regard.training.optimizers import OPTIMIZERS
from regard.training.settings import ALONE


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        task, model, device: What is trained, and where; several tasks with their names.
        parameters: How many the model has.
        trained: How many of them train, by the module that they are in.
        labels: What the model tells apart, if it has such a head; of several tasks with the task.
        examples: How many rows there are to train on and to evaluate on, of each task; a long text
            may be several.
        tokens: In one pass.
        lengths: Tokens of a row: mean, median, longest, and the limit.
        at_limit: How many rows are as long as the limit; many of these were cut.
        steps: Of the optimiser, in all.
        steps_in_epoch: In one pass.
        warmup: Steps in which the learning rate rises.
        first_loss: The loss of the largest batch, before training.
        memory: Bytes by what they are for: the model in training, and what the largest batch keeps
            for the backward pass.
    """

    task: str
    model: str
    device: str
    parameters: int
    trained: Mapping[str, int]
    labels: Sequence[str]
    examples: Mapping[str, int]
    tokens: int
    lengths: Mapping[str, float]
    at_limit: int
    steps: int
    steps_in_epoch: int
    warmup: int
    first_loss: float
    memory: Mapping[str, int]


def plan_of(run: Run) -> Plan:
    """Return the plan of a run; one batch, the one with the most tokens, is computed for it."""
    trainer, args, parts = run.trainer, run.trainer.args, run.parts
    model = cast("PreTrainedModel", trainer.model)
    if not all(hasattr(part.training.dataset, "__len__") for part in parts.values()):
        raise ConfigError("a stream is not counted before it is read: plan without streaming")
    each = [_lengths(part.training.dataset, args.length_column_name) for part in parts.values()]
    limits = [part.task.length(part.processor, part.config) for part in parts.values()]
    lengths = np.concatenate(each)
    loader = trainer.get_train_dataloader()
    in_epoch = math.ceil(len(loader) / args.gradient_accumulation_steps)
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * in_epoch)
    parameters = [*model.named_parameters()]
    loss, kept = _largest_batch(trainer, loader, lengths)
    return Plan(
        task=", ".join(_named(name, part.task.name) for name, part in parts.items()),
        model=type(model).__name__,
        device=str(trainer.processes.device),
        parameters=sum(each.numel() for _, each in parameters),
        trained=_trained(parameters),
        labels=[_named(n, label) for n, part in parts.items() for label in _labels(part)],
        examples=_examples(parts),
        tokens=int(lengths.sum()),
        lengths={
            "mean": float(lengths.mean()),
            "median": float(np.median(lengths)),
            "longest": int(lengths.max()),
            "limit": max(limits),
        },
        at_limit=sum(int((own >= most).sum()) for own, most in zip(each, limits, strict=True)),
        steps=steps,
        steps_in_epoch=in_epoch,
        warmup=args.warmup(steps),
        first_loss=loss,
        memory={
            "weights and optimiser": _state_bytes(parameters, args.optim),
            "largest batch": kept,
        },
    )


def _named(task: str, what: str) -> str:
    """Return what is said of one of several tasks, which has a name."""
    return what if task == ALONE else f"{task} {what}"


def _lengths(dataset: Any, column: str) -> NDArray[Any]:
    return np.array(loaders.lengths_of(dataset, column), dtype=np.int64)


def _examples(parts: Mapping[str, Part]) -> dict[str, int]:
    """Return how many rows each part of the data has."""
    found: dict[str, int] = {}
    for name, part in parts.items():
        found[_named(name, "training")] = len(part.training.dataset)
        if part.validation is not None:
            found[_named(name, "validation")] = len(part.validation.dataset)
    return found


def _labels(part: Part) -> list[str]:
    """Return the labels that the configuration of a head names, where its scores are of these."""
    heads = ("SequenceClassification", "TokenClassification", "ImageClassification")
    named = part.task.auto.head in heads and part.config.problem_type != "regression"
    return [*(part.config.label2id or {})] if named else []


def _trained(parameters: list[tuple[str, Any]]) -> dict[str, int]:
    """Return how many parameters train, by the first part of their names."""
    found: dict[str, int] = {}
    for name, each in parameters:
        if each.requires_grad:
            part = name.partition(".")[0]
            found[part] = found.get(part, 0) + each.numel()
    return found


def _state_bytes(parameters: list[tuple[str, Any]], optimizer: str) -> int:
    """Return the bytes of weights, gradients and what the optimiser keeps of each."""
    averages = 2 if OPTIMIZERS[optimizer].adam else 1
    total = 0
    for _, each in parameters:
        total += each.nbytes
        if each.requires_grad:
            total += each.nbytes + averages * BYTES["float32"] * each.numel()
    return total


def _largest_batch(trainer: Any, loader: Any, lengths: Any) -> tuple[float, int]:
    """Return the loss of the batch with most tokens, and the bytes that its backward pass needs."""
    numbers = max(loader.batch_sampler.current, key=lambda batch: int(lengths[batch].sum()))
    inputs = trainer.on_device(loader.collate_fn([loader.dataset[n] for n in numbers]))
    own = {each.untyped_storage().data_ptr() for each in trainer.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    trainer.model.train()
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, trainer.autocast(), trainer.asked_loss():
        loss = trainer.compute_loss(trainer.model, inputs)
    trainer.model.eval()
    return float(loss.detach()), sum(kept.values())
