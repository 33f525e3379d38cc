"""From tokens that come one by one to pieces of text that are sure.

What later tokens could still change is held back: half a character, a run of byte tokens, what may
be the beginning of a string that ends the text.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

from regard.text.vocabulary import JOINED_LATER

#: How a tokenizer that falls back to bytes writes them. One byte that fits no character takes the
#: whole run with it, so a run counts when it has ended.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
#: What stands for bytes that are no character, or none yet.
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Reads(Protocol):
    """What is needed of a tokenizer."""

    def decode(self, token_ids: Any, skip_special_tokens: bool = ..., /) -> str:
        """Return the text of token ids."""
        ...


class TextPieces:
    """Turns tokens into pieces of text: joined they are the text of all tokens.

    No piece ends within a character. Few tokens are decoded again for each that comes, so the time
    that a token takes does not depend on the text before it.

    Args:
        tokenizer: Decodes the tokens.
        skip_special_tokens: Whether special tokens leave no text.
    """

    def __init__(self, tokenizer: Reads, *, skip_special_tokens: bool = True) -> None:
        self.tokenizer = tokenizer
        self.skip = skip_special_tokens
        joins = getattr(tokenizer, "clean_up_tokenization_spaces", False)
        self.later: tuple[str, ...] = JOINED_LATER if joins else ()
        # The tokens that are decoded again: some whose text is known, `sure` of them, so that
        # those after them are read as in the whole; and of all their text what was `given`.
        self.tokens: list[int] = []
        self.sure, self.given = 0, 0

    def push(self, tokens: Sequence[int]) -> str:
        """Return the text that is sure with these tokens, which come next; it may be empty."""
        self.tokens += tokens
        whole = self._before_bytes()
        text = self._text(self.tokens[:whole])
        held = len(text) - len(text.rstrip(_UNFINISHED)) or beginning(text, self.later)
        piece = text[self.given : len(text) - held]
        if held or not piece or whole < len(self.tokens):
            self.given += len(piece)
        else:
            self._move_on()
        return piece

    def rest(self) -> str:
        """Return what was held back, when no more tokens come."""
        piece = self._text(self.tokens)[self.given :]
        self.tokens, self.sure, self.given = [], 0, 0
        return piece

    def _move_on(self) -> None:
        """Leave behind the tokens before the last that are needed to read on."""
        kept = self.tokens[self.sure :]
        if self._text(kept).strip():
            self.tokens = kept
        self.sure = len(self.tokens)
        self.given = len(self._text(self.tokens))

    def _before_bytes(self) -> int:
        """Return how many tokens there are before the byte tokens at the end."""
        names, first = getattr(self.tokenizer, "convert_ids_to_tokens", None), len(self.tokens)
        if names is None:
            return first
        for place in range(first - 1, -1, -1):
            token = self.tokens[place]
            if _BYTE.fullmatch(names(token) or ""):
                first = place
            elif self._text([token]):  # one without text, such as a special one, parts no bytes
                break
        return first

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens, self.skip)


class UntilStop:
    """Lets text through up to the first of some strings, which is no part of it.

    Args:
        strings: The strings; none lets everything through.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self.strings = tuple(strings)
        self.held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Return what is sure not to belong to a stop string; nothing after one."""
        if self.stopped:
            return ""
        text = self.held + piece
        found = [place for each in self.strings if (place := text.find(each)) >= 0]
        if found:
            self.stopped, self.held = True, ""
            return text[: min(found)]
        end = len(text) - beginning(text, self.strings)
        self.held = text[end:]
        return text[:end]

    def rest(self) -> str:
        """Return what was held back, when no more text comes."""
        rest, self.held = self.held, ""
        return rest


def beginning(text: str, strings: Sequence[str]) -> int:
    """Return how many of the last characters may be the beginning of one of `strings`."""
    longest = max(map(len, strings), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(each.startswith(text[-length:]) and len(each) > length for each in strings):
            return length
    return 0
