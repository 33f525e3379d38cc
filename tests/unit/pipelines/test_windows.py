"""Texts of any length: nothing is cut, and windows change nothing but what a model can see."""

from typing import Any

import pytest
import torch

import regard
from regard.pipelines.reading import Reader, spans

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
WORDS = "Anna met Bo in Oslo , then flew to unbelievably small Vaduz with Zoë . ".split()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return regard.AutoTokenizer.from_pretrained(MINILM)


def _model(kind: Any, tokenizer: Any, layers: int) -> Any:
    torch.manual_seed(0)
    model = kind(
        regard.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=512,
            initializer_range=0.5,
            num_labels=4,
        )
    )
    # Without positions and layers a token's label depends on the token alone.
    model.bert.embeddings.positions.weight.data.zero_()
    return model.eval()


@pytest.mark.parametrize(
    ("count", "room", "shared"),
    [(10, 4, 0), (10, 4, 1), (9, 4, 3), (4, 4, 2), (0, 4, 1), (5, 4, 3)],
)
def test_spans_cover_everything(count: int, room: int, shared: int) -> None:
    """Each begins before the one before it ends, and all but a single one are full."""
    found = [*spans(count, room, shared)]
    assert {*range(count)} == {t for start, end in found for t in range(start, end)}
    for (start, end), (after, _) in zip(found, found[1:], strict=False):
        assert start < after <= end - shared
        assert end - start == room


@pytest.mark.parametrize("length", [8, 16, 40])
@pytest.mark.parametrize("stride", [0, 1, 3])
def test_windows_give_each_token_back_once(tokenizer: Any, length: int, stride: int) -> None:
    """Ids of all tokens, in order, found where `owners` says."""
    text = " ".join(WORDS * 5)
    (cut,) = Reader(tokenizer, length, stride).texts([text])
    ids = [cut.windows[window].ids[place] for window, place in cut.owners()]
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    for window in cut.windows:
        assert len(window.ids) == len(window.segments) <= length
        assert (window.ids[0], window.ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def test_pairs_have_the_whole_first_text(tokenizer: Any) -> None:
    """As the tokenizer makes them where one window suffices, and the first text in every window."""
    question, context = "Where did she fly?", " ".join(WORDS * 5)
    (whole,) = Reader(tokenizer, 512).pairs([(question, context)])
    expected = tokenizer(question, context)
    assert [whole.windows[0].ids, whole.windows[0].segments] == [
        expected["input_ids"],
        expected["token_type_ids"],
    ]
    (cut,) = Reader(tokenizer, 32).pairs([(question, context)])
    assert len(cut.windows) > 1
    first = tokenizer(question)["input_ids"]
    assert all(window.ids[: len(first)] == first for window in cut.windows)
    ids = [cut.windows[window].ids[place] for window, place in cut.owners()]
    assert ids == tokenizer(context, add_special_tokens=False)["input_ids"]


def test_windows_need_room(tokenizer: Any) -> None:
    """Of windows that only share, and of first texts that leave nothing."""
    with pytest.raises(ValueError, match="wanted a stride from 0 to 5"):
        Reader(tokenizer, 8, 6)
    with pytest.raises(ValueError, match="leaves room for 0 tokens"):
        Reader(tokenizer, 16).pairs([(" ".join(WORDS * 3), "a b c")])


@pytest.mark.parametrize("strategy", ["none", "simple", "first"])
def test_a_long_text_has_the_entities_of_its_parts(tokenizer: Any, strategy: str) -> None:
    """A hundred pages, by a model that looks at single tokens: windows must change nothing."""
    model = _model(regard.BertForTokenClassification, tokenizer, layers=0)
    page = " ".join(WORDS * 20)
    long = regard.pipeline("ner", model, tokenizer=tokenizer, aggregation_strategy=strategy)
    assert len(tokenizer(page)["input_ids"]) < 512
    pages = [page] * 100
    shift, expected = 0, []
    for found in long(pages, ignore_labels=()):
        moved = [
            {**each, "start": each["start"] + shift, "end": each["end"] + shift} for each in found
        ]
        expected += moved
        shift += len(page) + 1
    text = " ".join(pages)
    found = long(text, ignore_labels=())
    if strategy != "none":  # neighbours across a page's end are joined, as they are one thing
        names = {(each["start"], each["entity_group"]) for each in found}
        assert names <= {(each["start"], each["entity_group"]) for each in expected}
        assert all(text[each["start"] : each["end"]] == each["word"] for each in found)
        return
    keys = ("entity", "word", "start", "end")
    assert [[a[k] for k in keys] for a in found] == [[b[k] for k in keys] for b in expected]


@pytest.mark.parametrize("merge", ["mean", "max", "vote"])
def test_windows_of_a_text_are_merged(tokenizer: Any, merge: str) -> None:
    """A text that says the same everywhere is labelled as its parts are."""
    model = _model(regard.BertForSequenceClassification, tokenizer, layers=1)
    label = regard.pipeline("text-classification", model, tokenizer=tokenizer, max_length=16)
    long = label(" ".join(["good"] * 140), top_k=None, merge=merge)
    short = label(" ".join(["good"] * 14), top_k=None, merge=merge)
    if merge == "vote":  # each window has one voice
        short = [{**each, "score": float(each == short[0])} for each in short]
    expected = {each["label"]: each["score"] for each in short}
    assert {each["label"]: each["score"] for each in long} == pytest.approx(expected, abs=1e-6)


def test_embeddings_see_the_whole_text(tokenizer: Any) -> None:
    """The end of a long text changes its vector, and equal windows have the vector of each."""
    encoder = regard.SentenceEncoder.from_pretrained()
    base = " ".join(["travel"] * 300)
    one, other = encoder.encode([base + " money" * 100, base + " music" * 100])
    assert abs(one - other).max() > 1e-3
    assert float(one @ one) == pytest.approx(1, abs=1e-5)


def test_bad_inputs_stand_in_their_places(tokenizer: Any) -> None:
    """With `on_error` the others are answered; without, the input is named."""
    model = _model(regard.BertForSequenceClassification, tokenizer, layers=1)
    given = ["fine", None, "also fine", 3.5, "\ud800"]
    strict = regard.pipeline("text-classification", model, tokenizer=tokenizer)
    with pytest.raises(TypeError, match="input 1: wanted a text; found NoneType None"):
        strict(given)
    kind = regard.pipeline("text-classification", model, tokenizer=tokenizer, on_error="return")
    found = kind(given)
    assert [found[0], found[2]] == strict(["fine", "also fine"])
    assert [each.index for each in found if isinstance(each, regard.Failure)] == [1, 3, 4]
    assert "surrogate" in found[4].error
    with pytest.raises(ValueError, match="'raise' or 'return'"):
        regard.pipeline("text-classification", model, tokenizer=tokenizer, on_error="ignore")


def test_streams_are_read_as_answers_are_taken(tokenizer: Any) -> None:
    """A generator without end gives answers."""
    model = _model(regard.BertForSequenceClassification, tokenizer, layers=1)
    label = regard.pipeline("text-classification", model, tokenizer=tokenizer)

    def forever() -> Any:
        while True:
            yield "and so on"

    stream = label(forever())
    assert [next(stream)["label"] for _ in range(3)] == [label("and so on")[0]["label"]] * 3


def test_columns_of_tables_are_lists(tokenizer: Any) -> None:
    """Of pandas, of numpy, of datasets."""
    pandas = pytest.importorskip("pandas")
    datasets = pytest.importorskip("datasets")
    model = _model(regard.BertForSequenceClassification, tokenizer, layers=1)
    label = regard.pipeline("text-classification", model, tokenizer=tokenizer)
    texts = ["one", "two and a half", "three"]
    expected = label(texts)
    assert label(pandas.DataFrame({"text": texts})["text"]) == expected
    assert label(datasets.Dataset.from_dict({"text": texts})["text"]) == expected
    assert label(pandas.Series(texts).to_numpy()) == expected
