"""Which examples share a batch, and in which order the batches come.

Every function is pure: the same arguments give the same batches, so that a run that stopped knows
what it has seen. Shuffled orders depend on `seed` and `epoch`.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, islice

import numpy as np

from regard.errors import notices

#: How many batches' worth of examples are sorted together: enough for equal lengths to meet, few
#: enough for the order to stay random.
MEGABATCH = 50


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group examples into batches of at most `budget` tokens, longest first.

    Without padding the cost of a batch is its tokens, so tokens are what a batch is measured in.
    Sorted, because neighbours of equal length share one attention call.

    Args:
        lengths: Tokens of each example.
        budget: Tokens in one batch; an example that is longer by itself is a batch by itself.

    Yields:
        Indices into `lengths`; every index once.
    """
    if budget < 1:
        raise ValueError(f"a batch needs a budget of at least one token; found {budget}")
    batch: list[int] = []
    used = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and used + lengths[index] > budget:
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += lengths[index]
    if batch:
        yield batch


def batches_by_size(
    count: int,
    batch_size: int,
    *,
    seed: int | None = None,
    epoch: int = 0,
    drop_last: bool = False,
) -> list[list[int]]:
    """Group examples into batches of `batch_size`.

    Args:
        count: How many examples there are.
        batch_size: Examples in a batch; the last one may have fewer.
        seed: Shuffles them; None keeps the order.
        epoch: The number of the epoch; each has another order.
        drop_last: Whether to leave out a last batch that is not full.
    """
    return _cut(_order(count, seed, epoch), batch_size, drop_last)


def group_by_length(
    lengths: Sequence[int],
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    drop_last: bool = False,
) -> list[list[int]]:
    """Group examples of similar length into batches of `batch_size`, in an order that is random.

    The shuffled examples are cut into megabatches of at most `MEGABATCH` batches, and each of these
    is sorted, longest first. The longest example of all is in the first batch, so that memory that
    does not suffice is known at once.

    Args:
        lengths: Tokens of each example.
        batch_size: Examples in a batch; the last one may have fewer.
        seed: Shuffles them.
        epoch: The number of the epoch; each has another order.
        drop_last: Whether to leave out a last batch that is not full.
    """
    order = grouped(_order(len(lengths), seed, epoch), lengths, batch_size)
    return _cut(order, batch_size, drop_last)


def batches_by_tokens(
    lengths: Sequence[int], budget: int, *, seed: int = 0, epoch: int = 0
) -> list[list[int]]:
    """Group examples of similar length into batches of at most `budget` tokens, in random order.

    Like `group_by_length`, with batches that cost the same instead of counting the same; the
    batches are shuffled too.

    Args:
        lengths: Tokens of each example.
        budget: Tokens in one batch; an example that is longer by itself is a batch by itself.
        seed: Shuffles examples and batches.
        epoch: The number of the epoch; each has another order.
    """
    order = _order(len(lengths), seed, epoch)
    mean = max(sum(lengths) / max(len(lengths), 1), 1)
    size = max(int(MEGABATCH * budget / mean), 1)
    found: list[list[int]] = []
    for part in _parts(order, size):
        cut = token_batches([lengths[index] for index in part], budget)
        found += [[part[place] for place in batch] for batch in cut]
    return [found[place] for place in _order(len(found), seed, epoch, 1)]


def mixed_batches(
    plans: Sequence[Callable[[int], list[list[int]]]],
    temperature: float = 1.0,
    *,
    seed: int = 0,
    epoch: int = 0,
) -> list[list[int]]:
    """Mix the batches of several data sets, in an order that is random.

    An epoch has as many batches as all data sets together. Each data set goes on where the epoch
    before left it, however often it has to begin again; so of one that is rarely drawn everything
    is seen in the end.

    Args:
        plans: For each data set, what maps the number of a pass over it to its batches.
        temperature: See `temperature_counts`.
        seed: Shuffles the order of the data sets.
        epoch: The number of the epoch.
    """
    shares = temperature_counts([len(plan(0)) for plan in plans], temperature)
    streams = [
        islice(chain.from_iterable(map(plan, count())), epoch * share, None)
        for plan, share in zip(plans, shares, strict=True)
    ]
    turns = [number for number, share in enumerate(shares) for _ in range(share)]
    return [next(streams[turns[place]]) for place in _order(len(turns), seed, epoch, 2)]


def temperature_counts(sizes: Sequence[int], temperature: float = 1.0) -> list[int]:
    """Return how many batches of an epoch each of several data sets gets (Aharoni et al. 2019, 5).

    The shares are as ``size ** (1 / temperature)``: with 1 every data set gets what it has, with
    infinity all get equally many. None gets nothing.

    Args:
        sizes: How many batches each has.
        temperature: Above zero.
    """
    if min(sizes, default=0) < 1:
        raise ValueError(f"every data set needs a batch at least; found {[*sizes]}")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}; wanted a number above zero")
    # Relative to the largest, or a low temperature overflows.
    parts = (np.array(sizes) / max(sizes)) ** (1 / temperature)
    wanted = parts / parts.sum() * sum(sizes)
    counts = np.maximum(np.floor(wanted + 1e-9), 1)
    # What rounding down left over goes to those that it took most from.
    left = max(int(sum(sizes) - counts.sum()), 0)
    counts[np.argsort(counts - wanted, kind="stable")[:left]] += 1
    while counts.sum() > sum(sizes):  # what the smallest got beyond their shares
        counts[counts.argmax()] -= 1
    return [int(each) for each in counts]


def share(batches: Sequence[list[int]], rank: int, world: int) -> list[list[int]]:
    """Return the batches of one of several processes; all get equally many.

    Step ``i`` of all processes together has the batches ``i * world`` to ``(i + 1) * world``. When
    the last step has too few, its largest batches are halved until every process has one. So each
    example is in one batch of one process; only where single examples are left that cannot be
    halved, these are left out, with a notice.

    Args:
        batches: The batches of an epoch, the same in all processes.
        rank: The number of this process, from 0.
        world: How many processes there are.
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank={rank} of world={world}; wanted 0 <= rank < world")
    whole = len(batches) // world * world
    last = [list(batch) for batch in batches[whole:]]
    while 0 < len(last) < world:
        largest = max(range(len(last)), key=lambda place: len(last[place]))
        batch = last[largest]
        if len(batch) < 2:
            notices.warning(
                "%d examples are left out of this epoch: %d processes cannot share them",
                *(len(last), world),
            )
            last = []
            break
        middle = (len(batch) + 1) // 2
        last[largest : largest + 1] = [batch[:middle], batch[middle:]]
    return [*batches[:whole], *last][rank::world]


def grouped(order: Sequence[int], lengths: Sequence[int], batch_size: int) -> list[int]:
    """Return `order` sorted by length within megabatches; see `group_by_length`."""
    _check_size(batch_size)
    # A quarter of the examples at most, so that small sets are still shuffled.
    size = max(min(len(order) // (4 * batch_size), MEGABATCH), 1) * batch_size
    parts = [sorted(part, key=lambda i: -lengths[i]) for part in _parts(order, size)]
    if parts:
        longest = max(range(len(parts)), key=lambda place: lengths[parts[place][0]])
        parts[0][0], parts[longest][0] = parts[longest][0], parts[0][0]
    return [*chain.from_iterable(parts)]


def _order(count: int, seed: int | None, epoch: int, stream: int = 0) -> list[int]:
    """Return the numbers below `count` in the order of an epoch, which may have several streams."""
    if seed is None:
        return [*range(count)]
    return np.random.default_rng((seed, epoch, stream)).permutation(count).tolist()


def _parts(order: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield [*order[start : start + size]]


def _cut(order: Sequence[int], batch_size: int, drop_last: bool) -> list[list[int]]:
    _check_size(batch_size)
    found = [*_parts(order, batch_size)]
    return found[:-1] if drop_last and found and len(found[-1]) < batch_size else found


def _check_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; wanted at least 1")
