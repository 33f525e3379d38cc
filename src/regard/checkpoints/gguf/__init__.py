"""Checkpoints in one GGUF file, the format of llama.cpp, read as if they were a folder.

The file holds weights, mostly quantised, beside metadata that says what config.json and the files
of a tokenizer say elsewhere. Those files are made of the metadata when they are asked for, so that
whoever reads a checkpoint need not know the format.
"""

from collections.abc import Callable
from pathlib import Path

from regard.checkpoints.files import GGUF_FILE, CheckpointFolder, File, MadeFile
from regard.checkpoints.gguf.families import config_json
from regard.checkpoints.gguf.header import Header, read_header
from regard.checkpoints.gguf.tokenizer import TOKENIZERS, tokenizer_config, tokenizer_kind
from regard.errors import CheckpointNotFoundError


def gguf_folder(source: CheckpointFolder, file: str) -> CheckpointFolder:
    """Return the checkpoint in the GGUF file called `file` of `source`."""
    path = source.find_path(file)
    if path is None:
        raise CheckpointNotFoundError(f"{source.name}: there is no file {file!r}")
    return CheckpointFolder(source.name, source.origin, _inside(path))


def _inside(path: Path) -> Callable[[str], File | None]:
    def locate(file: str) -> File | None:
        if file == GGUF_FILE:
            return path
        make = _makers(path).get(file)
        return None if make is None else MadeFile(path, file, lambda: make(read_header(path)))

    return locate


def _makers(path: Path) -> dict[str, Callable[[Header], bytes]]:
    """Return the files that the metadata can make, by name."""
    kind = tokenizer_kind(read_header(path))
    if kind is None:  # weights alone
        return {"config.json": config_json}
    config = {"config.json": config_json, "tokenizer_config.json": tokenizer_config}
    return {**config, **TOKENIZERS.get(kind, {})}
