"""``regard convert``: a checkpoint as safetensors, in other files, types or names."""

import math
import typing
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.cli import options
from regard.cli.io import Record, emit, scaled, to_json, verb, write_facts
from regard.errors import CheckpointError, ConfigError, listing
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.checkpoints.convert import Converted
    from regard.checkpoints.files import CheckpointFolder
    from regard.config import Config
    from regard.models.model import PreTrainedModel

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A folder, a GGUF file, or a name on the Hub.")
]
Target = Annotated[
    Path | None, typer.Argument(metavar="DEST", help="The folder to make.", show_default=False)
]
Size = Annotated[
    str, typer.Option("--max-shard-size", metavar="SIZE", help="Bytes in one file, such as 200MB.")
]
Rename = Annotated[bool, typer.Option("--rename", help="Write each tensor under today's name.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the checkpoint that is in DEST.")]
Check = Annotated[bool, typer.Option("--check", help="Write nothing: check SOURCE instead.")]


@verb
def convert(
    source: Source,
    target: Target = None,
    dtype: options.Dtype = None,
    max_shard_size: Size = "5GB",
    rename: Rename = False,
    force: Force = False,
    check: Check = False,
    revision: options.Revision = None,
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Write a checkpoint anew, as safetensors: from .bin files, in other shards, types or names.

    Tokenizer and configuration are copied; what could hold code is not. Each tensor is read back
    and compared before DEST appears.

    This needs no knowledge of the model, so any will do. Only --rename (for gamma and beta,
    module., a missing prefix) needs a family that regard has.

    With --check and no DEST: every tensor is read, none may be infinite or no number, and if
    regard has the family, all must be there and fit.
    """
    if check != (target is None):
        raise typer.BadParameter(
            "--check writes nothing: leave DEST out" if check else "missing; or give --check",
            param_hint="DEST",
        )
    with uncollected():
        from regard.checkpoints.convert import Conversion, convert_checkpoint
        from regard.checkpoints.files import find_checkpoint
        from regard.checkpoints.tensors import floating_dtype

    folder = find_checkpoint(source, revision=revision)
    if target is None:
        facts, say = examine(folder), _say_examined
    else:
        kind = None if dtype is None else floating_dtype(dtype)
        wanted = Conversion(kind, max_shard_size, _renaming(folder) if rename else str)
        done = convert_checkpoint(folder, target, wanted, force=force)
        facts, say = _report(folder.name, target, done), _say_converted
    if as_json:
        emit(to_json(facts) + "\n")
    else:
        write_facts(say(facts))


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(convert)


def examine(folder: "CheckpointFolder") -> dict[str, Any]:
    """Return what a checkpoint holds, or raise `CheckpointError` for what is wrong with it."""
    from regard.checkpoints.convert import refuse_adapter
    from regard.checkpoints.load import check_weights
    from regard.checkpoints.tensors import open_tensors

    refuse_adapter(folder)
    config = _known_config(folder)
    model = None if config is None else _on_meta(config)
    if model is not None:
        check_weights(model, folder, model.anatomy())
    tensors = open_tensors(folder)
    numbers: Counter[str] = Counter()
    bad: list[str] = []
    for name, stored in tensors.items():
        values = stored.read()
        numbers[str(values.dtype).removeprefix("torch.")] += math.prod(stored.shape)
        lost = values.numel() - int(values.isfinite().sum()) if values.is_floating_point() else 0
        if lost:
            bad.append(f"{name} ({lost:,} of {values.numel():,})")
    if bad:
        raise CheckpointError(
            f"{folder.name}: infinite or not a number: {listing(bad)}; the weights are damaged, "
            "or training went wrong"
        )
    return {
        "source": folder.name,
        "tensors": len(tensors),
        "numbers": dict(numbers),
        "files": sorted({stored.file.name for stored in tensors.values()}),
        "model": None if model is None else type(model).__name__,
    }


def _known_config(folder: "CheckpointFolder") -> "Config | None":
    """Return the configuration, or None where there is none of a family that regard has."""
    from regard.config import CONFIG_FILE
    from regard.models import auto

    if folder.find(CONFIG_FILE) is None:
        return None
    values = folder.read_json(CONFIG_FILE)
    known = values.get("model_type") in auto.FAMILIES
    return auto.read_config(values, folder.name) if known else None


def _on_meta(config: "Config") -> "PreTrainedModel":
    from regard.models.auto import model_class
    from regard.models.model import on_meta

    with on_meta():
        return model_class(config)(config)


def _renaming(folder: "CheckpointFolder") -> Callable[[str], str | None]:
    from regard.checkpoints.load import todays_names

    config = _known_config(folder)
    if config is None:
        raise ConfigError(
            f"{folder.name}: --rename needs a config.json of a family that regard has "
            "(`regard models` lists them); without it, names are kept"
        )
    model = _on_meta(config)
    kind = type(model).__name__
    if kind not in (config.architectures or []):
        raise ConfigError(
            f"{folder.name}: config.json names no architecture that regard has, so what its "
            f'tensors are called is not known; add one, such as "architectures": ["{kind}"]'
        )
    return todays_names(model, model.anatomy())


def _report(source: str, target: Path, done: "Converted") -> dict[str, Any]:
    return {
        "source": source,
        "target": str(target),
        "files": done.weights,
        "bytes": done.size,
        "tensors": len({new for new in done.names.values() if new is not None}),
        "renamed": {old: new for old, new in done.names.items() if new not in (old, None)},
        "dropped": [old for old, new in done.names.items() if new is None],
        "copied": done.copied,
        "left_out": done.left_out,
    }


def _say_converted(facts: Record) -> dict[str, dict[str, str]]:
    renamed = [f"{old} -> {new}" for old, new in facts["renamed"].items()]
    dropped, left = listing(facts["dropped"]), listing(facts["left_out"])
    says = {
        "weights": f"{listing(facts['files'], 2)}, {scaled(facts['bytes'], 'B')}",
        "tensors": f"{facts['tensors']:,}, each read back and equal",
        "renamed": f"{len(renamed):,}: {listing(renamed, 2)}" if renamed else "",
        "dropped": f"{dropped}: recomputed, so no model needs it" if dropped else "",
        "copied": listing(facts["copied"], 20),
        "left out": f"{left}: other formats, or what could hold code" if left else "",
    }
    title = f"{facts['source']} is now in {facts['target']}"
    return {title: {name: text for name, text in says.items() if text}}


def _say_examined(facts: Record) -> dict[str, dict[str, str]]:
    return {
        f"{facts['source']} is whole": {
            "files": listing(facts["files"], 4),
            "tensors": f"{facts['tensors']:,}, every number finite",
            "numbers": ", ".join(f"{count:,} {kind}" for kind, count in facts["numbers"].items()),
            "model": f"fits {facts['model']}"
            if facts["model"]
            else "not compared: no config.json of a family that regard has",
        }
    }
