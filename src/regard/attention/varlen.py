"""Flash attention over all sequences of a batch in one call (Dao 2023, "FlashAttention-2").

PyTorch's ``torch.nn.attention.varlen`` takes sequences of any lengths, laid end to end: what a
`Layout` is. It computes in half precision on CUDA, and nowhere else. From PyTorch 2.12 on it also
reads keys from pages (Kwon et al. 2023, "PagedAttention", section 4.1), and a cache's slot is one
long page.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regard.attention.patterns import ALL, Pattern
from regard.batch import Layout
from regard.crossing import Crossing, Scope, Stored
from regard.places import Slots

#: Pages that the kernel reads are a multiple of so many tokens long.
PAGE = 256
#: The largest head that it takes.
LARGEST_HEAD = 256


def varlen(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "*key_tokens key_heads head_dim"],
    value: Float[Tensor, "*key_tokens key_heads head_dim"],
    scope: Scope,
    pattern: Pattern = ALL,
    dropout: float = 0.0,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Flash attention over all sequences in one call: half precision on CUDA, nothing else.

    Raises:
        ValueError: What is asked is what it cannot do; use ``"sdpa"``.
    """
    found = obstacle(query, key, scope, pattern, dropout)
    if found is not None:
        raise ValueError(
            f"attention kernel 'varlen' {found}; found {query.dtype} on {query.device}, heads of "
            f"{query.shape[-1]}, {pattern}, dropout {dropout}, PyTorch {torch.__version__}. Use "
            'attn_implementation="sdpa", which takes this kernel wherever it can'
        )
    if not query.shape[0]:
        return torch.empty_like(query)
    flash = _flash()
    if isinstance(scope, Stored):
        return _of_pages(flash, query, key, value, scope, pattern)
    return _of_packed(flash, query, key, value, scope, pattern)


def obstacle(
    query: Tensor, key: Tensor, scope: Scope, pattern: Pattern, dropout: float
) -> str | None:
    """Return why `varlen` cannot do it, or None where it can."""
    if not runs_on(query):
        return "needs half precision on a CUDA device of compute capability 8.0"
    if dropout:
        return "knows no dropout"
    if query.shape[-1] % 8 or query.shape[-1] > LARGEST_HEAD:
        return f"needs heads of a multiple of 8, up to {LARGEST_HEAD}"
    if pattern.scale is not None and not pattern.scale > 0:
        return "needs a scale above 0"
    if _biased(scope):
        return "knows no bias, and this model adds one to its scores"
    return _obstacle_to_pages(query, key, scope) if isinstance(scope, Stored) else None


def reads_pages(like: Tensor) -> bool:
    """Whether the kernel reads pages where a tensor is, and in its precision."""
    return runs_on(like) and _reads_pages(_flash())


def runs_on(query: Tensor) -> bool:
    """Whether the kernel works where a tensor is, and in its precision."""
    half = query.dtype in (torch.float16, torch.bfloat16)
    return query.is_cuda and half and _capability(query.device) >= (8, 0)


@lru_cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def _biased(scope: Scope) -> bool:
    if isinstance(scope, Layout):  # which need not know where its sequences end
        return scope.bias is not None
    return any(block.bias is not None for block in scope.blocks)


def _obstacle_to_pages(query: Tensor, key: Tensor, scope: Stored) -> str | None:
    if not _reads_pages(_flash()):
        return "reads a cache from PyTorch 2.12 on"
    if torch.is_grad_enabled() and query.requires_grad:
        return "has no gradient where it reads a cache"
    if not all(isinstance(b.keys, Slots) and b.keys.consecutive for b in scope.blocks):
        return "reads no cache whose keys do not lie one after the other"
    if key.shape[1] % PAGE:
        return f"reads caches whose slots or pages are a multiple of {PAGE} tokens long"
    return None


def _flash() -> Callable[..., Tensor]:
    from torch.nn.attention.varlen import varlen_attn  # imports a compiler

    return cast("Callable[..., Tensor]", varlen_attn)  # a tuple only when more is asked for


@lru_cache
def _reads_pages(flash: Callable[..., Tensor]) -> bool:
    """Whether this PyTorch has what came with 2.12: pages, and heads that share keys."""
    return "block_table" in inspect.signature(flash).parameters


def _of_packed(
    flash: Callable[..., Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scope: Layout | Crossing,
    pattern: Pattern,
) -> Tensor:
    """Attend to keys that lie end to end."""
    count = len(scope.queries.lengths) - scope.queries.lengths.count(0)  # these come last
    offsets = key_offsets = scope.queries.offsets[: count + 1]  # one, which some kernels look at
    if isinstance(scope, Crossing):
        key_offsets = scope.keys.offsets
        if scope.realigned is not None:
            index, key_offsets = scope.realigned
            key, value = key[index], value[index]
        key_offsets = key_offsets[: count + 1]
    options: dict[str, object] = {}
    if query.shape[1] != key.shape[1] and _reads_pages(flash):
        options["enable_gqa"] = True
    elif query.shape[1] != key.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    return flash(
        query,
        key,
        value,
        offsets,
        key_offsets,
        max(scope.queries.lengths),
        max(scope.keys.lengths),
        scale=pattern.scale,
        window_size=_window(pattern),
        **options,
    )


class _Paged(NamedTuple):
    """What the kernel wants to know of a cache.

    Attributes:
        query_offsets: (sequences + 1,) int32, where the queries of each sequence start.
        key_offsets: (sequences + 1,) int32, the same of keys, as if they lay end to end.
        used: (sequences,) int32, how many keys each has.
        table: (sequences, pages) int32, in which pages.
        longest: The most queries of a sequence, and the most keys.
        in_order: Whether a pattern holds; else all see all that is there, as in a ring.
    """

    query_offsets: Tensor
    key_offsets: Tensor
    used: Tensor
    table: Tensor
    longest: tuple[int, int]
    in_order: bool


def _of_pages(
    flash: Callable[..., Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scope: Stored,
    pattern: Pattern,
) -> Tensor:
    """Attend to what a cache holds, (pages, places, heads, head_dim)."""
    paged = scope.once(_Paged, lambda: _paged(scope))
    return flash(
        query,
        key,
        value,
        paged.query_offsets,
        paged.key_offsets,
        *paged.longest,
        scale=pattern.scale,
        window_size=_window(pattern if paged.in_order else ALL),
        enable_gqa=query.shape[1] != key.shape[2],
        seqused_k=paged.used,
        block_table=paged.table,
    )


def _paged(scope: Stored) -> _Paged:
    blocks = [block for block in scope.blocks if block.queries.length]
    slots = [block.keys for block in blocks if isinstance(block.keys, Slots)]
    pages = [each.pages(scope.queries.offsets.device) for each in slots]
    width = max(table.shape[1] for table, _ in pages)
    table = torch.cat([F.pad(table, (0, width - table.shape[1])) for table, _ in pages])
    used = torch.cat([used for _, used in pages])
    lengths = [block.queries.length for block in blocks for _ in range(block.queries.count)]
    offsets = scope.queries.offsets[: len(lengths) + 1]
    if lengths != [*scope.queries.lengths[: len(lengths)]]:  # several share what is attended to
        ends = torch.tensor([0, *lengths], dtype=torch.int32, device=offsets.device)
        offsets = ends.cumsum(0, dtype=torch.int32)
    return _Paged(
        offsets,
        F.pad(used.cumsum(0, dtype=torch.int32), (1, 0)),
        used,
        table,
        (max(lengths), max(each.length for each in slots)),
        any(each.distance is not None for each in slots),
    )


def _window(pattern: Pattern) -> tuple[int, int]:
    """Return how many keys before and after its own a query sees; -1 is all."""
    reach = -1 if pattern.window is None else pattern.window
    return reach, 0 if pattern.causal else reach
