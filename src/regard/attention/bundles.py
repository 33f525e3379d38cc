"""Attention for training on a processor: few large products instead of many small ones.

A batch of ragged sequences has nearly as many lengths as sequences, and one call of attention for
each length is many small ones, each with its share of overhead, forwards and backwards. Here
neighbouring lengths are gathered in bundles, padded to the longest of each; the products of a
bundle are taken in one call, and the gradients are written down rather than left to autograd.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, TypeGuard, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from regard.attention.patterns import ALL, Pattern
from regard.batch import Layout
from regard.crossing import Crossing, Scope, Stored
from regard.dropout import keep

#: What a bundle costs by itself, in scored pairs of tokens: the time of some forty small calls.
OVERHEAD = 2048
#: Longer sequences are left to the fused kernel, which never holds all scores; it knows no dropout.
LONGEST = 512


@dataclass(frozen=True, eq=False)
class Bundle:
    """Sequences that are scored together.

    Attributes:
        count: How many.
        queries: Queries of the one that has most.
        keys: Keys of the one that has most.
        hidden: Minus infinity where a query may not see a key, else zero; of a shape that fits
            (count * heads, queries, keys). None where all see all.
    """

    count: int
    queries: int
    keys: int
    hidden: Tensor | None


@dataclass(frozen=True, eq=False)
class Bundles:
    """How the sequences of a scope are gathered, and put back.

    The rows of a bundle are, for each sequence, for each head, the tokens.

    Attributes:
        parts: The bundles.
        queries: (query rows,) which query and head, ``token * heads + head``, stands in each row.
        keys: (key rows,) the same of the keys.
        query_rows: (tokens * heads,) the row of each query and head.
        key_rows: (key tokens * heads,) the row of each key and head.
        padding: (rows,) query rows in which there is no query.
    """

    parts: tuple[Bundle, ...]
    queries: Tensor
    keys: Tensor
    query_rows: Tensor
    key_rows: Tensor
    padding: Tensor


def bundled(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "key_tokens key_heads head_dim"],
    value: Float[Tensor, "key_tokens key_heads head_dim"],
    scope: Layout | Crossing,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Attend in bundles, in single precision, with a backward pass of its own (not twice)."""
    heads = query.shape[1]
    if key.shape[1] != heads:
        key, value = (each.repeat_interleave(heads // key.shape[1], 1) for each in (key, value))
    bundles = scope.once(
        (Bundles, heads, pattern.causal), lambda: gather(scope, heads, pattern.causal)
    )
    scale = query.shape[-1] ** -0.5 if pattern.scale is None else pattern.scale
    with torch.autocast("cpu", enabled=False):  # products this small are slower in half precision
        how = _How(bundles, scale, dropout)
        return cast("Tensor", _Bundled.apply(query, key, value, how))


def worth_it(
    scope: Scope, query: Tensor, pattern: Pattern, dropout: float
) -> TypeGuard[Layout | Crossing]:
    """Whether `bundled` can do it, and faster than the fused kernel."""
    if not query.requires_grad or query.device.type != "cpu" or isinstance(scope, Stored):
        return False
    longest = max(scope.keys.lengths, default=0)
    if (longest > LONGEST and not dropout) or pattern.limits(longest) or not query.numel():
        return False
    return all(block.bias is None for block in scope.blocks)


class _How(NamedTuple):
    bundles: Bundles
    scale: float
    dropout: float


class _Bundled(Function):
    """``dropout(softmax(scale query key^T + hidden)) value`` of each bundle, and its gradients."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, how: _How) -> Tensor:
        bundles, scale, dropout = how
        heads = query.shape[1]
        q = _rows(query, bundles.queries)
        k, v = _rows(key, bundles.keys), _rows(value, bundles.keys)
        mixed, saved = torch.empty_like(q), list[Tensor]()
        sizes = [part.count * heads * part.queries * part.keys for part in bundles.parts]
        factors = _split(keep(sum(sizes), dropout), sizes) if dropout else [None] * len(sizes)
        for part, factor, q_, out, k_, v_ in zip(
            bundles.parts, factors, *_views(bundles, heads, (q, mixed), (k, v)), strict=True
        ):
            turned = k_.transpose(1, 2)
            if part.hidden is None:
                scores = torch.bmm(q_, turned).mul_(scale)
            else:
                scores = torch.baddbmm(part.hidden.to(q.dtype), q_, turned, alpha=scale)
            weights = scores.softmax(-1)
            saved.append(weights)
            if factor is not None:
                weights = weights * factor.view_as(weights)
            torch.bmm(weights, v_, out=out)
        ctx.save_for_backward(q, k, v, *saved)
        ctx.factors, ctx.bundles, ctx.scale, ctx.heads = factors, bundles, scale, heads
        return _back(mixed, bundles.query_rows, query)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - torch leaves the decorator untyped
        (gradient,) = grad_outputs
        q, k, v, *saved = ctx.saved_tensors
        bundles: Bundles = ctx.bundles
        from_out = _rows(gradient, bundles.queries)
        if len(bundles.padding):
            from_out.index_fill_(0, bundles.padding, 0.0)
        to_q, to_k, to_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        views = _views(bundles, ctx.heads, (q, from_out, to_q), (k, v, to_k, to_v))
        for weights, factor, q_, from_, to_q_, k_, v_, to_k_, to_v_ in zip(
            saved, ctx.factors, *views, strict=True
        ):
            used = weights if factor is None else weights * factor.view_as(weights)
            torch.bmm(used.transpose(1, 2), from_, out=to_v_)
            to_weights = torch.bmm(from_, v_.transpose(1, 2))
            if factor is not None:
                to_weights.mul_(factor.view_as(weights))
            to_scores = torch.ops.aten._softmax_backward_data(
                to_weights, weights, -1, weights.dtype
            )
            to_scores.mul_(ctx.scale)
            torch.bmm(to_scores, k_, out=to_q_)
            torch.bmm(to_scores.transpose(1, 2), q_, out=to_k_)
        rows = ((to_q, bundles.query_rows), (to_k, bundles.key_rows), (to_v, bundles.key_rows))
        return *(_back(each, index, gradient) for each, index in rows), None


def gather(scope: Layout | Crossing, heads: int, causal: bool) -> Bundles:
    """Choose the bundles of a scope: as long as padding costs less than a bundle by itself."""
    rows = _sequences(scope)
    bundles, queries, keys = list[Bundle](), list[Tensor](), list[Tensor]()
    for members in _alike(rows):
        starts, lengths, key_starts, key_lengths = torch.tensor(members).unbind(1)
        longest, longest_key = int(lengths.max()), int(key_lengths.max())
        columns, key_columns = torch.arange(longest), torch.arange(longest_key)
        seen = key_columns < key_lengths[:, None, None]
        if causal:  # the queries are the last of the keys' sequence
            first = (key_lengths - lengths)[:, None, None]
            seen = seen & (first + columns[:, None] >= key_columns)
        hidden = None
        if not bool(seen.all()):
            hidden = torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)
            hidden = hidden.repeat_interleave(heads, 0)
        bundles.append(Bundle(len(members), longest, longest_key, hidden))
        queries.append(_places(starts, lengths, columns, heads))
        keys.append(_places(key_starts, key_lengths, key_columns, heads))
    places, key_places = torch.cat(queries), torch.cat(keys)
    return Bundles(
        tuple(bundles),
        places.clamp(min=0),
        key_places.clamp(min=0),
        _rows_of(places, scope.queries.tokens * heads),
        _rows_of(key_places, scope.keys.tokens * heads),
        (places < 0).nonzero()[:, 0],
    )


def _sequences(scope: Layout | Crossing) -> list[tuple[int, int, int, int]]:
    """Return where the queries of each sequence start, how many there are, and so of its keys."""
    starts = accumulate(scope.queries.lengths, initial=0)
    if isinstance(scope, Layout):
        return [(s, n, s, n) for s, n in zip(starts, scope.lengths, strict=False) if n]
    key_starts = [*accumulate(scope.keys.lengths, initial=0)]
    packed = {row: number for number, row in enumerate(scope.keys.order)}
    numbers = [packed[row] for row in scope.queries.order]
    return [
        (s, n, key_starts[k], scope.keys.lengths[k])
        for s, n, k in zip(starts, scope.queries.lengths, numbers, strict=False)
        if n or scope.keys.lengths[k]  # keys that nothing attends to have gradients of zero
    ]


def _alike(rows: Sequence[tuple[int, int, int, int]]) -> Iterator[list[tuple[int, int, int, int]]]:
    """Divide sequences, in their order, into bundles."""
    members: list[tuple[int, int, int, int]] = []
    queries = keys = pairs = 0
    for row in rows:
        wider, longer = max(queries, row[1]), max(keys, row[3])
        pairs += row[1] * row[3]
        if members and (len(members) + 1) * wider * longer - pairs > OVERHEAD:
            yield members
            members, wider, longer, pairs = [], row[1], row[3], row[1] * row[3]
        members.append(row)
        queries, keys = wider, longer
    if members:
        yield members


def _places(starts: Tensor, lengths: Tensor, columns: Tensor, heads: int) -> Tensor:
    """Return ``token * heads + head`` for each row of a bundle, below 0 where there is no token."""
    tokens = torch.where(columns < lengths[:, None], starts[:, None] + columns, -1)
    return (tokens[:, None] * heads + torch.arange(heads)[:, None]).flatten()


def _rows_of(places: Tensor, count: int) -> Tensor:
    """Return the row of each of `count` tokens and heads."""
    (rows,) = (places >= 0).nonzero(as_tuple=True)
    return torch.empty(count, dtype=torch.int64).index_copy_(0, places[rows], rows)


def _rows(packed: Tensor, index: Tensor) -> Tensor:
    """Return (tokens, heads, head_dim) as the rows of bundles, in single precision or better."""
    rows = packed.flatten(0, 1).index_select(0, index)
    return rows if rows.dtype == torch.float64 else rows.float()


def _back(rows: Tensor, index: Tensor, like: Tensor) -> Tensor:
    """Return the rows of bundles as (tokens, heads, head_dim)."""
    return rows.index_select(0, index).view(-1, *like.shape[1:]).to(like.dtype)


def _views(
    bundles: Bundles, heads: int, queries: Sequence[Tensor], keys: Sequence[Tensor]
) -> list[list[Tensor]]:
    """Return for each tensor of rows its part in each bundle, (count * heads, length, head_dim)."""

    def split(rows: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        counts = [part.count * heads for part in bundles.parts]
        sizes = [count * length for count, length in zip(counts, lengths, strict=True)]
        views = zip(_split(rows, sizes), counts, strict=True)
        return [part.view(count, -1, rows.shape[-1]) for part, count in views]

    wide = [part.queries for part in bundles.parts]
    long = [part.keys for part in bundles.parts]
    return [split(each, wide) for each in queries] + [split(each, long) for each in keys]


def _split(tensor: Tensor, sizes: list[int]) -> list[Tensor]:
    return list(cast("tuple[Tensor, ...]", tensor.split(sizes)))
