"""Which examples share a batch."""

from collections.abc import Iterator, Sequence


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
