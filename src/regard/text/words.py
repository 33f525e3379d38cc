"""The words of a text, as treebanks count them."""

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

_APOSTROPHE = "['\u2019]"
#: English clitics are words (Universal Dependencies: ``do n't``, ``she 'll``), and so is each Han
#: character, since no space says where such words end. Other letters with their marks and digits
#: are words together; every sign is one by itself, with what combines with it.
_WORD = "|".join(
    (
        rf"\p{{L}}[\p{{L}}\p{{M}}]*?(?=n{_APOSTROPHE}t\b)",
        rf"n{_APOSTROPHE}t\b",
        rf"{_APOSTROPHE}(?:s|m|d|re|ve|ll)\b",
        r"\p{Han}",
        r"[[\p{L}\p{M}\p{N}_]&&[^\p{Han}]]+",
        r"(?!\s)\X",
    )
)
_WORDS = Split(Regex(f"(?i){_WORD}"), "removed", invert=True)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return the characters ``[start, end)`` of each word and each sign of a text."""
    return [span for _, span in _WORDS.pre_tokenize_str(text)]
