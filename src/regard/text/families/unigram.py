"""SentencePiece's Unigram: T5, XLM-RoBERTa and CamemBERT.

Texts are split at white space, each word begins with ``▁``, and of all ways to put a word together
from pieces the likeliest is taken (Kudo, 2018).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.decoders import ByteFallback
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.decoders import Sequence as DecoderSequence
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as PreTokenizerSequence
from tokenizers.processors import TemplateProcessing

from regard.errors import CheckpointError, ConfigError, listing
from regard.text import files
from regard.text.families.family import FamilyTokenizer, change, needed, with_extra
from regard.text.pieces import CONTROL, UNKNOWN, PieceModel, read_pieces
from regard.text.tokenizer import Tokenizer


class UnigramTokenizer(FamilyTokenizer):
    """What the Unigram families share."""

    setting_names = (*Tokenizer.setting_names, "add_prefix_space")

    def __init__(self, vocab_file: str | Path, **settings: Any):
        """Build from the path of a SentencePiece model.

        Args:
            vocab_file: The path.
            settings: ``add_prefix_space`` (True): whether a word begins with ``▁``; special
                tokens, ``model_max_length``, ...

        Raises:
            CheckpointError: The file is damaged, or holds another kind of model.
        """
        super().__init__(vocab_file, **settings)

    @classmethod
    def build(cls, sources: Sequence[Any], config: Mapping[str, Any], owner: str) -> RustTokenizer:
        """Return the Unigram tokenizer for a SentencePiece model."""
        (source,) = sources
        model = read_pieces(source, "unigram")
        vocabulary = cls.numbered(model, config, owner)
        unknown = needed(cls.named_tokens(config, owner), "unk_token", owner).content
        texts = [text for text, _ in vocabulary]
        if unknown not in texts:
            raise CheckpointError(f"{owner}: the unknown token {unknown!r} is not among its pieces")
        rust = RustTokenizer(
            Unigram(vocabulary, unk_id=texts.index(unknown), byte_fallback=model.byte_fallback)
        )
        prefix = config.get("add_prefix_space")
        scheme = "always" if (model.dummy_prefix if prefix is None else prefix) else "never"
        cls.split(rust, model, Metaspace(prepend_scheme=scheme))
        words = MetaspaceDecoder(prepend_scheme=scheme)
        rust.decoder = DecoderSequence([ByteFallback(), words]) if model.byte_fallback else words
        rust.add_tokens(model.user_defined)
        cls.frame(rust, config, owner)
        return rust

    @classmethod
    def split(cls, rust: RustTokenizer, model: PieceModel, words: Metaspace) -> None:
        """Set how a text is normalized and split into words."""
        if model.normalizer is not None:
            rust.normalizer = model.normalizer
        rust.pre_tokenizer = PreTokenizerSequence([WhitespaceSplit(), words])

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
            scheme = {"prepend_scheme": "always" if prefix else "never"}
            rust = change(rust, "pre_tokenizer", "Metaspace", scheme, overrides, owner)
            rust = change(rust, "decoder", "Metaspace", scheme, overrides, owner)
        if {"bos_token", "eos_token"} & set(overrides):
            cls.frame(rust, config, owner)
        return rust

    @classmethod
    def numbered(
        cls, model: PieceModel, config: Mapping[str, Any], owner: str
    ) -> list[tuple[str, float]]:
        """Return the pieces and their scores in the order of the family's own numbers."""
        raise NotImplementedError

    @classmethod
    def frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Add the special tokens and set ``<s> text </s></s> pair </s>``."""
        tokens = cls.add_named(rust, config, owner)
        bos, eos = needed(tokens, "bos_token", owner), needed(tokens, "eos_token", owner)
        single = [bos[0], "$A", eos[0]]
        rust.post_processor = TemplateProcessing(
            single=single, pair=[*single, eos[0], "$B", eos[0]], special_tokens=[bos, eos]
        )


class T5Tokenizer(UnigramTokenizer):
    """T5's Unigram: ``text </s> pair </s>``; ``<extra_id_0>`` has the last number.

    The ``extra_ids`` tokens stand for what T5 was taught to fill in (Raffel et al., 2020, 3.1.4).
    """

    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    #: ``legacy`` once said how text after a special token begins; now that is one way for all.
    setting_names = (*UnigramTokenizer.setting_names, "extra_ids", "legacy")
    vocabulary_names = ("spiece.model",)
    saved_class = "T5Tokenizer"

    def _set_up(self, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        wanted = _extra_ids(config)
        given = [token.content for token in files.read_extra(config, owner)]
        found = [text for text in given if text.startswith("<extra_id_")]
        if found and "extra_ids" in config and len(found) != len(wanted):
            raise ConfigError(
                f"{owner}: extra_ids={len(wanted)}, but {len(found)} of the extra special tokens "
                f"are such; make the two agree"
            )
        known = wanted if "extra_ids" in config else [t for t in wanted if _knows(rust, t)]
        super()._set_up(rust, config if found else with_extra(config, known), owner)

    @classmethod
    def numbered(
        cls, model: PieceModel, config: Mapping[str, Any], owner: str
    ) -> list[tuple[str, float]]:
        """Return the pieces and, after them, the extra ids from the last to the first."""
        known = {piece.text for piece in model.pieces}
        extra = [text for text in reversed(_extra_ids(config)) if text not in known]
        return [*model.scores, *((text, 0.0) for text in extra)]

    @classmethod
    def frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Add the special tokens and set ``text </s> pair </s>``, all of segment 0."""
        eos = needed(cls.add_named(rust, config, owner), "eos_token", owner)
        rust.post_processor = TemplateProcessing(
            single=["$A", eos[0]], pair=["$A", eos[0], "$B", eos[0]], special_tokens=[eos]
        )


class XLMRobertaTokenizer(UnigramTokenizer):
    """XLM-RoBERTa's Unigram: ``<s> text </s></s> pair </s>``.

    Its numbers are fairseq's: ``<s> <pad> </s> <unk>`` stand in place of the model's first three
    pieces, and ``<mask>`` comes last.
    """

    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": AddedToken("<mask>", lstrip=True, normalized=False, special=True),
    }
    vocabulary_names = ("sentencepiece.bpe.model",)
    saved_class = "XLMRobertaTokenizer"

    @classmethod
    def numbered(
        cls, model: PieceModel, config: Mapping[str, Any], owner: str
    ) -> list[tuple[str, float]]:
        """Return fairseq's first four tokens, the pieces after the first three, and the mask."""
        kinds = [piece.kind for piece in model.pieces[:3]]
        if kinds != [UNKNOWN, CONTROL, CONTROL]:
            first = listing(piece.text for piece in model.pieces[:3])
            raise CheckpointError(
                f"{owner}: begins with {first}; wanted <unk>, <s> and </s>, for which the family "
                f"has its own numbers"
            )
        names = ("bos_token", "pad_token", "eos_token", "unk_token")
        tokens = cls.named_tokens(config, owner)
        first = [(needed(tokens, name, owner).content, 0.0) for name in names]
        return [*first, *model.scores[3:], (needed(tokens, "mask_token", owner).content, 0.0)]


class CamembertTokenizer(XLMRobertaTokenizer):
    """CamemBERT's Unigram, as XLM-RoBERTa's but for the first numbers.

    Fairseq's own tokens come first, under names that no text has; the model's ``<s>`` and ``</s>``
    follow, and they are the ones in use.
    """

    saved_class = "CamembertTokenizer"

    def _set_up(self, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        if not files.read_extra(config, owner):
            unused = ("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")
            config = with_extra(config, [text for text in unused if _knows(rust, text)])
        super()._set_up(rust, config, owner)

    @classmethod
    def numbered(
        cls, model: PieceModel, config: Mapping[str, Any], owner: str
    ) -> list[tuple[str, float]]:
        """Return five tokens of fairseq, the pieces after the first, and the mask."""
        if model.unknown != 0:
            raise CheckpointError(
                f"{owner}: its unknown piece has the number {model.unknown}; wanted 0, for which "
                f"the family has its own number"
            )
        tokens = {name: token.content for name, token in cls.named_tokens(config, owner).items()}
        return [
            ("<s>NOTUSED", 0.0),
            (needed(tokens, "pad_token", owner), 0.0),
            ("</s>NOTUSED", 0.0),
            (needed(tokens, "unk_token", owner), 0.0),
            ("<unk>NOTUSED", -100.0),
            *model.scores[1:],
            (needed(tokens, "mask_token", owner), 0.0),
        ]


#: mT5 took T5's tokenizer as it is.
MT5Tokenizer = T5Tokenizer

#: The names of the same classes before the field had only one of each.
T5TokenizerFast = T5Tokenizer
MT5TokenizerFast = MT5Tokenizer
XLMRobertaTokenizerFast = XLMRobertaTokenizer
CamembertTokenizerFast = CamembertTokenizer


def _extra_ids(config: Mapping[str, Any]) -> list[str]:
    return [f"<extra_id_{number}>" for number in range(config.get("extra_ids", 100))]


def _knows(rust: RustTokenizer, text: str) -> bool:
    return rust.token_to_id(text) is not None
