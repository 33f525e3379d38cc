"""The forms in which texts are given, brought to the one form that the Rust library takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

#: A text, the words of a text, or a tuple of two of these.
RustInput = str | list[str] | tuple[Any, Any]


@dataclass(frozen=True)
class Texts:
    """The texts of one call.

    Attributes:
        items: One entry per text: ``text`` or ``(text, pair)``, each a string or a list of words.
        batched: False when the caller gave a single text.
        words: Whether the texts are split into words already.
    """

    items: list[RustInput]
    batched: bool
    words: bool

    def is_pair(self, row: int) -> bool:
        """Whether the text `row` has a pair."""
        return isinstance(self.items[row], tuple)


def read_texts(
    text: Any, text_pair: Any = None, *, words: bool = False, name: str = "text"
) -> Texts:
    """Return the texts of a call.

    Args:
        text: ``str``; ``[str, ...]``; ``[(str, str), ...]``. With `words`, a list of words stands
            in place of each string.
        text_pair: The second texts, in the same form as `text`, or None.
        words: Whether the texts are split into words already.
        name: What errors call `text`.

    Raises:
        TypeError: Something is not a string; the message says which and what it is.
        ValueError: `text` and `text_pair` have different lengths.
    """
    if not _is_batch(text, words):
        first = _one(text, name, words)
        # An empty pair is a pair, as it is in a batch.
        pair = None if text_pair is None else _one(text_pair, "text_pair", words)
        return Texts([first if pair is None else (first, pair)], False, words)
    if text_pair is None:
        return Texts(_batch(text, name, words), True, words)
    if not isinstance(text_pair, list | tuple):
        raise TypeError(f"text is a batch, so text_pair must be one too, not {_kind(text_pair)}")
    pairs = cast("Sequence[Any]", text_pair)
    if len(text) != len(pairs):
        raise ValueError(f"text has {len(text)} entries and text_pair has {len(pairs)}")
    both = zip(_many(text, name, words), _many(pairs, "text_pair", words), strict=True)
    return Texts(list(both), True, words)


def bad_text(texts: Texts) -> str | None:
    """Return what makes a string unfit for UTF-8 and where it is, or None."""
    for row, item in enumerate(texts.items):
        for part in item if isinstance(item, tuple) else (item,):
            string = part if isinstance(part, str) else " ".join(part)
            try:
                string.encode("utf-8")
            except UnicodeEncodeError as error:
                return (
                    f"text {row} has half of a surrogate pair ({string[error.start]!r} at "
                    f"character {error.start}), which is no text; clean it with "
                    "text.encode('utf-8', 'replace').decode()"
                )
    return None


def _is_batch(text: Any, words: bool) -> bool:
    if not isinstance(text, list | tuple):
        return False
    items = cast("Sequence[Any]", text)
    return not words or (bool(items) and isinstance(items[0], list | tuple))


def _batch(text: Sequence[Any], name: str, words: bool) -> list[RustInput]:
    """Read a batch without `text_pair`, in which an entry may itself be a pair."""
    if not words and set(map(type, text)) <= {str}:  # by far the most common, so the fastest
        return list(text)
    return [_entry(item, f"{name} {row} of {len(text)}", words) for row, item in enumerate(text)]


def _entry(item: Any, where: str, words: bool) -> RustInput:
    if not isinstance(item, list | tuple):
        return _one(item, where, words)
    parts = cast("Sequence[Any]", item)
    if words and not (parts and isinstance(parts[0], list | tuple)):
        return _one(parts, where, words)
    if len(parts) != 2:
        raise ValueError(
            f"{where} has {len(parts)} entries, and a pair has 2; for texts that are split into "
            f"words pass is_split_into_words=True"
        )
    return _one(parts[0], f"{where}, first", words), _one(parts[1], f"{where}, second", words)


def _many(items: Sequence[Any], name: str, words: bool) -> list[Any]:
    return [_one(item, f"{name} {row} of {len(items)}", words) for row, item in enumerate(items)]


def _one(item: Any, where: str, words: bool) -> Any:
    if not words:
        return item if isinstance(item, str) else _refuse(item, where, "a string")
    if not isinstance(item, list | tuple):
        return _refuse(item, where, "a list of words (is_split_into_words=True)")
    parts = cast("Sequence[Any]", item)
    for index, word in enumerate(parts):
        if not isinstance(word, str):
            _refuse(word, f"{where}, word {index}", "a string")
    return list(parts)


def _refuse(item: Any, where: str, wanted: str) -> NoReturn:
    shown = repr(item) if item is None or isinstance(item, int | float) else ""
    fix = "" if item is None or isinstance(item, int | float) else "; pass a list of strings"
    raise TypeError(f"{where} is {_kind(item)} {shown}".rstrip() + f"; wanted {wanted}{fix}")


def _kind(item: Any) -> str:
    return type(item).__name__
