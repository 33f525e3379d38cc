"""What a tokenizer returns: the model's inputs by name, and the way back to the text."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from tokenizers import Encoding

from regard.text.padding import Padding, as_tensor

if TYPE_CHECKING:
    import torch


class CharSpan(NamedTuple):
    """Characters ``[start, end)`` of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens ``[start, end)`` of a row."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """The inputs of a model by key and by attribute; an integer gives a row's Rust `Encoding`.

    Unpacks as ``model(**encoding)``. Methods that take ``(row, index)`` take ``(index)`` alone too,
    which then means row 0.

    Attributes:
        truncated: For each row, how many tokens of its text are not in it. Zeros when none were
            cut. With ``return_overflowing_tokens`` the cut tokens stand in the rows that follow.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encodings: list[Encoding] | None = None,
        *,
        truncated: list[int] | None = None,
        padding: tuple[Padding, int] | None = None,
    ):
        super().__init__(data or {})
        self._encodings = encodings
        # The rows are padded in numpy; the Rust encodings follow only when somebody looks at them.
        self._pending = padding
        self.truncated = truncated if truncated is not None else [0] * len(encodings or [])

    def __getitem__(self, key: str | int | slice) -> Any:
        """Return the column `key`, or for an integer or slice the row's encoding or encodings."""
        return super().__getitem__(key) if isinstance(key, str) else self._rows()[key]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getitem__(name)
        except KeyError:
            raise AttributeError(
                f"this encoding has no {name!r}; it has {', '.join(self)}"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (dict(self), self._encodings, self.truncated, self._pending)

    @classmethod
    def _restore(cls, data: dict[str, Any], encodings: Any, truncated: Any, pending: Any) -> Self:
        return cls(data, encodings, truncated=truncated, padding=pending)

    @property
    def is_fast(self) -> bool:
        """Always True: every tokenizer here runs in Rust."""
        return True

    @property
    def data(self) -> dict[str, Any]:
        """The columns as a plain dict."""
        return dict(self)

    @property
    def encodings(self) -> list[Encoding] | None:
        """The Rust encodings, one per row, padded like the rows; None for a batch made by `pad`."""
        if self._encodings is not None and self._pending is not None:
            padding, width = self._pending
            for encoding in self._encodings:
                padding.apply(encoding, width)
            self._pending = None
        return self._encodings

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None when unknown."""
        return self._encodings[0].n_sequences if self._encodings else None

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row."""
        return self._rows()[batch_index].tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return for each token the number of its word, None for special tokens."""
        return self._rows()[batch_index].word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return for each token 0 (text), 1 (pair) or None (special tokens)."""
        return self._rows()[batch_index].sequence_ids

    def token_to_sequence(self, row_or_token: int, token: int | None = None) -> int | None:
        """Return 0 or 1 for the text or the pair that the token is from, None for special ones."""
        encoding, index = self._token(row_or_token, token)
        return encoding.token_to_sequence(index)

    def token_to_word(self, row_or_token: int, token: int | None = None) -> int | None:
        """Return the number of the word that the token belongs to."""
        encoding, index = self._token(row_or_token, token)
        return encoding.token_to_word(index)

    def token_to_chars(self, row_or_token: int, token: int | None = None) -> CharSpan | None:
        """Return the characters of the token in its text, None for special tokens."""
        encoding, index = self._token(row_or_token, token)
        found = encoding.token_to_chars(index)
        return None if found is None else CharSpan(*found)

    def char_to_token(
        self, row_or_char: int, char: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the token that holds the character, None where no token does (a space)."""
        encoding, index = self._at(row_or_char, char)
        return encoding.char_to_token(index, sequence_index)

    def char_to_word(
        self, row_or_char: int, char: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the number of the word that holds the character."""
        encoding, index = self._at(row_or_char, char)
        return encoding.char_to_word(index, sequence_index)

    def word_to_tokens(
        self, row_or_word: int, word: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of the word, None when it has none."""
        encoding, index = self._at(row_or_word, word)
        found = encoding.word_to_tokens(index, sequence_index)
        return None if found is None else TokenSpan(*found)

    def word_to_chars(
        self, row_or_word: int, word: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of the word in its text, None when it has no token."""
        encoding, index = self._at(row_or_word, word)
        found = encoding.word_to_chars(index, sequence_index)
        return None if found is None else CharSpan(*found)

    def convert_to_tensors(self, tensor_type: str | None = None) -> Self:
        """Turn every column into a ``"pt"`` or ``"np"`` tensor in place.

        Raises:
            ValueError: Rows of different lengths; the message names the column and the fix.
        """
        if tensor_type is not None:
            self.update({name: as_tensor(name, rows, tensor_type) for name, rows in self.items()})
        return self

    def to(self, device: "str | torch.device | int", *, non_blocking: bool = False) -> Self:
        """Move every tensor to `device` in place; anything else stays."""
        for name, value in self.items():
            move: Callable[..., Any] | None = getattr(value, "to", None)
            if move is not None and not isinstance(value, np.ndarray):
                self[name] = move(device=device, non_blocking=non_blocking)
        return self

    def _rows(self) -> list[Encoding]:
        rows = self.encodings
        if rows is None:
            raise ValueError(
                "this batch was made from ids, so it knows no text; call the tokenizer"
            )
        return rows

    def _at(self, row_or_index: int, index: int | None) -> tuple[Encoding, int]:
        row = 0 if index is None else row_or_index
        return self._rows()[row], row_or_index if index is None else index

    def _token(self, row_or_token: int, token: int | None) -> tuple[Encoding, int]:
        encoding, index = self._at(row_or_token, token)
        return encoding, index + len(encoding) if index < 0 else index
