"""Where sentences end, by a few rules that need no model."""

import re

#: What closes after such a mark, and what opens before a word: ASCII, then Pi, Pf and CJK corners.
_CLOSERS = "\"')\\]\u2019\u201d\u00bb\u300d\u300f\uff09"
_OPENERS = "\"'([\u2018\u201c\u00ab"
#: A mark that ends a sentence, and what closes with it; Chinese and Japanese ones need no space.
_END = re.compile(
    rf"(?:[.!?\u2026]+[{_CLOSERS}]*(?=\s)|[\u3002\uff01\uff1f]+[{_CLOSERS}]*|\n\s*\n|$)"
)
_TEXT = """
al approx art cf col dr ed eg e.g etc fig figs gen gov hon i.e ie inc jr ltd mr mrs ms no nos op p
pp prof rep rev sen sr st vol vs u.s u.k
"""
#: What a full stop does not end a sentence after: titles, and what else is usually followed by
#: a name or a number.
_SHORT = frozenset(_TEXT.split())


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, with white space made single spaces; see `sentence_spans`."""
    return [" ".join(text[start:end].split()) for start, end in sentence_spans(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the characters ``[start, end)`` of each sentence, without white space around it.

    A full stop ends none after an abbreviation, an initial or the number of a list's item, nor
    before a small letter; an empty line always does.
    """
    found: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if _goes_on(text, start, match):
            continue
        sentence = text[start : match.end()]
        if sentence.strip():
            first = start + len(sentence) - len(sentence.lstrip())
            found.append((first, start + len(sentence.rstrip())))
        start = match.end()
    return found


def _goes_on(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the mark that was found ends no sentence."""
    mark = match.group()
    if not mark.startswith((".", "\u2026")):
        return False
    after = text[match.end() :].lstrip()[:1]
    if mark != "." or after.islower():
        return after.islower()
    words = text[start : match.start()].split()
    last = words[-1].lstrip(_OPENERS).lower() if words else ""
    initial = len(last) == 1 and last.isalpha() and last != "i"
    return last in _SHORT or initial or (len(words) == 1 and last.isdecimal())
