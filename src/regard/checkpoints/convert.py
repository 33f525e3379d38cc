"""Write a checkpoint anew, as safetensors: the same values, in other files, types or names.

Nothing here needs to know the model. Tensors are read, changed and written one file at a time, and
read back before the result is put in its place.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from regard.checkpoints.files import (
    CheckpointFolder,
    adapter_base,
    find_checkpoint,
    read_json,
    read_json_object,
)
from regard.checkpoints.save import (
    INDEX,
    cut_shards,
    index_json,
    is_weights_file,
    parse_size,
    shard_names,
    tensor_bytes,
    write_shard,
)
from regard.checkpoints.tensors import SAFETENSORS, StoredTensor, open_tensors
from regard.checkpoints.write import write_atomically, write_text
from regard.errors import CheckpointError

#: Files beside the weights that a checkpoint may have, wherever it comes from.
COMPANIONS = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "source.spm", "target.spm"),
    *("chat_template.jinja", "preprocessor_config.json", "processor_config.json"),
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("README.md", "LICENSE"),
)
#: What other files of a folder are plain text or data too.
PLAIN = {".json", ".txt", ".model", ".spm", ".jinja", ".md", ".vocab", ".bpe"}


@dataclass(frozen=True)
class Conversion:
    """What to change.

    Attributes:
        dtype: The type of all floating tensors; None keeps each one's.
        max_shard_size: Bytes in one file, as a number or like ``"200MB"``.
        rename: Maps the name of a tensor to its new one, or None to leave it out.
    """

    dtype: torch.dtype | None = None
    max_shard_size: int | str = "5GB"
    rename: Callable[[str], str | None] = str


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        weights: Names of the files with weights.
        size: Bytes of all tensors.
        names: Name of each tensor in the source -> its name now, or None if it was left out.
        copied: Names of the files that were copied.
        left_out: Names of the files and folders of the source that were not.
    """

    weights: list[str]
    size: int
    names: Mapping[str, str | None]
    copied: list[str]
    left_out: list[str]


def convert_checkpoint(
    source: CheckpointFolder, target: Path, conversion: Conversion, *, force: bool = False
) -> Converted:
    """Write `source` into the new folder `target`, which appears when all of it is there.

    Args:
        source: A checkpoint in any format that `open_tensors` reads.
        target: The folder; missing or empty.
        conversion: What to change.
        force: Replace a checkpoint that is in `target` already.

    Raises:
        CheckpointError: The source cannot be read or is an adapter, two of its tensors would get
            one name, or a number does not fit the new type.
        FileExistsError: `target` has something in it.
    """
    refuse_adapter(source)
    limit, target = parse_size(conversion.max_shard_size), target.resolve()
    _check_target(source, target, force=force)
    stored = open_tensors(source)
    read = {each.file for each in stored.values()}
    beside = _files_beside(source, read)
    names = {name: conversion.rename(name) for name in stored}
    wanted = {new: stored[old] for new, old in _one_each(names, stored).items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as room:
        made = Path(room) / target.name
        made.mkdir()
        converted = ((new, _cast(new, each, conversion.dtype)) for new, each in wanted.items())
        weights, size = _write_weights(converted, made, limit)
        _verify(made, wanted, conversion.dtype)
        copied = _copy_companions(source, beside, made, conversion.dtype)
        _put_in_place(made, target, Path(room) / "old")
    left_out = _left_out(beside, {file.name for file in read}, copied)
    return Converted(weights, size, names, copied, left_out)


def refuse_adapter(folder: CheckpointFolder) -> None:
    """Raise for an adapter, which has no model's weights but changes of them."""
    base = adapter_base(folder)
    if base is not None:
        raise CheckpointError(
            f"{folder.name} is an adapter of {base[0]}; merge it first, in Python: model = "
            f"regard.AutoModel.from_pretrained({folder.name!r}), with the class of its task, then "
            "regard.merge_and_unload(model).save_pretrained(folder), and convert that folder"
        )


def is_checkpoint(folder: Path) -> bool:
    """Whether there is a configuration or weights in `folder`."""
    names = [path.name for path in folder.iterdir()]
    return "config.json" in names or any(map(is_weights_file, names))


def _check_target(source: CheckpointFolder, target: Path, *, force: bool) -> None:
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; give the name of a folder")
    if Path(source.name).resolve().is_relative_to(target) and source.origin == "folder":
        raise FileExistsError(f"{target} is the source, or holds it; give another folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not force:
        raise FileExistsError(f"{target} is not empty; give another folder, or --force to replace")
    if not is_checkpoint(target):
        raise FileExistsError(
            f"{target} has things in it that are no checkpoint; remove it yourself if it may go"
        )


def _one_each(
    names: Mapping[str, str | None], stored: Mapping[str, StoredTensor]
) -> dict[str, str]:
    """Return new name -> old name; one of those that are the same tensor under two names."""
    chosen: dict[str, str] = {}
    for old, new in names.items():
        if new is None:
            continue
        first = chosen.setdefault(new, old)
        if first != old and not _same_bits(stored[first].read(), stored[old].read()):
            raise CheckpointError(
                f"{stored[old].file}: {first!r} and {old!r} are both {new!r} today, with different "
                "values"
            )
    return chosen


def _cast(name: str, stored: StoredTensor, dtype: torch.dtype | None) -> Tensor:
    tensor = stored.read()
    if dtype is None or not tensor.is_floating_point():
        return tensor
    converted = tensor.to(dtype)
    if not torch.equal(converted.isfinite(), tensor.isfinite()):
        raise CheckpointError(
            f"{stored.file}: {name!r} has numbers too large for {dtype}; torch.bfloat16 has the "
            "range of float32"
        )
    return converted


def _write_weights(
    tensors: Iterator[tuple[str, Tensor]], folder: Path, limit: int
) -> tuple[list[str], int]:
    """Write the tensors into files of at most `limit` bytes; return their names and total size."""
    contents: list[list[str]] = []
    size = 0
    for shard in cut_shards(tensors, limit):
        # How many there will be, which is part of their names, is known at the end.
        write_atomically(folder / str(len(contents)), partial(write_shard, shard))
        contents.append([*shard])
        size += sum(map(tensor_bytes, shard.values()))
        del shard  # before the next one is read
    files = shard_names(len(contents))
    for number, file in enumerate(files):
        (folder / str(number)).rename(folder / file)
    if len(files) > 1:
        places = {name: file for file, held in zip(files, contents, strict=True) for name in held}
        write_text(folder / INDEX, index_json(places, size))
    return files, size


def _verify(folder: Path, wanted: Mapping[str, StoredTensor], dtype: torch.dtype | None) -> None:
    """Raise `CheckpointError` unless `folder` holds the tensors that it should, bit for bit."""
    written = open_tensors(find_checkpoint(folder))
    for name in sorted(wanted.keys() | written.keys()):
        there = name in wanted and name in written
        if not there or not _same_bits(written[name].read(), _cast(name, wanted[name], dtype)):
            raise CheckpointError(
                f"{name!r} does not read back as it was written; is the disk full or damaged? "
                "Nothing was put in place"
            )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in type, shape and every bit; so NaN is the same as NaN."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    first, second = (each.contiguous().flatten().view(torch.uint8) for each in (one, other))
    return torch.equal(first, second)


def _copy_companions(
    source: CheckpointFolder, beside: list[str], folder: Path, dtype: torch.dtype | None
) -> list[str]:
    """Copy what belongs to `source` and is plain, of files `beside` its weights and of others."""
    plain = [name for name in beside if _is_plain(name)]
    copied: list[str] = []
    for name in dict.fromkeys([*COMPANIONS, *_module_files(source), *plain]):
        found = source.find(name)
        if found is not None:
            content = found.read_bytes()
            if name == "config.json" and dtype is not None:
                content = _with_dtype(read_json_object(found), dtype)
            write_atomically(folder / name, partial(Path.write_bytes, data=content))
            copied.append(name)
    return copied


def _is_plain(name: str) -> bool:
    return "/" not in name and Path(name).suffix in PLAIN and not is_weights_file(name)


def _files_beside(source: CheckpointFolder, weights: Iterable[Path]) -> list[str]:
    """Return the files of a checkpoint on this disk, hidden ones aside, by their names in it."""
    if source.origin == "hub":  # only those that were asked for are here
        return []
    names: list[str] = []
    for home in {file.parent for file in weights}:
        for folder, inner, files in os.walk(home):
            inner[:] = [name for name in inner if not name.startswith(".")]
            at = Path(folder).relative_to(home)
            names += [(at / name).as_posix() for name in files if not name.startswith(".")]
    # What lies in the same folder need not belong to the checkpoint.
    return sorted(name for name in names if source.find(name) is not None)


def _module_files(source: CheckpointFolder) -> list[str]:
    """Return the files of the modules that follow a sentence encoder's transformer."""
    found = source.find("modules.json")
    listed: Any = [] if found is None else read_json(found)
    modules = cast("list[Any]", listed) if isinstance(listed, list) else []
    paths = [cast("dict[str, Any]", each).get("path") for each in modules if isinstance(each, dict)]
    return [f"{path}/{file}" for path in paths if path for file in ("config.json", SAFETENSORS)]


def _left_out(beside: list[str], read: set[str], copied: list[str]) -> list[str]:
    """Return the files, and the folders as a whole, that were neither copied nor read."""
    used = {*copied, *read}
    rest = [name for name in beside if name not in used and not name.endswith(".index.json")]
    return [*dict.fromkeys(re.sub("/.*", "/", name) for name in rest)]


def _with_dtype(config: dict[str, Any], dtype: torch.dtype) -> bytes:
    field = "torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"
    config[field] = str(dtype).removeprefix("torch.")
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def _put_in_place(made: Path, target: Path, aside: Path) -> None:
    """Let `made` be `target`; what is there already goes `aside`, and back if that fails."""
    if not target.is_dir():
        made.rename(target)
        return
    target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        aside.rename(target)
        raise
