"""Long texts cut into windows at the ends of sentences."""

from collections.abc import Callable, Iterator

from regard.text.sentences import split_sentences

Measure = Callable[[str], int]


def windows(text: str, limit: int, measure: Measure) -> list[str]:
    """Cut a text into parts of at most `limit` tokens.

    A sentence that is longer is cut between words, and a word that is longer within.

    Args:
        text: The text.
        limit: Tokens of a part at most.
        measure: Returns how many tokens a text has.
    """
    found: list[str] = []
    sizes: list[int] = []
    for sentence in split_sentences(text):
        for part in _small(sentence, limit, measure):
            size = measure(part) + 1  # the space between two parts may be a token
            if sizes and sizes[-1] + size <= limit:
                found[-1] = f"{found[-1]} {part}"
                sizes[-1] += size
            else:
                found.append(part)
                sizes.append(size)
    return found


def _small(text: str, limit: int, measure: Measure) -> Iterator[str]:
    """Yield a text in halves, of halves, until each has at most `limit` tokens."""
    if measure(text) <= limit or len(text) < 2:
        yield text
        return
    middle = len(text) // 2
    space = text.rfind(" ", 1, middle + 1)
    cut = space if space > 0 else middle
    yield from _small(text[:cut].rstrip(), limit, measure)
    yield from _small(text[cut:].lstrip(), limit, measure)
