"""What the families share: tokenizer.json or else their own files, and special tokens."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.processors import TemplateProcessing

from regard.checkpoints.files import CheckpointFolder
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from regard.text import files
from regard.text.options import check_names
from regard.text.tokenizer import Tokenizer
from regard.text.vocabulary import SPECIAL_TOKENS


class FamilyTokenizer(Tokenizer):
    """A tokenizer that can be made of a family's own files, too.

    A folder's tokenizer.json is the truth; the family's own files count where there is none.
    """

    #: The names of the family's own files.
    vocabulary_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *sources: Any, **settings: Any):
        """Build from what the family's own files hold, or from their paths."""
        check_names(type(self).__name__, settings, self.setting_names)
        first = sources[0]
        owner = str(first) if isinstance(first, str | Path) else "the vocabulary"
        self._set_up(self.build(sources, settings, owner), settings, owner)

    @classmethod
    def read_rust(
        cls, folder: CheckpointFolder, config: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> RustTokenizer:
        """Return the Rust tokenizer of a folder with tokenizer.json or the family's own files."""
        whole = folder.find(files.TOKENIZER_FILE)
        if whole is not None:
            return cls.adapt(files.read_rust(whole), config, overrides, folder.name)
        paths = [folder.find(name) for name in cls.vocabulary_names]
        if None in paths:
            raise CheckpointNotFoundError(
                f"{folder.name}: there is neither {files.TOKENIZER_FILE} nor "
                f"{' and '.join(cls.vocabulary_names)}"
            )
        return cls.build(paths, config, str(paths[0]))

    @classmethod
    def build(cls, sources: Sequence[Any], config: Mapping[str, Any], owner: str) -> RustTokenizer:
        """Return the Rust tokenizer for the family's own files; `owner` stands in errors."""
        raise NotImplementedError

    @classmethod
    def adapt(
        cls,
        rust: RustTokenizer,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any],
        owner: str,
    ) -> RustTokenizer:
        """Return the tokenizer of a tokenizer.json as the configuration and the caller want it.

        Args:
            rust: What tokenizer.json holds.
            config: The configuration, overrides included.
            overrides: What the caller asked for.
            owner: What errors name.
        """
        return rust

    @classmethod
    def named_tokens(cls, config: Mapping[str, Any], owner: str) -> dict[str, AddedToken]:
        """Return the named special tokens, with the flags that the files or the family give them.

        A plain string says nothing about flags; they stand in ``added_tokens_decoder``, and the
        family knows its own.
        """
        listed: Any = config.get("added_tokens_decoder") or {}
        expected = cls.default_special_tokens
        flagged: dict[str, Any] = {str(token): token for token in expected.values()}
        flagged |= {fields["content"]: fields for fields in listed.values()}
        stated = {**{name: str(token) for name, token in expected.items()}, **config}
        return files.read_named(
            {
                name: flagged.get(token, token) if isinstance(token, str) else token
                for name, token in stated.items()
                if name in SPECIAL_TOKENS
            },
            owner,
        )

    @classmethod
    def add_named(
        cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str
    ) -> dict[str, tuple[str, int]]:
        """Add the named special tokens; return the text and the number of each."""
        named = cls.named_tokens(config, owner)
        rust.add_special_tokens([named[name] for name in SPECIAL_TOKENS if name in named])
        return {
            name: (token.content, cast("int", rust.token_to_id(token.content)))
            for name, token in named.items()
        }


T = TypeVar("T")


def needed(tokens: Mapping[str, T], name: str, owner: str) -> T:
    """Return the special token `name`, without which the family cannot do.

    Raises:
        ConfigError: It was set to None.
    """
    if name not in tokens:
        raise ConfigError(f"{owner}: {name}=None, but this kind of tokenizer needs it; set it")
    return tokens[name]


def bounds(bos: tuple[str, int] | None, eos: tuple[str, int] | None) -> TemplateProcessing:
    """Return the post-processor that puts `bos` before and `eos` after each text of a pair.

    Args:
        bos: The text and the number of the token, or None for no token; `eos` likewise.
        eos: See `bos`.
    """

    def around(text: str, kind: int) -> list[str]:
        start = [f"{bos[0]}:{kind}"] if bos else []
        return [*start, f"${text}:{kind}", *([f"{eos[0]}:{kind}"] if eos else [])]

    return TemplateProcessing(
        single=around("A", 0),
        pair=around("A", 0) + around("B", 1),
        special_tokens=[token for token in (bos, eos) if token],
    )


def change(
    rust: RustTokenizer,
    part: str,
    kind: str,
    values: Mapping[str, Any],
    overrides: Mapping[str, Any],
    owner: str,
) -> RustTokenizer:
    """Return `rust` with other `values` in the components of a part of it.

    Args:
        rust: The tokenizer, which stays as it is.
        part: ``"pre_tokenizer"`` and so on.
        kind: The type of the components to change, such as ``"ByteLevel"``.
        values: The new values by name; None is no value.
        overrides: What the caller asked for.
        owner: What errors name.

    Raises:
        ConfigError: There is no such component, and the caller asked for one of the values.
    """
    values = {name: value for name, value in values.items() if value is not None}
    if not values:
        return rust
    component = getattr(rust, part)
    state: Any = None if component is None else json.loads(component.__getstate__())
    found = [node for node in _nodes(state) if node.get("type") == kind]
    asked = [name for name in values if name in overrides]
    if not found and asked:
        raise ConfigError(
            f"{owner}: {', '.join(asked)} is a setting of {kind}, and the {part} of this "
            f"tokenizer.json has no such step; leave the setting out"
        )
    if all(values.items() <= node.items() for node in found):
        return rust
    for node in found:
        node.update(values)
    whole = json.loads(rust.to_str())
    whole[part] = state
    try:
        return RustTokenizer.from_str(json.dumps(whole))
    except Exception as error:  # the Rust library raises nothing more precise
        raise CheckpointError(f"{owner}: {values} cannot be set ({error})") from error


def with_extra(config: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Return `config` with `texts` among the special tokens without a name."""
    if isinstance(config.get("extra_special_tokens"), dict):  # these have names, and stay
        given = cast("list[Any]", config.get("additional_special_tokens") or [])
        return {**config, "additional_special_tokens": [*given, *texts]}
    given = cast("list[Any]", files.read_extra(config, ""))
    return {**config, "extra_special_tokens": [*given, *texts], "additional_special_tokens": None}


def _nodes(state: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in `state`."""
    if isinstance(state, dict):
        node = cast("dict[str, Any]", state)
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(state, list):
        for value in cast("list[Any]", state):
            yield from _nodes(value)
