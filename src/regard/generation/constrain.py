"""Constrained decoding: texts that match a regular expression or a schema, or are one of some.

llguidance follows the grammar byte by byte and says which tokens may come (Willard and Louf 2023,
section 3, for the idea); what they mean in bytes is said here, for every kind of tokenizer that our
families have.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from typing import Any, Protocol

import torch
from torch import Tensor

from regard.generation.rows import Row, Texts
from regard.generation.rules import FORBIDDEN
from regard.text.vocabulary import Vocabulary

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
#: How SentencePiece writes a space.
_SPACE = "\u2581"


class Constraint(Protocol):
    """What a continuation has to be."""

    def grammar(self) -> str:
        """Return the body of a rule of llguidance's Lark."""
        ...


@dataclass(frozen=True)
class Regex:
    """A continuation that matches a regular expression as a whole.

    Attributes:
        pattern: In the syntax of Rust's ``regex``: without look-around and back-references.
    """

    pattern: str

    def grammar(self) -> str:
        """Return the body of the rule."""
        # A slash would end the expression, and a line the rule.
        special = {"/": r"\x2F", r"\/": r"\x2F", "\n": r"\n", "\r": r"\r"}
        found = re.sub(r"\\.|[/\n\r]", lambda m: special.get(m[0], m[0]), self.pattern)
        return f"/{found}/"


@dataclass(frozen=True)
class Json:
    """A continuation that is JSON, and valid by a schema.

    Written on one line as `json.dumps` does; properties come in the order of the schema.

    Attributes:
        schema: A JSON schema; an empty one is any JSON value.
    """

    schema: Mapping[str, Any]

    def grammar(self) -> str:
        """Return the body of the rule."""
        # White space without end is what a model in doubt loves most.
        how = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        return f"%json {json.dumps({**self.schema, 'x-guidance': how})}"


@dataclass(frozen=True)
class Choice:
    """A continuation that is one of some texts.

    Attributes:
        texts: They, none of them empty.
    """

    texts: Sequence[str]

    def grammar(self) -> str:
        """Return the body of the rule."""
        if not self.texts or not all(self.texts):
            raise ValueError(f"Choice({self.texts!r}) needs texts, none of them empty")
        return " | ".join(Regex(re.escape(text)).grammar() for text in self.texts)


@dataclass(eq=False)
class _State:
    """Where a text is in its grammar.

    Attributes:
        matcher: llguidance's; it can go back.
        read: The tokens it has been given.
        taken: How many of them the grammar knows.
    """

    matcher: Any
    read: list[int] = field(default_factory=list[int])
    taken: int = 0

    def allowed(self, new: Sequence[int]) -> bytes | None:
        """Return a bit for each token that may follow `new`, or None after what has ended."""
        equal = (one == other for one, other in zip(self.read, new, strict=False))
        same = sum(takewhile(bool, equal))
        if self.taken > same:
            self.matcher.rollback(self.taken - same)
            self.taken = same
        if self.taken == same:
            self.taken += self.matcher.try_consume_tokens([*new[same:]])
        self.read = [*new]
        if self.taken < len(new):
            return None
        return self.matcher.compute_bitmask()


@dataclass(frozen=True, eq=False)
class Follows:
    """Forbids tokens with which a text cannot become what it has to be.

    Attributes:
        grammars: One for each prompt, or one for all.
        tokenizer: llguidance's view of the vocabulary.
        ends: The end tokens.
        copies: Rows of each prompt.
        forced: Whether the token after a prompt of one is given, so that the text starts after it.
    """

    grammars: tuple[str, ...]
    tokenizer: Any
    ends: tuple[int, ...]
    copies: int = 1
    forced: bool = False
    _states: dict[int, _State] = field(default_factory=dict[int, _State])

    def __call__(self, scores: Tensor, texts: Texts) -> Tensor:
        """Return new scores."""
        allowed = torch.stack([self._allowed(row, scores.shape[1]) for row in texts.rows])
        return scores.masked_fill(~allowed.to(scores.device), FORBIDDEN)

    def _allowed(self, row: Row, vocabulary: int) -> Tensor:
        """Return which tokens may follow, (vocabulary,)."""
        skipped = 1 if self.forced and row.prompt == 1 else 0
        if len(row.new) < skipped:
            return torch.ones(vocabulary, dtype=torch.bool)
        state = self._state(row)
        mask = state.allowed(row.new[skipped:])
        if state.matcher.is_error():
            raise ValueError(
                f"row {row.number}: the vocabulary cannot write what the constraint asks for "
                f"({state.matcher.stop_reason()})"
            )
        if mask is None:
            only = torch.zeros(vocabulary, dtype=torch.bool)
            only[[*self.ends]] = True
            return only
        packed = torch.frombuffer(bytearray(mask), dtype=torch.uint8)
        bits = packed[:, None] >> torch.arange(8, dtype=torch.uint8) & 1
        return bits.flatten()[:vocabulary].bool()

    def _state(self, row: Row) -> _State:
        if row.number not in self._states:
            from llguidance import LLMatcher

            each = self.grammars
            grammar = each[0] if len(each) == 1 else each[row.number // self.copies]
            self._states[row.number] = _State(LLMatcher(self.tokenizer, grammar))
        return self._states[row.number]


def follow(
    given: Constraint | Sequence[Constraint],
    tokenizer: object,
    vocabulary: int,
    ends: Sequence[int],
    **how: Any,
) -> Follows:
    """Return the rule for constraints: one, or one for each prompt; `how` as for `Follows`.

    Raises:
        ImportError: llguidance is missing.
        TypeError: `tokenizer` is none of ours.
        ValueError: A constraint says nothing that can be followed, or no token ends a text.
    """
    constraints = [*given] if isinstance(given, Sequence) else [given]
    if not isinstance(tokenizer, Vocabulary):
        found = type(tokenizer).__name__
        raise TypeError(f"a constraint needs tokenizer=, one of regard's; found {found}")
    if not ends:
        raise ValueError("a constraint needs an end token: pass eos_token_id")
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        raise ImportError(
            "constraints need llguidance: pip install 'regard[constrained]'"
        ) from error
    byte_level = _is_byte_level(tokenizer)
    view = _view(tokenizer, len(tokenizer), vocabulary, tuple(ends))
    # SentencePiece begins a text with a space, which decoding takes away.
    start = "start: body" if byte_level else 'start: " "? body'
    grammars: list[str] = []
    for constraint in constraints:
        grammar = LLMatcher.grammar_from_lark(f"{start}\nbody: {constraint.grammar()}\n")
        matcher = LLMatcher(view, grammar)
        if matcher.is_error():
            raise ValueError(f"{constraint} cannot be followed: {matcher.get_error()}")
        grammars.append(grammar)
    return Follows(tuple(grammars), view, tuple(ends), **how)


@lru_cache(maxsize=8)
def _view(tokenizer: Vocabulary, size: int, vocabulary: int, ends: tuple[int, ...]) -> Any:
    """Return llguidance's view of a tokenizer that has `size` tokens."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(
        TokenizerWrapper(_Bytes(tokenizer, vocabulary, ends)),
        n_vocab=vocabulary,
        eos_token=[*ends],
    )


class _Bytes:
    """A vocabulary in bytes, as llguidance asks for it.

    Args:
        tokenizer: The tokenizer.
        vocabulary: How many tokens the model scores; some may mean nothing.
        ends: The end tokens.
    """

    def __init__(self, tokenizer: Vocabulary, vocabulary: int, ends: Sequence[int]) -> None:
        byte_level = _is_byte_level(tokenizer)
        letters = _byte_letters()
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special} | {*ends}
        self.tokens = [b""] * vocabulary
        for token, number in tokenizer.get_vocab().items():
            if number >= vocabulary:
                continue
            if number in added or number in special:
                self.tokens[number] = token.encode()
            elif byte_level:
                self.tokens[number] = bytes(letters[letter] for letter in token)
            elif byte := _BYTE.fullmatch(token):
                self.tokens[number] = bytes.fromhex(byte[1])
            else:
                self.tokens[number] = token.replace(_SPACE, " ").encode()
        self.special_token_ids = sorted(number for number in special if number < vocabulary)
        self.eos_token_id, self.bos_token_id = ends[0], tokenizer.bos_token_id

        ordinary = (n for n, token in enumerate(self.tokens) if token and n not in special)
        self._numbers = {self.tokens[number]: number for number in ordinary}
        self._longest = max(map(len, self._numbers), default=0)

    def __call__(self, text: bytes | str) -> list[int]:
        """Return tokens for a text that a grammar leaves no choice about: always the longest.

        They end where no token has the next byte.
        """
        left, found = text if isinstance(text, bytes) else text.encode(), list[int]()
        while left:
            sizes = range(min(self._longest, len(left)), 0, -1)
            size = next((size for size in sizes if left[:size] in self._numbers), 0)
            if not size:
                break
            found.append(self._numbers[left[:size]])
            left = left[size:]
        return found


def _is_byte_level(tokenizer: Vocabulary) -> bool:
    """Whether the letters of tokens are bytes, as GPT-2's are; else they are SentencePiece's.

    Raises:
        TypeError: They are neither.
    """
    decoder = repr(tokenizer.backend_tokenizer.decoder)
    if "WordPiece" in decoder:
        raise TypeError("a constraint needs a tokenizer of bytes or SentencePiece, not WordPiece")
    return "ByteLevel" in decoder


def _byte_letters() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    moved = {chr(256 + place): byte for place, byte in enumerate(hidden)}
    return {chr(byte): byte for byte in shown} | moved
