"""A tokenizer's files: tokenizer.json, vocabularies and the JSON files beside them, in and out."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import WordLevel, WordPiece

from regard.checkpoints.files import CheckpointFolder, File, read_json_object
from regard.errors import CheckpointError, CheckpointNotFoundError, listing
from regard.text.vocabulary import SPECIAL_TOKENS, special

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_FILE = "special_tokens_map.json"
ADDED_FILE = "added_tokens.json"
VOCAB_FILE = "vocab.txt"
NUMBERS_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
CHAT_FILE = "chat_template.jinja"

#: Where the reference writes templates other than the default; these names are in use.
_CHAT_FOLDER = "additional_chat_templates"
_CHAT_NAMES = ("tool_use", "rag")


def read_rust(path: str | File) -> RustTokenizer:
    """Return the tokenizer in a tokenizer.json.

    Raises:
        CheckpointError: The file is not there or holds no working tokenizer.
    """
    path = Path(path) if isinstance(path, str) else path
    if not path.is_file():
        raise CheckpointNotFoundError(f"{path}: there is no such file")
    fix = "it is damaged or not a tokenizer.json; download or save it again"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not UTF-8 ({error}); {fix}") from error
    try:
        rust = RustTokenizer.from_str(text)
    except Exception as error:  # the Rust library raises nothing more precise
        raise CheckpointError(f"{path}: {error}; {fix}") from error
    model = rust.model
    if isinstance(model, WordPiece | WordLevel) and model.token_to_id(model.unk_token) is None:
        raise CheckpointError(
            f"{path}: its vocabulary lacks its own unknown token {model.unk_token!r}; {fix}"
        )
    return rust


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """Return the tokens of a vocab.txt, numbered by line.

    Raises:
        CheckpointError: The file is not there, empty, not UTF-8, or names a token twice.
    """
    # The blanks that editors leave at the ends of lines go, unless they are the token.
    lines = [line.rstrip() or line.rstrip("\r") for line in _lines(path)]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise CheckpointError(f"{path}: is empty; wanted one token per line")
    twice = [token for token, count in Counter(lines).items() if count > 1]
    if twice:
        raise CheckpointError(
            f"{path}: has tokens on more than one line ({listing(map(repr, twice))}), so their "
            f"numbers are ambiguous; leave one line for each"
        )
    return {token: number for number, token in enumerate(lines)}


def read_numbers(path: str | Path) -> dict[str, int]:
    """Return the tokens of a vocab.json and their numbers.

    Raises:
        CheckpointError: The file is not there or holds something else.
    """
    _check_file(path)
    numbers = read_json_object(Path(path))
    for token, number in numbers.items():
        if type(number) is not int or number < 0:
            raise CheckpointError(
                f"{path}: the token {token!r} has {number!r} where its number should be"
            )
    if not numbers:
        raise CheckpointError(f"{path}: is empty; wanted the numbers of tokens")
    return numbers


def read_merges(path: str | Path) -> list[tuple[str, str]]:
    """Return the merges of a merges.txt in order.

    Raises:
        CheckpointError: The file is not there, not UTF-8, or has a line that is no merge.
    """
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(path), 1):
        text = line.rstrip("\r")
        # The programs that wrote these files first put their version here.
        if not text or (number == 1 and text.startswith("#version")):
            continue
        parts = text.split(" ")
        if len(parts) != 2 or not all(parts):
            raise CheckpointError(f"{path}: line {number} is {text!r}; wanted two tokens")
        merges.append((parts[0], parts[1]))
    return merges


def read_config(folder: CheckpointFolder, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return tokenizer_config.json, changed by special_tokens_map.json and by `overrides`."""
    config = folder.read_json(CONFIG_FILE) if folder.find(CONFIG_FILE) else {}
    # Files of the present form state the special tokens once more, with their flags; there the
    # older file is only a copy.
    if "added_tokens_decoder" not in config and folder.find(SPECIAL_FILE):
        config |= folder.read_json(SPECIAL_FILE)
    chat = folder.find_path(CHAT_FILE)
    if chat is not None:
        config["chat_template"] = _read_chat(chat, folder)
    return config | dict(overrides)


def read_named(config: Mapping[str, Any], owner: str) -> dict[str, AddedToken]:
    """Return the named special tokens of a configuration; `owner` stands in errors."""
    try:
        return {n: special(config[n]) for n in SPECIAL_TOKENS if config.get(n) is not None}
    except TypeError as error:
        raise CheckpointError(f"{owner}: {error}") from error


def read_extra(config: Mapping[str, Any], owner: str) -> list[AddedToken]:
    """Return the nameless special tokens of a configuration, which has two keys for them."""
    extra: Any = config.get("extra_special_tokens") or []
    additional = cast("list[Any]", config.get("additional_special_tokens") or [])
    tokens = cast("list[Any]", extra or additional)
    if isinstance(extra, dict):  # newer files name some
        tokens = [*cast("dict[str, Any]", extra).values(), *additional]
    try:
        return [special(token) for token in tokens]
    except TypeError as error:
        raise CheckpointError(f"{owner}: {error}") from error


def read_templates(value: Any, owner: str) -> str | dict[str, str] | None:
    """Return the chat template or, by name, the chat templates that a configuration holds.

    Raises:
        CheckpointError: It holds something else; `owner` stands in the message.
    """
    if value is None or isinstance(value, str):
        return value
    kind = type(value).__name__
    found: dict[Any, Any] = {}
    if isinstance(value, dict):
        found = dict(cast("dict[Any, Any]", value))
    elif isinstance(value, list):
        entries = cast("list[Any]", value)
        dicts = [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]
        found = {entry.get("name"): entry.get("template") for entry in dicts}
    if found and all(isinstance(text, str) for pair in found.items() for text in pair):
        return found
    raise CheckpointError(
        f"{owner}: chat_template is {kind}; wanted a Jinja template, or a list of "
        f"{{'name': ..., 'template': ...}}"
    )


def _read_chat(path: Path, folder: CheckpointFolder) -> str | dict[str, str]:
    """Return the template in a chat_template.jinja, with the named ones in the folder beside it."""
    paths = {"default": path}
    for name in _CHAT_NAMES:
        found = folder.find_path(f"{_CHAT_FOLDER}/{name}.jinja")
        if found is not None:
            paths[name] = found
    texts = {name: _text(path) for name, path in paths.items()}
    return texts if len(texts) > 1 else texts["default"]


def add_saved_tokens(
    rust: RustTokenizer, folder: CheckpointFolder, config: Mapping[str, Any]
) -> None:
    """Add the tokens that older folders list outside of their vocabulary, under the same numbers.

    Raises:
        CheckpointError: A token cannot get the number that the folder gives it.
    """
    wanted: dict[int, AddedToken] = {}
    if folder.find(ADDED_FILE):
        names = {token.content for token in read_named(config, folder.name).values()}
        for content, number in folder.read_json(ADDED_FILE).items():
            is_special = content in names
            wanted[number] = AddedToken(content, special=is_special, normalized=not is_special)
    for number, fields in dict(config.get("added_tokens_decoder") or {}).items():
        wanted[int(number)] = AddedToken(**fields)
    present = {token.content for token in rust.get_added_tokens_decoder().values()}
    for number, token in sorted(wanted.items()):
        if token.content not in present:
            rust.add_tokens([token])
        found = rust.token_to_id(token.content)
        if found != number:
            raise CheckpointError(
                f"{folder.name}: the added token {token.content!r} has the number {number} in "
                f"{CONFIG_FILE} or {ADDED_FILE}, but gets {found} after this vocabulary"
            )


def _check_file(path: str | Path) -> None:
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; load it with from_pretrained({str(path)!r})")
    if not path.is_file():
        raise CheckpointNotFoundError(f"{path}: there is no such file")


def _lines(path: str | Path) -> list[str]:
    """Return the lines of a text file; each may still end with the blanks that editors leave."""
    _check_file(path)
    text = _text(path)
    if text.startswith("\ufeff"):
        raise CheckpointError(
            f"{path}: starts with a byte order mark; save it as UTF-8 without one"
        )
    # Only \n and \r\n end a line: some vocabularies hold the other line separators as tokens.
    return text.split("\n")


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error


def vocabulary_lines(rust: RustTokenizer) -> str | None:
    """Return the vocab.txt of a WordPiece tokenizer, None for others and for numbers with gaps."""
    if not isinstance(rust.model, WordPiece):
        return None
    vocabulary = rust.get_vocab(with_added_tokens=False)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    whole = list(range(len(tokens))) == [vocabulary[token] for token in tokens]
    return "".join(f"{token}\n" for token in tokens) if whole else None


def to_json(value: Mapping[str, Any]) -> str:
    """Return `value` as the text of a JSON file, with sorted keys."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_files(
    folder: Path, files: Mapping[str, str | bytes], stale: Sequence[str] = ()
) -> list[Path]:
    """Write files, each of which is there either whole or as it was before; remove `stale`."""
    folder.mkdir(parents=True, exist_ok=True)
    # All are written before the first replaces an old one: a full disk then changes nothing.
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
        for name, content in files.items():
            data = content.encode("utf-8") if isinstance(content, str) else content
            Path(staging, name).write_bytes(data)
        for name in files:
            os.replace(Path(staging, name), folder / name)  # noqa: PTH105  (says what it does)
    for name in stale:
        Path(folder, name).unlink(missing_ok=True)
    return [folder / name for name in files]
