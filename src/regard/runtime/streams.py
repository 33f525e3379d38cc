"""Batches side by side, one to a thread, where that beats all threads at one batch."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch
from torch import nn

from regard.runtime.fused import watched
from regard.runtime.optimize import precision_of

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def streams_of(model: nn.Module) -> int:
    """Return how many batches a model is to work on at a time.

    Products of bytes are so short that threads wait for each other at every one of them. Hooks see
    what the thread does that set them, so a model that is looked at has one stream.
    """
    device = next((each.device for each in model.parameters()), None)
    apart = precision_of(model) == "int8" and device is not None and device.type == "cpu"
    return torch.get_num_threads() if apart and not watched(*model.modules()) else 1


def even_budget(lengths: Sequence[int], budget: int, streams: int) -> int:
    """Return a budget of tokens by which all streams end at about the same time.

    Args:
        lengths: Tokens of each sequence.
        budget: Tokens of a batch at most, give or take a sequence.
        streams: How many batches are worked on at a time.
    """
    total = sum(lengths)
    rounds = max(-(-total // (budget * streams)), 1)
    return total // (rounds * streams) + max(lengths, default=0)


def side_by_side(
    work: Callable[[_Item], _Result], items: Sequence[_Item], streams: int
) -> Iterator[_Result]:
    """Yield what `work` gives for each item, in their order; `streams` are worked on at a time.

    What `work` raises is raised where its result would come. What has not begun when the caller
    stops listening is not done.
    """
    if streams < 2 or len(items) < 2:
        yield from map(work, items)
        return
    futures = [_pool(streams).submit(work, item) for item in items]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


@cache
def _pool(streams: int) -> ThreadPoolExecutor:
    """Return threads whose products have one thread each.

    They stay, for the memory that a thread has freed is kept for the same thread.
    """
    threads, meeting = torch.get_num_threads(), Barrier(streams)
    pool = ThreadPoolExecutor(streams, "regard", _be_alone)
    for begun in [pool.submit(meeting.wait) for _ in range(streams)]:
        begun.result()
    torch.set_num_threads(threads)  # torch keeps the number for threads that come later
    return pool


def _be_alone() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread takes over the number when it first asks for it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of the threads
