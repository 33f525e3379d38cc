"""Labels as numbers: of whole texts, and of words brought to the tokens of a tokenizer."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from regard.data.examples import Examples
from regard.errors import DataError, listing, nearest
from regard.text.encoding import BatchEncoding
from regard.text.tokenizer import Tokenizer

#: What stands where there is nothing to learn; the losses of all heads pass over it.
IGNORED = -100
#: The label of a word that is part of nothing.
OUTSIDE = "O"
#: What stands before the kind of a span, in the schemes of the field: IOB2, IOBES and BILOU.
PREFIXES = ("B", "I", "E", "S", "L", "U")


def encode_labels(
    examples: Examples, column: str, label2id: Mapping[str, int], into: str = "labels"
) -> Examples:
    """Return the examples with the labels of a column as numbers, in the column `into`.

    Labels may be names, or numbers of classes whose names the examples know, or else numbers that
    `label2id` gives out itself. A list of labels (one per word, or several per text) becomes a list
    of numbers.

    Args:
        examples: The examples.
        column: Where the labels are.
        label2id: The number of each label, as the model's configuration has it.
        into: The column for the numbers; the old one stays if it has another name.

    Raises:
        DataError: A label is not in `label2id`, such as one that training did not have; the message
            names file and line.
    """
    names = examples.class_names.get(column)
    numbers = set(label2id.values())
    known: dict[Any, int] = dict(label2id)
    if names is None:
        known.update({number: number for number in numbers})
    else:
        known.update({i: label2id[name] for i, name in enumerate(names) if name in label2id})
    encoded: list[Any] = []
    for index, value in enumerate(examples.column(column)):
        several = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
        found = [known.get(label) for label in several]
        if None in found:
            shown = _named(several[found.index(None)], names)
            raise DataError(
                f"{examples.where(index)}: the label {shown!r} is not one of {listing(label2id)}"
                f"{nearest(shown, label2id)}"
            )
        encoded.append(found if isinstance(value, list | tuple) else found[0])
    return examples.with_column(into, encoded)


def renamed_labels(
    examples: Examples, column: str, names: Mapping[str, str], *, all_there: bool = False
) -> Examples:
    """Return the examples with labels of a column under other names.

    Of labels such as ``B-person`` the kind is renamed and the prefix stays; a kind that becomes
    ``O`` is none.

    Args:
        examples: The examples.
        column: Where the labels are: one, or a list of them.
        names: Label, or kind, to its new name; what is not there keeps its own.
        all_there: Whether each of `names` must occur.

    Raises:
        DataError: One does not, and the nearest that does is named.
    """
    known = {label: _kind(label) for label in examples.labels(column)}
    lost = [name for name in names if name not in {*known, *known.values()}]
    if lost and all_there:
        raise DataError(
            f"labels: no example has {lost[0]!r}{nearest(lost[0], {*known, *known.values()})}; "
            f"there are {listing(known)}"
        )
    new = {label: _renamed(label, kind, names) for label, kind in known.items()}

    def renamed(label: Any) -> str:
        return new[_named(label, examples.class_names.get(column))]

    changed = [
        [*map(renamed, cast("list[Any]", each))]
        if isinstance(each, list | tuple)
        else renamed(each)
        for each in examples.column(column)
    ]
    return examples.with_column(column, changed)


def _kind(label: str) -> str:
    """Return ``person`` for ``B-person``, and a label without a prefix as it is."""
    prefix, _, kind = label.partition("-")
    return kind if prefix in PREFIXES and kind else label


def _renamed(label: str, kind: str, names: Mapping[str, str]) -> str:
    found = names.get(label, names.get(kind, kind))
    if label in names or kind == label or found == OUTSIDE:
        return found
    return f"{label.partition('-')[0]}-{found}"


def _named(label: Any, names: Sequence[str] | None) -> str:
    """Return a label as people know it."""
    if names is not None and isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    return str(label)


def align_labels_to_tokens(
    labels: Sequence[int],
    word_ids: Sequence[int | None],
    label_all_tokens: bool = False,
    later: Mapping[int, int] | None = None,
) -> list[int]:
    """Return the label of each token, given the label of each word.

    The first token of a word gets the word's label. The tokens after it get -100, so that every
    word counts once, unless `label_all_tokens`. Special tokens get -100.

    Args:
        labels: The label of each word.
        word_ids: For each token the number of its word, None for special tokens: what
            ``encoding.word_ids(row)`` returns.
        label_all_tokens: Whether the tokens after the first have labels too.
        later: The label for these, where it is not the word's own: ``I-PER`` for ``B-PER``, as
            `inside_labels` makes it.

    Raises:
        DataError: There are more words than labels.
    """
    used = max((word for word in word_ids if word is not None), default=-1)
    if used >= len(labels):
        raise DataError(
            f"word {used} has no label: there are {len(labels)} labels; wanted one per word, and a "
            f"tokenizer that was called with is_split_into_words=True"
        )
    rest = later or {}
    aligned: list[int] = []
    before: int | None = None
    for word in word_ids:
        if word is None:
            aligned.append(IGNORED)
        elif word != before:
            aligned.append(labels[word])
        else:
            aligned.append(rest.get(labels[word], labels[word]) if label_all_tokens else IGNORED)
        before = word
    return aligned


def inside_labels(label2id: Mapping[str, int]) -> dict[int, int]:
    """Return the label for the later tokens of a word: ``B-X`` to ``I-X``, where there is both."""
    return {
        number: label2id[f"I-{name[2:]}"]
        for name, number in label2id.items()
        if name.startswith("B-") and f"I-{name[2:]}" in label2id
    }


def tokenize_and_align_labels(
    batch: Mapping[str, Sequence[Any]],
    tokenizer: Tokenizer,
    *,
    tokens: str = "tokens",
    labels: str = "labels",
    label_all_tokens: bool = False,
    later: Mapping[int, int] | None = None,
    **options: Any,
) -> BatchEncoding:
    """Tokenize sentences of words, with a label for each token: for ``examples.map(batched=True)``.

    Args:
        batch: Columns.
        tokenizer: The tokenizer.
        tokens: The column with the words of each sentence.
        labels: The column with the number of each word's label; see `encode_labels`.
        label_all_tokens: See `align_labels_to_tokens`.
        later: See `align_labels_to_tokens`.
        options: Further arguments of the tokenizer, such as ``truncation=True``. With
            ``return_overflowing_tokens=True`` long sentences become several rows.

    Returns:
        What the tokenizer returns, and ``labels``.
    """
    words = [list(sentence) for sentence in batch[tokens]]
    encoding = tokenizer(words, is_split_into_words=True, **options)
    count = len(encoding["input_ids"])
    owners: Sequence[int] = encoding.get("overflow_to_sample_mapping", range(count))
    encoding["labels"] = [
        align_labels_to_tokens(
            batch[labels][owner], encoding.word_ids(row), label_all_tokens, later
        )
        for row, owner in enumerate(owners)
    ]
    return encoding
