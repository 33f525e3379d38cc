"""What a model costs, as ``regard info`` tells it: the figures of `regard.models.summary`."""

import typing
from typing import Any

from regard.cli.io import Column, Record, emit, scaled, write_facts, write_table

if typing.TYPE_CHECKING:
    from regard.config import Config

COLUMNS = (
    Column("Part", 17),
    Column("Parameters", 15, right=True),
    Column("Per layer", 18, right=True),
    Column("Share", 6, right=True),
    Column("FLOPs", 7, right=True),
)


def count(config: "Config", head: str | None, length: int | None) -> dict[str, Any]:
    """Return what the model of a configuration costs, as JSON has it."""
    from regard.models.summary import model_summary

    found = model_summary(config, head=head, length=length)
    parts = {
        name: vars(part) | {"per_layer": [*part.per_layer]} for name, part in found.parts.items()
    }
    return {
        "model": found.model,
        "parameters": found.parameters,
        "parts": {n: part for n, part in parts.items() if part["parameters"] or part["flops"]},
        "memory": {**found.weight_bytes, "training": found.training_bytes},
        "cache_per_token": found.cache_bytes if found.cached_numbers else None,
        "flops": {
            "tokens": found.tokens,
            "total": found.flops,
            "per_token": round(found.flops / found.tokens),
            "attention_scores": found.score_flops,
        },
    }


def write(facts: Record) -> None:
    """Write the table of parts, and what follows from it."""
    tokens = facts["flops"]["tokens"]
    write_table(f"{facts['model']}, one forward over {tokens:,} tokens", COLUMNS, _rows(facts))
    memory = dict(facts["memory"])
    training = scaled(memory.pop("training"), "B")
    says = {
        "weights": _by_type(memory),
        "training": f"{training}: weights, gradients and AdamW's state in float32; activations "
        "come on top",
    }
    if facts["cache_per_token"]:
        says["KV cache"] = f"for each token {_by_type(facts['cache_per_token'])}"
    says["FLOPs"] = (
        f"{scaled(facts['flops']['per_token'])} a token at this length (attention pairs grow with "
        "its square); training takes 3 times as many"
    )
    emit("\n")
    write_facts({"Needs": says})


def _by_type(sizes: Record) -> str:
    return ", ".join(f"{scaled(size, 'B')} in {kind}" for kind, size in sizes.items())


def _rows(facts: Record) -> list[tuple[str, ...]]:
    total = facts["parameters"]
    rows: list[tuple[str, ...]] = []
    for name, part in facts["parts"].items():
        count = part["parameters"]
        layers, flops = _per_layer(part["per_layer"]), scaled(part["flops"])
        share = f"{100 * count / total:.1f} %"
        rows.append((name.replace("_", "-"), f"{count:,}", layers, share, flops))
        if name == "attention":
            pairs = scaled(facts["flops"]["attention_scores"])
            rows.append(("attention pairs", "", "", "", pairs))
    rows.append(("total", f"{total:,}", "", "", scaled(facts["flops"]["total"])))
    return rows


def _per_layer(counts: list[int]) -> str:
    having = [count for count in counts if count]
    if not having:
        return ""
    low, high = min(having), max(having)
    return f"{len(having)} x {high:,}" if low == high else f"{scaled(low)} to {scaled(high)}"
