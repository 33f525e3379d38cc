"""Examples that are read while they are used, for files larger than memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import cast

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from regard.data.examples import Row
from regard.data.mapping import Columns, Function, call, checked_size, owned_rows, staying
from regard.data.origin import Place
from regard.data.sources import Source, common_names
from regard.errors import DataError

#: An example and where it came from.
Item = tuple[Place, Row]


class ExampleStream(IterableDataset[Row]):
    """Examples one after the other, from files or any other source, in bounded memory.

    An epoch is a function of the files, the steps (`map`, `shuffle`, ...) and the number of the
    epoch, and of nothing else: ``stream.skip(n)`` goes on exactly where a run stopped. Every method
    returns a new stream. In a `DataLoader` with workers, each worker takes its share.

    Args:
        items: Starts an epoch, given its number.
        epoch: The number of the epoch that iterating gives.
    """

    def __init__(self, items: Callable[[int], Iterator[Item]], epoch: int = 0):
        self._items = items
        self.epoch = epoch

    @classmethod
    def from_sources(cls, sources: Sequence[Source]) -> "ExampleStream":
        """Return the stream of the examples of several sources, one source after the other."""
        common_names(sources)
        return cls(partial(_read, tuple(sources)))

    def __iter__(self) -> Iterator[Row]:
        """Iterate over one epoch, or over this worker's share of it."""
        worker = get_worker_info()
        items = self._items(self.epoch)
        if worker is not None:
            items = islice(items, worker.id, None, worker.num_workers)
        return (row for _, row in items)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be epoch `epoch`: shuffling differs from epoch to epoch."""
        self.epoch = epoch

    def shuffle(self, seed: int, buffer_size: int = 10_000) -> "ExampleStream":
        """Mix the examples: each one taken is drawn from the next `buffer_size`."""
        if buffer_size < 1:
            raise DataError(f"buffer_size={buffer_size}; wanted at least 1")
        return self._then(partial(_shuffled, self._items, seed, buffer_size))

    def map(
        self,
        function: Function,
        batched: bool = False,
        batch_size: int = 1000,
        remove_columns: Iterable[str] = (),
    ) -> "ExampleStream":
        """Add or replace columns; see `Examples.map`."""
        size = batch_size if batched else None
        checked_size(size)
        return self._then(partial(_mapped, self._items, function, size, set(remove_columns)))

    def skip(self, count: int) -> "ExampleStream":
        """Leave out the first `count` examples: those that a run has used before it stopped."""
        return self._then(partial(_sliced, self._items, count, None, 1))

    def take(self, count: int) -> "ExampleStream":
        """Keep only the first `count` examples."""
        return self._then(partial(_sliced, self._items, 0, count, 1))

    def shard(self, rank: int, world: int) -> "ExampleStream":
        """Keep every `world`-th example from number `rank` on: the share of one process."""
        if not 0 <= rank < world:
            raise DataError(f"rank={rank} of world={world}; wanted 0 <= rank < world")
        return self._then(partial(_sliced, self._items, rank, None, world))

    def _then(self, items: Callable[[int], Iterator[Item]]) -> "ExampleStream":
        return ExampleStream(items, self.epoch)


def _read(sources: Sequence[Source], epoch: int) -> Iterator[Item]:
    for source in sources:
        for file, number, values in source.rows():
            row = dict(zip(source.names, values, strict=True))
            yield Place(file, number, source.unit), row


def _sliced(
    items: Callable[[int], Iterator[Item]], start: int, stop: int | None, step: int, epoch: int
) -> Iterator[Item]:
    return islice(items(epoch), start, stop, step)


def _shuffled(
    items: Callable[[int], Iterator[Item]], seed: int, size: int, epoch: int
) -> Iterator[Item]:
    generator = np.random.default_rng((seed, epoch))
    stream = items(epoch)
    buffer = list(islice(stream, size))
    while newcomers := list(islice(stream, min(size, 1024))):  # one draw for many is faster
        places = cast("list[int]", generator.integers(len(buffer), size=len(newcomers)).tolist())
        for place, newcomer in zip(places, newcomers, strict=True):
            yield buffer[place]
            buffer[place] = newcomer
    for index in generator.permutation(len(buffer)).tolist():
        yield buffer[index]


def _mapped(
    items: Callable[[int], Iterator[Item]],
    function: Function,
    size: int | None,
    removed: set[str],
    epoch: int,
) -> Iterator[Item]:
    stream = items(epoch)
    while batch := list(islice(stream, size or 1)):
        places = [place for place, _ in batch]
        columns: Columns = {name: [row[name] for _, row in batch] for name in batch[0][1]}
        made, count = call(function, columns, places[0], batched=size is not None)
        owners = owned_rows(made, count)
        stay = staying(columns, made, removed, same=owners == list(range(count)))
        found = {**{name: columns[name] for name in stay}, **made}
        rows = [
            dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)
        ]
        # Where nobody says whose a row is, the batch's first example is the best that is known.
        of = [places[0]] * len(rows) if owners is None else [places[owner] for owner in owners]
        yield from zip(of, rows, strict=True)
