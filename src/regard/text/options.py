"""What a call of the tokenizer may ask for, checked and turned into a truncation and a padding."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from regard.errors import nearest
from regard.text.padding import check_tensor_type

#: Above this, ``model_max_length`` means that no limit is known: the field writes 1e30 for it.
UNLIMITED = 1e20

SIDES = ("right", "left")

_PADDINGS: dict[Any, str | None] = {
    False: None,
    None: None,
    "do_not_pad": None,
    True: "longest",
    "longest": "longest",
    "max_length": "max_length",
}
_TRUNCATIONS: dict[Any, str | None] = {
    False: None,
    None: None,
    "do_not_truncate": None,
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
}


@dataclass(frozen=True)
class CallOptions:
    """The keyword arguments of a tokenizer's call.

    Attributes:
        add_special_tokens: Add the tokens that the model expects around texts.
        padding: ``"longest"`` (or True) row of the batch, ``"max_length"``, or False.
        truncation: ``"longest_first"`` (or True), ``"only_first"``, ``"only_second"``, or False.
            None means True where `max_length` stands without `padding`, else False.
        max_length: In tokens, special ones included; the default is ``model_max_length``.
        stride: How many tokens two pieces of a cut text share.
        is_split_into_words: The texts are lists of words.
        pad_to_multiple_of: Round the padded length up to a multiple of this.
        padding_side: ``"right"``, ``"left"``, or None for the tokenizer's own.
        return_tensors: ``"pt"``, ``"np"``, or None for lists.
        return_token_type_ids: The segments; None where the model takes them.
        return_attention_mask: 0 for padding; None where the model takes it.
        return_overflowing_tokens: What is cut off follows as rows of its own, and
            ``overflow_to_sample_mapping`` says whose they are.
        return_special_tokens_mask: 1 for special tokens and padding.
        return_offsets_mapping: ``(start, end)`` in the text, in characters, for each token.
        return_length: The number of tokens of each row, padding included.
    """

    add_special_tokens: bool = True
    padding: bool | str | None = False
    truncation: bool | str | None = None
    max_length: int | None = None
    stride: int = 0
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    return_tensors: str | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False

    def __post_init__(self):
        check_tensor_type(self.return_tensors)
        check_side("padding_side", self.padding_side or "right")
        for name, lowest in (("max_length", 0), ("stride", 0), ("pad_to_multiple_of", 1)):
            value = getattr(self, name)
            if value is not None and (value < lowest or value != int(value)):
                raise ValueError(f"{name}={value!r}; wanted a whole number of at least {lowest}")
        _choice("padding", self.padding, _PADDINGS)
        _choice("truncation", self.truncation, _TRUNCATIONS)

    @property
    def padding_strategy(self) -> str | None:
        """``"longest"``, ``"max_length"`` or None."""
        return _choice("padding", self.padding, _PADDINGS)

    @property
    def truncation_strategy(self) -> str | None:
        """``"longest_first"``, ``"only_first"``, ``"only_second"`` or None."""
        # As in the field, a max_length alone asks for truncation.
        alone = self.max_length is not None and not self.padding and self.truncation is None
        return _choice("truncation", True if alone else self.truncation, _TRUNCATIONS)


@dataclass(frozen=True)
class Truncation:
    """How texts are cut: `max_length` counts the special tokens; `stride` tokens overlap."""

    max_length: int
    strategy: str = "longest_first"
    stride: int = 0
    side: str = "right"


OPTION_NAMES = tuple(field.name for field in fields(CallOptions))


def check_side(name: str, side: str) -> str:
    """Return `side` if it is ``"right"`` or ``"left"``, else raise `ValueError`."""
    if side not in SIDES:
        raise ValueError(f"{name}={side!r}; wanted 'right' or 'left'")
    return side


def check_names(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `TypeError` for the first of `given` that is not in `known`, naming the nearest one."""
    known = tuple(known)
    for name in given:
        if name not in known:
            raise TypeError(f"{function} has no argument {name!r}{nearest(name, known)}")


def _choice(name: str, value: Any, choices: dict[Any, str | None]) -> str | None:
    if value in choices:
        return choices[value]
    words = ", ".join(repr(choice) for choice in choices if choice is not None)
    close = nearest(value, [c for c in choices if isinstance(c, str)]) if value else ""
    raise ValueError(f"{name}={value!r}; wanted one of {words}{close}")
