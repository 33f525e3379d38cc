"""Tokenizers learned from text, of the classes that the families use."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import UnigramTrainer

from regard.errors import DataError, nearest
from regard.text.families import (
    BertTokenizer,
    CamembertTokenizer,
    DistilBertTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)
from regard.text.families.family import FamilyTokenizer
from regard.text.growth import Growth, count_words
from regard.text.pieces import BYTE, CONTROL, NORMAL, UNKNOWN, Piece, PieceModel
from regard.text.tokenizer import Tokenizer


class Recipe(NamedTuple):
    """How a family's tokenizer comes to be.

    Attributes:
        family: Its class.
        first: The special tokens that have the first numbers, by name.
        blank: Makes one that knows these and what is no matter of learning.
    """

    family: type[FamilyTokenizer]
    first: tuple[str, ...]
    blank: "Callable[[Recipe, Mapping[str, Any]], FamilyTokenizer]"


def train_tokenizer(
    texts: Iterable[str],
    kind: str = "wordpiece",
    size: int = 8000,
    *,
    min_frequency: int = 2,
    **settings: Any,
) -> Tokenizer:
    """Train a tokenizer on texts.

        train_tokenizer(open("text.txt"), "wordpiece", 8000, do_lower_case=True)

    Texts are read once and never held; what is held are the distinct words. The same texts give the
    same tokenizer, but for Unigram: the library sums in any order, which moves its logarithms in
    the fourth digit.

    Args:
        texts: The texts, such as the lines of a file.
        kind: ``"wordpiece"``, ``"bpe"`` or ``"unigram"``, or the model type that the tokenizer is
            for: ``"bert"``, ``"distilbert"``, ``"electra"`` have WordPiece (Wu et al. 2016);
            ``"gpt2"``, ``"roberta"``, ``"bart"`` byte-level BPE; ``"llama"`` BPE over characters
            that falls back to bytes; ``"t5"``, ``"mt5"``, ``"xlm-roberta"``, ``"camembert"``
            Unigram (Kudo 2018). The first three names mean BERT's, GPT-2's and XLM-RoBERTa's.
        size: Tokens of the vocabulary, special ones included, at most.
        min_frequency: How often what becomes a piece must occur; Unigram takes what is likeliest.
        settings: What the class takes, such as ``do_lower_case=False`` or ``model_max_length=512``.

    Raises:
        ValueError: There is no such kind, or `size` has no room for what every vocabulary of the
            kind has.
        DataError: There is no text.
        TypeError: A setting that the class does not know.
    """
    if kind not in RECIPES:
        raise ValueError(
            f"kind={kind!r}; wanted one of {', '.join(RECIPES)}{nearest(kind, RECIPES)}"
        )
    recipe = RECIPES[kind]
    blank = recipe.blank(recipe, settings)
    least = len(blank) + (recipe.blank is not _bytes)  # bytes alone are a vocabulary
    if size < least:
        raise ValueError(
            f"size={size}; a vocabulary of the kind {kind!r} has {len(blank)} tokens before "
            f"anything is learned; wanted at least {least}"
        )
    if isinstance(blank.backend_tokenizer.model, Unigram):
        pieces = _likely_pieces(blank.backend_tokenizer, texts, size - len(blank))
        return recipe.family(_model(recipe, pieces), **settings)
    words = count_words(blank.backend_tokenizer, texts)
    if not words.total:
        raise DataError("there is no text to learn a vocabulary from")
    growth = Growth(blank.backend_tokenizer, words, min_frequency)
    growth.grow(size - len(blank))
    return blank.with_backend(growth.rust)


def _special(recipe: Recipe, settings: Mapping[str, Any]) -> list[str]:
    """Return the special tokens with the first numbers, each once."""
    named = recipe.family.named_tokens(settings, recipe.family.__name__)
    return list(dict.fromkeys(named[name].content for name in recipe.first if name in named))


def _numbers(recipe: Recipe, settings: Mapping[str, Any]) -> FamilyTokenizer:
    """Return a tokenizer that knows the special tokens."""
    return recipe.family({t: n for n, t in enumerate(_special(recipe, settings))}, **settings)


def _bytes(recipe: Recipe, settings: Mapping[str, Any]) -> FamilyTokenizer:
    """Return a tokenizer that knows the special tokens and every byte."""
    tokens = [*_special(recipe, settings), *sorted(ByteLevel.alphabet())]
    return recipe.family({token: number for number, token in enumerate(tokens)}, [], **settings)


def _pieces(recipe: Recipe, settings: Mapping[str, Any]) -> FamilyTokenizer:
    """Return a tokenizer that knows the special tokens, and falls back to bytes if it is BPE."""
    return recipe.family(_model(recipe, []), **settings)


def _model(recipe: Recipe, learned: list[tuple[str, float]]) -> PieceModel:
    """Return learned pieces behind the special tokens, as a SentencePiece model would have them."""
    first = [
        Piece(str(recipe.family.default_special_tokens[name]), 0.0, kind)
        for name in recipe.first
        for kind in [UNKNOWN if name == "unk_token" else CONTROL]
    ]
    byte_fallback = recipe.family is LlamaTokenizer
    if byte_fallback:
        first += [Piece(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    return PieceModel(
        [*first, *(Piece(text, score, NORMAL) for text, score in learned)],
        "bpe" if byte_fallback else "unigram",
        byte_fallback=byte_fallback,
        dummy_prefix=True,
        collapse=False,
        table=b"",
    )


def _likely_pieces(
    blank: RustTokenizer, texts: Iterable[str], count: int
) -> list[tuple[str, float]]:
    """Return the `count` pieces that make the texts likeliest, and their logarithms."""
    learner = RustTokenizer(Unigram())
    if blank.normalizer is not None:
        learner.normalizer = blank.normalizer
    if blank.pre_tokenizer is not None:
        learner.pre_tokenizer = blank.pre_tokenizer
    trainer = UnigramTrainer(vocab_size=count, show_progress=False, special_tokens=[])
    learner.train_from_iterator(texts, trainer)
    found = cast("list[tuple[str, float]]", json.loads(learner.to_str())["model"]["vocab"])
    if not found:
        raise DataError("there is no text to learn a vocabulary from")
    return [(piece, score) for piece, score in found]


_BERT = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_ROBERTA = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
_FAIRSEQ = ("unk_token", "bos_token", "eos_token")
_T5 = ("pad_token", "eos_token", "unk_token")

RECIPES: Mapping[str, Recipe] = {
    "wordpiece": Recipe(BertTokenizer, _BERT, _numbers),
    "bpe": Recipe(GPT2Tokenizer, ("eos_token",), _bytes),
    "unigram": Recipe(XLMRobertaTokenizer, _FAIRSEQ, _pieces),
    "bert": Recipe(BertTokenizer, _BERT, _numbers),
    "distilbert": Recipe(DistilBertTokenizer, _BERT, _numbers),
    "electra": Recipe(BertTokenizer, _BERT, _numbers),
    "gpt2": Recipe(GPT2Tokenizer, ("eos_token",), _bytes),
    "roberta": Recipe(RobertaTokenizer, _ROBERTA, _bytes),
    "bart": Recipe(RobertaTokenizer, _ROBERTA, _bytes),
    "llama": Recipe(LlamaTokenizer, _FAIRSEQ, _pieces),
    "t5": Recipe(T5Tokenizer, _T5, _pieces),
    "mt5": Recipe(T5Tokenizer, _T5, _pieces),
    "xlm-roberta": Recipe(XLMRobertaTokenizer, _FAIRSEQ, _pieces),
    "camembert": Recipe(CamembertTokenizer, _FAIRSEQ, _pieces),
}
