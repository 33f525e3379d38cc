"""Questions to texts of any length, in every form that people give them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import regard

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
CONTEXT = "Anna met Bo in Oslo , then flew to unbelievably small Vaduz with Zoë . "
QUESTION = "Where did she fly?"


@pytest.fixture(scope="module")
def answer() -> Any:
    """A model that looks at single tokens, and likes one of them best."""
    tokenizer = regard.AutoTokenizer.from_pretrained(MINILM)
    torch.manual_seed(0)
    config = regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=0,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
    )
    model = regard.BertForQuestionAnswering(config).eval()
    model.bert.embeddings.positions.weight.data.zero_()
    zebra = torch.tensor([[tokenizer.convert_tokens_to_ids("zebra")]])
    hidden = model.bert(zebra, token_type_ids=torch.ones_like(zebra)).last_hidden_state[0, 0]
    model.qa_outputs.weight.data = torch.stack([hidden, hidden]).detach() / 4
    return regard.pipeline("qa", model, tokenizer=tokenizer)


def _same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["score"] == pytest.approx(other["score"], abs=1e-6)
    assert {**one, "score": 0} == {**other, "score": 0}


def test_all_forms_are_one(answer: Any) -> None:
    """Keywords, a mapping, a tuple, lists of them, a stream."""
    expected = answer(question=QUESTION, context=CONTEXT)
    assert [*expected] == ["score", "start", "end", "answer"]
    assert CONTEXT[expected["start"] : expected["end"]] == expected["answer"]
    mapping = {"question": QUESTION, "context": CONTEXT}
    _same(answer(mapping), expected)
    _same(answer((QUESTION, CONTEXT)), expected)
    many: list[Any] = [
        answer([mapping, (QUESTION, CONTEXT)]),
        answer(question=[QUESTION] * 2, context=[CONTEXT] * 2),
        answer(question=[QUESTION] * 2, context=CONTEXT),
        answer(question=QUESTION, context=[CONTEXT] * 2),
        [*answer(mapping for _ in range(2))],
        [*answer(question=(QUESTION for _ in range(2)), context=CONTEXT)],
    ]
    for found in many:
        assert len(found) == 2
        for each in found:
            _same(each, expected)


def test_streams_are_read_as_answers_are_taken(answer: Any) -> None:
    """Two of them without end, too."""

    def forever(text: str) -> Iterator[str]:
        while True:
            yield text

    stream = answer(question=forever(QUESTION), context=forever(CONTEXT))
    assert next(stream)["answer"]


@pytest.mark.parametrize("place", [0, 0.37, 1])
def test_an_answer_is_found_wherever_it_lies(answer: Any, place: float) -> None:
    """In a context of many windows, and as sure as it should be among so many tokens."""
    words = CONTEXT.split() * 400
    words.insert(int(place * len(words)), "zebra")
    context = " ".join(words)
    found = answer(question=QUESTION, context=context, max_answer_len=1)
    assert (found["answer"], found["start"]) == ("zebra", context.index("zebra"))
    first = answer(question=QUESTION, context=context, max_answer_len=1, max_seq_len=64)
    _same(first, found)


@pytest.mark.parametrize("stride", [0, 3, None])
@pytest.mark.parametrize("whole", [False, True], ids=["tokens", "words"])
def test_windows_change_no_score(answer: Any, stride: int | None, whole: bool) -> None:
    """Of tokens that a model knows without looking around, also of no answer."""
    context = CONTEXT * 5
    options: dict[str, Any] = {
        "max_answer_len": 1,
        "top_k": 5,
        "handle_impossible_answer": True,
        "align_to_words": whole,
    }
    given = {"question": QUESTION, "context": context}
    expected = answer(given, **options)
    found = answer(given, max_seq_len=32, doc_stride=stride, **options)
    scores = [each["score"] for each in found]
    assert scores == pytest.approx([each["score"] for each in expected], abs=1e-6)
    assert len({(each["start"], each["end"]) for each in found}) == 5


def test_a_word_has_the_scores_of_all_its_spans(answer: Any) -> None:
    """Counted one by one."""
    (head,) = [answer.model]
    encoding = answer.tokenizer(QUESTION, CONTEXT, return_tensors="pt")
    output = head(**encoding)
    keep = torch.tensor([owner == 1 for owner in encoding.sequence_ids(0)])
    keep[0] = True
    start, end = (
        each[0].masked_fill(~keep, -torch.inf).softmax(-1).tolist()
        for each in (output.start_logits, output.end_logits)
    )
    words = {
        (first, last): sum(
            start[i] * end[j]
            for i in range(len(start))
            for j in range(i, min(i + 15, len(start)))
            if (encoding.word_ids(0)[i], encoding.word_ids(0)[j]) == (first, last)
            and encoding.sequence_ids(0)[i] == 1
        )
        for first in range(15)
        for last in range(first, 15)
    }
    found = answer(question=QUESTION, context=CONTEXT, top_k=1000)
    top = sorted(filter(None, words.values()), reverse=True)
    assert [each["score"] for each in found] == pytest.approx(top, abs=1e-6)
    assert all(CONTEXT[each["start"] : each["end"]] == each["answer"] for each in found)


def test_no_answer_wins_by_its_threshold(answer: Any) -> None:
    """The difference of the logits decides; the scores stay."""
    given = {"question": QUESTION, "context": CONTEXT}
    both = answer(given, top_k=1000, handle_impossible_answer=True)
    (none,) = [each for each in both if not each["answer"]]
    assert (none["start"], none["end"]) == (0, 0)
    best = answer(given)
    margin = float(np.log(none["score"] / best["score"]))
    options = {"handle_impossible_answer": True}
    _same(answer(given, **options, null_threshold=margin - 0.01), none)
    _same(answer(given, **options, null_threshold=margin + 0.01), best)


def test_bad_inputs_are_named(answer: Any) -> None:
    """What is missing, empty, no text, or too long; and the others are answered."""
    good = {"question": QUESTION, "context": CONTEXT}
    long = "How " * 600
    bad: list[tuple[Any, type[Exception], str]] = [
        ({"question": QUESTION, "text": CONTEXT}, ValueError, "'context' is missing"),
        ({"question": " ", "context": CONTEXT}, ValueError, "the question is empty"),
        ({"question": QUESTION, "context": ""}, ValueError, "the context is empty"),
        ({"question": QUESTION, "context": "\u200b"}, ValueError, r"'\\u200b' has no tokens"),
        (None, TypeError, "found NoneType"),
        ({"question": long, "context": CONTEXT}, ValueError, "'How How .* has 600 tokens"),
    ]
    for item, kind, message in bad:
        with pytest.raises(kind, match=f"input 1: .*{message}"):
            answer([good, item])
    lenient = regard.pipeline("qa", answer.model, tokenizer=answer.tokenizer, on_error="return")
    found = lenient([good, *(item for item, _, _ in bad), good])
    _same(found[-1], found[0])
    failed = [each.index for each in found if isinstance(each, regard.Failure)]
    assert failed == [*range(1, len(bad) + 1)]
    with pytest.raises(ValueError, match=r"'Where .* 5 tokens; wanted at most max_question_len=4"):
        answer(good, max_question_len=4)
    with pytest.raises(ValueError, match="either question= and context="):
        answer()
    with pytest.raises(ValueError, match="context is missing"):
        answer(question=QUESTION)
    with pytest.raises(ValueError, match="2 questions and 1 contexts"):
        answer(question=[QUESTION] * 2, context=[CONTEXT])
    with pytest.raises(ValueError, match="top_k is 0"):
        answer(good, top_k=0)
