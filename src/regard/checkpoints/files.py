"""Where a checkpoint's files are: a local folder, an embedded package, or the Hub's cache.

`find_checkpoint` turns what people write (``"./my-model"``, ``"org/name"``, ``"model.gguf"``) into
a `CheckpointFolder`, which hands out files by plain name and never looks outside itself.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, cast

from regard.checkpoints.embedded import embedded_folder, install_hint
from regard.checkpoints.reach import unreached
from regard.checkpoints.shipped import OWNER, shipped_folder, shipped_models
from regard.errors import CheckpointError, CheckpointNotFoundError, listing, nearest

#: What an adapter says of itself.
ADAPTER_CONFIG = "adapter_config.json"
#: The name under which a checkpoint in one GGUF file hands out that file.
GGUF_FILE = "model.gguf"


@dataclass(frozen=True)
class MadeFile:
    """A file that is not on the disk as such: its content is made of what another file says.

    It reads as a `Path` does.

    Attributes:
        source: The other file.
        name: What this one is called.
        make: Returns its content.
    """

    source: Path
    name: str
    make: Callable[[], bytes]

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"

    @property
    def parent(self) -> Path:
        """The folder of the other file."""
        return self.source.parent

    def is_file(self) -> bool:
        """Whether it is there: always."""
        return True

    def read_bytes(self) -> bytes:
        """Return the content."""
        return self.make()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content as text."""
        return self.make().decode(encoding)


#: What can be read as a whole; weights, which are mapped into memory, need a path.
File = Path | MadeFile


@dataclass(frozen=True)
class CheckpointFolder:
    """The files of one checkpoint.

    Attributes:
        name: What the caller asked for; errors quote it.
        origin: ``"folder"``, ``"embedded"`` or ``"hub"``.
        locate: Maps a plain file name to the file, or None when the checkpoint has none such.
    """

    name: str
    origin: str
    locate: Callable[[str], File | None]

    def find(self, file: str) -> File | None:
        """Return the file called `file`, or None. `file` must be a plain relative name."""
        return self.locate(plain_name(file, self.name))

    def find_path(self, file: str) -> Path | None:
        """Return the path of `file`, or None when it is not on the disk."""
        found = self.find(file)
        return found if isinstance(found, Path) else None

    def path(self, file: str) -> File:
        """Return the file called `file`, or raise `CheckpointNotFoundError`."""
        found = self.find(file)
        if found is None:
            raise CheckpointNotFoundError(f"{self.name}: there is no file {file!r}")
        return found

    def read_json(self, file: str) -> dict[str, Any]:
        """Return the JSON object in `file`; errors name the file."""
        return read_json_object(self.path(file))


def find_checkpoint(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    gguf_file: str | None = None,
) -> CheckpointFolder:
    """Resolve `name` to a folder or a GGUF file here, else an embedded package, else the Hub.

    Args:
        name: A folder, a GGUF file, or a model name such as ``"google-bert/bert-base-uncased"``.
        revision: Branch, tag or commit on the Hub; asking for one skips embedded packages.
        cache_dir: Where the Hub's files are kept; the default is huggingface-hub's own.
        local_files_only: Use only files that are in the cache already.
        token: Access token for private models, or True for the one that was logged in with.
        gguf_file: Which file of the folder to read; needless where there is one and no config.json.

    Raises:
        CheckpointNotFoundError: `name` is a path that does not exist, or nothing has that name.
    """
    if not str(name):
        raise CheckpointNotFoundError("the name of a checkpoint is empty; give a folder or a name")
    folder = Path(name)
    if _there(folder, Path.is_dir):
        return _local(CheckpointFolder(str(name), "folder", _in_folder(folder)), folder, gguf_file)
    if _there(folder, Path.is_file):
        if folder.suffix.lower() != ".gguf" or gguf_file is not None:
            raise CheckpointNotFoundError(f"{name} is a file; give the folder that holds it")
        beside = CheckpointFolder(str(name), "folder", _in_folder(folder.parent))
        return _local(beside, folder.parent, folder.name)
    if not _is_model_name(str(name)):
        raise CheckpointNotFoundError(_no_folder(folder))
    embedded = None
    if revision is None:
        embedded = shipped_folder(str(name)) or embedded_folder(str(name))
    if embedded is not None:
        packaged = CheckpointFolder(str(name), "embedded", _in_folder(embedded))
        return _local(packaged, embedded, gguf_file)
    if _looks_like_path(folder) and revision is None and not _in_cache(str(name), None, cache_dir):
        raise CheckpointNotFoundError(
            f"{_no_folder(folder)}. If a model on the Hub is meant, say so with revision='main'"
        )
    options = {"cache_dir": cache_dir, "local_files_only": local_files_only, "token": token}
    remote = CheckpointFolder(str(name), "hub", _on_hub(str(name), revision, options))
    return remote if gguf_file is None else _in_gguf(remote, gguf_file)


def source_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `options` that `find_checkpoint` takes."""
    names = ("revision", "cache_dir", "local_files_only", "token", "gguf_file")
    return {name: options[name] for name in names if name in options}


def adapter_base(folder: CheckpointFolder) -> tuple[str, str | None] | None:
    """Return name and revision of the model that an adapter in `folder` is for; None without one.

    Raises:
        CheckpointError: The adapter names none.
    """
    if folder.find(ADAPTER_CONFIG) is None:
        return None
    values = folder.read_json(ADAPTER_CONFIG)
    name, revision = values.get("base_model_name_or_path"), values.get("revision")
    if not isinstance(name, str) or not name or not isinstance(revision, str | None):
        raise CheckpointError(
            f"{folder.name}: {ADAPTER_CONFIG} names no base_model_name_or_path, so its model is "
            "not known; load that by its own name"
        )
    return name, revision


def plain_name(file: str, owner: str) -> str:
    """Return `file` if it is a plain relative name inside `owner`, else raise `CheckpointError`."""
    path = PureWindowsPath(file)
    outside = path.drive or path.root or ".." in path.parts
    if not file or outside or "\\" in file or "\0" in file:
        raise CheckpointError(f"{owner}: {file!r} is not a plain file name inside the checkpoint")
    return file


def read_json(path: File) -> Any:
    """Return the JSON value in the file at `path`; errors name the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except CheckpointError:  # what a made file is made of says itself what is wrong with it
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error


def read_json_object(path: File) -> dict[str, Any]:
    """Return the JSON object in the file at `path`; errors name the file."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: wanted a JSON object, found {type(value).__name__}")
    return cast("dict[str, Any]", value)


def _is_model_name(name: str) -> bool:
    """Whether `name` has the Hub's form ``name`` or ``organisation/name``, not that of a path."""
    parts = name.split("/")
    return len(parts) <= 2 and all(part and part not in {".", "..", "~"} for part in parts)


def _looks_like_path(path: Path) -> bool:
    """Whether a name that the Hub may have is rather a path: into a folder here, or to a file."""
    if len(path.parts) == 1:
        return path.suffix.lower() == ".gguf"
    return _there(path.parent, Path.is_dir)


def _no_folder(path: Path) -> str:
    """Return what to say of a path where there is nothing: where it ends, and what is there."""
    above = path.parent
    while not _there(above, Path.is_dir):
        above = above.parent
    missing = path.relative_to(above).parts[0] if path.is_relative_to(above) else path.name
    there = sorted(above.iterdir()) if os.access(above, os.R_OK) else []
    hint = nearest(missing, [each.name for each in there])
    within = Path.cwd() if above == Path() else above
    return f"{path}: no such folder or file; {within} has no {missing!r}{hint}"


def _there(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # a name too long for the disk is a name that is not there
        return False


def _local(found: CheckpointFolder, folder: Path, gguf_file: str | None) -> CheckpointFolder:
    """Return the checkpoint `found` in `folder`, or the one in a GGUF file there."""
    if gguf_file is None and not (folder / "config.json").is_file():
        files = sorted(path.name for path in folder.glob("*.gguf"))
        if len(files) > 1:
            raise CheckpointNotFoundError(
                f"{folder}: has no config.json but {listing(files)}; choose one with gguf_file=..."
            )
        gguf_file = files[0] if files else None
    return found if gguf_file is None else _in_gguf(found, gguf_file)


def _in_gguf(found: CheckpointFolder, file: str) -> CheckpointFolder:
    # Imported here: it builds on this module.
    from regard.checkpoints.gguf import gguf_folder

    return gguf_folder(found, file)


def _in_folder(folder: Path) -> Callable[[str], Path | None]:
    def locate(file: str) -> Path | None:
        path = folder / file
        return path if _there(path, Path.is_file) else None

    return locate


def _on_hub(
    name: str, revision: str | None, options: dict[str, Any]
) -> Callable[[str], Path | None]:
    def locate(file: str) -> Path | None:
        # Imported here: the Hub's client costs half a second that local models need not pay.
        import huggingface_hub
        from huggingface_hub import errors

        # Its own type is partly unknown.
        download = cast("Callable[..., str]", huggingface_hub.hf_hub_download)
        why = None if options["local_files_only"] else _why_offline()
        given = options if why is None else options | {"local_files_only": True}
        try:
            return Path(download(name, file, revision=revision, **given))
        except errors.LocalEntryNotFoundError as error:
            if _in_cache(name, revision, options["cache_dir"]):
                return None
            raise CheckpointNotFoundError(
                f"{name}: {file!r} is not in the local cache, and the Hub was not reached "
                f"({_first_line(why or error.__cause__ or error)}). {_hint(name)}"
            ) from (why or error)
        except errors.EntryNotFoundError:
            return None
        except errors.RevisionNotFoundError as error:
            raise CheckpointNotFoundError(f"{name}: there is no revision {revision!r}") from error
        except errors.GatedRepoError as error:
            raise CheckpointError(
                f"{name}: the Hub lets only some people read it; ask for access on its page, then "
                "log in with `hf auth login` or give token"
            ) from error
        except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
            raise CheckpointNotFoundError(
                f"{name}: neither a local folder nor a model on the Hub ({_first_line(error)}). "
                f"{_hint(name)}"
            ) from error
        except errors.HfHubHTTPError as error:
            raise CheckpointError(f"{name}: the Hub answered {_first_line(error)}") from error

    return locate


def _why_offline() -> OSError | None:
    """Return why the Hub cannot be reached; None if it can, or the settings say not to ask it."""
    from huggingface_hub import constants

    return None if constants.HF_HUB_OFFLINE else unreached(constants.ENDPOINT)


def _in_cache(name: str, revision: str | None, cache_dir: str | Path | None) -> bool:
    """Whether the cache holds the model; then a file that it lacks is taken not to exist."""
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, "config.json", cache_dir=cache_dir, revision=revision)
    except errors.HFValidationError:  # no name that the Hub could have given
        return False
    return isinstance(found, str)


def _hint(name: str) -> str:
    """Return the sentence that tells how to get a model that nothing here has."""
    if name.startswith(f"{OWNER}/"):
        known = shipped_models()
        return f"regard brings {', '.join(known)}{nearest(name, known)}"
    return install_hint(name)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
