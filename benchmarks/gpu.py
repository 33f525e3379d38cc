"""Encode, decode and train on a GPU: transformers and regard, interleaved in one process, in bf16.

    python benchmarks/gpu.py [--rounds 5] [--only bert|ragged|decode|train] [--device cpu --small]

Random weights of the real sizes, the same for both, which cost what trained ones do:

* bert: BERT-base encodes sequences of 128 tokens, 256 at once;
* ragged: the same number of sequences of 5 to 121 tokens; transformers in batches of 64 that were
  sorted by length and padded, regard in one packed batch;
* decode: GPT-2 124M continues prompts of 32 tokens by 128, greedily, 1 and 64 at once; prompts are
  read in the time that is measured; regard by `generate`, and by a scheduler whose steps are graphs
  over a cache in pages;
* train: steps of GPT-2 124M on 16 texts of 1,024 tokens: forward, backward, clipping, AdamW, with
  weights in fp32 and products in bf16 (autocast).

On a GPU regard encodes by graphs too. Before anything is timed the results are compared. Every
round runs each contender once. Prints the minimum and the median of the rounds, and of the minimum
tokens per second, TFLOP/s and the share of what the device itself reaches in the same run: of a
large bf16 product, and for decoding also of a large copy's bytes per second, as if each step read
weights and cache once.
Operations are counted by formula: two for each weight of a product and token, and the scores that
the pattern lets count. ``--device cpu --small`` shrinks all sizes, to see whether it works.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import regard
from regard.runtime.graphs import DecodeGraphs, EncodeGraphs

HALF = torch.bfloat16
OURS = "regard"
#: Tokens of a page of the cache: what flash attention reads.
PAGE = 256
Run = Callable[[], Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        bert: Sizes of the encoder, where they are not BERT-base's.
        gpt2: Sizes of the decoder, where they are not GPT-2's.
        sequences: How many are encoded.
        length: Their length, where all are equally long.
        batches: How many texts are continued at once.
        prompt: Tokens of a prompt.
        new: Tokens that are written.
        texts: Texts of a training step, and their length.
        square: Width of the product that shows what the device can do.
    """

    bert: Mapping[str, int]
    gpt2: Mapping[str, int]
    sequences: int = 256
    length: int = 128
    batches: tuple[int, ...] = (1, 64)
    prompt: int = 32
    new: int = 128
    texts: tuple[int, int] = (16, 1024)
    square: int = 8192


TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 503}
REAL = Sizes(bert={}, gpt2={})
SMALL = Sizes(
    bert=TINY | {"intermediate_size": 128}, gpt2=TINY | {"bos_token_id": 1, "eos_token_id": 2},
    sequences=8, length=16, batches=(1, 3), prompt=4, new=5, texts=(2, 24), square=256,
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What is timed.

    Attributes:
        name: What it is.
        tokens: How many one run works through.
        operations: How many floating-point operations that is.
        contenders: What does it, by name; one is `OURS`, which the others are held to.
        alike: Returns in words how alike the results of two contenders are.
        bytes_read: How many bytes one run has to read at least; None where that is not the limit.
    """

    name: str
    tokens: int
    operations: float
    contenders: Mapping[str, Run]
    alike: Callable[[Any, Any], str]
    bytes_read: float | None = None


class Device:
    """The device, and what it reaches in this run."""

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.name = name
        side = sizes.square
        left, right = torch.randn(2, side, side, device=name).to(HALF)
        self.operations = 2 * side**3 / min(self.times({"": lambda: left @ right}, 20)[""])
        source = torch.randn(8 * side * side, device=name)
        target = torch.empty_like(source)
        seconds = min(self.times({"": lambda: target.copy_(source)}, 20)[""])
        self.bytes = 2 * source.nbytes / seconds

    @property
    def title(self) -> str:
        """What it calls itself."""
        return torch.cuda.get_device_name() if self.name == "cuda" else "processor"

    def times(self, runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
        """Return the seconds of each run, in rounds that have each once."""
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(rounds + 1):  # the first warms up
            for name, run in runs.items():
                self.wait()
                start = time.perf_counter()
                run()
                self.wait()
                if number:
                    seconds[name].append(time.perf_counter() - start)
        return seconds

    def wait(self) -> None:
        """Wait for what was started."""
        if self.name == "cuda":
            torch.cuda.synchronize()


def operations(config: Any, lengths: Sequence[int], scored: int = 0) -> float:
    """Return the operations of a forward over sequences; of so many tokens words are `scored`.

    What scores words is causal.
    """
    width, tokens = config.hidden_size, sum(lengths)
    inner = config.intermediate_size or 4 * width
    weights = config.num_hidden_layers * (4 * width**2 + 2 * width * inner)
    pairs = sum(n * (n + 1) / 2 if scored else n * n for n in lengths)
    scores = config.num_hidden_layers * 4 * width * pairs
    return 2 * (tokens * weights + scored * width * config.vocab_size) + scores


def pair(kind: str, sizes: Sizes, device: str) -> tuple[Any, Any]:
    """Return our model and the reference's with the same weights; None where that is missing."""
    torch.manual_seed(0)
    if kind == "BertModel":
        ours = regard.BertModel(regard.BertConfig(**sizes.bert), add_pooling_layer=False)
    else:
        ours = regard.GPT2LMHeadModel(regard.GPT2Config(**sizes.gpt2, **_no_dropout()))
    with torch.no_grad():
        for weight in ours.parameters():
            weight.mul_(3 if weight.dim() == 2 else 1)  # else texts and vectors are all alike
    try:
        import transformers

        transformers.utils.logging.disable_progress_bar()
    except ImportError:
        print("transformers is not installed and is left out", file=sys.stderr)
        return ours.eval().to(device), None
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(Path(folder))
        options = {"add_pooling_layer": False} if kind == "BertModel" else {}
        theirs = getattr(transformers, kind).from_pretrained(folder, **options)
    return ours.eval().to(device), theirs.eval().to(device)


def _no_dropout() -> dict[str, float]:
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "embd_pdrop")
    return dict.fromkeys(names, 0.0)


def encoding(sizes: Sizes, device: str, *, ragged: bool) -> Iterator[Job]:
    """Encode, with BERT-base."""
    ours, theirs = (each and each.to(HALF) for each in pair("BertModel", sizes, device))
    rng, count = np.random.default_rng(0), sizes.sequences
    lengths = [sizes.length] * count
    if ragged:
        low, high = min(5, sizes.length), max(sizes.length - 7, 6)
        lengths = np.clip(rng.gamma(2.2, 17.5, count), low, high).astype(int).tolist()
    lengths.sort(reverse=True)  # both profit; who sorts is not what is measured
    rows = [rng.integers(1, ours.config.vocab_size, n).tolist() for n in lengths]
    batch = regard.TokenBatch.from_sequences(rows, device=device)
    parts = [_padded(rows[n : n + 64], device) for n in range(0, count, 64)]
    if not ragged:
        parts = [_padded(rows, device)]

    @torch.inference_mode()
    def padded() -> torch.Tensor:
        found = [theirs(ids, attention_mask=mask).last_hidden_state for ids, mask in parts]
        masks = [mask.bool() for _, mask in parts]
        return torch.cat([out[mask] for out, mask in zip(found, masks, strict=True)])

    @torch.inference_mode()
    def packed() -> torch.Tensor:
        return ours.encode(batch)

    runs: dict[str, Run] = {"transformers": padded} if theirs is not None else {}
    runs[OURS] = packed
    if device == "cuda":
        graphs = EncodeGraphs(ours)
        runs["regard, graphs"] = lambda: graphs(batch)
    yield Job(
        f"BERT-base, {count} sequences of {'5 to 121' if ragged else sizes.length} tokens",
        sum(lengths),
        operations(ours.config, lengths),
        runs,
        lambda a, b: f"relative difference {float((a - b).float().norm() / b.float().norm()):.1e}",
    )


def _padded(rows: Sequence[Sequence[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of rows, padded to the longest."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *([0] * (longest - len(row)))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask.to(device)


def decoding(sizes: Sizes, device: str) -> Iterator[Job]:
    """Write, with GPT-2 124M."""
    ours, theirs = (each and each.to(HALF) for each in pair("GPT2LMHeadModel", sizes, device))
    rng, new = np.random.default_rng(0), sizes.new
    weights = sum(p.nbytes for p in ours.base_model.decoder.parameters())
    weights += ours.get_output_embeddings().weight.nbytes
    for count in sizes.batches:
        rows = rng.integers(1, ours.config.vocab_size, (count, sizes.prompt)).tolist()
        lengths = [sizes.prompt + new - 1] * count
        width = ours.config.hidden_size * ours.config.num_hidden_layers
        cached = 2 * HALF.itemsize * width * count * sum(range(sizes.prompt, lengths[0] + 1))
        runs = {
            "transformers": _writer(theirs, rows, new, device),
            OURS: lambda rows=rows: ours.generate(rows, max_new_tokens=new, eos_token_id=[]),
            "regard, graphs": _requests(ours, rows, new),
        }
        yield Job(
            f"GPT-2 124M writes {new} tokens, {count} at once",
            count * new,
            operations(ours.config, lengths, scored=count * new),
            {name: run for name, run in runs.items() if run is not None},
            lambda a, b: f"{float((a == b).float().mean()):.1%} of the tokens are the same",
            new * weights + cached,
        )


def _writer(model: Any, rows: Sequence[Sequence[int]], new: int, device: str) -> Run | None:
    """Return what writes with the reference."""
    if model is None:
        return None
    model.generation_config.eos_token_id = None
    ids, mask = _padded(rows, device)
    options = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0}
    return lambda: model.generate(ids, attention_mask=mask, **options)


def _requests(model: Any, rows: Sequence[Sequence[int]], new: int) -> Run:
    """Return what decodes requests by graphs, which are captured in the first run."""
    scheduler = regard.GenerationScheduler(
        model, slots=len(rows), page_size=PAGE, step=DecodeGraphs(model)
    )
    number = itertools.count()

    def run() -> torch.Tensor:
        # Another first token each time, else the prompts would not be read again.
        turn = next(number)
        prompts = [[(row[0] + turn) % model.config.vocab_size, *row[1:]] for row in rows]
        options = {"max_new_tokens": new, "eos_token_id": []}
        jobs = [scheduler.submit(prompt, **options) for prompt in prompts]
        for _ in scheduler.run():
            pass
        found = [[*row, *job.result(0)] for row, job in zip(prompts, jobs, strict=True)]
        return torch.tensor(found, device=model.device)

    return run


def training(sizes: Sizes, device: str) -> Iterator[Job]:
    """Train GPT-2 124M."""
    ours, theirs = pair("GPT2LMHeadModel", sizes, device)
    rng, (count, length) = np.random.default_rng(0), sizes.texts
    ids = torch.tensor(rng.integers(1, ours.config.vocab_size, (count, length)), device=device)
    config = ours.config
    runs = {
        name: _trainer(model, ids)
        for name, model in (("transformers", theirs), (OURS, ours))
        if model is not None
    }
    yield Job(
        f"GPT-2 124M trains on {count} texts of {length} tokens",
        ids.numel(),
        3 * operations(config, [length] * count, scored=ids.numel()),
        runs,
        lambda a, b: f"losses {float(a):.4f} and {float(b):.4f}",
    )


def _trainer(model: Any, ids: torch.Tensor) -> Run:
    """Return a step of training; it returns its loss."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=ids.is_cuda)

    def step() -> torch.Tensor:
        with torch.autocast(ids.device.type, HALF):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


JOBS: Mapping[str, Callable[[Sizes, str], Iterator[Job]]] = {
    "bert": lambda sizes, device: encoding(sizes, device, ragged=False),
    "ragged": lambda sizes, device: encoding(sizes, device, ragged=True),
    "decode": decoding,
    "train": training,
}


def report(job: Job, device: Device, rounds: int) -> None:
    """Compare the contenders of a job, time them and print what was found."""
    results = {name: run() for name, run in job.contenders.items()}
    print(f"\n{job.name}: {job.tokens} tokens, {job.operations / 1e9:.3g} GFLOP")
    for name, result in results.items():
        if name != OURS:
            print(f"  {name} beside {OURS}: {job.alike(result, results[OURS])}")
    seconds = device.times(job.contenders, rounds)
    best = min(seconds[OURS])
    for name, each in seconds.items():
        low, middle = min(each), statistics.median(each)
        print(f"  {name:20} min {low * 1e3:9.2f} ms  median {middle * 1e3:9.2f} ms", end="")
        print(f"  {job.tokens / low:12,.0f} tokens/s", end="")
        rate = job.operations / low
        print(f"  {rate / 1e12:8.3f} TFLOP/s, {rate / device.operations:6.1%} of peak", end="")
        if job.bytes_read is not None:
            print(f", {job.bytes_read / low / device.bytes:6.1%} of bandwidth", end="")
        print(f"  {best / low:.2f} times as fast as {OURS}" if name != OURS else "")


def main() -> None:
    """Run the jobs and print what they give."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=[*JOBS])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            f"no GPU: PyTorch {torch.__version__} sees no CUDA device, and only one is worth "
            "timing here. To see that all of it works, pass --device cpu --small"
        )
    sizes = SMALL if options.small else REAL
    device = Device(options.device, sizes)
    print("small sizes, whatever the names say: " if options.small else "", end="")
    print(f"{device.title}, PyTorch {torch.__version__}, bf16; reached in this run: ", end="")
    print(f"{device.operations / 1e12:.3f} TFLOP/s in a product of {sizes.square}, ", end="")
    print(f"{device.bytes / 1e9:.1f} GB/s in a copy")
    for name in [options.only] if options.only else JOBS:
        for job in JOBS[name](sizes, options.device):
            report(job, device, options.rounds)


if __name__ == "__main__":
    main()
