"""New pieces for a vocabulary, learned from text; every old piece keeps its number.

The pieces that a vocabulary splits words into take the place of letters, and the most frequent pair
of neighbours becomes one piece, again and again: byte pair encoding (Sennrich et al. 2016), going
on where the vocabulary stopped. A vocabulary of single characters makes this the whole training.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log
from typing import Any, NamedTuple, cast

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from regard.errors import ConfigError, listing

#: The letter that stands for piece 0; these planes of Unicode have no white space.
FIRST_LETTER = 0x10000
#: Repetitions of a word that the trainer gets in one text.
PORTION = 1000
#: Pieces that are learned beside those that are wanted, as some turn out to be no new ones.
SPARE = 64

#: SentencePiece marks the start of words, and some of its tokenizers never split there.
_WORD = re.compile("▁*[^▁]+|▁+")


@dataclass(frozen=True)
class Words:
    """The words of a text as a tokenizer sees them.

    Attributes:
        counts: How often each stands there.
        total: The number of words apart by white space.
    """

    counts: Counter[str]
    total: int


def count_words(rust: RustTokenizer, texts: Iterable[str]) -> Words:
    """Count the words of texts, which are read once; each distinct word is kept."""
    counts, total = Counter[str](), 0
    normalizer, splitter = rust.normalizer, rust.pre_tokenizer
    for text in texts:
        total += len(text.split())
        clean = text if normalizer is None else normalizer.normalize_str(text)
        parts = [clean]
        if splitter is not None:
            parts = [part for part, _ in splitter.pre_tokenize_str(clean)]
        for part in parts:
            inside = "▁" in part[1:]
            counts.update(_WORD.findall(part) if inside else [part])
    return Words(counts, total)


class Merge(NamedTuple):
    """A new piece: its two parts, and the pieces that were there before both."""

    parts: tuple[str, str]
    old: list[int]


class Growth:
    """A vocabulary that grows by the pieces that most often stand beside each other.

    Attributes:
        rust: The tokenizer with all pieces so far.
        unknown: The number of its unknown token, if it has one.

    Raises:
        ConfigError: The tokenizer is of a kind that cannot grow by pieces.
    """

    def __init__(self, rust: RustTokenizer, words: Words, min_frequency: int):
        if not isinstance(rust.model, models.BPE | models.WordPiece | models.Unigram):
            raise ConfigError(
                f"a vocabulary of the kind {type(rust.model).__name__} does not grow by pieces; "
                f"add whole words with tokenizer.add_tokens([...])"
            )
        self._state: dict[str, Any] = json.loads(rust.to_str())
        self._model = cast("dict[str, Any]", self._state["model"])
        self._prefix = cast("str", self._model.get("continuing_subword_prefix") or "")
        self._words, self._minimum = words.counts, min_frequency
        self._use(rust)
        # Tokens that were added behind the vocabulary get their places in it: new pieces come after
        # them, and the library counts on numbers without gaps.
        have = rust.get_vocab(with_added_tokens=False)
        self._add({t: n for t, n in rust.get_vocab().items() if t not in have}, [])

    def grow(self, count: int) -> dict[str, list[int]]:
        """Add up to `count` pieces, characters that had none first.

        Returns:
            The new pieces in the order of their numbers, each with the old pieces that it was.
        """
        characters = {piece: self._old_pieces(piece) for piece in self._characters()[:count]}
        self._add(self._numbered(characters), [])
        merges, used = self._merges(count - len(characters))
        pieces = {**characters, **{piece: merge.old for piece, merge in merges.items()}}
        # A character that is new itself was something before.
        was = {n: characters[text] for n, text in self._texts.items() if text in characters}
        self._add(self._numbered(merges), [merge.parts for merge in merges.values()])
        if self._model["type"] == "Unigram":
            self._score([*pieces], used)
        return {
            p: [*chain.from_iterable(was.get(n, [n]) for n in old)] for p, old in pieces.items()
        }

    def _characters(self) -> list[str]:
        """Return the characters for whose lack words are lost, the most frequent first."""
        found = Counter[str]()
        for word, count in self._words.items():
            if self._pieces(word) is None:
                for place, character in enumerate(word):
                    found[f"{self._prefix}{character}" if place else character] += count
        ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
        known = self._texts.values()
        return [p for p, count in ordered if count >= self._minimum and p not in known]

    def _merges(self, count: int) -> tuple[dict[str, Merge], Counter[str]]:
        """Return up to `count` new pieces with what each is made of, and how often pieces occur."""
        letters = {
            word: "".join(chr(FIRST_LETTER + number) for number in pieces)
            for word in self._words
            if (pieces := self._pieces(word))
        }
        learner = self._learner(letters, count)
        used = Counter[str]()
        for word, text in letters.items():
            for token in learner.model.tokenize(text):
                used[self._joined(token.value)] += self._words[word]
        known = {*self._texts.values()}
        found: dict[str, Merge] = {}
        for left, right in json.loads(learner.to_str())["model"]["merges"]:
            made, parts = self._joined(left + right), (self._joined(left), self._joined(right))
            # Two parts that now make an old piece would change texts that have no new one.
            if made not in known and known.issuperset(parts) and len(found) < count:
                found[made] = Merge(parts, [ord(letter) - FIRST_LETTER for letter in left + right])
                known.add(made)
        return found, used

    def _learner(self, letters: Mapping[str, str], count: int) -> RustTokenizer:
        """Return a byte pair encoding over pieces in place of letters."""
        alphabet = sorted(set("".join(letters.values())))
        learner = RustTokenizer(models.BPE())
        learner.pre_tokenizer = WhitespaceSplit()
        trainer = BpeTrainer(
            vocab_size=len(alphabet) + count + SPARE,
            min_frequency=self._minimum,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        learner.train_from_iterator(self._repeated(letters), trainer)
        return learner

    def _repeated(self, letters: Mapping[str, str]) -> Iterator[str]:
        """Yield each word as often as it occurs."""
        for word, text in letters.items():
            whole, rest = divmod(self._words[word], PORTION)
            yield from [f"{text} " * PORTION] * whole
            yield f"{text} " * rest

    def _old_pieces(self, character: str) -> list[int]:
        tokens = self.rust.model.tokenize(character.removeprefix(self._prefix))
        return [token.id for token in tokens]

    def _pieces(self, word: str) -> list[int] | None:
        """Return the pieces of a word, or None where the vocabulary has none for a part of it."""
        tokens = self.rust.model.tokenize(word)
        numbers = [token.id for token in tokens]
        lost = self.unknown in numbers or self._glued([t.value for t in tokens]) != word
        return None if lost else numbers

    def _joined(self, letters: str) -> str:
        """Return the piece that some letters make together."""
        return self._glued([self._texts[ord(letter) - FIRST_LETTER] for letter in letters])

    def _glued(self, texts: Sequence[str]) -> str:
        return "".join([*texts[:1], *(text.removeprefix(self._prefix) for text in texts[1:])])

    def _numbered(self, pieces: Iterable[str]) -> dict[str, int]:
        """Return numbers for new pieces, behind all others."""
        first = max(self._texts) + 1
        return {piece: first + place for place, piece in enumerate(pieces)}

    def _add(self, pieces: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
        """Put pieces and merges into the vocabulary; a Unigram piece is no likelier than any."""
        vocabulary: Any = self._model["vocab"]
        if self._model["type"] == "Unigram":
            lowest = min(score for _, score in vocabulary)
            vocabulary += [[piece, lowest] for piece in sorted(pieces, key=pieces.__getitem__)]
        else:
            vocabulary.update(pieces)
        if self._model["type"] == "BPE":
            self._model["merges"] += [list(pair) for pair in merges]
        self._use(RustTokenizer.from_str(json.dumps(self._state)))
        moved = [p for p, number in pieces.items() if self.rust.token_to_id(p) != number]
        if moved:
            raise ConfigError(
                f"the numbers of the vocabulary have gaps, so {listing(moved)} cannot stay where "
                f"they are; number its tokens without gaps"
            )

    def _score(self, new: Sequence[str], used: Counter[str]) -> None:
        """Give new Unigram pieces the logarithms of their shares of the text."""
        vocabulary: Any = self._model["vocab"]
        lowest, total = min(score for _, score in vocabulary), used.total()
        for entry in vocabulary[len(vocabulary) - len(new) :]:
            if used[entry[0]]:
                entry[1] = max(log(used[entry[0]] / total), lowest)
        self._use(RustTokenizer.from_str(json.dumps(self._state)))

    def _use(self, rust: RustTokenizer) -> None:
        self.rust = rust
        self._texts = {number: text for text, number in rust.get_vocab().items()}
        unknown: int | None = self._model.get("unk_id")
        token: str | None = self._model.get("unk_token")
        self.unknown = unknown if token is None else rust.token_to_id(token)
