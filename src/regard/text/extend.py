"""A vocabulary extended for a language or a domain that it splits into too many pieces."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenizers import Tokenizer as RustTokenizer

from regard.errors import DataError
from regard.text.growth import Growth, Words, count_words
from regard.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Fertility:
    """How many tokens a tokenizer makes of a text, without special ones.

    Attributes:
        words: Words of the text, apart by white space.
        tokens: Its tokens.
        unknown: How many of these are the unknown token.
    """

    words: int
    tokens: int
    unknown: int

    @property
    def per_word(self) -> float:
        """Tokens per word (Rust et al. 2021, section 3.2, call this fertility)."""
        return self.tokens / self.words


@dataclass(frozen=True)
class Extension:
    """An extended tokenizer, and what it takes to extend a model by `extend_embeddings`.

    Attributes:
        tokenizer: The tokenizer with the new pieces; all old ones have their numbers.
        pieces: For the number of each new piece, the numbers that the old tokenizer made of it.
        before: What the old tokenizer makes of the text.
        after: What the new one makes of it.
    """

    tokenizer: Tokenizer
    pieces: Mapping[int, list[int]]
    before: Fertility
    after: Fertility


def extend_tokenizer(
    tokenizer: Tokenizer, texts: Iterable[str], count: int, *, min_frequency: int = 2
) -> Extension:
    """Add pieces for what a text has often and the vocabulary splits.

    First come characters for whose lack words are unknown, or become bytes; then the most frequent
    neighbours become one piece, as in training (`regard.text.growth`). They are entries of the
    vocabulary and no added tokens: WordPiece takes them as the longest match, BPE by merges after
    all others, Unigram by the logarithm of their share of the text. A text in which no new piece
    stands is tokenized as before.

    Args:
        tokenizer: The tokenizer, which stays as it is.
        texts: Texts of the language or domain; they are read once, and only distinct words kept.
        count: The number of pieces to add, at most: fewer where the text has no more.
        min_frequency: How often a piece must occur.

    Raises:
        ConfigError: The vocabulary is of a kind that cannot grow by pieces.
        DataError: There is no text.
    """
    if count < 1:
        raise ValueError(f"count={count}; wanted at least 1 new piece")
    old = tokenizer.backend_tokenizer
    words = count_words(old, texts)
    if not words.total:
        raise DataError("there is no text to learn new pieces from")
    growth = Growth(old, words, min_frequency)
    pieces = growth.grow(count)
    numbers = growth.rust.get_vocab()
    return Extension(
        tokenizer=tokenizer.with_backend(growth.rust),
        pieces={numbers[piece]: old for piece, old in pieces.items()},
        before=_fertility(old, words, growth.unknown),
        after=_fertility(growth.rust, words, growth.unknown),
    )


def _fertility(rust: RustTokenizer, words: Words, unknown: int | None) -> Fertility:
    tokens = lost = 0
    for word, count in words.counts.items():
        numbers = [token.id for token in rust.model.tokenize(word)]
        tokens += count * len(numbers)
        lost += count * numbers.count(-1 if unknown is None else unknown)
    return Fertility(words.total, tokens, lost)
