"""The Rust tokenizer, made safe for many threads and for child processes."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

from tokenizers import AddedToken, Encoding, PreTokenizedString
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.pre_tokenizers import PreTokenizer
from tokenizers.processors import PostProcessor

from regard.text.inputs import Texts, bad_text
from regard.text.options import Truncation


class Splits(Protocol):
    """A way to split texts that the Rust library lacks."""

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Split a text in place."""
        ...


class Encoder:
    """One Rust tokenizer that many threads may use at once, each with its own truncation.

    The truncation is a state of the Rust object, so a lock holds it still during a call. It costs
    little: the Rust code spreads one batch over all cores already. Padding is done elsewhere.
    """

    def __init__(self, rust: RustTokenizer):
        self.rust = rust
        self._lock = threading.Lock()
        self._truncation: Truncation | None = None
        self._splits: Splits | None = None
        # A tokenizer.json may carry both (MiniLM's cuts and pads to 128): a call that asks for
        # neither must get neither.
        rust.no_truncation()
        rust.no_padding()

    def __getstate__(self) -> tuple[str, Splits | None]:
        return self.to_json(), self._splits

    def __setstate__(self, state: tuple[str, Splits | None]) -> None:
        self.__init__(RustTokenizer.from_str(state[0]))
        if state[1] is not None:
            self.split_with(state[1])

    def split_with(self, splits: Splits) -> None:
        """Split texts by Python code, which no tokenizer.json can hold but a pickle can."""
        self._splits = splits
        self.rust.pre_tokenizer = PreTokenizer.custom(splits)

    def encode(
        self,
        texts: Texts,
        *,
        special: bool = True,
        truncation: Truncation | None = None,
        offsets: bool = True,
        frame: PostProcessor | None = None,
    ) -> list[Encoding]:
        """Return one encoding per text; what was cut off is in each one's ``overflowing``.

        Args:
            texts: The texts or pairs.
            special: Whether to add special tokens.
            truncation: How to cut, or None.
            offsets: False is about a fifth faster and leaves the offsets at zero.
            frame: What puts special tokens around the texts, or None for the tokenizer's own.

        Raises:
            ValueError: A text is not valid Unicode, or cannot be cut as asked.
        """
        with self._lock, self._framed(frame):
            self._set(truncation)
            run = self.rust.encode_batch if offsets else self.rust.encode_batch_fast
            try:
                return run(texts.items, is_pretokenized=texts.words, add_special_tokens=special)
            except BaseException as error:  # a panic of the Rust code is not an Exception
                clear = _explained(error, texts, truncation)
                if clear is None:
                    raise
                raise clear from error

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Return the text of `ids`."""
        return self.rust.decode(ids, skip_special_tokens=skip_special_tokens)

    def to_json(self) -> str:
        """Return the text of its tokenizer.json, which carries no truncation and no padding."""
        with self._lock:
            self._set(None)
            if self._splits is None:
                return self.rust.to_str(pretty=True)
            self.rust.pre_tokenizer = None  # pyright: ignore[reportAttributeAccessIssue]  # its stub forgets None
            try:
                return self.rust.to_str(pretty=True)
            finally:
                self.rust.pre_tokenizer = PreTokenizer.custom(self._splits)

    def add(self, tokens: Sequence[str | AddedToken], *, special: bool) -> int:
        """Add tokens; return how many are new to the vocabulary."""
        new = list(tokens)
        with self._lock:
            before = self.rust.get_vocab_size()
            (self.rust.add_special_tokens if special else self.rust.add_tokens)(new)
            # The library, and with it the reference, counts known tokens that it marks, too.
            return self.rust.get_vocab_size() - before

    @contextmanager
    def _framed(self, frame: PostProcessor | None) -> Generator[None]:
        own = self.rust.post_processor
        if frame is not None:
            self.rust.post_processor = frame
        try:
            yield
        finally:
            if frame is not None:
                self.rust.post_processor = own  # pyright: ignore[reportAttributeAccessIssue]  # it may be None

    def _set(self, truncation: Truncation | None) -> None:
        if truncation == self._truncation:
            return
        if truncation is None:
            self.rust.no_truncation()
        else:
            self.rust.enable_truncation(
                truncation.max_length,
                stride=truncation.stride,
                strategy=truncation.strategy,
                direction=truncation.side,
            )
        self._truncation = truncation


def cut_tokens(
    encoding: Encoding, truncation: Truncation, special: int, *, pair: bool
) -> int | None:
    """Return how many tokens were cut from a text, or None when only a recount can tell.

    Args:
        encoding: The first piece, with the others in its ``overflowing``.
        truncation: How it was cut.
        special: How many special tokens a piece has.
        pair: Whether the text has a pair.
    """
    pieces = encoding.overflowing
    if not pieces:
        return 0
    if not pair:
        return sum(len(piece) - special - truncation.stride for piece in pieces)
    if truncation.strategy == "longest_first":
        return None  # the pieces of both texts are combined, so they cannot be counted
    uncut = 1 if truncation.strategy == "only_first" else 0
    fixed = special + encoding.sequence_ids.count(uncut) + truncation.stride
    return sum(len(piece) - fixed for piece in pieces)


def _explained(
    error: BaseException, texts: Texts, truncation: Truncation | None
) -> ValueError | None:
    """Return what to raise for an error of the Rust code, or None: the error itself."""
    message = str(error)
    if isinstance(error, TypeError):
        return ValueError(bad_text(texts) or message)
    if truncation is None:
        return None
    how = f"truncation={truncation.strategy!r} with max_length={truncation.max_length}"
    if "Second sequence not provided" in message:
        return ValueError(f"{how} cuts the second text, but there is none: pass text_pair")
    if "too short" in message:
        which = {"only_first": "first", "only_second": "second"}.get(truncation.strategy, "")
        return ValueError(
            f"{how} is impossible: cutting the {which} text alone cannot make a pair short "
            f"enough; use truncation='longest_first' or a larger max_length"
        )
    if "stride" in message:
        return ValueError(
            f"{how} and stride={truncation.stride} is impossible: for one of the pairs, the part "
            f"that is cut keeps no more tokens than the stride; use a smaller stride"
        )
    return None


def call_defaults(rust: RustTokenizer) -> dict[str, Any]:
    """Return the call defaults that a tokenizer.json states in its truncation and padding."""
    found: dict[str, Any] = {}
    truncation = cast("dict[str, Any] | None", rust.truncation)
    padding = cast("dict[str, Any] | None", rust.padding)
    if truncation:
        found["truncation_side"] = truncation["direction"]
    if padding:
        found["padding_side"] = padding["direction"]
        found["pad_token"] = padding["pad_token"]
    return found
