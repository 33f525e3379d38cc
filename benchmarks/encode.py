"""Encode ragged text: transformers and regard, interleaved in one process, fp32 against fp32.

    python benchmarks/encode.py [--model bert-base|minilm] [--rounds 7] [--threads N]

128 sequences of 5 to 121 tokens, about 38 in the mean. Each round runs every contender once:

* transformers, unsorted: batches of 32 as they come, padded to the longest, as people run it;
* transformers, sorted: the same batches after sorting by length;
* regard: the same lists of ids, packed, in batches of at most 4096 tokens.

All go from lists of ids to hidden vectors per sequence; the vectors are compared before timing.
Prints the minimum and the median of each, tokens per second, and the ratios of the minima.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import transformers

import regard
from regard.checkpoints.files import find_checkpoint
from regard.data.sampling import token_batches
from regard.pipelines.pipeline import BATCH_TOKENS

Ids = Sequence[Sequence[int]]
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def ragged(count: int = 128) -> list[list[int]]:
    """Return the token ids of `count` sequences with the lengths of a sentence corpus."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.gamma(2.2, 17.5, count), 5, 121).astype(int)
    return [rng.integers(1000, 30000, length).tolist() for length in lengths]


def models(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return the reference's and our model with the same weights."""
    if name == "minilm":
        folder = find_checkpoint(MINILM).path("config.json").parent
        theirs = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
        return theirs.eval(), regard.BertModel.from_pretrained(MINILM, add_pooling_layer=False)
    torch.manual_seed(0)
    ours = regard.BertModel(regard.BertConfig(), add_pooling_layer=False).eval()
    theirs = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False).eval()
    from regard.checkpoints.keymap import disk_names

    names = disk_names(ours, ours.state_dict())
    theirs.load_state_dict({names[key]: value for key, value in ours.state_dict().items()})
    return theirs, ours


def padded_runner(model: torch.nn.Module, *, by_length: bool) -> Callable[[Ids], list]:
    """Return a function that encodes with transformers in padded batches of 32."""

    def run(sequences: Ids) -> list:
        order = range(len(sequences))
        if by_length:
            order = sorted(order, key=lambda i: -len(sequences[i]))
        results: list = [None] * len(sequences)
        for start in range(0, len(sequences), 32):
            rows = order[start : start + 32]
            longest = max(len(sequences[i]) for i in rows)
            ids = torch.zeros(len(rows), longest, dtype=torch.long)
            mask = torch.zeros(len(rows), longest, dtype=torch.long)
            for row, i in enumerate(rows):
                ids[row, : len(sequences[i])] = torch.tensor(sequences[i])
                mask[row, : len(sequences[i])] = 1
            hidden = model(ids, attention_mask=mask).last_hidden_state
            for row, i in enumerate(rows):
                results[i] = hidden[row, : len(sequences[i])]
        return results

    return run


def packed_runner(model: torch.nn.Module) -> Callable[[Ids], list]:
    """Return a function that encodes with regard in packed batches."""

    def run(sequences: Ids) -> list:
        results: list = [None] * len(sequences)
        for rows in token_batches([len(each) for each in sequences], BATCH_TOKENS):
            batch = regard.TokenBatch.from_sequences([sequences[i] for i in rows])
            hidden = model.encode(batch)
            for i, each in zip(batch.layout.order, hidden.split(batch.layout.lengths), strict=True):
                results[rows[i]] = each
        return results

    return run


def main() -> None:
    """Run every contender in turn and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", choices=("bert-base", "minilm"), default="bert-base")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    theirs, ours = models(options.model)
    sequences = ragged()
    tokens = sum(map(len, sequences))
    runners = {
        "transformers, unsorted": padded_runner(theirs, by_length=False),
        "transformers, sorted": padded_runner(theirs, by_length=True),
        "regard, packed": packed_runner(ours),
    }
    with torch.inference_mode():
        answers = [run(sequences) for run in runners.values()]
        pairs = [pair for other in answers[:2] for pair in zip(other, answers[2], strict=True)]
        worst = max(float((left - right).abs().max()) for left, right in pairs)
        times: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(options.rounds):
            for name, run in runners.items():
                start = time.perf_counter()
                run(sequences)
                times[name].append(time.perf_counter() - start)
    print(f"{options.model}, {len(sequences)} sequences, {tokens} tokens, fp32, ", end="")
    print(f"{options.threads} threads, torch {torch.__version__}")
    print(f"largest difference of any hidden value: {worst:.1e}")
    best = min(times["regard, packed"])
    for name, each in times.items():
        low, middle = min(each), statistics.median(each)
        print(f"{name:24} min {low * 1e3:7.0f} ms   median {middle * 1e3:7.0f} ms", end="")
        print(f"   {tokens / low:7.0f} tokens/s   regard is {low / best:.2f} times as fast")


if __name__ == "__main__":
    main()
