from typing import Any

import pytest

from regard.text import BertTokenizer
from regard.text.inputs import read_texts


def test_forms():
    assert read_texts("a").items == ["a"]
    assert read_texts("a", "b").items == [("a", "b")]
    assert read_texts("a", "").items == [("a", "")]
    assert read_texts(["a", "b"]).items == ["a", "b"]
    assert read_texts([("a", "b"), ["c", "d"], "e"]).items == [("a", "b"), ("c", "d"), "e"]
    assert read_texts(["a"], ["b"]).items == [("a", "b")]
    assert read_texts(["a", "b"], words=True).items == [["a", "b"]]
    assert read_texts([["a"], ["b"]], words=True).items == [["a"], ["b"]]
    assert read_texts([(["a"], ["b"])], words=True).items == [(["a"], ["b"])]
    assert [read_texts(t).batched for t in ("a", ["a"], [])] == [False, True, True]
    assert [read_texts(t, words=True).batched for t in ([], ["a"], [["a"]])] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "pair", "words", "message"),
    [
        (None, None, False, "text is NoneType None; wanted a string"),
        (["a", None, "b"], None, False, "text 1 of 3 is NoneType None; wanted a string"),
        (["a", float("nan")], None, False, "text 1 of 2 is float nan"),
        ([7], None, False, "text 0 of 1 is int 7"),
        ([("a", 3)], None, False, "text 0 of 1, second is int 3"),
        ([b"a"], None, False, "text 0 of 1 is bytes; wanted a string"),
        ({"a": 1}, None, False, "text is dict"),
        ("a", 5, False, "text_pair is int 5"),
        (["a", "b"], ["c", None], False, "text_pair 1 of 2 is NoneType"),
        (["a"], "b", False, "text_pair must be one too, not str"),
        ("a", None, True, "list of words"),
        (["a", 4], None, True, "text, word 1 is int 4"),
        ([["a"], ["b", None]], None, True, "text 1 of 2, word 1 is NoneType"),
    ],
)
def test_wrong_types(text: Any, pair: Any, words: bool, message: str):
    with pytest.raises(TypeError, match=message):
        read_texts(text, pair, words=words)


def test_wrong_lengths():
    with pytest.raises(ValueError, match="text has 2 entries and text_pair has 1"):
        read_texts(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="text 0 of 1 has 3 entries, and a pair has 2"):
        read_texts([["a", "b", "c"]])  # the reference drops "c"


def test_half_a_surrogate_pair(tokenizer: BertTokenizer):
    with pytest.raises(ValueError, match=r"text 1 has half of a surrogate pair .* character 2"):
        tokenizer(["a", "b \ud800"])
    with pytest.raises(ValueError, match="text 0 has half"):
        tokenizer([("a", "\udfff")])
    with pytest.raises(ValueError, match="text 0 has half"):
        tokenizer(["a", "\udfff"], is_split_into_words=True)
