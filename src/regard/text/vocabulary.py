"""The half of a tokenizer that knows no text: tokens, their numbers, special tokens, decoding."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, cast, overload

import numpy as np
from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import BPE

from regard.errors import nearest
from regard.text.encoder import Encoder

SPECIAL_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)

#: What ``clean_up_tokenization_spaces`` joins again, in this order.
_JOINED = (".", "?", "!", ",")
_CONTRACTIONS = ("n't", "'m", "'s", "'ve", "'re")
#: The text of tokens that such a joining changes, as it is before.
JOINED_LATER = (
    *(f" {mark}" for mark in _JOINED),
    *(f" {ending}" for ending in _CONTRACTIONS),
    *(" " + ending.replace("'", " ' ").lstrip() for ending in _CONTRACTIONS),
)


class SpecialToken:
    """The attribute for a special token's text, such as ``pad_token``; None when it is not set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: "Vocabulary", kind: type) -> str | None: ...
    def __get__(self, owner: "Vocabulary | None", kind: type) -> Self | str | None:
        """Return the token."""
        return self if owner is None else owner.special_tokens_map.get(self.name)

    def __set__(self, owner: "Vocabulary", token: str | AddedToken | None) -> None:
        """Set the token, which must be in the vocabulary."""
        owner.set_special_token(self.name, token)


class SpecialTokenId:
    """The attribute for a special token's number, such as ``pad_token_id``."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: "Vocabulary", kind: type) -> int | None: ...
    def __get__(self, owner: "Vocabulary | None", kind: type) -> Self | int | None:
        """Return the number."""
        if owner is None:
            return self
        token = owner.special_tokens_map.get(self.name)
        return None if token is None else owner.backend_tokenizer.token_to_id(token)

    def __set__(self, owner: "Vocabulary", number: int | None) -> None:
        """Set the token by its number, which must be in the vocabulary."""
        token = None if number is None else owner.backend_tokenizer.id_to_token(number)
        if number is not None and token is None:
            raise ValueError(f"{self.name}_id={number}: the vocabulary has no such number")
        owner.set_special_token(self.name, token)


class Vocabulary:
    """Tokens and their numbers.

    Attributes:
        special_tokens_map: The named special tokens that are set, such as ``{"pad_token": ...}``.
        extra_special_tokens: Special tokens without a name.
        clean_up_tokenization_spaces: Whether `decode` joins punctuation to words by default.
    """

    bos_token = SpecialToken()
    eos_token = SpecialToken()
    unk_token = SpecialToken()
    sep_token = SpecialToken()
    pad_token = SpecialToken()
    cls_token = SpecialToken()
    mask_token = SpecialToken()
    bos_token_id = SpecialTokenId()
    eos_token_id = SpecialTokenId()
    unk_token_id = SpecialTokenId()
    sep_token_id = SpecialTokenId()
    pad_token_id = SpecialTokenId()
    cls_token_id = SpecialTokenId()
    mask_token_id = SpecialTokenId()

    def __init__(
        self, rust: RustTokenizer, named: Mapping[str, AddedToken], extra: Sequence[AddedToken] = ()
    ):
        self._encoder = Encoder(rust)
        known = {token.content for token in rust.get_added_tokens_decoder().values()}
        new = [token for token in (*named.values(), *extra) if token.content not in known]
        if new:
            self._add(new, special=True)
        self.special_tokens_map = {
            name: named[name].content for name in SPECIAL_TOKENS if name in named
        }
        self.extra_special_tokens = [token.content for token in extra]
        self.clean_up_tokenization_spaces = False

    @property
    def backend_tokenizer(self) -> RustTokenizer:
        """The Rust tokenizer. Its truncation and padding belong to the calls: leave them alone."""
        return self._encoder.rust

    @property
    def vocab_size(self) -> int:
        """The number of tokens, without those that were added."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def __bool__(self) -> bool:
        return True

    @property
    def vocab(self) -> dict[str, int]:
        """`get_vocab` under its other name."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Return every token and its number, added ones included."""
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    def get_added_vocab(self) -> dict[str, int]:
        """Return the added tokens and their numbers, special ones included."""
        added = self.backend_tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in sorted(added.items())}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, named ones first, each once."""
        named = [
            self.special_tokens_map[name]
            for name in SPECIAL_TOKENS
            if name in self.special_tokens_map
        ]
        return list(dict.fromkeys([*named, *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The numbers of `all_special_tokens`."""
        return cast("list[int]", self.convert_tokens_to_ids(self.all_special_tokens))

    def set_special_token(self, name: str, token: str | AddedToken | None) -> None:
        """Set the special token `name`, or unset it with None.

        Raises:
            ValueError: The token is not in the vocabulary.
        """
        if token is None:
            self.special_tokens_map.pop(name, None)
            return
        content = token.content if isinstance(token, AddedToken) else token
        if self.backend_tokenizer.token_to_id(content) is None:
            raise ValueError(
                f"{name}={content!r} is not in the vocabulary; add it with "
                f"add_special_tokens({{{name!r}: {content!r}}}) and resize the model's embeddings"
            )
        self.special_tokens_map[name] = content

    def add_tokens(
        self,
        new_tokens: str | AddedToken | Sequence[str | AddedToken],
        special_tokens: bool = False,
    ) -> int:
        """Add tokens that text is never split across; return how many were not known before."""
        single = isinstance(new_tokens, str | AddedToken)
        return self._add([new_tokens] if single else new_tokens, special=special_tokens)

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Any],
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Set special tokens, adding those that are not in the vocabulary.

        Args:
            special_tokens_dict: Tokens by name (``"pad_token"``, ...), and a list of nameless ones
                under ``"extra_special_tokens"`` or ``"additional_special_tokens"``.
            replace_extra_special_tokens: Whether these take the place of the nameless ones so far.

        Returns:
            How many were not known before.
        """
        added = 0
        for name, value in special_tokens_dict.items():
            if name in ("extra_special_tokens", "additional_special_tokens"):
                tokens = [special(token) for token in value]
                kept = [] if replace_extra_special_tokens else self.extra_special_tokens
                names = [*kept, *(token.content for token in tokens)]
                self.extra_special_tokens = list(dict.fromkeys(names))
                added += self._add(tokens, special=True)
            elif name in SPECIAL_TOKENS:
                token = special(value)
                added += self._add([token], special=True)
                self.set_special_token(name, token)
            else:
                known = (*SPECIAL_TOKENS, "extra_special_tokens")
                raise ValueError(f"no special token is called {name!r}{nearest(name, known)}")
        return added

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int | None]: ...
    def convert_tokens_to_ids(
        self, tokens: str | list[str] | tuple[str, ...]
    ) -> int | list[int | None] | None:
        """Return the number of a token, or of each; an unknown one gets ``unk_token_id``."""
        if isinstance(tokens, str):
            found = self.backend_tokenizer.token_to_id(tokens)
            return self.unk_token_id if found is None else found
        return [self.convert_tokens_to_ids(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str | None: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Iterable[int], skip_special_tokens: bool = False
    ) -> list[str | None]: ...
    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str | None] | None:
        """Return the token of a number, or of each; None for a number that no token has."""
        if isinstance(ids, int | np.integer):
            return self._token(int(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else set[int]()
        numbers = [int(number) for number in ids]
        return [self._token(number) for number in numbers if number not in skipped]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text that `tokens` stand for."""
        decoder = self.backend_tokenizer.decoder
        return decoder.decode(list(tokens)) if decoder is not None else " ".join(tokens)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> Any:
        """Return the text of some ids; of each row, when they are rows.

        Args:
            token_ids: A number, a sequence, an array or a tensor, of one or two dimensions.
            skip_special_tokens: Whether to leave out special tokens.
            clean_up_tokenization_spaces: Whether to join punctuation to the word before it; the
                default is the tokenizer's own.

        Raises:
            ValueError: A number is negative, such as the -100 of padded labels.
        """
        ids = _plain(token_ids)
        rows: list[Any] = [ids] if isinstance(ids, int) else [_plain(row) for row in ids]
        if not rows or not isinstance(rows[0], list | tuple):
            return self._decode(rows, skip_special_tokens, clean_up_tokenization_spaces)
        return [
            self._decode(list(row), skip_special_tokens, clean_up_tokenization_spaces)
            for row in rows
        ]

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Return the text of each row of ids, always as a list; see `decode`."""
        found = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces)
        return [found] if isinstance(found, str) else found

    def _add(self, tokens: Sequence[str | AddedToken], *, special: bool) -> int:
        return self._encoder.add(tokens, special=special)

    def _token(self, number: int) -> str | None:
        return self.backend_tokenizer.id_to_token(number)

    def _text(self, ids: list[int], skip: bool) -> str:
        return self._encoder.decode(ids, skip_special_tokens=skip)

    def _decode(self, ids: list[int], skip: bool, clean: bool | None) -> str:
        try:
            text = self._text(ids, skip)
        except OverflowError as error:
            position = next(i for i, number in enumerate(ids) if number < 0)
            raise ValueError(
                f"{ids[position]} at position {position} is not the number of a token; labels have "
                f"-100 where there is nothing to learn: replace it with pad_token_id first"
            ) from error
        clean = self.clean_up_tokenization_spaces if clean is None else clean
        # Byte-level tokenizers write spaces themselves, and joining would lose some of them.
        spaces = clean and not isinstance(self.backend_tokenizer.model, BPE)
        return join_punctuation(text) if spaces else text


def special(token: Any) -> AddedToken:
    """Return the special token for a string, an `AddedToken` or the dict that files hold.

    Raises:
        TypeError: It is none of these.
    """
    kind = type(token).__name__
    if isinstance(token, AddedToken):
        return token
    if isinstance(token, str):
        return AddedToken(token, special=True, normalized=False)
    fields = cast("dict[str, Any]", token)
    if isinstance(token, dict) and isinstance(fields.get("content"), str):
        flags = ("single_word", "lstrip", "rstrip", "normalized")
        kept = {name: bool(fields[name]) for name in flags if name in fields}
        return AddedToken(fields["content"], special=True, **kept)
    raise TypeError(f"a special token is a string or an AddedToken, not {kind}")


def _plain(ids: Any) -> Any:
    """Return an array or tensor as lists; anything else as it is."""
    return ids.tolist() if hasattr(ids, "tolist") else ids


def join_punctuation(text: str) -> str:
    """Return `text` without the spaces that tokenization left before punctuation and in ``n't``."""
    for mark in _JOINED:
        text = text.replace(f" {mark}", mark)
    text = text.replace(" ' ", "'")
    for ending in _CONTRACTIONS:
        text = text.replace(f" {ending}", ending)
    return text
