"""Write text: transformers, CTranslate2 and regard in alternating processes, fp32, greedy.

    python benchmarks/generate.py [--rounds 3] [--threads 1] [--only gpt2|marian|arrivals] [--small]

Three cases, all with random weights of the real sizes, which cost what trained ones do:

* gpt2: GPT-2 124M with its 50,257 words continues prompts of 32 tokens by 128, 1 and 8 at once;
* marian: 6 and 6 layers of width 512 and 58,101 words, the same from sources of 32 tokens;
* arrivals: 16 requests of different lengths come to the GPT-2 at random moments (Poisson). regard
  decodes them together as they come, and once more all given at once; transformers does with its
  ``generate_batch``, which is given all at once, and one after the other with ``generate``, in the
  order in which they came.

Every run is a process of its own, for the thread pools of the runtimes would be in each other's
way, and the contenders take turns. Each loads, warms up, and then is timed. All have to write the
same tokens as transformers, else it is said how many they share. A contender that is not installed,
or that fails, is left out by name. Prints the fastest and the median round, tokens per second of
the fastest, how many times as fast it is as transformers, and what a step of regard's loop takes
beside the model's forward. ``--small`` shrinks all sizes, to see whether it works.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROMPT, NEW, REQUESTS = 32, 128, 16
CONTENDERS = {
    "gpt2": ("transformers", "ctranslate2", "regard"),
    "marian": ("transformers", "ctranslate2", "regard"),
    "arrivals": ("transformers", "transformers generate_batch", "regard", "regard at once"),
}
SMALL = {
    "gpt2": {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 503},
    "marian": {
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "vocab_size": 503,
    },
}
MARIAN = {
    "d_model": 512,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_ffn_dim": 2048,
    "decoder_ffn_dim": 2048,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "vocab_size": 58101,
    "scale_embedding": True,
    "activation_function": "swish",
}
Ids = list[list[int]]
#: Returns the new tokens of each text.
Run = Callable[[Ids], Ids]


def prepare(folder: Path, small: bool) -> None:
    """Write both models, and what CTranslate2 makes of them where it is installed."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = SMALL["gpt2"] if small else {"vocab_size": 50257}
    last = sizes["vocab_size"] - 1
    gpt2 = transformers.GPT2Config(**sizes, bos_token_id=last, eos_token_id=last)
    sizes = SMALL["marian"] if small else MARIAN
    last = sizes["vocab_size"] - 1
    marian = transformers.MarianConfig(
        **MARIAN | sizes, pad_token_id=last, decoder_start_token_id=last, eos_token_id=0,
        forced_eos_token_id=None, num_beams=1,
    )  # fmt: skip
    for name, model in (
        ("gpt2", transformers.GPT2LMHeadModel(gpt2)),
        ("marian", transformers.MarianMTModel(marian)),
    ):
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if key.endswith("weight") and weight.dim() == 2:
                    weight.mul_(3)  # else every text repeats one word
        model.save_pretrained(folder / name)
        try:
            convert(folder / name, folder / f"{name}-ctranslate2")
        except ImportError:
            print("ctranslate2 is not installed and is left out", file=sys.stderr)


def convert(source: Path, target: Path) -> None:
    """Convert a checkpoint for CTranslate2; its words are the numbers of the tokens."""
    from ctranslate2.converters import TransformersConverter

    config = json.loads((source / "config.json").read_text("utf-8"))
    words = {str(number): number for number in range(config["vocab_size"])}
    if config["model_type"] == "marian":
        del words[str(config["pad_token_id"])]
        words["<pad>"] = config["pad_token_id"]

    class Words:
        """What the converter asks a tokenizer."""

        bos_token = eos_token = unk_token = str(config["eos_token_id"])

        def get_vocab(self) -> dict[str, int]:
            return words

    class Converter(TransformersConverter):
        """A converter that needs no files of a tokenizer."""

        def load_tokenizer(self, *given: Any, **options: Any) -> Words:
            return Words()

    Converter(str(source)).convert(str(target), force=True)


def transformers_run(folder: Path, case: str, new: int) -> Run:
    """Return what decodes with transformers."""
    import torch
    import transformers

    kind = transformers.MarianMTModel if case == "marian" else transformers.GPT2LMHeadModel
    model = kind.from_pretrained(folder / case).eval()
    model.generation_config.eos_token_id = None
    start = 1 if case == "marian" else PROMPT

    def run(ids: Ids) -> Ids:
        rows = torch.tensor(ids)
        mask = torch.ones_like(rows)
        found = model.generate(
            rows, attention_mask=mask, max_new_tokens=new, do_sample=False, num_beams=1,
            pad_token_id=model.config.vocab_size - 1,
        )  # fmt: skip
        return found[:, start:].tolist()

    return run


def ctranslate2_run(folder: Path, case: str, new: int, threads: int) -> Run:
    """Return what decodes with CTranslate2."""
    import ctranslate2

    kind = ctranslate2.Translator if case == "marian" else ctranslate2.Generator
    model = kind(
        str(folder / f"{case}-ctranslate2"), device="cpu", compute_type="float32",
        intra_threads=threads, inter_threads=1,
    )  # fmt: skip

    def run(ids: Ids) -> Ids:
        rows = [[str(token) for token in row] for row in ids]
        if case == "marian":
            found = model.translate_batch(
                rows, beam_size=1, max_decoding_length=new, min_decoding_length=new, end_token=[]
            )
            return [[int(word) for word in each.hypotheses[0]] for each in found]
        found = model.generate_batch(
            rows, max_length=new, min_length=new, sampling_topk=1, end_token=[],
            include_prompt_in_result=False,
        )  # fmt: skip
        return [each.sequences_ids[0] for each in found]

    return run


def regard_model(folder: Path, case: str) -> Any:
    """Return our model."""
    import regard

    kind = regard.MarianMTModel if case == "marian" else regard.GPT2LMHeadModel
    return kind.from_pretrained(folder / case)


def regard_run(folder: Path, case: str, new: int) -> Run:
    """Return what decodes with regard."""
    model = regard_model(folder, case)
    start = 1 if case == "marian" else PROMPT
    return lambda ids: model.generate(ids, max_new_tokens=new, eos_token_id=[])[:, start:].tolist()


def overhead(folder: Path, case: str, ids: Ids, new: int) -> float:
    """Return the milliseconds of a step that are not the model's: the median of all steps."""
    import torch

    from regard.generation.generate import make_ready

    model, inside = regard_model(folder, case), [0.0]
    for name in ("read", "score"):
        method = getattr(model, name)

        def timed(*given: Any, method: Callable[..., Any] = method) -> Any:
            begun = time.perf_counter()
            found = method(*given)
            inside[0] += time.perf_counter() - begun
            return found

        setattr(model, name, timed)
    outside: list[float] = []
    with torch.inference_mode():
        ready = make_ready(model, ids, None, {"max_new_tokens": new, "eos_token_id": []})
        ready.decoding.admit(ready.rows)
        while ready.decoding.rows:
            inside[0], begun = 0.0, time.perf_counter()
            ready.decoding.step()
            outside.append(time.perf_counter() - begun - inside[0])
    return statistics.median(outside) * 1e3


def decode(name: str, case: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time one contender in this process, for each size of batch."""
    folder, new = Path(options.folder), 8 if options.small else NEW
    if name == "ctranslate2":
        run = ctranslate2_run(folder, case, new, options.threads)
    else:
        run = (regard_run if name == "regard" else transformers_run)(folder, case, new)
    found: dict[str, Any] = {}
    for count in (1, 8):
        ids = prompts(count, words=500)
        run(ids)
        begun = time.perf_counter()
        tokens = run(ids)
        found[f"batch {count}"] = {"seconds": time.perf_counter() - begun, "tokens": tokens}
        if name == "regard":
            found[f"batch {count}"]["overhead"] = overhead(folder, case, ids, new)
    return found


def prompts(count: int, words: int) -> Ids:
    """Return random ids."""
    numbers = random.Random(0)
    return [[numbers.randrange(1, words) for _ in range(PROMPT)] for _ in range(count)]


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


def serve(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Answer the requests as they come; return the seconds until all are, and the mean wait."""
    folder, requests = Path(options.folder), arrivals(options.small)
    if name == "regard at once":  # as generate_batch has them
        requests = [(0.0, ids, new) for _, ids, new in requests]
    if name.startswith("regard"):
        tokens, moments = serve_together(folder, requests)
    elif name == "transformers":
        tokens, moments = serve_in_turn(folder, requests)
    else:
        tokens, moments = serve_at_once(folder, requests)
    waits = [end - come for (come, _, _), end in zip(requests, moments, strict=True)]
    return {"all": {"seconds": max(moments), "wait": statistics.mean(waits), "tokens": tokens}}


def serve_together(
    folder: Path, requests: Sequence[tuple[float, list[int], int]]
) -> tuple[Ids, list[float]]:
    """Answer with our scheduler."""
    from regard.generation.batching import GenerationScheduler

    scheduler = GenerationScheduler(regard_model(folder, "gpt2"))
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
    """Answer with the continuous batching of transformers, which has all requests from the start.

    The clock starts when the first would have come, which is in its favour.
    """
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


def child(name: str, case: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Run one contender in a process of its own; None where it fails, which is said."""
    command = [
        sys.executable, __file__, f"--contender={name}", f"--only={case}",
        f"--folder={options.folder}", f"--threads={options.threads}",
        *(["--small"] if options.small else []),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1800)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{case}: {name} is left out: {last}")
        return None
    except subprocess.TimeoutExpired:
        print(f"{case}: {name} is left out: no answer in half an hour")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def report(case: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table of one case."""
    for size in found["transformers"][0]:
        first = found["transformers"][0][size]
        theirs = min(run[size]["seconds"] for run in found["transformers"])
        count = sum(map(len, first["tokens"]))
        print(f"\n{case}, {size}: {count} tokens")
        for name, runs in found.items():
            seconds = [run[size]["seconds"] for run in runs]
            low, middle = min(seconds), statistics.median(seconds)
            line = (
                f"  {name:28} min {low:7.3f} s  median {middle:7.3f} s  {count / low:7.1f} tokens/s"
            )
            line += f"  {theirs / low:5.2f} of transformers' speed"
            pairs = zip(first["tokens"], runs[0][size]["tokens"], strict=True)
            same = sum(a == b for ours, their in pairs for a, b in zip(ours, their, strict=False))
            line += "" if same == count else f"  {same} of {count} tokens are the same"
            if "wait" in runs[0][size]:
                line += f"  mean wait {min(run[size]['wait'] for run in runs):.3f} s"
            if "overhead" in runs[0][size]:
                each = min(run[size]["overhead"] for run in runs)
                line += f"  loop {each:.3f} ms a step"
            print(line)


def main() -> None:
    """Run all contenders in turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=[*CONTENDERS])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is not None:
        if options.contender != "ctranslate2":
            import torch

            torch.set_num_threads(options.threads)
        case = options.only
        timed = (
            serve(options.contender, options)
            if case == "arrivals"
            else decode(options.contender, case, options)
        )
        print(json.dumps(timed))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.small)
        options.folder = folder
        for case in [options.only] if options.only else CONTENDERS:
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS[case]}
            for _ in range(options.rounds):
                for name in [*found]:
                    result = child(name, case, options)
                    if result is None:
                        del found[name]
                    else:
                        found[name].append(result)
            report(case, found)


if __name__ == "__main__":
    main()
