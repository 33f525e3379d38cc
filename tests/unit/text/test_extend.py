"""Vocabularies that grow: old pieces keep their numbers, and old texts their tokens."""

import copy
import random

import pytest

from regard.errors import ConfigError, DataError
from regard.text import AutoTokenizer, Tokenizer
from regard.text.extend import extend_tokenizer
from regard.text.families import GPT2Tokenizer
from regard.text.learn import train_tokenizer

OLD = [
    "the old man sees the river and the boat",
    "an old boat lies at the river",
    "the man and the boat, the river and the sea!",
] * 4
NEW = ["stary człowiek widzi rzekę", "stara łódź leży nad rzeką", "człowiek nad rzeką"] * 4
KINDS = ("wordpiece", "bpe", "unigram", "llama", "t5")


@pytest.fixture(scope="module", params=KINDS)
def trained(request) -> Tokenizer:
    size = {"wordpiece": 60, "bpe": 300, "unigram": 40, "llama": 300, "t5": 140}
    return train_tokenizer(OLD, request.param, size[request.param])


def texts_of(alphabet, count):
    choose = random.Random(3)
    return ["".join(choose.choices(alphabet, k=choose.randint(1, 40))) for _ in range(count)]


def surface(piece):
    """Return what must stand in a text for the piece, without what marks its place in a word."""
    return piece.removeprefix("##").replace("▁", "").replace("Ġ", "")


def spelled(tokenizer, text):
    """Return a text in the letters of the pieces: cleaned, or bytes."""
    if isinstance(tokenizer, GPT2Tokenizer):
        return "".join(tokenizer.tokenize(text))
    cleaner = tokenizer.backend_tokenizer.normalizer
    return text if cleaner is None else cleaner.normalize_str(text)


def test_old_pieces_keep_their_numbers(trained):
    found = extend_tokenizer(trained, NEW, 20)
    numbers = found.tokenizer.get_vocab()
    assert {**numbers, **trained.get_vocab()} == numbers
    assert sorted(found.pieces) == list(range(len(trained), len(trained) + 20))
    assert len(found.tokenizer) == len(trained) + 20


def test_a_text_without_new_pieces_is_tokenized_as_before(trained):
    found = extend_tokenizer(trained, NEW, 20)
    new = [found.tokenizer.convert_ids_to_tokens(number) for number in found.pieces]
    same = changed = 0
    for text in [*OLD, *NEW, *texts_of("aeorstz kłdęwi ,!", 300)]:
        before, after = trained(text)["input_ids"], found.tokenizer(text)["input_ids"]
        if not any(surface(piece) in spelled(trained, text) for piece in new):
            same += 1
            assert before == after, text
        changed += before != after
    assert same > 10
    assert changed > 10


def test_what_a_new_piece_was_before(trained):
    found = extend_tokenizer(trained, NEW, 20)
    for number, old in found.pieces.items():
        piece = found.tokenizer.convert_ids_to_tokens(number)
        assert old
        assert all(0 <= each < len(trained) for each in old)
        texts = trained.convert_ids_to_tokens(old)
        known = trained.unk_token not in texts and not any(t.startswith("<0x") for t in texts)
        if known:
            glued = texts[0] + "".join(text.removeprefix("##") for text in texts[1:])
            assert glued == piece


def test_the_extended_text_takes_fewer_tokens(trained):
    found = extend_tokenizer(trained, NEW, 40)
    counted = sum(len(found.tokenizer.tokenize(text)) for text in NEW)
    words = sum(len(text.split()) for text in NEW)
    assert (found.after.tokens, found.after.words) == (counted, words)
    assert found.after.per_word == counted / words
    assert found.before.tokens == sum(len(trained.tokenize(text)) for text in NEW)
    assert found.after.tokens < 0.7 * found.before.tokens or trained.unk_token == "[UNK]"
    assert found.after.unknown == 0


def test_unknown_words_become_known():
    old = train_tokenizer(OLD, "wordpiece", 60)
    found = extend_tokenizer(old, NEW, 60)
    assert found.before.unknown > 0
    assert old.unk_token in old.tokenize("rzeką")
    assert found.after.unknown == 0
    assert found.tokenizer.tokenize("rzeką") == ["rzeka"]


def test_the_given_tokenizer_stays(trained):
    before = copy.deepcopy(trained)
    extend_tokenizer(trained, NEW, 20)
    assert trained.get_vocab() == before.get_vocab()
    assert trained(NEW[0]) == before(NEW[0])


def test_saved_and_loaded(trained, tmp_path):
    found = extend_tokenizer(trained, NEW, 20).tokenizer
    found.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded) is type(found)
    for text in [*OLD, *NEW]:
        assert loaded(text) == found(text)
        assert loaded.decode(loaded(text)["input_ids"]) == found.decode(found(text)["input_ids"])


def test_tokens_that_were_added_keep_their_numbers(trained, tmp_path):
    tokenizer = copy.deepcopy(trained)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<ent>", "</ent>"]})
    found = extend_tokenizer(tokenizer, NEW, 10).tokenizer
    assert found.get_vocab()["</ent>"] == tokenizer.get_vocab()["</ent>"]
    assert len(found) == len(tokenizer) + 10
    assert "<ent>" in found.tokenize("x <ent> y")
    found.add_tokens(["newest"])
    assert found.get_vocab()["newest"] == len(tokenizer) + 10
    found.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == found.get_vocab()


def test_no_more_pieces_than_the_text_has():
    found = extend_tokenizer(train_tokenizer(OLD, "bpe", 300), ["zz zz"], 50)
    assert [found.tokenizer.convert_ids_to_tokens(n) for n in found.pieces] == ["zz", "Ġzz"][:1]


def test_refusals(trained):
    with pytest.raises(DataError, match="no text"):
        extend_tokenizer(trained, ["", " "], 5)
    with pytest.raises(ValueError, match="count=0"):
        extend_tokenizer(trained, NEW, 0)


def test_a_vocabulary_of_whole_words_does_not_grow():
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers.models import WordLevel

    rust = RustTokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(ConfigError, match=r"WordLevel.*add_tokens"):
        extend_tokenizer(Tokenizer(tokenizer_object=rust), NEW, 5)
