"""Spans of tokens cut out, hidden and permuted, in all rows of a batch at once.

One tool does most of it, `compact`: values beside a mask that says which of them are kept, moved to
the left of their rows.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor


class Rows(NamedTuple):
    """Rows of different length in one rectangle: `values` counts where `kept` is true."""

    values: Int[Tensor, "rows columns"]
    kept: Bool[Tensor, "rows columns"]


def compact(rows: Rows) -> Rows:
    """Move what is kept to the left of its row, and cut the rectangle to the longest row."""
    width = max(int(rows.kept.sum(1).max()), 1)
    order = (~rows.kept).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
    return Rows(rows.values.gather(1, order), rows.kept.gather(1, order))


def join(*parts: Rows) -> Rows:
    """Put rows one behind the other."""
    return compact(
        Rows(torch.cat([p.values for p in parts], 1), torch.cat([p.kept for p in parts], 1))
    )


def noise_spans(
    lengths: Int[Tensor, " rows"],
    density: float,
    mean: float,
    generator: Generator | None = None,
) -> Int[Tensor, "rows columns"]:
    """Return for each token the number of the span that it is cut out with, or -1.

    A row of n tokens loses ``round(n * density)``, at least 1 and not all, in spans of `mean`
    tokens on average, lengths drawn evenly from all ways to divide them; so are the lengths of what
    stays between. A row begins with what stays, and ends with a span, as in the T5 code.

    Args:
        lengths: Tokens of each row.
        density: The share to cut out.
        mean: Tokens of a span on average.
        generator: Where all random numbers come from.
    """
    width = max(int(lengths.max()), 1)
    lost = (lengths * density).round().long().clamp(min=1).minimum((lengths - 1).clamp(min=0))
    stay = lengths - lost
    spans = (lost / mean).round().long().clamp(min=1).minimum(lost).minimum(stay)
    columns = torch.arange(width).expand(len(lengths), -1)
    keys = [
        torch.where(
            columns < count[:, None],
            2 * _divide(count, spans, width, generator) + odd,
            2 * width + 2,
        )
        for count, odd in ((stay, 0), (lost, 1))
    ]
    # What stays of part 0, span 0, what stays of part 1, span 1, ...
    order = torch.cat(keys, 1).sort(dim=1).values[:, :width]
    cut = (order % 2 == 1) & (columns < lengths[:, None])
    return torch.where(cut, order // 2, -1)


def permute_sentences(
    rows: Rows, ends: Bool[Tensor, "rows columns"], generator: Generator | None = None
) -> Rows:
    """Return compact rows with their sentences in random order.

    Args:
        rows: The rows.
        ends: True at the last token of each sentence; the rest of a row is a sentence too.
        generator: Where all random numbers come from.
    """
    sentence = ends.long().cumsum(1) - ends.long()
    keys = torch.rand(ends.shape, generator=generator).gather(1, sentence)
    order = keys.masked_fill(~rows.kept, 2.0).argsort(dim=1, stable=True)
    return Rows(rows.values.gather(1, order), rows.kept)


def infill(
    rows: Rows,
    count: Int[Tensor, " rows"],
    mask: int,
    poisson_lambda: float,
    generator: Generator | None = None,
) -> Rows:
    """Replace spans of tokens by one `mask` each.

    Span lengths are drawn until they hold `count` tokens, the last one cut to fit; spans of no
    token insert a mask. Then the spans and the tokens that stay are laid in an order drawn evenly
    from all orders that keep the tokens' own.

    Args:
        rows: Compact rows.
        count: How many tokens of each row to hide.
        mask: What stands for a span.
        poisson_lambda: Tokens of a span on average.
        generator: Where all random numbers come from.
    """
    # More draws than are ever needed, so that how many are made depends on the shape alone.
    draws = int((2 * int(count.max()) + 40) / poisson_lambda) + 1
    rates = torch.full((len(count), draws), poisson_lambda)
    lengths = torch.poisson(rates, generator=generator).long()
    before = lengths.cumsum(1) - lengths
    used = before < count[:, None]
    lengths = torch.where(used, lengths.minimum(count[:, None] - before), 0)
    # The span that was cut to fit shall not always be the last in the text.
    mixed = torch.rand(used.shape, generator=generator).masked_fill(~used, 2.0).argsort(1)
    lengths, spans = lengths.gather(1, mixed), used.sum(1)
    total = rows.kept.sum(1) - lengths.sum(1) + spans
    columns = torch.arange(max(int(total.max()), 1)).expand(len(total), -1)
    valid = columns < total[:, None]
    is_mask = _pick(valid, spans, generator)
    number = (is_mask.long().cumsum(1) - 1).clamp(min=0)
    taken = torch.where(is_mask, lengths.gather(1, number), 1)
    token = (taken.cumsum(1) - taken).clamp(max=rows.values.shape[1] - 1)
    return Rows(rows.values.gather(1, token).masked_fill(is_mask, mask), valid)


def span_starts(spans: Tensor) -> Bool[Tensor, "rows columns"]:
    """Return True at the first token of each span."""
    before = torch.nn.functional.pad(spans, (1, 0), value=-1)[:, :-1]
    return (spans >= 0) & (spans != before)


def _pick(
    valid: Tensor, count: Tensor, generator: Generator | None
) -> Bool[Tensor, "rows columns"]:
    """Pick `count` of the valid places of each row at random."""
    draw = torch.rand(valid.shape, generator=generator).masked_fill(~valid, 2.0)
    return valid & (draw.argsort(1).argsort(1) < count[:, None])


def _divide(
    count: Tensor, parts: Tensor, width: int, generator: Generator | None
) -> Int[Tensor, "rows columns"]:
    """Divide `count` things into `parts` that are not empty; return the part of each thing."""
    columns = torch.arange(width).expand(len(count), -1)
    inner = (columns >= 1) & (columns < count[:, None])
    return _pick(inner, parts - 1, generator).long().cumsum(1)
