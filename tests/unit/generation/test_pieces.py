"""Pieces of text: joined they are the whole, and none ends within a character."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regard
from regard.generation.pieces import TextPieces, UntilStop, beginning

TEXTS = [
    "The quick brown fox doesn't jump over the lazy dog's bone, does it?",
    "Żółw nad rzeką, 日本語 and emoji 😀👩‍👩‍👧 too.",
    "I'm sure they've said: 'we're here'!",
] * 3
KINDS = {"gpt2": 320, "llama": 340, "bert": 120, "t5": 160, "xlm-roberta": 90}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return regard.train_tokenizer(TEXTS, request.param, KINDS[request.param], min_frequency=1)


def after(tokenizer, prompt, new):
    whole, before = (tokenizer.decode(ids, True) for ids in (prompt + new, prompt))
    assert whole.startswith(before)
    return whole[len(before) :]


def pieces_of(tokenizer, prompt, new, **options):
    pieces = TextPieces(tokenizer, **options)
    pieces.push(prompt)
    return [*(pieces.push([token]) for token in new), pieces.rest()]


@settings(deadline=None)
@given(data=st.data())
def test_any_tokens_joined_are_the_text(tokenizer, data):
    ids = st.lists(st.integers(0, len(tokenizer) - 1), max_size=30)
    new = data.draw(ids)
    assert "".join(pieces_of(tokenizer, [], new)) == tokenizer.decode(new, True)
    raw = "".join(pieces_of(tokenizer, [], new, skip_special_tokens=False))
    assert raw == tokenizer.decode(new, False)


@settings(deadline=None)
@given(text=st.text(max_size=20) | st.sampled_from(TEXTS), cut=st.integers(0, 40))
def test_no_piece_has_half_a_character(tokenizer, text, cut):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = TextPieces(tokenizer)
    found = [pieces.push(ids[:cut]), *(pieces.push([token]) for token in ids[cut:]), pieces.rest()]
    assert "".join(found) == tokenizer.decode(ids, True)
    if "\ufffd" not in tokenizer.decode(ids, True):
        assert not any("\ufffd" in piece for piece in found)


def test_a_text_that_goes_on_keeps_its_space(tokenizer):
    prompt = tokenizer("The quick brown", add_special_tokens=False)["input_ids"]
    whole = tokenizer("The quick brown fox over", add_special_tokens=False)["input_ids"]
    new = whole[len(prompt) :]
    assert whole[: len(prompt)] == prompt
    found = "".join(pieces_of(tokenizer, prompt, new))
    assert found == after(tokenizer, prompt, new)
    assert found.startswith(" fox")


def test_a_character_of_several_tokens_comes_whole():
    tokenizer = regard.train_tokenizer(["plain text"], "gpt2", 257)
    ids = tokenizer("a😀b")["input_ids"]
    assert len(ids) == 6
    assert pieces_of(tokenizer, [], ids) == ["a", "", "", "", "😀", "b", ""]
    assert pieces_of(tokenizer, [], ids[:3]) == ["a", "", "", "\ufffd"]
    # A byte that begins no character is known to be wrong when the next character is whole.
    assert pieces_of(tokenizer, [], [ids[2], ids[0]])[:2] == ["", "\ufffda"]


def test_bytes_that_fit_no_character_take_their_run_with_them():
    tokenizer = regard.train_tokenizer(["plain text"], "llama", 270)
    byte = [tokenizer.convert_tokens_to_ids(f"<0x{number:02X}>") for number in (0xC3, 0xA9, 0xFF)]
    letter = tokenizer.convert_tokens_to_ids("t")
    assert pieces_of(tokenizer, [letter], [*byte[:2], letter]) == ["", "", "ét", ""]
    assert pieces_of(tokenizer, [letter], [*byte, letter])[3] == "\ufffd" * 3 + "t"


def test_what_cleaning_would_change_is_held_back():
    tokenizer = regard.train_tokenizer(TEXTS, "bert", 160, min_frequency=1)
    tokenizer.clean_up_tokenization_spaces = True
    ids = tokenizer("the fox doesn't say: i'm it.", add_special_tokens=False)["input_ids"]
    assert "".join(pieces_of(tokenizer, [], ids)) == tokenizer.decode(ids, True)
    assert "i'm it." in tokenizer.decode(ids, True)


def test_the_work_for_a_token_does_not_grow(monkeypatch):
    tokenizer = regard.train_tokenizer(TEXTS, "gpt2", 320)
    ids = tokenizer(TEXTS[0])["input_ids"] * 20
    lengths = []
    decode = tokenizer.decode
    monkeypatch.setattr(
        tokenizer, "decode", lambda ids, *rest: lengths.append(len(ids)) or decode(ids, *rest)
    )
    pieces_of(tokenizer, [], ids)
    assert max(lengths) < 12


@pytest.mark.parametrize(
    ("text", "length"), [("ab", 0), ("abE", 1), ("abEN", 2), ("END", 0), ("EE", 1), ("", 0)]
)
def test_the_beginning_of_a_string(text, length):
    assert beginning(text, ["END", "x"]) == length


@given(text=st.text("abc", max_size=12), stops=st.lists(st.text("abc", min_size=1, max_size=3)))
def test_text_up_to_the_first_stop(text, stops):
    until = UntilStop(stops)
    found = ""
    for number, letter in enumerate(text):
        found += until.push(letter)
        seen = text[: number + 1]
        ends = [seen.find(each) for each in stops if each in seen]
        if ends:
            assert until.stopped
            break
        assert found == seen[: len(seen) - beginning(seen, stops)]
    found += until.rest()
    # The first to be complete ends it, wherever another would have begun.
    places = [text.find(each) + len(each) for each in stops if each in text]
    seen = text[: min(places)] if places else text
    assert found == seen[: min((seen.find(each) for each in stops if each in seen), default=None)]
    assert until.push("more") == ("" if places else "more")
