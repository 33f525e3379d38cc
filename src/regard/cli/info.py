"""``regard info``: what a checkpoint is, without loading its weights."""

import math
import typing
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import typer

from regard.cli import options
from regard.cli.io import Record, counted, emit, to_json, verb, write_facts
from regard.errors import CheckpointError, CheckpointNotFoundError, listing

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
            metavar="MODEL", help="A folder, or a name on the Hub.", show_default="embedded MiniLM"
        ),
    ] = None,
    revision: options.Revision = None,
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Say what a checkpoint is: sizes, parameters, files, tokenizer, pooling and labels.

    Weights are neither loaded nor downloaded.
    """
    from regard.checkpoints.files import find_checkpoint
    from regard.pipelines.pipeline import Pipeline

    folder = find_checkpoint(model or Pipeline.default_model, revision=revision)
    facts = describe(folder, revision)
    if as_json:
        emit(to_json(facts) + "\n")
    else:
        write_facts(_sections(facts))


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(info)


def describe(folder: "CheckpointFolder", revision: str | None = None) -> dict[str, Any]:
    """Return what the files of a checkpoint say.

    A part that cannot be read is ``{"error": why}``; one that is not there is None.
    """
    from regard.config import CONFIG_FILE
    from regard.models.auto import AutoConfig

    path = folder.path(CONFIG_FILE)
    config = AutoConfig.from_pretrained(folder.name, revision=revision)
    named = folder.read_json(CONFIG_FILE)
    sizes = {name: vars(config).get(field) for name, field in SIZES.items()}
    return {
        "name": folder.name,
        "origin": folder.origin,
        "folder": str(path.parent.absolute()),
        "model_type": config.model_type,
        "architectures": config.architectures or [],
        "sizes": {name: size for name, size in sizes.items() if size is not None},
        "parameters": _parameters(config),
        "weights": _part(lambda: _weights(folder, revision)),
        "tokenizer": _part(lambda: _tokenizer(folder.name, revision)),
        "pooling": _part(lambda: _pooling(folder)),
        "labels": [*(config.id2label or {}).values()] if _has_labels(named) else None,
    }


def _has_labels(named: dict[str, Any]) -> bool:
    return bool({"id2label", "label2id", "num_labels"} & named.keys())


def _part(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Read one part; what is wrong with it must not hide the others."""
    try:
        return read()
    except CheckpointError as error:
        return {"error": str(error)}


def _parameters(config: "Config") -> int:
    """Count those of the architecture that the checkpoint names, or of its base model."""
    import torch

    from regard.models.auto import family

    found = family(config.model_type)
    classes = {each.__name__: each for each in (found.base, *found.heads.values())}
    chosen = next((classes[n] for n in config.architectures or [] if n in classes), found.base)
    with torch.device("meta"):
        return chosen(config).num_parameters()


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
    """Return the facts as people read them."""
    labels: list[str] | None = facts["labels"]
    return {
        facts["name"]: {
            "found": f"{facts['origin']}, {facts['folder']}",
            "model type": facts["model_type"],
            "architectures": ", ".join(facts["architectures"]) or "not named",
            "parameters": f"{facts['parameters']:,}",
        },
        "Sizes": {name: f"{size:,}" for name, size in facts["sizes"].items()},
        "Files": {
            "weights": _say(facts["weights"], _say_weights, "not downloaded yet"),
            "tokenizer": _say(facts["tokenizer"], _say_tokenizer, "none"),
            "pooling": _say(facts["pooling"], _say_pooling, "none: not a sentence encoder"),
            "labels": "none" if labels is None else f"{len(labels)}: {listing(labels, 12)}",
        },
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


def _say_tokenizer(tokenizer: Record) -> str:
    limit = tokenizer["max_length"]
    cut = "no limit of length" if limit is None else f"at most {limit:,} in a text"
    return f"{tokenizer['class']}, {counted(tokenizer['tokens'], 'token')}, {cut}"


def _say_pooling(pooling: Record) -> str:
    length = "of length 1" if pooling["normalize"] else "of any length"
    limit = pooling["max_length"]
    cut = f", texts cut at {limit:,} tokens" if limit else ""
    return f"{' + '.join(pooling['modes'])}, vectors {length}{cut}"
