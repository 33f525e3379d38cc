"""The tokenizers of model families, and `AutoTokenizer`, which finds the one that a folder needs.

BERT's WordPiece is here. Byte-level BPE, Unigram and sentencepiece families each join with a class
like `BertTokenizer`, which reads the family's own files into a Rust tokenizer when the folder has
no tokenizer.json, and with one line in `FAMILIES`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Tokenizer as RustTokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from regard.checkpoints.files import CheckpointFolder, find_checkpoint
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError, listing
from regard.text import files
from regard.text.options import check_names
from regard.text.tokenizer import Tokenizer
from regard.text.vocabulary import SPECIAL_TOKENS

#: The settings of BERT's normalizer, as the configuration and as the Rust library call them.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


class BertTokenizer(Tokenizer):
    """BERT's WordPiece: ``[CLS] text [SEP] pair [SEP]``, segments 0 and 1.

    A folder's tokenizer.json is the truth about the vocabulary; vocab.txt counts where there is
    none. ``BertTokenizer("vocab.txt")`` reads that file alone.
    """

    default_input_names = ("input_ids", "token_type_ids", "attention_mask")
    default_special_tokens: ClassVar[Mapping[str, str]] = {
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
        from_file = isinstance(vocab_file, str | Path)
        check_names(type(self).__name__, settings, self.setting_names)
        owner = str(vocab_file) if from_file else "the vocabulary"
        vocabulary = files.read_vocabulary(vocab_file) if from_file else dict(vocab_file)
        self._set_up(_word_piece(vocabulary, settings, owner), settings, owner)

    @classmethod
    def read_rust(
        cls, folder: CheckpointFolder, config: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> RustTokenizer:
        """Return the Rust tokenizer of a folder with tokenizer.json or vocab.txt."""
        whole = folder.find(files.TOKENIZER_FILE)
        if whole is not None:
            rust = files.read_rust(whole)
            _follow(rust, config)
            # The frame of the file stays, unless the caller asks for other tokens in it.
            if {"cls_token", "sep_token"} & set(overrides):
                _frame(rust, config, folder.name)
            return rust
        path = folder.find(files.VOCAB_FILE)
        if path is None:
            raise CheckpointNotFoundError(
                f"{folder.name}: there is neither {files.TOKENIZER_FILE} nor {files.VOCAB_FILE}"
            )
        return _word_piece(files.read_vocabulary(path), config, str(path))

    def _saved_config(self) -> dict[str, Any]:
        saved = super()._saved_config()
        normalizer = self.backend_tokenizer.normalizer
        if isinstance(normalizer, BertNormalizer):
            # Said even when they are the default: the reference lowercases where the key is absent,
            # whatever tokenizer.json says.
            saved |= {key: getattr(normalizer, name) for key, name in _NORMALIZER.items()}
        return saved


#: The name of the same class before the field had only one.
BertTokenizerFast = BertTokenizer

#: The tokenizer of each ``model_type``; a folder may name the class itself, too.
FAMILIES: dict[str, type[Tokenizer]] = {
    "bert": BertTokenizer,
}


class AutoTokenizer:
    """Finds the tokenizer class that a checkpoint needs."""

    @staticmethod
    def from_pretrained(
        name_or_folder: str | Path,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **overrides: Any,
    ) -> Tokenizer:
        """Load the tokenizer of a checkpoint; see `Tokenizer.from_pretrained`.

        The class is the one that tokenizer_config.json names, else the one of the ``model_type`` in
        config.json; a tokenizer.json of any other class is a plain `Tokenizer`. ``use_fast`` is
        taken and means nothing: there is one kind of tokenizer.

        Raises:
            CheckpointError: The class is unknown and there is no tokenizer.json.
        """
        folder = find_checkpoint(
            name_or_folder,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        settings = {name: value for name, value in overrides.items() if name != "use_fast"}
        return _class_for(folder).from_folder(folder, settings)


def _class_for(folder: CheckpointFolder) -> type[Tokenizer]:
    """Return the class that the files of a folder ask for."""
    config = folder.read_json(files.CONFIG_FILE) if folder.find(files.CONFIG_FILE) else {}
    name = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    if name:
        named = {family.__name__: family for family in FAMILIES.values()}.get(name)
    else:
        model = folder.read_json("config.json") if folder.find("config.json") else {}
        named = FAMILIES.get(str(model.get("model_type")))
    if named is not None:
        return named
    if folder.find(files.TOKENIZER_FILE):
        return Tokenizer
    found = f"the class {name}" if name else "no known model_type"
    raise CheckpointError(
        f"{folder.name}: no tokenizer.json, and {found}; the families that can be read without one "
        f"are {listing(FAMILIES)}: load such a folder with their own class"
    )


def _word_piece(
    vocabulary: Mapping[str, int], config: Mapping[str, Any], owner: str
) -> RustTokenizer:
    """Return BERT's tokenizer for a vocabulary; `owner` stands in errors."""
    if config.get("never_split") or config.get("do_basic_tokenize") is False:
        raise ConfigError(
            f"{owner}: never_split and do_basic_tokenize=False are not implemented; pass "
            f"never_split=None, do_basic_tokenize=True, and protect words with add_tokens([...])"
        )
    unknown = _tokens(config, owner)["unk_token"]
    if unknown not in vocabulary:
        raise CheckpointError(
            f"{owner}: the unknown token {unknown!r} is not among its {len(vocabulary)} tokens; it "
            f"is not a WordPiece vocabulary, or pass unk_token="
        )
    rust = RustTokenizer(WordPiece(dict(vocabulary), unk_token=unknown))
    rust.normalizer = BertNormalizer()
    rust.pre_tokenizer = BertPreTokenizer()
    rust.decoder = WordPieceDecoder()
    _follow(rust, config)
    _frame(rust, config, owner)
    return rust


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


def _frame(rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
    """Set ``[CLS] text [SEP] pair [SEP]``, adding the special tokens that are missing."""
    tokens = _tokens(config, owner)
    named = files.read_named(dict(BertTokenizer.default_special_tokens) | dict(config), owner)
    rust.add_special_tokens([named[name] for name in SPECIAL_TOKENS if name in named])
    cls, sep = tokens["cls_token"], tokens["sep_token"]
    rust.post_processor = TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(cls, rust.token_to_id(cls)), (sep, rust.token_to_id(sep))],
    )


def _tokens(config: Mapping[str, Any], owner: str) -> dict[str, str]:
    """Return BERT's named special tokens as text."""
    stated = files.read_named(config, owner)
    given = {name: token.content for name, token in stated.items()}
    return dict(BertTokenizer.default_special_tokens) | given
