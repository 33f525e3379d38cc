"""BERT's WordPiece, and the families that took it over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from regard.errors import CheckpointError, ConfigError
from regard.text import files
from regard.text.families.family import FamilyTokenizer, needed
from regard.text.tokenizer import Tokenizer

#: The settings of BERT's normalizer, as the configuration and as the Rust library call them.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


class BertTokenizer(FamilyTokenizer):
    """BERT's WordPiece: ``[CLS] text [SEP] pair [SEP]``, segments 0 and 1.

    A folder's tokenizer.json is the truth about the vocabulary; vocab.txt counts where there is
    none. ``BertTokenizer("vocab.txt")`` reads that file alone.
    """

    default_input_names = ("input_ids", "token_type_ids", "attention_mask")
    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    setting_names = (
        *Tokenizer.setting_names,
        *_NORMALIZER,
        "never_split",
        "do_basic_tokenize",
    )
    vocabulary_names = (files.VOCAB_FILE,)
    saved_class = "BertTokenizer"

    def __init__(self, vocab_file: str | Path | Mapping[str, int], **settings: Any):
        """Build from a vocabulary.

        Args:
            vocab_file: The path of a vocab.txt, or the numbers of the tokens.
            settings: ``do_lower_case`` (True), ``strip_accents`` (None: as ``do_lower_case``),
                ``tokenize_chinese_chars`` (True), special tokens, ``model_max_length``, ...

        Raises:
            CheckpointError: The file is damaged or lacks the unknown token.
            ConfigError: ``never_split`` or ``do_basic_tokenize=False``, which are not implemented.
        """
        super().__init__(vocab_file, **settings)

    @classmethod
    def build(cls, sources: Sequence[Any], config: Mapping[str, Any], owner: str) -> RustTokenizer:
        """Return BERT's tokenizer for a vocabulary."""
        (source,) = sources
        from_file = isinstance(source, str | Path)
        vocabulary = files.read_vocabulary(source) if from_file else dict(source)
        if config.get("never_split") or config.get("do_basic_tokenize") is False:
            raise ConfigError(
                f"{owner}: never_split and do_basic_tokenize=False are not implemented; pass "
                f"never_split=None, do_basic_tokenize=True, and protect words with "
                f"add_tokens([...])"
            )
        unknown = needed(cls.named_tokens(config, owner), "unk_token", owner).content
        if unknown not in vocabulary:
            raise CheckpointError(
                f"{owner}: the unknown token {unknown!r} is not among its {len(vocabulary)} "
                f"tokens; it is not a WordPiece vocabulary, or pass unk_token="
            )
        rust = RustTokenizer(WordPiece(vocabulary, unk_token=unknown))
        rust.normalizer = BertNormalizer()
        rust.pre_tokenizer = BertPreTokenizer()
        rust.decoder = WordPieceDecoder()
        _follow(rust, config)
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
        """Set the normalizer; the frame stays unless the caller asks for other tokens in it."""
        _follow(rust, config)
        if {"cls_token", "sep_token"} & set(overrides):
            cls._frame(rust, config, owner)
        return rust

    @classmethod
    def _frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Set ``[CLS] text [SEP] pair [SEP]``, adding the special tokens that are missing."""
        tokens = cls.add_named(rust, config, owner)
        start, end = needed(tokens, "cls_token", owner), needed(tokens, "sep_token", owner)
        rust.post_processor = TemplateProcessing(
            single=[f"{start[0]}:0", "$A:0", f"{end[0]}:0"],
            pair=[f"{start[0]}:0", "$A:0", f"{end[0]}:0", "$B:1", f"{end[0]}:1"],
            special_tokens=[start, end],
        )

    def _saved_config(self) -> dict[str, Any]:
        saved = super()._saved_config()
        normalizer = self.backend_tokenizer.normalizer
        if isinstance(normalizer, BertNormalizer):
            # Said even when they are the default: the reference lowercases where the key is absent,
            # whatever tokenizer.json says.
            saved |= {key: getattr(normalizer, name) for key, name in _NORMALIZER.items()}
        return saved


class DistilBertTokenizer(BertTokenizer):
    """BERT's tokenizer for a model that knows no segments."""

    default_input_names = ("input_ids", "attention_mask")
    saved_class = "DistilBertTokenizer"


#: ELECTRA took BERT's tokenizer as it is.
ElectraTokenizer = BertTokenizer

#: The names of the same classes before the field had only one of each.
BertTokenizerFast = BertTokenizer
DistilBertTokenizerFast = DistilBertTokenizer
ElectraTokenizerFast = ElectraTokenizer


def _follow(rust: RustTokenizer, config: Mapping[str, Any]) -> None:
    """Make the normalizer do what the configuration says, and the rest as it does now.

    Where tokenizer_config.json and tokenizer.json disagree, the reference follows the first. Where
    the first says nothing, the reference lowercases all the same; that would spoil cased models, so
    here tokenizer.json counts then.
    """
    old = rust.normalizer
    if not isinstance(old, BertNormalizer):
        return
    now = {name: getattr(old, name) for name in ("clean_text", *_NORMALIZER.values())}
    for key, name in _NORMALIZER.items():
        if key in config and (config[key] is not None or key == "strip_accents"):
            now[name] = config[key]
    rust.normalizer = BertNormalizer(**now)
