import pytest

from regard.data.examples import Examples
from regard.data.labels import (
    align_labels_to_tokens,
    encode_labels,
    inside_labels,
    renamed_labels,
    tokenize_and_align_labels,
)
from regard.data.tables import read_tsv
from regard.data.windows import question_answering_windows, spans_to_tokens
from regard.errors import DataError

LABELS = {"O": 0, "B-X": 1, "I-X": 2, "B-Y": 3}


def test_labels_become_numbers():
    examples = Examples({"y": ["b", "a"], "z": [["a", "b"], []]})
    assert encode_labels(examples, "y", {"a": 0, "b": 1}).column("labels") == [1, 0]
    assert encode_labels(examples, "z", {"a": 0, "b": 1}, into="z").column("z") == [[0, 1], []]


def test_numbers_of_named_classes_go_through_their_names():
    examples = Examples({"y": [0, 1]}, class_names={"y": ["neg", "pos"]})
    assert encode_labels(examples, "y", {"pos": 0, "neg": 1}).column("labels") == [1, 0]
    with pytest.raises(DataError, match="example 1: the label 'pos' is not one of neg"):
        encode_labels(examples, "y", {"neg": 0})
    plain = Examples({"y": [0, 1]})
    assert encode_labels(plain, "y", {"LABEL_0": 0, "LABEL_1": 1}).column("labels") == [0, 1]


def test_label_that_training_did_not_have(write):
    examples = read_tsv(write("dev.tsv", "text\tlabel\na\tneutral\nb\tnegatve\n"))
    message = r"dev\.tsv, line 3: the label 'negatve' is not one of negative, neutral; did you mean"
    with pytest.raises(DataError, match=message):
        encode_labels(examples, "label", {"negative": 0, "neutral": 1})
    with pytest.raises(DataError, match="the label '2' is not one of a, b"):
        encode_labels(Examples({"y": [2]}), "y", {"a": 0, "b": 1})


def test_first_tokens_have_the_labels_of_words():
    words = [None, 0, 0, 1, 3, 3, None]
    assert align_labels_to_tokens([5, 6, 7, 8], words) == [-100, 5, -100, 6, 8, -100, -100]
    assert align_labels_to_tokens([5, 6, 7, 8], words, True) == [-100, 5, 5, 6, 8, 8, -100]


def test_later_tokens_are_inside():
    later = inside_labels(LABELS)
    assert later == {1: 2}, "B-Y has no I-Y"
    assert align_labels_to_tokens([1, 3, 0], [0, 0, 1, 1, 2, 2], True, later) == [1, 2, 3, 3, 0, 0]


def test_word_without_a_label():
    with pytest.raises(DataError, match="word 1 has no label: there are 1 labels"):
        align_labels_to_tokens([1], [0, 1])


def test_tokenizing_sentences_of_words(tokenizer):
    examples = Examples({"tokens": [["films", "is", "greatly"], ["a"]], "labels": [[1, 0, 3], [0]]})
    found = examples.map(lambda b: tokenize_and_align_labels(b, tokenizer), batched=True)
    assert tokenizer.convert_ids_to_tokens(found[0]["input_ids"]) == [
        *("[CLS]", "film", "##s", "is", "great", "##ly", "[SEP]"),
    ]
    assert found[0]["labels"] == [-100, 1, -100, 0, 3, -100, -100]
    assert found[1]["labels"] == [-100, 0, -100]


def test_long_sentences_become_rows_with_their_labels(tokenizer):
    batch = {"tokens": [[*"abcdef"], ["x"]], "labels": [[0, 1, 2, 3, 4, 5], [9]]}
    found = tokenize_and_align_labels(
        batch, tokenizer, truncation=True, max_length=4, return_overflowing_tokens=True
    )
    assert found["labels"] == [
        [-100, 0, 1, -100],
        [-100, 2, 3, -100],
        [-100, 4, 5, -100],
        [-100, 9, -100],
    ]


CONTEXT = "the film is great . a b c d e f g h ! the films x y z"


def question(text, context=CONTEXT, question="is the film great ?"):
    start = context.index(text) if text else 0
    answers = {"text": [text] * bool(text), "answer_start": [start] * bool(text)}
    return {"id": ["q"], "question": [question], "context": [context], "answers": [answers]}


@pytest.mark.parametrize("text", ["the film", "great", "films x", "z", "s x y", " c "])
def test_answers_are_found_in_the_windows_that_hold_them(tokenizer, text):
    found = question_answering_windows(question(text), tokenizer, max_length=16, doc_stride=4)
    assert len(found["input_ids"]) > 2
    hits = 0
    for row in range(len(found["input_ids"])):
        start, end = found["start_positions"][row], found["end_positions"][row]
        if (start, end) == (0, 0):
            continue
        hits += 1
        offsets = found["offset_mapping"][row]
        assert CONTEXT[offsets[start][0] : offsets[end][1]] == text.strip()
        assert found["example_id"][row] == "q"
    assert hits


def test_every_window_without_the_answer_points_at_the_first_token(tokenizer):
    found = question_answering_windows(question("z"), tokenizer, max_length=16, doc_stride=4)
    held = [
        any(span and CONTEXT[slice(*span)] == "z" for span in offsets)
        for offsets in found["offset_mapping"]
    ]
    assert [start > 0 for start in found["start_positions"]] == held
    assert held.count(False) > 0


def test_half_an_answer_is_none(tokenizer):
    text = "a b c d e f"
    found = question_answering_windows(question(text), tokenizer, max_length=12, doc_stride=2)
    assert set(found["start_positions"]) == {0}, "no window of 4 tokens holds 6"


def test_question_without_answer_and_words_of_the_question(tokenizer):
    found = question_answering_windows(question(""), tokenizer, max_length=64, doc_stride=8)
    assert (found["start_positions"], found["end_positions"]) == ([0], [0])
    same = question_answering_windows(question("is"), tokenizer, max_length=64, doc_stride=8)
    offsets = same["offset_mapping"][0]
    assert offsets[1] is None, "tokens of the question have no place in the context"
    assert CONTEXT[slice(*offsets[same["start_positions"][0]])] == "is"


def test_long_question_is_cut_with_a_notice(tokenizer, caplog):
    batch = question("great", question="a b c d e f g h i j k l m n o p")
    with caplog.at_level("WARNING", "regard"):
        found = question_answering_windows(batch, tokenizer, max_length=16, doc_stride=4)
    assert "1 of 1 questions were cut to the 8 tokens" in caplog.text
    assert tokenizer.decode(found["input_ids"][0]).startswith("[CLS] a b c d e f g h [SEP] the")
    assert any(found["start_positions"])
    with pytest.raises(DataError, match="use a smaller doc_stride"):
        question_answering_windows(batch, tokenizer, max_length=16, doc_stride=12)


def test_windows_through_map_know_their_question(tokenizer):
    batch = question("great")
    examples = Examples({name: values * 2 for name, values in batch.items()})
    found = examples.map(
        lambda b: question_answering_windows(b, tokenizer, max_length=16, doc_stride=4),
        batched=True,
        remove_columns=examples.column_names,
    )
    assert {found.where(i).number for i in range(len(found))} == {0, 1}
    without = {name: values for name, values in batch.items() if name != "answers"}
    found = question_answering_windows(without, tokenizer, max_length=64, doc_stride=8)
    assert "start_positions" not in found


def test_spans_to_tokens():
    offsets = [None, (0, 3), (4, 6), (6, 9), None]
    assert spans_to_tokens(4, 6, offsets) == (2, 3)
    assert spans_to_tokens(5, 7, offsets) == (2, 4)
    assert spans_to_tokens(8, 12, offsets) is None
    assert spans_to_tokens(3, 4, offsets) is None


def test_kinds_get_other_names():
    tags = [["B-person", "I-person", "O"], ["B-corporation", "S-product"]]
    names = {"person": "PER", "corporation": "ORG", "product": "O"}
    found = renamed_labels(Examples({"tags": tags}), "tags", names, all_there=True)
    assert found["tags"] == [["B-PER", "I-PER", "O"], ["B-ORG", "O"]]
    assert renamed_labels(Examples({"tags": tags}), "tags", {"B-person": "X"})["tags"][0][:2] == [
        "X",
        "I-person",
    ]
    whole = Examples({"label": ["pos", "neg", "B-side"]})
    assert renamed_labels(whole, "label", {"pos": "positive"})["label"] == [
        *("positive", "neg", "B-side")
    ]
    numbers = Examples({"tags": [[0, 1]]}, class_names={"tags": ["O", "B-person"]})
    assert renamed_labels(numbers, "tags", names)["tags"] == [["O", "B-PER"]]
    with pytest.raises(DataError, match=r"no example has 'persn'; did you mean 'person'\?; there"):
        renamed_labels(Examples({"tags": tags}), "tags", {"persn": "PER"}, all_there=True)
