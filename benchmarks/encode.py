"""Encode ragged text: transformers, OpenVINO, onnxruntime and regard, in turns.

    python benchmarks/encode.py [--model bert-base|minilm] [--rounds 5] [--threads N]
        [--only PART]... [--keep FOLDER] [--compile]

128 sequences of 5 to 121 tokens, about 38 in the mean. All contenders go from lists of ids to
hidden vectors per sequence, each in a process of its own, which takes one turn a round:

* transformers in fp32, as they come: batches of 32, padded to the longest, as people run it;
* transformers in fp32 and bf16, sorted: the same batches after sorting by length;
* OpenVINO in fp32 and bf16, sorted, and in bf16 and int8 for throughput: batches of 8, as many at
  once as threads, calibrated with nncf where it is int8;
* onnxruntime in int8, sorted: its weights by channel, what comes in as it runs;
* regard: the same lists of ids, packed; as loaded, and optimized for fp32, bf16 and int8.

The first answers are compared with those of transformers in fp32. Prints the fastest and the median
turn of each, the ratios of the fastest, and what share of the machine's matrix peak, measured
before and after the rounds, regard reaches with the products of the sequences as they are, without
padding. ``--only`` takes those contenders whose names hold PART; ``--keep`` names a folder in which
the exported models stay for the next time; ``--compile`` adds `torch.compile` of transformers, and
says what its first answer costs.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from peers.encoders import ENCODERS
from peers.exports import export
from peers.turns import Contender, against, closeness, command, compete, serve, table

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
REFERENCE = "transformers fp32, as they come"


def ragged(count: int = 128, seed: int = 0) -> list[list[int]]:
    """Return the token ids of `count` sequences with the lengths of a sentence corpus."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.gamma(2.2, 17.5, count), 5, 121).astype(int)
    return [rng.integers(1000, 30000, length).tolist() for length in lengths]


def prepare(name: str, folder: Path) -> None:
    """Write the model that all read, and its exports."""
    import torch

    import regard

    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        if name == "minilm":
            model = regard.BertModel.from_pretrained(MINILM, add_pooling_layer=False)
        else:
            model = regard.BertModel(regard.BertConfig(), add_pooling_layer=False)
        model.save_pretrained(folder)
    export(folder, ragged(128, seed=1))


@contextlib.contextmanager
def place(keep: Path | None) -> Iterator[Path]:
    """Give the folder to keep, or one that is removed afterwards."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def peaks(threads: int) -> dict[str, float]:
    """Return the operations per second of the machine's matrix products in each precision."""
    import torch

    from peers.peak import peak

    torch.set_num_threads(threads)
    return {precision: peak(precision) for precision in ("fp32", "bf16", "int8")}


def shares(found: Sequence[Contender], folder: Path, best: dict[str, float]) -> dict[str, str]:
    """Say which share of the peak each of ours reaches."""
    import regard
    from peers.peak import operations

    config = regard.AutoConfig.from_pretrained(folder)
    needed = operations(
        [*map(len, ragged())], config.hidden_size, config.intermediate_size,
        config.num_hidden_layers,
    )  # fmt: skip
    said = {}
    for each in found:
        if each.name.startswith("regard"):
            reached = needed / min(each.seconds)
            precision = each.name[-4:] if each.name[-4:] in best else "fp32"
            said[each.name] = f"{reached / best[precision]:.0%} of the peak; "
    return said


def main() -> None:
    """Let all contenders take turns and print the comparison; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", choices=("bert-base", "minilm"), default="bert-base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", metavar="PART")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is not None:
        load, sequences = ENCODERS[options.contender], ragged()

        def ready() -> object:
            run = load(options.keep, options.threads)
            return lambda: run(sequences)

        serve(ready, options.answer)
        return
    with place(options.keep) as folder:
        prepare(options.model, folder)
        report(options, folder)


def report(options: argparse.Namespace, folder: Path) -> None:
    """Let all contenders take turns and print the comparison."""
    names = [name for name in ENCODERS if options.compile or "compile" not in name]
    names = [
        name for name in names if not options.only or any(part in name for part in options.only)
    ]
    given = {"keep": folder, "threads": options.threads}
    best = peaks(options.threads)
    found = compete(
        {name: command(__file__, name, given) for name in names}, options.rounds, folder
    )
    best = {key: max(value, best[key]) for key, value in peaks(options.threads).items()}
    tokens = sum(map(len, ragged()))
    print(f"{options.model}, 128 sequences, {tokens} tokens, {options.threads} threads")
    print("peak: " + ", ".join(f"{key} {value / 1e12:.3f} T/s" for key, value in best.items()))
    reference = next((each for each in found if each.name == REFERENCE), found[0])
    said = shares(found, folder, best)
    for each in found:
        said[each.name] = said.get(each.name, "") + closeness(each, reference)
        if "compile" in each.name:
            said[each.name] += f"; first answer after {each.start['first']:.0f} s"
    table(found, tokens, "tokens", said)
    against(found)


if __name__ == "__main__":
    main()
