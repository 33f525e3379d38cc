"""LLaMA's tokenizer: SentencePiece's BPE, where a character without a piece becomes its bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, decoders
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace

from regard.text.families.family import FamilyTokenizer, bounds, change, needed
from regard.text.pieces import NORMAL, PieceModel, read_pieces
from regard.text.tokenizer import Tokenizer


class LlamaTokenizer(FamilyTokenizer):
    """LLaMA's BPE: ``<s> text``; padding, where a token for it was set, stands on the left.

    The later LLaMAs have a byte-level tokenizer.json, which is read as it is.
    """

    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    default_padding_side = "left"
    setting_names = (
        *Tokenizer.setting_names,
        "add_bos_token",
        "add_eos_token",
        "add_prefix_space",
        "legacy",
    )
    vocabulary_names = ("tokenizer.model",)
    saved_class = "LlamaTokenizer"

    def __init__(self, vocab_file: str | Path, **settings: Any):
        """Build from the path of a SentencePiece model.

        Args:
            vocab_file: The path.
            settings: ``add_bos_token`` (True), ``add_eos_token`` (False), ``add_prefix_space``
                (True), ``legacy`` (False): whether text after a special token begins with a space,
                too; special tokens, ``model_max_length``, ...

        Raises:
            CheckpointError: The file is damaged, or holds another kind of model.
        """
        super().__init__(vocab_file, **settings)

    def _set_up(self, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        super()._set_up(rust, self._stated(rust, config), owner)

    @classmethod
    def _stated(cls, rust: RustTokenizer, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return `config` with no token where the one that LLaMA expects is not there.

        The byte-level tokenizers of later models have other special tokens, which they state.
        """
        absent = {
            name: None
            for name, token in cls.default_special_tokens.items()
            if rust.token_to_id(str(token)) is None
        }
        return {**absent, **config}

    @classmethod
    def build(cls, sources: Sequence[Any], config: Mapping[str, Any], owner: str) -> RustTokenizer:
        """Return the BPE tokenizer for a SentencePiece model."""
        (source,) = sources
        model = read_pieces(source, "bpe")
        numbers = {piece.text: number for number, piece in enumerate(model.pieces)}
        unknown = model.pieces[model.unknown].text
        rust = RustTokenizer(
            BPE(
                numbers,
                merges_of(model),
                unk_token=unknown,
                fuse_unk=True,
                byte_fallback=model.byte_fallback,
            )
        )
        if model.normalizer is not None:
            rust.normalizer = model.normalizer
        prefix = config.get("add_prefix_space")
        prefix = model.dummy_prefix if prefix is None else bool(prefix)
        scheme = _scheme(prefix, config)
        rust.pre_tokenizer = Metaspace(prepend_scheme=scheme, split=False)
        rust.decoder = _decoder(prefix)
        rust.add_tokens(model.user_defined)
        cls._frame(rust, config, owner)
        return rust

    @classmethod
    def adapt(
        cls,
        rust: RustTokenizer,
        config: Mapping[str, Any],
        overrides: Mapping[str, Any],
        owner: str,
    ) -> RustTokenizer:
        """Change what the caller asks for; the rest stays as tokenizer.json has it."""
        prefix = overrides.get("add_prefix_space")
        if prefix is not None:
            scheme = _scheme(prefix, config)
            rust = change(
                rust, "pre_tokenizer", "Metaspace", {"prepend_scheme": scheme}, overrides, owner
            )
            rust.decoder = _decoder(prefix)
        if {"add_bos_token", "add_eos_token", "bos_token", "eos_token"} & set(overrides):
            cls._frame(rust, config, owner)
        return rust

    @classmethod
    def _frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Add the special tokens and set those that stand around each text."""
        tokens = cls.add_named(rust, cls._stated(rust, config), owner)
        bos = tokens.get("bos_token") if config.get("add_bos_token", True) else None
        eos = needed(tokens, "eos_token", owner) if config.get("add_eos_token") else None
        rust.post_processor = bounds(bos, eos)


#: The name of the same class before the field had only one.
LlamaTokenizerFast = LlamaTokenizer


def merges_of(model: PieceModel) -> list[tuple[str, str]]:
    """Return the merges of a BPE model, which lists what they make, best first, but not of what.

    A piece is made of every two pieces that it can be cut into.
    """
    known = {piece.text for piece in model.pieces}
    made = [piece for piece in model.pieces if piece.kind == NORMAL]
    made.sort(key=lambda piece: -piece.score)
    return [
        (piece.text[:cut], piece.text[cut:])
        for piece in made
        for cut in range(1, len(piece.text))
        if piece.text[:cut] in known and piece.text[cut:] in known
    ]


def _scheme(prefix: bool, config: Mapping[str, Any]) -> str:
    """Return before which texts between special tokens ``▁`` is put."""
    return ("always" if config.get("legacy") else "first") if prefix else "never"


def _decoder(prefix: bool) -> decoders.Decoder:
    strip = [decoders.Strip(content=" ", left=1)] if prefix else []
    return decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
