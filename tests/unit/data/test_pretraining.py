import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.data.examples import Examples
from regard.data.masking import DataCollatorForLanguageModeling
from regard.data.pretraining import group_texts, next_sentence_pairs, pack_documents
from regard.errors import DataError

DOCUMENTS = st.lists(st.lists(st.integers(5, 30), max_size=30), max_size=8)


@given(documents=DOCUMENTS, size=st.integers(1, 12))
def test_classic_blocks_are_the_texts_end_to_end(documents, size):
    masks = [[1] * len(document) for document in documents]
    blocks = group_texts({"input_ids": documents, "attention_mask": masks}, size)
    joined = [token for document in documents for token in document]
    assert [token for block in blocks["input_ids"] for token in block] == joined[
        : len(joined) // size * size
    ]
    assert all(len(block) == size for name in blocks for block in blocks[name])
    assert blocks["labels"] == blocks["input_ids"]


def test_classic_blocks_through_map():
    examples = Examples({"input_ids": [[1, 2, 3], [4], [5, 6, 7]]})
    found = examples.map(lambda b: group_texts(b, 2), batched=True)
    assert found.column("input_ids") == [[1, 2], [3, 4], [5, 6]]
    assert found.where(0).number == 0


@given(documents=DOCUMENTS, size=st.integers(1, 12), drop=st.booleans())
def test_packed_blocks_are_exactly_full_and_keep_documents_apart(documents, size, drop):
    blocks = pack_documents(documents, size, drop_last=drop)
    lengths = [sum(map(len, block)) for block in blocks]
    total = sum(map(len, documents))
    rest = [total % size] if total % size and not drop else []
    assert lengths == [size] * (total // size) + rest
    pieces = [piece for block in blocks for piece in block]
    assert all(pieces)
    left = iter(pieces)
    for document in [d for d in documents if d]:
        built = []
        while len(built) < len(document) and (piece := next(left, None)) is not None:
            built += piece
        assert built == document[: len(built)], "a piece is of one document"


def test_packed_blocks_are_batches(tokenizer):
    (block,) = pack_documents([[5, 6, 7], [8, 9]], 5)
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False)(block)
    assert int(batch["attention_mask"].sum()) == 5
    with pytest.raises(DataError, match="block_size=0"):
        pack_documents([[1]], 0)


def corpus(documents=20, sentences=15):
    """Documents whose tokens tell the document and the place: 1000 * document + place."""
    return [
        [[1000 * d + 10 * s + t for t in range(3 + (s + d) % 5)] for s in range(sentences)]
        for d in range(1, documents + 1)
    ]


def pairs(tokenizer, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return next_sentence_pairs(corpus(), tokenizer, 32, generator=generator, **options)


def segments(row):
    ids, types = row["input_ids"], row["token_type_ids"]
    assert len(ids) == len(types) <= 32
    assert (ids[0], ids[-1], types[0], types[-1]) == (2, 3, 0, 1)
    first = [i for i, kind in zip(ids, types, strict=True) if kind == 0]
    second = [i for i, kind in zip(ids, types, strict=True) if kind == 1]
    assert first[-1] == 3
    return first[1:-1], second[:-1]


def test_second_segment_follows_or_is_from_another_document(tokenizer):
    found = pairs(tokenizer)
    order = {t: n for n, t in enumerate(t for d in corpus() for s in d for t in s)}
    for row in found:
        first, second = segments(row)
        documents = ({t // 1000 for t in first}, {t // 1000 for t in second})
        assert len(documents[0]) == len(documents[1]) == 1
        assert (documents[0] == documents[1]) == (row["next_sentence_label"] == 0)
        for part in (first, second):
            places = [order[token] for token in part]
            assert places == [*range(places[0], places[0] + len(part))], "a part of the text"
        if row["next_sentence_label"] == 0:
            assert order[second[0]] > order[first[-1]]


def test_both_kinds_are_equally_frequent(tokenizer):
    labels = [label for seed in range(5) for label in pairs(tokenizer, seed)["next_sentence_label"]]
    random = sum(labels)
    # Single sentences at the ends of documents have no follower, which makes random a bit likelier.
    assert 0.45 < random / len(labels) < 0.65
    assert set(pairs(tokenizer, random_next_probability=1.0)["next_sentence_label"]) == {1}


def test_pairs_are_filled_and_some_are_short(tokenizer):
    lengths = [len(row["input_ids"]) for row in pairs(tokenizer, short_probability=0.0)]
    assert max(lengths) == 32
    assert sum(length > 24 for length in lengths) > 0.75 * len(lengths)
    short = [len(row["input_ids"]) for row in pairs(tokenizer, short_probability=1.0)]
    assert sum(short) / len(short) < sum(lengths) / len(lengths) - 4


def test_pairs_depend_on_the_generator_only(tokenizer):
    assert [*pairs(tokenizer)] == [*pairs(tokenizer)]
    assert [*pairs(tokenizer)] != [*pairs(tokenizer, 1)]


def test_pairs_need_documents_and_room(tokenizer):
    with pytest.raises(DataError, match="1 document with text; wanted at least 2"):
        next_sentence_pairs([[[5]], [[]]], tokenizer)
    with pytest.raises(DataError, match="max_length=4 has no room"):
        next_sentence_pairs(corpus(), tokenizer, 4)
