"""CUDA graphs: a forward's many small kernels started as one.

A step that decodes is hundreds of kernels of a few microseconds, and starting them takes longer
than they do. A graph is recorded once, with addresses and shapes, and then started as a whole. So
shapes come in buckets; what is smaller than its bucket is filled up, and what a forward knows on
the host must be the bucket's, not the batch's: a captured forward looks at nothing else.

On a processor nothing is recorded and the same functions are called on the same buffers; so
buckets, filling and slicing are tested there.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.attention.attention import ScaledDotProduct
from regard.attention.cache import Cache
from regard.attention.paged import PagedCache, PagedPast
from regard.attention.positions import Rotary
from regard.attention.varlen import varlen
from regard.batch import Layout, TokenBatch
from regard.errors import ConfigError
from regard.layers.embeddings import LearnedPositions
from regard.models.encoder import TextBase
from regard.models.generative import Generative
from regard.models.model import PreTrainedModel
from regard.places import Block, Group

Computation = Callable[..., tuple[Tensor, ...]]
#: Runs before the recording, for libraries to choose their kernels and to get their memory.
_WARM_UP = 3


class Captured:
    """A computation of fixed shapes, with places for its inputs and results.

    It is first run on zeros, which must do no harm. Not for several threads at a time.

    Args:
        function: Computes tensors from `inputs`, without a look at their values.
        inputs: Tensors such as it will get, none of which may be larger.
        pool: Memory that graphs share which are never started at the same time; the results of
            one then last until another is started.

    Attributes:
        outputs: The results, in their places.
    """

    @torch.inference_mode()
    def __init__(self, function: Computation, inputs: Sequence[Tensor], pool: Any = None) -> None:
        self.inputs = tuple(torch.zeros_like(each) for each in inputs)
        self.outputs, self._replay = record(function, self.inputs, pool)

    @torch.inference_mode()
    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Compute from new inputs; what they lack is zero. Results last until the next call.

        Raises:
            ValueError: An input is larger than its place.
        """
        for number, (place, each) in enumerate(zip(self.inputs, given, strict=True)):
            if each.shape == place.shape:
                place.copy_(each)
                continue
            fits = zip(each.shape, place.shape, strict=True)
            if not all(size <= most for size, most in fits):
                raise ValueError(
                    f"input {number} has shape {tuple(each.shape)}, and what was captured has room "
                    f"for {tuple(place.shape)}"
                )
            place.zero_()[tuple(slice(size) for size in each.shape)] = each
        self._replay()
        return self.outputs


def record(
    function: Computation, inputs: tuple[Tensor, ...], pool: Any
) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
    """Run a computation; return its results, and what computes them again in the same places."""
    if inputs[0].device.type != "cuda":
        outputs = tuple(each.clone() for each in function(*inputs))

        def again() -> None:
            for place, each in zip(outputs, function(*inputs), strict=True):
                place.copy_(each)

        return outputs, again
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(inputs[0].device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
        # What other threads do on the device meanwhile is no part of it, and no error.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            outputs = function(*inputs)
    return outputs, graph.replay


class Graphs:
    """The graphs of one model, by bucket; those that were not used for longest are let go.

    Args:
        device: Where they run.
        most: How many are kept.
    """

    def __init__(self, device: torch.device, most: int) -> None:
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self._captured, self.most = dict[Hashable, Captured](), most

    def __len__(self) -> int:
        return len(self._captured)

    def clear(self) -> None:
        """Let all go."""
        self._captured.clear()

    def of(
        self, bucket: Hashable, function: Computation, inputs: Callable[[], Sequence[Tensor]]
    ) -> Captured:
        """Return the graph of a bucket, which is captured when it is first wanted."""
        found = self._captured.pop(bucket, None)
        if found is None:
            while len(self._captured) >= self.most:
                del self._captured[next(iter(self._captured))]
            found = Captured(function, inputs(), self._pool)
        self._captured[bucket] = found
        return found


def bucket_of(count: int, *, steps: int = 1, least: int = 1) -> int:
    """Return the next size of a bucket: powers of two, and `steps` sizes from one to the next."""
    if count <= least:
        return least
    power = 1 << (count - 1).bit_length() - 1
    step = max(power // steps, 1)
    return -(-count // step) * step


class DecodeGraphs:
    """Decoding, a token of each row at a time, by graphs: the `step` of a `GenerationScheduler`.

    ``GenerationScheduler(model, step=DecodeGraphs(model))``. Buckets are numbers of rows and of
    pages. Rows that fill up a bucket write to the cache's first page, which is nobody's.

    Args:
        model: Continues the texts; leave its weights where they are.
        most: How many graphs are kept.

    Raises:
        ValueError: The model reads a source, whose length would be another thing to fix.
        ConfigError: Its positions turn by how long the longest text is.
    """

    def __init__(self, model: Generative, *, most: int = 64) -> None:
        if model.reads_source:
            raise ValueError(
                f"{type(model).__name__} reads a source; graphs are for decoders alone"
            )
        _check(model)
        self.model, self.graphs = model, Graphs(model.device, most)
        context, hard = model.context()
        self._context = context if hard else None
        self._store: Tensor | None = None

    def __call__(self, batch: TokenBatch, cache: Cache) -> tuple[Tensor, Tensor]:
        """Read a token of each row; return the last vectors, and scores of what comes next.

        Both last until the next call.

        Raises:
            ValueError: The cache is none in pages, or a row has no or several new tokens.
        """
        layout = batch.layout
        past, ids = layout.past, batch.ids
        if not isinstance(cache, PagedCache) or not isinstance(past, PagedPast):
            raise ValueError(
                "graphs decode over a cache in pages: give GenerationScheduler a page_size, such "
                "as 256"
            )
        store = cache.layers[0].key
        if not layout.one_each or ids is None or store is None:
            raise ValueError("a step reads one token of each row, after a prompt has been read")
        if store is not self._store:  # its address is part of each graph
            self.graphs.clear()
            self._store = store
        count, pages = past.table.shape
        rows, pages = bucket_of(count), bucket_of(pages)
        places = (ids, layout.positions, past.table)
        captured = self.graphs.of(
            (rows, pages),
            partial(self._step, cache),
            lambda: [each.new_zeros((rows, pages)[: each.dim()]) for each in places],
        )
        hidden, logits = captured(*places)
        cache.advance(layout)
        return hidden[:count], logits[:count]

    def _step(
        self, cache: PagedCache, ids: Tensor, positions: Tensor, table: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute a step from what is on the device, and sizes."""
        rows, pages = table.shape
        longest = pages * cache.capacity
        longest = longest if self._context is None else min(longest, self._context)
        layout = Layout(
            lengths=(1,) * rows,
            order=tuple(range(rows)),
            columns=1,
            groups=(Group(0, rows, 1),),
            offsets=torch.arange(rows + 1, dtype=torch.int32, device=ids.device),
            positions=positions,
            index=None,
            past=PagedPast((longest - 1,) * rows, tuple(range(rows)), table),
        )
        hidden = self.model.read(TokenBatch(layout, ids), _Uncounted(cache))
        return hidden, self.model.score(hidden).float()


class _Uncounted(Cache):
    """The layers of a cache that counts its tokens elsewhere: a graph counts none."""

    def __init__(self, cache: PagedCache) -> None:
        super().__init__([])
        self.layers = cache.layers

    def advance(self, layout: Layout) -> None:
        """Do nothing."""


@dataclass(frozen=True, eq=False)
class Bucketed(Layout):
    """A layout of which the host knows bounds only: no sequence is longer than `lengths` say."""

    @property
    def tokens(self) -> int:
        """How many tokens there is room for."""
        return len(self.positions)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Nothing: where sequences end is known on the device.

        Raises:
            ValueError: Always. What asks cannot be captured.
        """
        raise ValueError(
            "a captured forward does not know where sequences end; only attention kernel "
            "'varlen' can run in it"
        )


class EncodeGraphs:
    """Encoding by graphs: ``EncodeGraphs(model)(batch)`` is ``model.encode(batch)``.

    Buckets are numbers of tokens, of sequences, and the length of the longest. Attention is flash
    attention, so the model is on CUDA in half precision. For batches whose kernels are small; a
    large one keeps the device busy by itself.

    Args:
        model: A family's encoder; leave its weights where they are.
        most: How many graphs are kept.

    Raises:
        ConfigError: Its positions turn by how long the longest text is.
    """

    def __init__(self, model: TextBase, *, most: int = 64) -> None:
        _check(model)
        self.model, self.graphs = model, Graphs(model.device, most)
        self._mixing = [m for m in model.modules() if isinstance(m, ScaledDotProduct)]
        positions = [m.usable for m in model.modules() if isinstance(m, LearnedPositions)]
        self._room = min(positions, default=None)

    @torch.inference_mode()
    def __call__(self, batch: TokenBatch) -> Tensor:
        """Return the last hidden vectors of a packed batch, (tokens, width).

        Raises:
            ValueError: The batch has vectors in place of ids, or positions of its own, or what is
                asked is what flash attention cannot do.
        """
        layout, ids = batch.layout, batch.ids
        if ids is None or batch.positions is not None:
            raise ValueError("graphs encode token ids, at the positions that they have")
        reach = layout.reach
        if not len(ids) or (self._room is not None and reach > self._room):
            return self.model.encode(batch)  # which says what is wrong
        tokens = bucket_of(len(ids), steps=8, least=64)
        rows = bucket_of(len(layout.lengths), steps=4)
        longest = bucket_of(reach, least=16)
        longest = longest if self._room is None else min(longest, self._room)
        given = (ids, layout.positions)
        given = given if batch.segments is None else (*given, batch.segments)
        # Sequences that fill up the bucket are empty, and lie at the end.
        offsets = F.pad(layout.offsets, (0, rows + 1 - len(layout.offsets)), value=len(ids))
        captured = self.graphs.of(
            (tokens, rows, longest, len(given)),
            partial(self._encode, longest),
            lambda: [offsets, *(each.new_zeros(tokens) for each in given)],
        )
        return captured(offsets, *given)[0][: len(ids)].clone()

    def _encode(
        self,
        longest: int,
        offsets: Tensor,
        ids: Tensor,
        positions: Tensor,
        segments: Tensor | None = None,
    ) -> tuple[Tensor]:
        """Encode from what is on the device, and sizes."""
        rows = len(offsets) - 1
        layout = Bucketed(
            lengths=(longest,) * rows,
            order=tuple(range(rows)),
            columns=longest,
            groups=(),
            offsets=offsets,
            positions=positions,
            index=None,
        )
        kernels = [each.kernel for each in self._mixing]
        try:
            for each in self._mixing:
                each.kernel = varlen
            return (self.model.encode(TokenBatch(layout, ids, segments)),)
        finally:
            for each, kernel in zip(self._mixing, kernels, strict=True):
                each.kernel = kernel


def _check(model: PreTrainedModel) -> None:
    """Raise for a model whose forward is not the same computation for all batches."""
    if model.training:
        raise ValueError("a graph would drop the same elements each time; call model.eval() first")
    if any(isinstance(m, Rotary) and m.kind == "dynamic" for m in model.modules()):
        raise ConfigError(
            "rotary positions of type 'dynamic' turn by the length of the longest text, and a "
            "graph knows that of its bucket only"
        )
