"""Texts cut for pre-training: blocks of tokens, and pairs for next sentence prediction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from regard.data.examples import Examples
from regard.errors import DataError
from regard.text.tokenizer import Tokenizer

Tokens = list[int]
Document = Sequence[Tokens]


def group_texts(
    batch: Mapping[str, Sequence[Sequence[Any]]], block_size: int
) -> dict[str, list[list[Any]]]:
    """Lay texts end to end and cut them into blocks: for ``map(batched=True)``.

    A block may hold the end of one text and the start of the next, which then see each other; for
    blocks that keep texts apart see `pack_documents`. The last, incomplete block of a batch is left
    out.

    Args:
        batch: Tokenized texts as columns.
        block_size: Tokens of a block.

    Returns:
        The columns, with ``labels`` equal to ``input_ids``.
    """
    _check_block(block_size)
    joined = {name: [*chain.from_iterable(rows)] for name, rows in batch.items()}
    end = len(joined["input_ids"]) // block_size * block_size
    blocks = {
        name: [values[start : start + block_size] for start in range(0, end, block_size)]
        for name, values in joined.items()
    }
    return {**blocks, "labels": [list(block) for block in blocks["input_ids"]]}


def pack_documents(
    documents: Sequence[Sequence[int]], block_size: int, drop_last: bool = False
) -> list[list[Tokens]]:
    """Cut documents into pieces that fill blocks of exactly `block_size` tokens.

    A block is a list of pieces, one row each, so that no document sees another: rows of different
    length are packed without padding by the models here, and a block costs what one row of
    `block_size` tokens costs, or less. Give a block to a collator as one batch. Where documents
    shall stay whole, use `batches_by_tokens` instead.

    Args:
        documents: The ids of each document.
        block_size: Tokens of a block.
        drop_last: Whether to leave out a last block that is not full.

    Returns:
        The blocks, in the order of the documents.
    """
    _check_block(block_size)
    blocks: list[list[Tokens]] = []
    room = 0
    for document in documents:
        start = 0
        while start < len(document):
            if not room:
                blocks.append([])
                room = block_size
            piece = list(document[start : start + room])
            blocks[-1].append(piece)
            start += len(piece)
            room -= len(piece)
    return blocks[:-1] if drop_last and room else blocks


def next_sentence_pairs(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    max_length: int = 128,
    *,
    random_next_probability: float = 0.5,
    short_probability: float = 0.1,
    generator: torch.Generator | None = None,
) -> Examples:
    """Make pairs of text segments for next sentence prediction (Devlin et al. 2019, appendix A.2).

    Sentences of a document are gathered until they fill a pair, and divided at random. The second
    segment is what follows the first, or with `random_next_probability` comes from another
    document; then what was to follow is used again. Some pairs are made short, so that short texts
    are known too.

    Args:
        documents: For each document the ids of each sentence, without special tokens.
        tokenizer: Puts the special tokens around the pairs.
        max_length: Tokens of a pair at most, special ones included.
        random_next_probability: The share of pairs whose second segment is from elsewhere.
        short_probability: The share of pairs that are gathered to a random shorter length.
        generator: Where all random numbers come from.

    Returns:
        ``input_ids``, ``token_type_ids`` and ``next_sentence_label``: 0 where the second segment
        follows the first, 1 where it does not.

    Raises:
        DataError: There are not two documents to take segments from.
    """
    filled = [[s for s in document if s] for document in documents]
    filled = [document for document in filled if document]
    if len(filled) < 2:
        raise DataError(
            f"{len(filled)} document with text; wanted at least 2: a sentence that does not follow "
            f"is taken from another document"
        )
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True)
    if room < 2:
        raise DataError(f"max_length={max_length} has no room for two segments of text")
    seed = int(torch.randint(2**62, (), generator=generator))
    maker = _Pairs(filled, room, random_next_probability, short_probability)
    columns: dict[str, list[Any]] = {
        "input_ids": [],
        "token_type_ids": [],
        "next_sentence_label": [],
    }
    for first, second, label in maker.pairs(np.random.default_rng(seed)):
        ids = tokenizer.build_inputs_with_special_tokens(first, second)
        start = len(tokenizer.build_inputs_with_special_tokens(first))
        columns["input_ids"].append(ids)
        columns["token_type_ids"].append([0] * start + [1] * (len(ids) - start))
        columns["next_sentence_label"].append(label)
    return Examples(columns)


@dataclass(frozen=True)
class _Pairs:
    """Makes the pairs; `room` is the number of tokens of both segments together, at most."""

    documents: Sequence[Document]
    room: int
    random_next: float
    short: float

    def pairs(self, random: np.random.Generator) -> Iterator[tuple[Tokens, Tokens, int]]:
        """Yield first segment, second segment and label, document by document."""
        for number, document in enumerate(self.documents):
            place = 0
            while place < len(document):
                target = self.room
                if random.random() < self.short:
                    target = int(random.integers(2, self.room + 1))
                end = _gather(document, place, target)
                middle = place + int(random.integers(1, max(end - place, 2)))
                first = [*chain.from_iterable(document[place:middle])]
                # One sentence alone has nothing that follows it.
                elsewhere = middle == end or random.random() < self.random_next
                if elsewhere:
                    second = self._elsewhere(number, max(target - len(first), 1), random)
                    place = middle
                else:
                    second = [*chain.from_iterable(document[middle:end])]
                    place = end
                yield *_cut_pair(first, second, self.room, random), int(elsewhere)

    def _elsewhere(self, number: int, length: int, random: np.random.Generator) -> Tokens:
        """Return about `length` tokens of another document than `number`, from a random place."""
        other = int(random.integers(len(self.documents) - 1))
        document = self.documents[other + (other >= number)]
        start = int(random.integers(len(document)))
        return [*chain.from_iterable(document[start : _gather(document, start, length)])]


def _gather(document: Document, start: int, length: int) -> int:
    """Return where the sentences from `start` on have `length` tokens, or the document ends."""
    end, tokens = start, 0
    while end < len(document) and tokens < length:
        tokens += len(document[end])
        end += 1
    return end


def _cut_pair(
    first: Tokens, second: Tokens, room: int, random: np.random.Generator
) -> tuple[Tokens, Tokens]:
    """Cut the longer segment until both fit: at its front or its end, token by token, by chance."""
    parts = ([*first], [*second])
    while len(parts[0]) + len(parts[1]) > room:
        longer = parts[len(parts[1]) >= len(parts[0])]
        del longer[0 if random.random() < 0.5 else -1]
    return parts


def _check_block(block_size: int) -> None:
    if block_size < 1:
        raise DataError(f"block_size={block_size}; wanted at least 1 token")
