"""The half of a tokenizer that knows files: its settings, loading and saving."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from regard.checkpoints.files import CheckpointFolder, find_checkpoint
from regard.errors import CheckpointError, CheckpointNotFoundError
from regard.text import files
from regard.text.encoder import Encoder, call_defaults
from regard.text.options import check_names, check_side
from regard.text.vocabulary import SPECIAL_TOKENS, Vocabulary

#: What ``model_max_length`` is when nobody knows a limit.
NO_LIMIT = int(1e30)


class StoredTokenizer(Vocabulary):
    """A vocabulary with the settings of calls, which comes from files and goes to files.

    Attributes:
        model_max_length: The longest row the model takes, special tokens included.
        padding_side: ``"right"`` or ``"left"``.
        truncation_side: ``"right"`` or ``"left"``.
        model_input_names: The columns that a call returns by default.
        chat_template: The Jinja template of conversations; several by name; or None.
        config: What tokenizer_config.json says, with the keys that nothing here reads.
    """

    #: What the class returns unless its configuration says otherwise, and the tokens it expects.
    default_input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {}
    default_padding_side: ClassVar[str] = "right"
    #: What may be given to `from_pretrained` and to the constructor, and stands in the file.
    setting_names: ClassVar[tuple[str, ...]] = (
        *SPECIAL_TOKENS,
        "extra_special_tokens",
        "additional_special_tokens",
        "model_max_length",
        "padding_side",
        "truncation_side",
        "model_input_names",
        "clean_up_tokenization_spaces",
        "chat_template",
    )
    #: The class that saved files name; None keeps the name that was loaded.
    saved_class: ClassVar[str | None] = None

    def __init__(
        self,
        tokenizer_file: str | Path | None = None,
        *,
        tokenizer_object: RustTokenizer | None = None,
        **settings: Any,
    ):
        check_names(type(self).__name__, settings, self.setting_names)
        if (tokenizer_file is None) == (tokenizer_object is None):
            raise TypeError("give either tokenizer_file or tokenizer_object")
        if tokenizer_object is not None:
            # A copy, because calls change its state.
            rust = RustTokenizer.from_str(tokenizer_object.to_str())
        else:
            rust = files.read_rust(str(tokenizer_file))
        self._set_up(rust, settings, type(self).__name__)

    def _set_up(self, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Fill in a new tokenizer; `owner` is what errors name."""
        merged: dict[str, Any] = {**call_defaults(rust), **self.default_special_tokens, **config}
        Vocabulary.__init__(
            self, rust, files.read_named(merged, owner), files.read_extra(merged, owner)
        )
        limit = merged.get("model_max_length", merged.get("max_len"))
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
            raise CheckpointError(f"{owner}: model_max_length={limit!r}; wanted a number")
        self.config = dict(config)
        self.model_max_length = NO_LIMIT if limit is None else int(min(limit, NO_LIMIT))
        side = merged.get("padding_side", self.default_padding_side)
        self.padding_side = check_side("padding_side", side)
        self.truncation_side = check_side("truncation_side", merged.get("truncation_side", "right"))
        self.model_input_names = list(merged.get("model_input_names") or self.default_input_names)
        self.clean_up_tokenization_spaces = bool(merged.get("clean_up_tokenization_spaces"))
        self.chat_template = files.read_templates(merged.get("chat_template"), owner)
        self._said: set[str] = set()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} tokens, model_max_length={self.model_max_length}, "
            f"{self.special_tokens_map})"
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        gguf_file: str | None = None,
        **overrides: Any,
    ) -> Self:
        """Load a tokenizer from a folder, an embedded package or the Hub.

        Args:
            name_or_folder: See `regard.checkpoints.files.find_checkpoint`, as for the next five.
            revision: Branch, tag or commit.
            cache_dir: Where the Hub's files are kept.
            local_files_only: Use only files that are there already.
            token: Access token of the Hub.
            gguf_file: The GGUF file to read.
            overrides: Settings that replace those of tokenizer_config.json.

        Raises:
            CheckpointError: A file is missing or damaged; the message names it and the fix.
            TypeError: A setting that does not exist.
        """
        folder = find_checkpoint(
            name_or_folder,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            gguf_file=gguf_file,
        )
        return cls.from_folder(folder, overrides)

    @classmethod
    def from_folder(cls, folder: CheckpointFolder, overrides: Mapping[str, Any]) -> Self:
        """Load a tokenizer from the files of a checkpoint; see `from_pretrained`."""
        check_names(f"{cls.__name__}.from_pretrained", overrides, cls.setting_names)
        config = files.read_config(folder, overrides)
        rust = cls.read_rust(folder, config, overrides)
        files.add_saved_tokens(rust, folder, config)
        self = cls.__new__(cls)
        self._set_up(rust, config, folder.name)
        return self

    @classmethod
    def reads(cls, folder: CheckpointFolder) -> bool:
        """Whether the class can do with a folder that has a tokenizer.json; most can."""
        return True

    @classmethod
    def read_rust(
        cls, folder: CheckpointFolder, config: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> RustTokenizer:
        """Return the Rust tokenizer of a folder; families know more files than tokenizer.json."""
        path = folder.find(files.TOKENIZER_FILE)
        if path is None:
            raise CheckpointNotFoundError(
                f"{folder.name}: there is no {files.TOKENIZER_FILE}, and {cls.__name__} reads "
                f"nothing else; a family such as BertTokenizer may"
            )
        return files.read_rust(path)

    def with_backend(self, rust: RustTokenizer) -> Self:
        """Return a copy of this tokenizer over another Rust tokenizer, which has all its tokens."""
        new = copy.deepcopy(self)
        new._encoder = Encoder(rust)
        return new

    def save_pretrained(self, save_directory: str | Path) -> list[Path]:
        """Write the tokenizer's files, each whole or not at all; return their paths."""
        texts: dict[str, str | bytes] = {
            files.CONFIG_FILE: files.to_json(self._saved_config()),
            files.SPECIAL_FILE: files.to_json(
                {k: v for k, v in self._saved_special_tokens().items() if v is not None}
            ),
        }
        texts |= self._saved_files()
        stale = [files.CHAT_FILE]  # it counts for more than the configuration
        if isinstance(self.chat_template, str):
            texts[stale.pop()] = self.chat_template
        return files.write_files(Path(save_directory), texts, stale)

    def _saved_files(self) -> dict[str, str | bytes]:
        """Return the files that hold the vocabulary, by name."""
        whole = self._encoder.to_json()
        return {files.TOKENIZER_FILE: whole, **self._vocabulary_files(whole)}

    def _vocabulary_files(self, tokenizer_json: str) -> dict[str, str]:
        """Return the older files that hold what `tokenizer_json` holds, by name."""
        lines = files.vocabulary_lines(self.backend_tokenizer)
        return {} if lines is None else {files.VOCAB_FILE: lines}

    def _saved_special_tokens(self) -> dict[str, Any]:
        # A token that the class expects and that was unset is said to be unset.
        saved: dict[str, Any] = dict.fromkeys(self.default_special_tokens)
        saved |= self.special_tokens_map
        named: Any = self.config.get("extra_special_tokens")
        named = cast("dict[str, Any]", named if isinstance(named, dict) else {})
        known = [token.content for token in files.read_extra({"extra_special_tokens": named}, "")]
        extra = [token for token in self.extra_special_tokens if token not in known]
        if named:
            saved["extra_special_tokens"] = named
        if extra:
            # Of its two names, the one that every release of the field reads.
            saved["additional_special_tokens"] = extra
        return saved

    def _saved_config(self) -> dict[str, Any]:
        # What is stated anew, what tokenizer.json holds, and what says where this was loaded from.
        stale = (
            *SPECIAL_TOKENS,
            "extra_special_tokens",
            "additional_special_tokens",
            "added_tokens_decoder",
            "max_len",
            "name_or_path",
            "chat_template",
        )
        saved = {name: value for name, value in self.config.items() if name not in stale}
        name = self.saved_class or saved.get("tokenizer_class") or "PreTrainedTokenizerFast"
        saved |= self._saved_special_tokens()
        if isinstance(self.chat_template, dict):
            # Several stand here, where every release of the field reads them.
            entries = self.chat_template.items()
            saved["chat_template"] = [{"name": n, "template": text} for n, text in entries]
        return saved | {
            "tokenizer_class": name,
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "model_input_names": self.model_input_names,
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
        }
