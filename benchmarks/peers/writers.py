"""Contenders that write: from a folder of models to a function from ids to new tokens.

Random weights of the real sizes, which cost what trained ones do. Where a process has to write the
same as another, no text ends before its time.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Work:
    """What is to be written.

    Attributes:
        folder: Where the models are.
        model: ``"gpt2"`` or ``"marian"``.
        new: Tokens to write for each text.
        beams: 1 is greedy.
        threads: Of the runtime.
    """

    folder: Path
    model: str
    new: int
    beams: int
    threads: int

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.folder / self.model


def prepare(folder: Path, small: bool) -> None:
    """Write both models, if they are not there, and what CTranslate2 makes of them if installed."""
    import torch
    import transformers

    if (folder / "gpt2").exists():
        return
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


def transformers_writer(work: Work) -> Run:
    """Return what writes with transformers, from rows padded to the longest."""
    import torch

    torch.set_num_threads(work.threads)
    model = reference(work)
    model.generation_config.eos_token_id = None

    def run(ids: Ids) -> Ids:
        rows, mask = padded(ids, model.config.vocab_size - 1)
        start = 1 if work.model == "marian" else rows.shape[1]
        found = model.generate(
            rows, attention_mask=mask, max_new_tokens=work.new, do_sample=False,
            num_beams=work.beams, pad_token_id=model.config.vocab_size - 1,
        )  # fmt: skip
        return found[:, start:].tolist()

    return run


def reference(work: Work) -> Any:
    """Return the model of transformers."""
    import transformers

    kinds = {"marian": transformers.MarianMTModel, "gpt2": transformers.GPT2LMHeadModel}
    return kinds[work.model].from_pretrained(work.path).eval()


def padded(ids: Ids, filler: int) -> tuple[Any, Any]:
    """Return ids and mask (rows, longest)."""
    import torch

    longest = max(map(len, ids))
    rows = torch.tensor([row + [filler] * (longest - len(row)) for row in ids])
    return rows, (torch.arange(longest) < torch.tensor([[len(row)] for row in ids])).long()


def ctranslate2_writer(work: Work, precision: str, streams: int = 1) -> Run:
    """Return what writes with CTranslate2; several streams share the threads and the texts."""
    import ctranslate2

    kind = ctranslate2.Translator if work.model == "marian" else ctranslate2.Generator
    model = kind(
        str(work.folder / f"{work.model}-ctranslate2"), device="cpu", compute_type=precision,
        intra_threads=max(work.threads // streams, 1), inter_threads=streams,
    )  # fmt: skip

    def run(ids: Ids) -> Ids:
        rows = [[str(token) for token in row] for row in ids]
        options = {"end_token": [], "beam_size": work.beams}
        options["max_batch_size"] = -(-len(rows) // streams)
        if work.model == "marian":
            found = model.translate_batch(
                rows, max_decoding_length=work.new, min_decoding_length=work.new, **options
            )
            return [[int(word) for word in each.hypotheses[0]] for each in found]
        found = model.generate_batch(
            rows, max_length=work.new, min_length=work.new, sampling_topk=1,
            include_prompt_in_result=False, **options,
        )  # fmt: skip
        return [each.sequences_ids[0] for each in found]

    return run


def regard_model(work: Work, precision: str | None = None) -> Any:
    """Return our model, optimized if a precision is given."""
    import torch

    import regard

    torch.set_num_threads(work.threads)
    kind = regard.MarianMTModel if work.model == "marian" else regard.GPT2LMHeadModel
    model = kind.from_pretrained(work.path)
    return model if precision is None else regard.optimize(model, precision)


def regard_writer(work: Work, precision: str | None = None) -> Run:
    """Return what writes with regard."""
    model = regard_model(work, precision)

    def run(ids: Ids) -> Ids:
        found = model.generate(ids, max_new_tokens=work.new, eos_token_id=[], num_beams=work.beams)
        start = 1 if work.model == "marian" else len(ids[0])
        return found[:, start:].tolist()

    return run


WRITERS: dict[str, Callable[[Work], Run]] = {
    "transformers": transformers_writer,
    "CTranslate2 fp32": lambda work: ctranslate2_writer(work, "float32"),
    "CTranslate2 int8": lambda work: ctranslate2_writer(work, "int8"),
    "CTranslate2 int8, streams": lambda work: ctranslate2_writer(work, "int8", work.threads),
    "regard": regard_writer,
    "regard optimized, fp32": lambda work: regard_writer(work, "fp32"),
    "regard optimized, bf16": lambda work: regard_writer(work, "bf16"),
    "regard optimized, int8": lambda work: regard_writer(work, "int8"),
}


def likelihood(work: Work, given: Ids, written: Ids) -> float:
    """Return the mean log-likelihood of a token that was written, by transformers in fp32."""
    import torch

    model, found = reference(work), []
    for start in range(0, len(given), 8):  # the scores of all words take much memory
        rows, mask = padded(given[start : start + 8], model.config.vocab_size - 1)
        new = torch.tensor(written[start : start + 8])
        with torch.inference_mode():
            if work.model == "marian":
                first = torch.full((len(new), 1), model.config.decoder_start_token_id)
                inputs = torch.cat([first, new[:, :-1]], 1)
                scores = model(rows, attention_mask=mask, decoder_input_ids=inputs).logits
            else:  # these prompts are of one length
                scores = model(torch.cat([rows, new], 1)[:, :-1]).logits[:, -new.shape[1] :]
            found.append(scores.log_softmax(-1).gather(2, new[..., None]).flatten())
    return float(torch.cat(found).mean())


def overhead(work: Work, ids: Ids) -> float:
    """Return the milliseconds of a step that are not the model's: the median of all steps."""
    import torch

    from regard.generation.generate import make_ready

    model, inside = regard_model(work), [0.0]
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
        ready = make_ready(model, ids, None, {"max_new_tokens": work.new, "eos_token_id": []})
        ready.decoding.admit(ready.rows)
        while ready.decoding.rows:
            inside[0], begun = 0.0, time.perf_counter()
            ready.decoding.step()
            outside.append(time.perf_counter() - begun - inside[0])
    return statistics.median(outside) * 1e3
