"""Batches side by side, one to a thread, where that beats all threads at one batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    threads = torch.get_num_threads()
    # A thread's own products have one thread; torch keeps the number for all that come later too.
    pool = ThreadPoolExecutor(streams, "regard", torch.set_num_threads, (1,))
    try:
        for future in [pool.submit(work, item) for item in items]:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
