"""Local attention over long texts: all pairs under a mask, and in blocks.

    python benchmarks/windows.py [--window 64] [--rounds 5] [--layers 6]

First the kernel alone, 12 heads of 64, one text, no gradient and with it: PyTorch's fused attention
with a mask over all pairs of tokens, and regard's ``sdpa`` with the same window. Then a ModernBERT
of base width with random weights and some of its layers: transformers (``sdpa``) and regard, on one
text. The results are compared before timing. Prints the minimum of the rounds and the ratio.
"""

import argparse
import tempfile
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
import transformers

import regard
from regard.attention.kernels import sdpa
from regard.attention.patterns import Pattern
from regard.batch import Layout


def masked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pattern: Pattern):
    """Attend over all pairs of tokens, hiding what the pattern forbids."""
    heads_first = (each.transpose(0, 1)[None] for each in (query, key, value))
    allowed = pattern.allowed(len(query), len(query))
    return F.scaled_dot_product_attention(*heads_first, attn_mask=allowed)[0].transpose(0, 1)


def fastest(run: Callable[[], object], rounds: int) -> float:
    """Return the minimum of some runs, in milliseconds."""
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def report(what: str, theirs: float, ours: float) -> None:
    """Print one line: both times and their ratio."""
    print(f"{what:<42} {theirs:10.1f} ms {ours:10.1f} ms {theirs / ours:7.1f} times as fast")


def compare_kernels(length: int, pattern: Pattern, rounds: int) -> None:
    """Time one attention, and one attention with its gradients."""
    layout = Layout.from_lengths([length])
    inputs = [torch.randn(length, 12, 64) for _ in range(3)]
    assert torch.allclose(masked(*inputs, pattern), sdpa(*inputs, layout, pattern), atol=1e-5)
    leaves = [each.clone().requires_grad_() for each in inputs]
    for name, given in (("kernel", inputs), ("kernel with gradients", leaves)):
        runs = [
            lambda given=given: masked(*given, pattern).sum(),
            lambda given=given: sdpa(*given, layout, pattern).sum(),
        ]
        if given is leaves:
            runs = [lambda run=run: run().backward() for run in runs]
        report(f"{name}, {length} tokens", *(fastest(run, rounds) for run in runs))


def compare_models(length: int, window: int, layers: int, rounds: int) -> None:
    """Time the whole model on one text."""
    config = transformers.ModernBertConfig(num_hidden_layers=layers, local_attention=2 * window)
    with tempfile.TemporaryDirectory() as folder:
        transformers.ModernBertModel(config).save_pretrained(folder)
        theirs = transformers.ModernBertModel.from_pretrained(folder, attn_implementation="sdpa")
        ours = regard.ModernBertModel.from_pretrained(folder)
    ids = torch.randint(1, 50_000, (1, length))
    with torch.inference_mode():
        assert torch.allclose(theirs(ids)[0], ours(ids)[0], atol=1e-3)
        times = [fastest(lambda model=model: model(ids), rounds) for model in (theirs, ours)]
    report(f"ModernBERT, {layers} layers, {length} tokens", *times)


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--window", type=int, default=64, help="tokens on either side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=6)
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{'':<42} {'all pairs':>13} {'in blocks':>13}")
    for length in (512, 2048, 8192):
        compare_kernels(length, Pattern(window=options.window), options.rounds)
    for length in (512, 2048):
        compare_models(length, options.window, options.layers, options.rounds)


if __name__ == "__main__":
    main()
