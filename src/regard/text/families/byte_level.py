"""Byte-level BPE: GPT-2's tokenizer, and RoBERTa's and BART's with special tokens around texts.

Every byte has a printable character that stands for it, so there is no text without tokens; a
space belongs to the word that follows it (Radford et al., 2019, section 2.2).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import RobertaProcessing

from regard.errors import CheckpointError, ConfigError
from regard.text import files
from regard.text.encoding import BatchEncoding
from regard.text.families.family import FamilyTokenizer, bounds, change, needed
from regard.text.options import CallOptions
from regard.text.tokenizer import Tokenizer


class ByteLevelTokenizer(FamilyTokenizer):
    """What the byte-level families share: vocab.json with merges.txt, and what spaces mean."""

    setting_names = (*Tokenizer.setting_names, "add_prefix_space", "errors")
    vocabulary_names = (files.NUMBERS_FILE, files.MERGES_FILE)

    def __init__(
        self,
        vocab_file: str | Path | Mapping[str, int],
        merges_file: str | Path | Sequence[tuple[str, str]],
        **settings: Any,
    ):
        """Build from a vocabulary and its merges.

        Args:
            vocab_file: The path of a vocab.json, or the numbers of the tokens.
            merges_file: The path of a merges.txt, or the merges in order.
            settings: ``add_prefix_space`` (False): whether a text's first word is taken as if a
                space stood before it; special tokens, ``model_max_length``, ...

        Raises:
            CheckpointError: A file is damaged, or the two do not fit together.
            ConfigError: ``errors`` other than "replace", which is not implemented.
        """
        super().__init__(vocab_file, merges_file, **settings)

    @classmethod
    def build(cls, sources: Sequence[Any], config: Mapping[str, Any], owner: str) -> RustTokenizer:
        """Return the byte-level tokenizer for a vocabulary and its merges."""
        first, second = sources
        _check_errors(config, owner)
        vocabulary = files.read_numbers(first) if isinstance(first, str | Path) else dict(first)
        merges = files.read_merges(second) if isinstance(second, str | Path) else list(second)
        try:
            rust = RustTokenizer(BPE(vocabulary, merges))
        except Exception as error:  # the Rust library raises nothing more precise
            where = second if isinstance(second, str | Path) else "the merges"
            raise CheckpointError(f"{owner} and {where} do not fit together: {error}") from error
        rust.pre_tokenizer = ByteLevel(add_prefix_space=bool(config.get("add_prefix_space")))
        rust.decoder = ByteLevelDecoder()
        cls.frame(rust, config, owner)
        return rust

    @classmethod
    def adapt(
        cls,
        rust: RustTokenizer,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any],
        owner: str,
    ) -> RustTokenizer:
        """Follow the configuration; where it is silent, tokenizer.json counts."""
        _check_errors(config, owner)
        prefix = {"add_prefix_space": config.get("add_prefix_space")}
        return change(rust, "pre_tokenizer", "ByteLevel", prefix, overrides, owner)

    @classmethod
    def frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Add the special tokens and set how they stand around texts."""
        raise NotImplementedError

    def _saved_config(self) -> dict[str, Any]:
        # Said even when it is the default: the reference takes no space where the key is absent,
        # whatever tokenizer.json says.
        return super()._saved_config() | {"add_prefix_space": _adds_space(self.backend_tokenizer)}

    def _vocabulary_files(self, tokenizer_json: str) -> dict[str, str]:
        model = cast("dict[str, Any]", json.loads(tokenizer_json)["model"])
        if model.get("type") != "BPE":  # a tokenizer.json may hold anything
            return super()._vocabulary_files(tokenizer_json)
        # Older releases of the library write a merge as one string.
        pairs = cast("list[str | list[str]]", model["merges"])
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]
        if any(line.count(" ") != 1 for line in merges):  # the older file cannot hold these
            return {}
        return {
            files.NUMBERS_FILE: json.dumps(model["vocab"], ensure_ascii=False),
            files.MERGES_FILE: "".join(f"{line}\n" for line in ["#version: 0.2", *merges]),
        }

    def _encode(
        self, text: Any, text_pair: Any, options: CallOptions, *, target: bool = False
    ) -> BatchEncoding:
        if options.is_split_into_words and not _adds_space(self.backend_tokenizer):
            self._say(
                "glued words",
                "the words of is_split_into_words=True are taken as if no space stood between "
                "them; load the tokenizer with add_prefix_space=True, and each gets its space; "
                "this is said once",
            )
        return super()._encode(text, text_pair, options, target=target)


class RobertaTokenizer(ByteLevelTokenizer):
    """RoBERTa's byte-level BPE: ``<s> text </s></s> pair </s>``, without segments."""

    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        # It takes the space before it, as a word would, so that none is left over as a token.
        "mask_token": AddedToken("<mask>", lstrip=True, normalized=False, special=True),
    }
    setting_names = (*ByteLevelTokenizer.setting_names, "trim_offsets")
    saved_class = "RobertaTokenizer"

    @classmethod
    def adapt(
        cls,
        rust: RustTokenizer,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any],
        owner: str,
    ) -> RustTokenizer:
        """Follow the configuration; other tokens around texts only as the caller asks."""
        rust = super().adapt(rust, config, overrides, owner)
        values = {name: config.get(name) for name in ("add_prefix_space", "trim_offsets")}
        other_tokens = bool({"cls_token", "sep_token"} & set(overrides))
        if not isinstance(rust.post_processor, RobertaProcessing):
            if other_tokens:
                cls.frame(rust, config, owner)
            return rust
        if other_tokens:
            tokens = cls.add_named(rust, config, owner)
            for name in ("cls", "sep"):
                values[name] = [*needed(tokens, f"{name}_token", owner)]
        return change(rust, "post_processor", "RobertaProcessing", values, overrides, owner)

    @classmethod
    def frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Set ``<s> text </s></s> pair </s>``, adding the special tokens that are missing."""
        tokens = cls.add_named(rust, config, owner)
        trim = config.get("trim_offsets")
        rust.post_processor = RobertaProcessing(
            needed(tokens, "sep_token", owner),
            needed(tokens, "cls_token", owner),
            trim_offsets=True if trim is None else bool(trim),
            add_prefix_space=_adds_space(rust),
        )

    def _saved_config(self) -> dict[str, Any]:
        saved = super()._saved_config()
        frame = self.backend_tokenizer.post_processor
        if isinstance(frame, RobertaProcessing):
            saved["trim_offsets"] = frame.trim_offsets
        return saved


class GPT2Tokenizer(ByteLevelTokenizer):
    """GPT-2's byte-level BPE, which adds no special tokens by itself and has none for padding."""

    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    setting_names = (*ByteLevelTokenizer.setting_names, "add_bos_token", "add_eos_token")
    saved_class = "GPT2Tokenizer"

    @classmethod
    def adapt(
        cls,
        rust: RustTokenizer,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any],
        owner: str,
    ) -> RustTokenizer:
        """Follow the configuration; what stands around texts changes only as the caller asks."""
        rust = super().adapt(rust, config, overrides, owner)
        if {"add_bos_token", "add_eos_token"} & set(overrides):
            cls.frame(rust, config, owner)
        return rust

    @classmethod
    def frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Put ``bos_token`` and ``eos_token`` around each text if the configuration asks for it."""
        tokens = cls.add_named(rust, config, owner)
        bos = needed(tokens, "bos_token", owner) if config.get("add_bos_token") else None
        eos = needed(tokens, "eos_token", owner) if config.get("add_eos_token") else None
        rust.post_processor = bounds(bos, eos)


#: BART took RoBERTa's tokenizer as it is.
BartTokenizer = RobertaTokenizer

#: The names of the same classes before the field had only one of each.
RobertaTokenizerFast = RobertaTokenizer
BartTokenizerFast = BartTokenizer
GPT2TokenizerFast = GPT2Tokenizer


def _adds_space(rust: RustTokenizer) -> bool:
    """Whether a text's first word is taken as if a space stood before it."""
    component = rust.pre_tokenizer
    if isinstance(component, ByteLevel):
        return component.add_prefix_space
    # Inside of a sequence it cannot be read but from its text.
    return component is not None and b'"add_prefix_space":true' in component.__getstate__()


def _check_errors(config: Mapping[str, Any], owner: str) -> None:
    if config.get("errors") not in (None, "replace"):
        raise ConfigError(
            f"{owner}: errors={config['errors']!r} is not implemented: bytes that are no UTF-8 are "
            f"decoded to U+FFFD; pass errors='replace'"
        )
