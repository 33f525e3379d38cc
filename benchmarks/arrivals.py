"""16 requests to a GPT-2 that come at random moments: transformers and regard in turns.

    python benchmarks/arrivals.py [--rounds 3] [--threads 2] [--small]

Requests of different lengths come to a GPT-2 124M with random weights as a Poisson process, one a
second in the mean. regard decodes them together as they come, and once more all given at once;
transformers does with its ``generate_batch``, which is given all at once, and one after the other
with ``generate``, in the order in which they came. All in fp32, greedy.

Every run is a process of its own, and the contenders take turns. All have to write the same tokens
as transformers, else it is said how many they share. A contender that fails is left out by name.
Prints the fastest and the median round, tokens per second of the fastest, and the mean wait.
``--small`` shrinks all sizes, to see whether it works.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.writers import Ids, Work, prepare, regard_model

REQUESTS = 16
CONTENDERS = ("transformers", "transformers generate_batch", "regard", "regard at once")
AT_ONCE = ("transformers generate_batch", "regard at once")


def arrivals(small: bool) -> list[tuple[float, list[int], int]]:
    """Return when each request comes, in seconds, its prompt, and how many tokens it wants."""
    numbers, moment = random.Random(1), 0.0
    found: list[tuple[float, list[int], int]] = []
    for _ in range(REQUESTS):
        moment += numbers.expovariate(100.0 if small else 1.0)
        prompt = [numbers.randrange(1, 500) for _ in range(numbers.randrange(8, 65))]
        found.append(
            (moment, prompt, numbers.randrange(4, 9) if small else numbers.randrange(16, 97))
        )
    return found


def answer_all(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Answer the requests as they come; return the seconds until all are, and the mean wait."""
    folder, requests = Path(options.folder), arrivals(options.small)
    if name in AT_ONCE:
        requests = [(0.0, ids, new) for _, ids, new in requests]
    if name.startswith("regard"):
        tokens, moments = serve_together(Work(folder, "gpt2", 0, 1, options.threads), requests)
    elif name == "transformers":
        tokens, moments = serve_in_turn(folder, requests)
    else:
        tokens, moments = serve_at_once(folder, requests)
    waits = [end - come for (come, _, _), end in zip(requests, moments, strict=True)]
    return {"seconds": max(moments), "wait": statistics.mean(waits), "tokens": tokens}


def serve_together(
    work: Work, requests: Sequence[tuple[float, list[int], int]]
) -> tuple[Ids, list[float]]:
    """Answer with our scheduler."""
    from regard.generation.batching import GenerationScheduler

    scheduler = GenerationScheduler(regard_model(work))
    scheduler.submit(requests[0][1], max_new_tokens=2, eos_token_id=[])
    [*scheduler.run()]
    jobs, ends, begun = [], {}, time.perf_counter()
    while len(ends) < len(requests):
        now = time.perf_counter() - begun
        while len(jobs) < len(requests) and requests[len(jobs)][0] <= now:
            _, ids, new = requests[len(jobs)]
            jobs.append(scheduler.submit(ids, max_new_tokens=new, eos_token_id=[]))
        if not scheduler.busy:
            time.sleep(max(requests[len(jobs)][0] - now, 0))
            continue
        for job in scheduler.step():
            ends[job] = time.perf_counter() - begun
    return [job.result() for job in jobs], [ends[job] for job in jobs]


def serve_in_turn(
    folder: Path, requests: Sequence[tuple[float, list[int], int]]
) -> tuple[Ids, list[float]]:
    """Answer one after the other with transformers."""
    import torch
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(folder / "gpt2").eval()
    model.generation_config.eos_token_id = None

    def answer(ids: list[int], new: int) -> list[int]:
        rows = torch.tensor([ids])
        found = model.generate(
            rows, attention_mask=torch.ones_like(rows), max_new_tokens=new, do_sample=False,
            pad_token_id=0,
        )  # fmt: skip
        return found[0, len(ids) :].tolist()

    answer(requests[0][1], 2)
    tokens, ends, begun = [], [], time.perf_counter()
    for come, ids, new in requests:
        time.sleep(max(come - (time.perf_counter() - begun), 0))
        tokens.append(answer(ids, new))
        ends.append(time.perf_counter() - begun)
    return tokens, ends


def serve_at_once(
    folder: Path, requests: Sequence[tuple[float, list[int], int]]
) -> tuple[Ids, list[float]]:
    """Answer with the continuous batching of transformers."""
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(folder / "gpt2").eval()
    config = transformers.GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)
    sizes = transformers.ContinuousBatchingConfig(num_blocks=256, max_batch_tokens=512)
    begun, ends, found = 0.0, {}, {}
    with model.continuous_batching_context_manager(
        generation_config=config, continuous_batching_config=sizes, warmup=False
    ) as manager:
        begun = time.perf_counter()
        names = [manager.add_request(ids, max_new_tokens=new) for _, ids, new in requests]
        while len(found) < len(requests):
            result = manager.get_result(timeout=60)
            if result is None:
                raise RuntimeError("generate_batch of transformers gave no result in 60 seconds")
            if result.is_finished():
                found[result.request_id] = [*result.generated_tokens]
                ends[result.request_id] = time.perf_counter() - begun
    return [found[name] for name in names], [ends[name] for name in names]


def child(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Run one contender in a process of its own; None where it fails, which is said."""
    command = [
        sys.executable, __file__, f"--contender={name}", f"--folder={options.folder}",
        f"--threads={options.threads}", *(["--small"] if options.small else []),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1800)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{name} is left out: {last}")
        return None
    except subprocess.TimeoutExpired:
        print(f"{name} is left out: no answer in half an hour")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def report(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table."""
    first = next(iter(found.values()))[0]["tokens"]
    count = sum(map(len, first))
    print(f"\n{REQUESTS} requests, {count} tokens")
    for name, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        low, middle = min(seconds), statistics.median(seconds)
        pairs = zip(first, runs[0]["tokens"], strict=True)
        same = sum(a == b for ours, their in pairs for a, b in zip(ours, their, strict=False))
        print(
            f"  {name:28} min {low:7.3f} s  median {middle:7.3f} s  {count / low:7.1f} tokens/s  "
            f"mean wait {min(run['wait'] for run in runs):.3f} s"
            + ("" if same == count else f"  {same} of {count} tokens are the same")
        )


def main() -> None:
    """Run all contenders in turns and print the table; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is not None:
        import torch

        torch.set_num_threads(options.threads)
        print(json.dumps(answer_all(options.contender, options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.small)
        options.folder = folder
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        for _ in range(options.rounds):
            for name in [*found]:
                result = child(name, options)
                if result is None:
                    del found[name]
                else:
                    found[name].append(result)
        report(found)


if __name__ == "__main__":
    main()
