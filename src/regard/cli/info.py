"""``regard info``: what a model is and costs, without loading its weights."""

import math
import typing
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.cli import costs, options
from regard.cli.io import Record, counted, emit, to_json, verb, write_facts
from regard.errors import CheckpointError, CheckpointNotFoundError, listing
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.checkpoints.files import CheckpointFolder
    from regard.config import Config

#: What people call a size -> the field of the configuration.
SIZES = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
}


@verb
def info(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A folder, a config.json, or a name on the Hub.",
            show_default="embedded MiniLM",
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Instead of MODEL: the defaults of a family.", show_default=False),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="Count with this head, such as MaskedLM.", show_default="the model's"),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tokens to count the FLOPs of.", show_default="512, or all it takes"
        ),
    ] = None,
    revision: options.Revision = None,
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Say what a model is and costs: sizes, parameters, memory, FLOPs, files, tokenizer, labels.

    Weights are neither loaded nor downloaded.
    """
    if family is not None and model is not None:
        raise ValueError(f"give MODEL or --family, not both; found {model!r} and {family!r}")
    where, config, files = _find(model, family, revision)
    facts = where | _describe(config) | costs.count(config, head, length) | files
    if as_json:
        emit(to_json(facts) + "\n")
        return
    write_facts(_sections(facts))
    emit("\n")
    costs.write(facts)
    if files:
        emit("\n")
        write_facts({"Files": _say_files(facts)})


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(info)


def _find(
    model: str | None, family: str | None, revision: str | None
) -> tuple[dict[str, Any], "Config", dict[str, Any]]:
    """Return what is asked for: where it was found, its configuration, and what its files say."""
    with uncollected():
        from regard.checkpoints.files import (
            ADAPTER_CONFIG,
            adapter_base,
            find_checkpoint,
            read_json_object,
        )
        from regard.config import CONFIG_FILE
        from regard.models import auto
        from regard.models.origin import find_origin
        from regard.pipelines.pipeline import MINILM

    if family is not None:
        config = auto.family(family).config()
        return {"name": family, "origin": "family", "folder": None}, config, {}
    if model is not None and Path(model).suffix == ".json":
        config = auto.read_config(read_json_object(Path(model)), model)
        folder = str(Path(model).parent.absolute())
        return {"name": model, "origin": "file", "folder": folder}, config, {}
    folder = find_checkpoint(model or MINILM, revision=revision)
    origin = find_origin(folder.name, {"revision": revision})
    described = folder if origin.described == folder.name else origin.weights
    base = adapter_base(folder)
    path = folder.path(CONFIG_FILE if base is None else ADAPTER_CONFIG)
    where = {"name": folder.name, "origin": folder.origin, "folder": str(path.parent.absolute())}
    config = auto.AutoConfig.from_pretrained(folder.name, revision=revision)
    labels = [*(config.id2label or {}).values()]
    files = {
        "weights": _part(lambda: _weights(origin.weights, revision if base is None else base[1])),
        "tokenizer": _part(lambda: _tokenizer(folder.name, revision)),
        "pooling": _part(lambda: _pooling(origin.weights)),
        "labels": labels if _has_labels(described.read_json(CONFIG_FILE)) else None,
    }
    if base is not None:
        where |= {"base": base[0], **_card(folder.name)}
        files["adapter"] = _part(lambda: _adapter(folder))
    return where, config, files


def _card(name: str) -> dict[str, Any]:
    """Return what the card of a shipped model says; nothing for another model."""
    from regard.checkpoints.shipped import CARD, shipped_models

    found = shipped_models().get(name)
    if found is None:
        return {}
    said = {"task": found.task, "license": found.license, "scores": dict(found.scores)}
    return {**said, "card": str(found.folder / CARD)}


def _describe(config: "Config") -> dict[str, Any]:
    sizes = {name: vars(config).get(field) for name, field in SIZES.items()}
    return {
        "model_type": config.model_type,
        "architectures": config.architectures or [],
        "sizes": {name: size for name, size in sizes.items() if size is not None},
    }


def _has_labels(named: dict[str, Any]) -> bool:
    return bool({"id2label", "label2id", "num_labels"} & named.keys())


def _part(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Read one part; what is wrong with it must not hide the others."""
    try:
        return read()
    except CheckpointError as error:
        return {"error": str(error)}


def _weights(folder: "CheckpointFolder", revision: str | None) -> dict[str, Any] | None:
    """Describe the weights that are on this disk; None where they were not downloaded yet."""
    from regard.checkpoints.files import find_checkpoint
    from regard.checkpoints.tensors import open_tensors

    if folder.origin == "hub":
        folder = find_checkpoint(folder.name, revision=revision, local_files_only=True)
    try:
        tensors = open_tensors(folder)
    except CheckpointNotFoundError:
        if folder.origin == "hub":
            return None
        raise
    files = sorted({tensor.file for tensor in tensors.values()})
    numbers: Counter[str] = Counter()
    for tensor in tensors.values():
        # Reading only maps the file into memory; the numbers stay on disk.
        kind = tensor.quantised or str(tensor.dtype).removeprefix("torch.")
        numbers[kind] += math.prod(tensor.shape)
    return {
        "files": [file.name for file in files],
        "bytes": sum(file.stat().st_size for file in files),
        "numbers": dict(numbers),
    }


def _adapter(folder: "CheckpointFolder") -> dict[str, Any]:
    """Describe an adapter, which changes the weights of its base."""
    from regard.adapters.files import stored_config, stored_tensors

    config, tensors = stored_config(folder), stored_tensors(folder).values()
    known = {} if config is None else config.to_dict()
    return {
        "kind": known.get("peft_type"),
        "rank": known.get("r"),
        "targets": known.get("target_modules"),
        "numbers": sum(math.prod(tensor.shape) for tensor in tensors),
        "bytes": sum(file.stat().st_size for file in {tensor.file for tensor in tensors}),
    }


def _tokenizer(name: str, revision: str | None) -> dict[str, Any]:
    from regard.text.families import AutoTokenizer
    from regard.text.stored import NO_LIMIT

    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    limit = tokenizer.model_max_length
    return {
        "class": type(tokenizer).__name__,
        "tokens": len(tokenizer),
        "max_length": None if limit >= NO_LIMIT else limit,
    }


def _pooling(folder: "CheckpointFolder") -> dict[str, Any] | None:
    from regard.pipelines.pooling import SentencePooling

    if folder.find("modules.json") is None:
        return None
    pooling = SentencePooling.read(folder)
    return {
        "modes": [*pooling.modes],
        "normalize": pooling.normalize,
        "max_length": pooling.max_length,
    }


def _sections(facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return what a model is, as people read it."""
    found = {
        "family": "the defaults of its configuration",
        "file": "a configuration without weights",
    }
    return {
        facts["name"]: {
            "found": found.get(facts["origin"]) or f"{facts['origin']}, {facts['folder']}",
            "model type": facts["model_type"],
            **({"base": facts["base"]} if "base" in facts else {}),
            **_say_card(facts),
            "architectures": ", ".join(facts["architectures"]) or "not named",
            "parameters": f"{facts['parameters']:,}",
        },
        "Sizes": {name: f"{size:,}" for name, size in facts["sizes"].items()},
    }


def _say_card(facts: dict[str, Any]) -> dict[str, str]:
    """Return what the card of a shipped model says."""
    if "card" not in facts:
        return {}
    scores = "; ".join(f"{what}: {score:.4g}" for what, score in facts["scores"].items())
    named = {name: facts[name] for name in ("task", "license", "card")}
    return named | {"scores": scores}


def _say_files(facts: dict[str, Any]) -> dict[str, str]:
    labels: list[str] | None = facts["labels"]
    adapter = {"adapter": _say(facts["adapter"], _say_adapter, "")} if "adapter" in facts else {}
    return {
        "weights": _say(facts["weights"], _say_weights, "not downloaded yet"),
        **adapter,
        "tokenizer": _say(facts["tokenizer"], _say_tokenizer, "none"),
        "pooling": _say(facts["pooling"], _say_pooling, "none: not a sentence encoder"),
        "labels": "none" if labels is None else f"{len(labels)}: {listing(labels, 12)}",
    }


def _say(part: Record | None, say: Callable[[Record], str], missing: str) -> str:
    if part is None:
        return missing
    return f"cannot be read: {part['error']}" if "error" in part else say(part)


def _say_weights(weights: Record) -> str:
    types = ", ".join(
        f"{kind} ({count:,} numbers)" if len(weights["numbers"]) > 1 else kind
        for kind, count in weights["numbers"].items()
    )
    return f"{listing(weights['files'], 2)}, {weights['bytes'] / 1e6:,.1f} MB, {types}"


def _say_adapter(adapter: Record) -> str:
    given = adapter["targets"]
    targets = given if isinstance(given, str) else listing(given or ())
    size = f"{adapter['numbers']:,} numbers, {adapter['bytes'] / 1e6:,.1f} MB"
    return f"{adapter['kind']} of rank {adapter['rank']} on {targets}, {size}"


def _say_tokenizer(tokenizer: Record) -> str:
    limit = tokenizer["max_length"]
    cut = "no limit of length" if limit is None else f"at most {limit:,} in a text"
    return f"{tokenizer['class']}, {counted(tokenizer['tokens'], 'token')}, {cut}"


def _say_pooling(pooling: Record) -> str:
    length = "of length 1" if pooling["normalize"] else "of any length"
    limit = pooling["max_length"]
    cut = f", texts cut at {limit:,} tokens" if limit else ""
    return f"{' + '.join(pooling['modes'])}, vectors {length}{cut}"
