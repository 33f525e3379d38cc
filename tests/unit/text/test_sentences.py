import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.text.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Mr. Smith met Dr. J. Jones, e.g. here.", ["Mr. Smith met Dr. J. Jones, e.g. here."]),
        ("It costs 3.50 euros. Buy it.", ["It costs 3.50 euros.", "Buy it."]),
        ("It ended in 2019. Then J. came", ["It ended in 2019.", "Then J. came"]),
        ("1. First point. 2. Second.", ["1. First point.", "2. Second."]),
        ("The firm etc. went on. So did I. Why", ["The firm etc. went on.", "So did I.", "Why"]),
        ("Wait... what? No", ["Wait... what?", "No"]),
        ("今日は。元気？はい", ["今日は。", "元気？", "はい"]),
        ("Heading\n\nText of\nlines.", ["Heading", "Text of lines."]),
        (" \n ", []),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert split_sentences(text) == expected


@given(st.text(alphabet="ab. \n!?。\"'1AM"))
def test_nothing_is_lost(text):
    found = split_sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(each.strip() == each and each for each in found)
