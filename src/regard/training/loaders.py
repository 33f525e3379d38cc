"""Batches for training and evaluation: which examples, in which order, on which process."""

import hashlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from regard.data.collate import DataCollatorWithPadding, default_data_collator
from regard.data.sampling import batches_by_size, batches_by_tokens, group_by_length, share
from regard.errors import ConfigError, listing, notices
from regard.models.losses import Labelled
from regard.training.arguments import TrainingArguments
from regard.training.distributed import Processes


class EpochBatches(Sampler[list[int]]):
    """The batches of one pass on one process; it can begin in the middle, for a resumed run.

    Args:
        batches: Maps the number of a pass to its batches, lists of example numbers.
    """

    def __init__(self, batches: Callable[[int], list[list[int]]]) -> None:
        self._batches = batches
        self.start = 0
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the pass, and how many of its batches to leave out."""
        self.epoch, self.start = epoch, start
        self.current = self._batches(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.current[self.start :]

    def __len__(self) -> int:
        return len(self.current)


class BatchMaker:
    """Makes a batch of numbered examples.

    Attributes:
        epoch: The pass that it is for.
    """

    epoch: int = 0

    def __call__(self, numbered: list[tuple[int, Any]]) -> Any:
        """Make one batch."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it makes a batch")


class Numbered(Dataset[tuple[int, Any]]):
    """A dataset whose examples know their numbers.

    Where examples are read by other processes, what one draws at random depends on the seed, the
    pass and its number: not on which process reads it, and after which others.

    Args:
        dataset: The examples.
        maker: Knows the pass.
        seed: Of the random draws.
    """

    def __init__(self, dataset: Any, maker: BatchMaker, seed: int) -> None:
        self.dataset, self.maker, self.seed = dataset, maker, seed

    def __getitem__(self, index: int) -> tuple[int, Any]:
        if get_worker_info() is not None:
            seed = seed_of(self.seed, self.maker.epoch, index)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
        return index, self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)


def seed_of(*what: Any) -> int:
    """Return a seed that depends on all of `what`."""
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=7).digest())


class Collate(BatchMaker):
    """Keeps the columns that the model takes, and lets a collator make tensors of the rest.

    A collator that draws at random (it has an argument ``generator``) is given a generator that
    depends on the seed, the pass and the examples: no restart and no other process changes a batch.

    Args:
        collator: Maps a list of examples to tensors by name.
        columns: Columns to keep; None keeps all.
        seed: Of the random draws.
    """

    def __init__(
        self, collator: Callable[..., Any], columns: tuple[str, ...] | None, seed: int
    ) -> None:
        self.collator, self.columns, self.seed = collator, columns, seed
        self.random = "generator" in inspect.signature(collator).parameters

    def __call__(self, numbered: list[tuple[int, Any]]) -> Any:
        """Make one batch."""
        features = [self._kept(feature) for _, feature in numbered]
        if not self.random:
            return self.collator(features)
        seed = seed_of(self.seed, self.epoch, [number for number, _ in numbered])
        return self.collator(features, generator=torch.Generator().manual_seed(seed))

    def _kept(self, feature: Any) -> Any:
        if self.columns is None or not isinstance(feature, Mapping):
            return feature
        given = cast("Mapping[str, Any]", feature)
        kept = {name: value for name, value in given.items() if name in self.columns}
        if not kept:
            raise ConfigError(
                f"no column of the data is an argument of the model: the data has "
                f"{listing(given)}, the model takes {listing(self.columns)}. Tokenize the texts "
                "first, or set remove_unused_columns=False for a collator that does"
            )
        return kept


def default_collator(processing_class: Any) -> Callable[..., Any]:
    """Return what makes batches when the caller does not say: padding, if there is a tokenizer."""
    pads = callable(getattr(processing_class, "pad", None))
    return DataCollatorWithPadding(processing_class) if pads else default_data_collator


def columns_of(model: nn.Module, labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the columns that a model's ``forward`` takes, and those that become labels.

    None if it names none, as one that passes all on to another model.
    """
    forward = inspect.signature(model.forward).parameters.values()
    named = [
        each.name for each in forward if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    return (*named, *labels, "label", "label_ids") if named else None


def label_names_of(model: nn.Module) -> list[str]:
    """Return the arguments of a model's ``forward`` that are labels."""
    names = [*inspect.signature(model.forward).parameters]
    known = model.label_arguments if isinstance(model, Labelled) else ()
    spans = ("start_positions", "end_positions")
    return [name for name in names if "label" in name or name in (*spans, *known)]


def batch_size(inputs: Mapping[str, Any]) -> int:
    """Return how many examples a batch has."""
    return len(next(value for value in inputs.values() if isinstance(value, Tensor)))


def token_count(inputs: Mapping[str, Any]) -> int:
    """Return how many tokens a batch has that are no padding; 0 if it is no text."""
    for name in ("attention_mask", "input_ids"):
        if isinstance(inputs.get(name), Tensor):
            given = cast("Tensor", inputs[name])
            return given.numel() if name == "input_ids" else int(given.sum())
    return 0


def train_loader(
    dataset: Any, collate: BatchMaker, args: TrainingArguments, processes: Processes
) -> DataLoader[Any]:
    """Return the batches to train on; the same on every restart.

    A step of several processes has the batches of as many forwards of one process.
    """
    if is_stream(dataset):
        if args.per_device_train_tokens is not None:
            raise ConfigError("per_device_train_tokens needs a dataset with a length")
        size = args.per_device_train_batch_size
        least = processes.world_size * (size if args.dataloader_drop_last else 1)
        stream = ShareOfStream(dataset, size, processes, least)
        return _stream_loader(stream, collate, args)
    return planned_loader(dataset, batch_plan(dataset, args), collate, args, processes)


def planned_loader(
    dataset: Any,
    plan: Callable[[int], list[list[int]]],
    collate: BatchMaker,
    args: TrainingArguments,
    processes: Processes,
) -> DataLoader[Any]:
    """Return this process's share of the batches that `plan` gives for each pass."""
    if len(dataset) < processes.world_size:
        raise ConfigError(
            f"train_dataset has {len(dataset)} examples for {processes.world_size} processes"
        )

    def batches(epoch: int) -> list[list[int]]:
        return share(plan(epoch), processes.rank, processes.world_size)

    return _loader(dataset, EpochBatches(batches), collate, args)


def batch_plan(dataset: Any, args: TrainingArguments) -> Callable[[int], list[list[int]]]:
    """Return what maps the number of a pass to its batches, for all processes together."""
    measured = args.per_device_train_tokens or args.train_sampling_strategy == "group_by_length"
    lengths = lengths_of(dataset, args.length_column_name) if measured else None
    return lambda epoch: _plan(len(dataset), lengths, args, epoch)


def eval_loader(
    dataset: Any, collate: BatchMaker, args: TrainingArguments, processes: Processes
) -> DataLoader[Any]:
    """Return the batches to evaluate on: every example once, those of similar length together."""
    size = args.per_device_eval_batch_size
    if is_stream(dataset):
        stream = ShareOfStream(dataset, size, processes, least=1)
        return _stream_loader(stream, collate, args)
    lengths = lengths_of(dataset, args.length_column_name)
    order = sorted(range(len(dataset)), key=lambda i: -lengths[i])
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    mine = batches[processes.rank :: processes.world_size]
    return _loader(dataset, EpochBatches(lambda _: mine), collate, args)


def lengths_of(dataset: Any, column: str) -> list[int]:
    """Return how many tokens each example has: from its column of lengths, or measured.

    Of examples without tokens (pictures) every one counts the same, and only the first is read.
    """
    if not len(dataset) or not _has_tokens(dataset[0], column):
        return [1] * len(dataset)
    lengths: list[int] = []
    for index in range(len(dataset)):
        example = dataset[index]
        if isinstance(example, Mapping) and column in example:
            lengths.append(int(cast("Any", example[column])))
        elif isinstance(example, Mapping) and "input_ids" in example:
            lengths.append(len(cast("Any", example["input_ids"])))
        else:
            lengths.append(1)
    return lengths


def _has_tokens(example: Any, column: str) -> bool:
    return isinstance(example, Mapping) and (column in example or "input_ids" in example)


def _plan(
    count: int, lengths: list[int] | None, args: TrainingArguments, epoch: int
) -> list[list[int]]:
    """Return the batches of one pass, for all processes together."""
    seed = args.seed if args.data_seed is None else args.data_seed
    size, last = args.per_device_train_batch_size, args.dataloader_drop_last
    if args.per_device_train_tokens is not None and lengths is not None:
        return batches_by_tokens(lengths, args.per_device_train_tokens, seed=seed, epoch=epoch)
    if args.train_sampling_strategy == "group_by_length" and lengths is not None:
        return group_by_length(lengths, size, seed=seed, epoch=epoch, drop_last=last)
    shuffled = seed if args.train_sampling_strategy == "random" else None
    return batches_by_size(count, size, seed=shuffled, epoch=epoch, drop_last=last)


def _loader(
    dataset: Any, batches: EpochBatches, collate: BatchMaker, args: TrainingArguments
) -> DataLoader[Any]:
    return DataLoader(
        Numbered(dataset, collate, args.seed if args.data_seed is None else args.data_seed),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
        # Its own, so that making an iterator draws nothing from the generator of dropout.
        generator=torch.Generator().manual_seed(args.seed),
    )


class ShareOfStream(IterableDataset[tuple[int, Any]]):
    """Every example of a stream that is this process's, numbered.

    Processes that train together need equally many batches, so the stream is dealt out a batch for
    each at a time, and its last examples evenly.

    Args:
        stream: The examples.
        size: Examples in a batch.
        processes: Who shares them.
        least: With fewer examples than this at the end, they are left out.
    """

    def __init__(self, stream: Any, size: int, processes: Processes, least: int) -> None:
        self.stream, self.size, self.processes, self.least = stream, size, processes, least

    def set_epoch(self, epoch: int) -> None:
        """Let a stream that can be mixed otherwise in every pass do so."""
        if callable(getattr(self.stream, "set_epoch", None)):
            self.stream.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        rank, world = self.processes.rank, self.processes.world_size
        numbered = enumerate(self.stream)
        while block := [*islice(numbered, self.size * world)]:
            if len(block) < self.least:
                notices.warning("the last %d examples of the stream are left out", len(block))
                return
            yield from block[rank * len(block) // world : (rank + 1) * len(block) // world]


def _stream_loader(
    dataset: ShareOfStream, collate: BatchMaker, args: TrainingArguments
) -> DataLoader[Any]:
    if args.dataloader_num_workers:
        raise ConfigError("a stream is read in this process: set dataloader_num_workers=0")
    generator = torch.Generator().manual_seed(args.seed)
    return DataLoader(dataset, batch_size=dataset.size, collate_fn=collate, generator=generator)


def is_stream(dataset: Any) -> bool:
    """Whether the end of some data is only known when it is read."""
    return not hasattr(dataset, "__len__")
