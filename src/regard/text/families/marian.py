"""Marian's tokenizer: SentencePiece for the source and for the target, and numbers of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from tokenizers import AddedToken, Encoding
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from regard.checkpoints.files import CheckpointFolder
from regard.errors import CheckpointError
from regard.text import files
from regard.text.encoder import Encoder
from regard.text.families.family import needed
from regard.text.inputs import Texts
from regard.text.options import Truncation, check_names
from regard.text.pieces import read_pieces
from regard.text.segments import SPACE, Lookup
from regard.text.tokenizer import Tokenizer
from regard.text.vocabulary import special

_SOURCE, _TARGET = "source.spm", "target.spm"
_NUMBERS, _TARGET_NUMBERS = files.NUMBERS_FILE, "target_vocab.json"


class MarianTokenizer(Tokenizer):
    """Marian's tokenizer: ``text </s>``, ``text pair </s>``.

    Sources and targets have their own SentencePiece models. Their pieces share one vocabulary, or
    with ``separate_vocabs`` have one each; then ids are read as those of targets. A multilingual
    model wants to be told the language first: ``>>fr<< text``.
    """

    default_special_tokens: ClassVar[Mapping[str, str | AddedToken]] = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    setting_names = (
        *Tokenizer.setting_names,
        "source_lang",
        "target_lang",
        "separate_vocabs",
    )
    saved_class = "MarianTokenizer"

    def __init__(
        self,
        source_spm: str | Path,
        target_spm: str | Path,
        vocab: str | Path,
        target_vocab_file: str | Path | None = None,
        **settings: Any,
    ):
        """Build from the paths of two SentencePiece models and a vocab.json.

        Args:
            source_spm: The model of sources.
            target_spm: The model of targets.
            vocab: The numbers of the pieces.
            target_vocab_file: The numbers of the targets' pieces, for ``separate_vocabs``.
            settings: ``separate_vocabs`` (False); special tokens, ``model_max_length`` (512), ...

        Raises:
            CheckpointError: A file is damaged, or lacks a special token.
        """
        check_names(type(self).__name__, settings, self.setting_names)
        self._read([source_spm, target_spm, vocab, target_vocab_file], settings, str(vocab))

    @classmethod
    def from_folder(cls, folder: CheckpointFolder, overrides: Mapping[str, Any]) -> Self:
        """Load a tokenizer from the files of a checkpoint; see `from_pretrained`."""
        check_names(f"{cls.__name__}.from_pretrained", overrides, cls.setting_names)
        config = files.read_config(folder, overrides)
        for name in (_SOURCE, _TARGET, _NUMBERS):
            folder.path(name)  # an error if it is not there
        names = (_SOURCE, _TARGET, _NUMBERS, _TARGET_NUMBERS)
        self = cls.__new__(cls)
        self._read([*map(folder.find_path, names)], config, folder.name, folder)
        return self

    @classmethod
    def reads(cls, folder: CheckpointFolder) -> bool:
        """Whether the folder has the family's own files: a tokenizer.json is not read here."""
        return all(folder.find(name) for name in (_SOURCE, _TARGET, _NUMBERS))

    @property
    def supported_language_codes(self) -> list[str]:
        """What a text may begin with to say the language of its translation."""
        return [token for token in self.get_vocab() if token[:2] == ">>" and token[-2:] == "<<"]

    def _read(
        self,
        paths: Sequence[str | Path | None],
        config: Mapping[str, Any],
        owner: str,
        folder: CheckpointFolder | None = None,
    ) -> None:
        """Set the tokenizer up.

        Args:
            paths: The models of sources and targets, the numbers of both or of sources, those of
                targets or None.
            config: The settings.
            owner: What errors name.
            folder: Where added tokens may be listed, or None.
        """
        separate = bool(config.get("separate_vocabs"))
        if separate and paths[3] is None:
            raise CheckpointError(f"{owner}: separate_vocabs=True, and no {_TARGET_NUMBERS}")
        spm = [str(path) for path in paths[:2]]
        numbers = [str(path) for path in (paths[2:] if separate else [paths[2], paths[2]])]
        unknown = special(config.get("unk_token") or "<unk>").content
        lookups = [_lookup(*paths, unknown) for paths in zip(spm, numbers, strict=True)]
        self._models = [Path(path).read_bytes() for path in spm]
        self._separate = separate
        self._segmenter = lookups[1 if separate else 0].segmenter
        models = [WordLevel(lookup.numbers, unk_token=unknown) for lookup in lookups]
        source, self._target = (Encoder(RustTokenizer(model)) for model in models)
        if folder is not None:
            files.add_saved_tokens(source.rust, folder, config)
            added = source.rust.get_added_tokens_decoder()
            self._target.add([token for _, token in sorted(added.items())], special=False)
        super()._set_up(source.rust, {"model_max_length": 512, **config}, owner)
        eos = needed(self.special_tokens_map, "eos_token", owner)
        for encoder, lookup in zip((self._encoder, self._target), lookups, strict=True):
            encoder.split_with(lookup)
            encoder.rust.post_processor = TemplateProcessing(
                single=["$A", eos],
                pair=["$A", "$B", eos],
                special_tokens=[(eos, cast("int", encoder.rust.token_to_id(eos)))],
            )

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text that `tokens` stand for; special tokens are followed by a space."""
        found, pieces = "", list[str]()
        named = set(self.all_special_tokens)
        for token in tokens:
            if token in named:
                found += f"{self._segmenter.join(pieces)}{token} "
                pieces = []
            else:
                pieces.append(token)
        found += self._segmenter.join(pieces)
        return found.replace(SPACE, " ").strip()

    def _text(self, ids: list[int], skip: bool) -> str:
        tokens = self.convert_ids_to_tokens(ids, skip)
        return self.convert_tokens_to_string([token for token in tokens if token is not None])

    def _token(self, number: int) -> str | None:
        return (self._target if self._separate else self._encoder).rust.id_to_token(number)

    def _add(self, tokens: Sequence[str | AddedToken], *, special: bool) -> int:
        self._target.add(tokens, special=special)
        return super()._add(tokens, special=special)

    def _run(
        self,
        texts: Texts,
        *,
        special: bool = True,
        truncation: Truncation | None = None,
        offsets: bool = True,
        target: bool = False,
    ) -> list[Encoding]:
        encoder = self._target if target else self._encoder
        return encoder.encode(texts, special=special, truncation=truncation, offsets=offsets)

    def _saved_files(self) -> dict[str, str | bytes]:
        # A tokenizer.json cannot hold how SentencePiece cuts.
        found: dict[str, str | bytes] = dict(zip((_SOURCE, _TARGET), self._models, strict=True))
        found[_NUMBERS] = files.to_json(self._encoder.rust.get_vocab(False))
        if self._separate:
            found[_TARGET_NUMBERS] = files.to_json(self._target.rust.get_vocab(False))
        return found

    def _saved_config(self) -> dict[str, Any]:
        added = self.backend_tokenizer.get_added_tokens_decoder()
        flags = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
        return super()._saved_config() | {
            "separate_vocabs": self._separate,
            "added_tokens_decoder": {
                str(number): {flag: getattr(token, flag) for flag in flags}
                for number, token in added.items()
            },
        }


#: The name that the field has for the same class.
MarianTokenizerFast = MarianTokenizer


def _lookup(model: str, vocabulary: str, unknown: str) -> Lookup:
    """Return the step that cuts by the model and numbers by the vocab.json at these paths."""
    numbers = files.read_numbers(vocabulary)
    if unknown not in numbers:
        raise CheckpointError(f"{vocabulary}: the unknown token {unknown!r} has no number")
    return Lookup(read_pieces(model, "unigram"), numbers, numbers[unknown])
