"""Sentences that are split into words: their tokens, and what a model says of each word."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from regard.config import Config
from regard.data.examples import Examples
from regard.data.labels import IGNORED
from regard.data.mapping import OWNERS
from regard.errors import DataError
from regard.training.metrics.metric import as_array
from regard.training.tasks.task import Prepared


def numbered(examples: Examples) -> Examples:
    """Return the examples with their numbers, for rows to know what they are of."""
    return examples.with_column("example", [*range(len(examples))])


def word_rows(
    sentences: Sequence[Any], processor: Any, length: int, seconds: Sequence[Any] | None = None
) -> dict[str, Any]:
    """Tokenize sentences of words; one that is too long becomes several rows.

    Args:
        sentences: The words of each.
        processor: The tokenizer.
        length: Tokens of a row at most.
        seconds: Words that follow each sentence, as its pair.

    Returns:
        What the tokenizer returns, and ``words``: for each token the number of its word, None for
        what is not of the sentence.
    """
    encoding = processor(
        [[*map(str, words)] for words in sentences],
        seconds,
        is_split_into_words=True,
        truncation=True if seconds is None else "only_first",
        max_length=length,
        return_overflowing_tokens=True,
    )
    words = [
        [
            word if sequence == 0 else None
            for word, sequence in zip(
                encoding.word_ids(row), encoding.sequence_ids(row), strict=True
            )
        ]
        for row in range(len(encoding["input_ids"]))
    ]
    return {**encoding, "words": words}


def spread(rows: Mapping[str, Any], batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return rows of words with ``example`` and, where the batch has labels, ``labels``.

    The first token of a word has the word's label; the others have -100, and so has the rest of a
    word that was cut in two.

    Args:
        rows: From `word_rows`.
        batch: What they were made of: ``example``, and perhaps ``labels`` of each word.
    """
    begun: dict[int, int] = {}
    firsts: list[list[int | None]] = []
    for owner, words in zip(rows[OWNERS], rows["words"], strict=True):
        here: list[int | None] = []
        for word in words:
            begins = word is not None and word > begun.get(owner, -1)
            here.append(word if begins else None)
            if word is not None:
                begun[owner] = word
        firsts.append(here)
    made = {**rows, "words": firsts, "example": [batch["example"][o] for o in rows[OWNERS]]}
    if "labels" in batch:
        made["labels"] = [
            [IGNORED if word is None else batch["labels"][owner][word] for word in here]
            for owner, here in zip(rows[OWNERS], firsts, strict=True)
        ]
    return made


def check_words(examples: Examples, label: str) -> None:
    """Raise for a sentence without words, or without a label for each."""
    labelled = label in examples.column_names
    for index, words in enumerate(examples.column("tokens")):
        place = examples.where(index)
        count = _length(words)
        if not count:
            raise DataError(f"{place}: 'tokens' is {words!r}; wanted a list of words")
        labels = _length(examples.column(label)[index]) if labelled else count
        if labels != count:
            raise DataError(
                f"{place}: {count} words and {labels} labels in {label!r}; wanted one for each"
            )


def _length(values: Any) -> int:
    """Return how many values a list has, and 0 for what is no list."""
    return len(cast("list[Any]", values)) if isinstance(values, list | tuple) else 0


def word_labels(predictions: Any, data: Prepared, config: Config, unseen: str) -> list[list[str]]:
    """Return the predicted label of each word of each example.

    Args:
        predictions: (rows, tokens, labels) logits.
        data: What was predicted, made by `spread`.
        config: Names the labels.
        unseen: The label of words that the tokenizer makes nothing of.
    """
    names = config.id2label or {}
    chosen = as_array(predictions).argmax(-1).tolist()
    found = [[unseen] * len(words) for words in data.examples.column("tokens")]
    rows = zip(data.dataset.column("example"), data.dataset.column("words"), chosen, strict=True)
    for example, words, labels in rows:
        for word, label in zip(words, labels, strict=False):  # these are padded
            if word is not None:
                found[example][word] = names[label]
    return found
