"""What matrix products can give on this machine: the best that torch's kernels reach."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

#: Rows, columns and inner size of the products tried.
SIZES = ((1536, 3072, 768), (1536, 768, 3072), (2048, 2048, 2048), (4096, 4096, 1024))
SECONDS = 0.1


def products(precision: str, rows: int, columns: int, inner: int) -> Iterator[Callable[[], Tensor]]:
    """Yield every kernel for one product."""
    if precision != "int8":
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        left = torch.randn(rows, inner).to(kind)
        right = torch.randn(columns, inner).to(kind)
        turned = right.t().contiguous()
        packed = torch.ops.mkldnn._reorder_linear_weight(right, rows)
        yield lambda: left @ turned
        yield lambda: torch.nn.functional.linear(left, right)
        yield lambda: torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], "")
        return
    left = torch.randint(-127, 127, (rows, inner), dtype=torch.int8)
    right = torch.randint(-127, 127, (columns, inner), dtype=torch.int8)
    yield lambda: torch._int_mm(left, right.t())
    # oneDNN has a fast kernel for unsigned inputs only; for signed ones it falls to a reference.
    unsigned = (left.int() + 128).to(torch.uint8)
    ready = torch.ops.onednn.qlinear_prepack(right, [rows, inner])
    scales, zeros = torch.ones(columns), torch.zeros(columns, dtype=torch.int32)
    yield lambda: torch.ops.onednn.qlinear_pointwise(
        unsigned, 0.01, 128, ready, scales, zeros, None, 1.0, 0, torch.bfloat16, "none", [], ""
    )


def seconds(run: Callable[[], Tensor]) -> float:
    """Return the least seconds of one call."""
    run()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        begun = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begun)
    return best


@torch.inference_mode()
def peak(precision: str) -> float:
    """Return the operations per second of the best kernel at its best size."""
    return max(
        2 * rows * columns * inner / seconds(run)
        for rows, columns, inner in SIZES
        for run in products(precision, rows, columns, inner)
    )


def operations(lengths: list[int], width: int, inner: int, layers: int) -> float:
    """Return what the matrix products of an encoder need for sequences without padding.

    Two for each multiplication: per token four products (width, width) and two (width, inner), and
    per pair of a sequence's tokens the scores and the sum of values.
    """
    tokens, pairs = sum(lengths), sum(length**2 for length in lengths)
    return layers * (2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * pairs * width)
