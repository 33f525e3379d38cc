"""Tokenizers learned from text: of the right class, exactly as large as asked, and repeatable."""

import random

import pytest

from regard.errors import DataError
from regard.text import AutoTokenizer
from regard.text.families.auto import CLASSES, FAMILIES
from regard.text.learn import RECIPES, train_tokenizer

STEMS = [
    "river",
    "boat",
    "man",
    "sea",
    "house",
    "stone",
    "light",
    "night",
    "paint",
    "sail",
    "fisher",
    "win",
]
ENDINGS = ["", "s", "ing", "er", "ed", "less"]
CHOOSE = random.Random(5)
TEXTS = [
    " ".join(CHOOSE.choice(STEMS) + CHOOSE.choice(ENDINGS) for _ in range(8)) for _ in range(60)
] + ["Straßen und Flüsse, naïve 東京 🙂"] * 2
SIZE = 420


@pytest.mark.parametrize("kind", RECIPES)
def test_the_class_that_the_model_type_has(kind):
    found = train_tokenizer(TEXTS, kind, SIZE, model_max_length=64)
    if kind in FAMILIES:
        assert type(found) is FAMILIES[kind]
    assert found.saved_class in CLASSES
    assert found.model_max_length == 64
    assert len(found) <= SIZE
    numbers = found.get_vocab()
    assert sorted(numbers.values()) == list(range(len(found)))
    assert all(token in numbers for token in found.special_tokens_map.values())


@pytest.mark.parametrize("kind", RECIPES)
def test_text_comes_back_and_takes_fewer_tokens(kind):
    found = train_tokenizer(TEXTS, kind, SIZE)
    for text in TEXTS[:2]:
        assert len(found.tokenize(text)) < len(text) / 2
        back = found.decode(found(text)["input_ids"], skip_special_tokens=True)
        assert back.replace(" ", "") == text.replace(" ", "")


def test_as_large_as_asked_where_the_text_has_as_many_pieces():
    for kind, size in (("wordpiece", 60), ("bpe", 280), ("unigram", 50), ("llama", 290)):
        assert len(train_tokenizer(TEXTS, kind, size)) == size


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "llama"])
def test_the_same_texts_give_the_same_numbers(kind):
    found = [train_tokenizer(iter(TEXTS), kind, SIZE).get_vocab() for _ in range(2)]
    assert found[0] == found[1]


def test_special_tokens_come_first_in_the_families_order():
    first = {
        "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        "gpt2": ["<|endoftext|>"],
        "llama": ["<unk>", "<s>", "</s>", "<0x00>"],
        "t5": ["<pad>", "</s>", "<unk>"],
        "xlm-roberta": ["<s>", "<pad>", "</s>", "<unk>"],
    }
    for kind, tokens in first.items():
        found = train_tokenizer(TEXTS, kind, SIZE)
        assert found.convert_ids_to_tokens(range(len(tokens))) == tokens
    assert "<extra_id_0>" in train_tokenizer(TEXTS, "t5", SIZE).all_special_tokens


def test_settings_of_the_class():
    cased = train_tokenizer(TEXTS, "bert", SIZE, do_lower_case=False, pad_token="<p>")
    assert cased.pad_token_id == 0
    assert "S" in "".join(cased.tokenize("Straßen"))
    with pytest.raises(TypeError, match="do_lowercase"):
        train_tokenizer(TEXTS, "bert", SIZE, do_lowercase=False)


def test_a_text_is_read_once():
    taken = []
    train_tokenizer((taken.append(text) or text for text in TEXTS), "bpe", SIZE)
    assert taken == TEXTS


def test_unknown_characters_are_unknown_and_bytes_are_not():
    assert train_tokenizer(TEXTS, "bert", SIZE).tokenize("ж") == ["[UNK]"]
    assert train_tokenizer(TEXTS, "llama", SIZE).tokenize("ж") == ["▁", "<0xD0>", "<0xB6>"]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_refusals(kind):
    with pytest.raises(DataError, match="no text"):
        train_tokenizer([], kind, SIZE)
    with pytest.raises(ValueError, match=r"size=1; .* before anything is learned"):
        train_tokenizer(TEXTS, kind, 1)
    with pytest.raises(ValueError, match="did you mean 'wordpiece'"):
        train_tokenizer(TEXTS, "wordpeice", SIZE)


def test_a_folder_loads_by_itself(tmp_path):
    for kind in ("bert", "gpt2", "t5", "llama"):
        found = train_tokenizer(TEXTS, kind, SIZE)
        found.save_pretrained(tmp_path / kind)
        assert AutoTokenizer.from_pretrained(tmp_path / kind)(TEXTS[-1]) == found(TEXTS[-1])


def test_bytes_alone():
    found = train_tokenizer(TEXTS, "gpt2", 257)
    assert len(found) == 257
    assert len(found("naïve")["input_ids"]) == len("naïve".encode())
