"""What each task makes of examples, and what it says of those that do not fit."""

import numpy as np
import pytest
import torch

import regard
from regard.config import Config
from regard.data.examples import Examples
from regard.errors import ConfigError, DataError
from regard.models.bert import BertConfig
from regard.models.distilbert import DistilBertConfig
from regard.models.tasks import SAVED_AS
from regard.text import BertTokenizer
from regard.training.tasks.registry import ALIASES, TASKS, has_head, task_class, task_of
from regard.training.tasks.task import Prepared, Task

WORDS = ["a", "b", "##b", "c", "d", "e", ".", "?"]


@pytest.fixture(scope="module")
def tokenizer():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return BertTokenizer({token: number for number, token in enumerate(tokens)})


def config(kind=BertConfig, **changes):
    return kind(vocab_size=13, max_position_embeddings=24, **changes)


def ready(task, examples, tokenizer, **changes):
    """Return the configuration that the task makes, and the prepared examples."""
    found = config(**changes)
    found = found.replace(**task.config_for(examples, found))
    return found, task.prepare(examples, tokenizer, found)


def logits(choices, classes):
    return np.eye(classes)[np.array(choices)] * 5.0


@pytest.mark.parametrize("name", [*TASKS])
def test_a_task_is_found_by_its_name_and_keeps_its_options(name):
    task = task_class(name)
    assert task.name == name
    assert issubclass(task, Task)
    assert task.auto.head is not None
    given = task.with_options({"max_length": 7})
    saved = given.saved()
    assert (saved.pop("name"), saved["max_length"]) == (name, 7)
    assert task.with_options(saved) == given


def test_other_names_lead_to_tasks():
    assert {*ALIASES.values()} <= {*TASKS}
    assert not {*ALIASES} & {*TASKS}
    assert task_class("Sentiment_Analysis") is task_class("text-classification")
    with pytest.raises(ConfigError, match="did you mean 'token-classification'"):
        task_class("token-clasification")


def test_options_are_checked():
    task = task_class("qa")
    with pytest.raises(ConfigError, match=r"no option 'stride'.*doc_stride"):
        task.with_options({"stride": 3})
    with pytest.raises(ConfigError, match="doc_stride is True; it must be int or none"):
        task.with_options({"doc_stride": True})
    assert task.with_options({"no_answer": True}).no_answer is True


def test_columns_are_found_by_usual_names_or_named():
    task = task_class("text-classification")()
    examples = Examples({"Sentence": ["a"], "Category": ["x"], "id": [1]})
    assert task.named(examples)[0] == {"text": "a", "label": "x"}
    # The task's own name comes before others, and what is named before what is usual.
    examples = Examples({"review": ["r"], "text": ["t"], "stars": ["5"], "label": ["x"]})
    assert task.named(examples)[0] == {"text": "t", "label": "x"}
    found = task.named(examples, {"text": "review", "label": "stars"})
    assert found[0] == {"text": "r", "label": "5"}
    # A column that is named for one thing is not found for another.
    found = task.named(examples, {"text_pair": "text"})
    assert found[0] == {"text": "r", "text_pair": "t", "label": "x"}


def test_columns_that_are_not_there():
    task = task_class("text-classification")()
    examples = Examples({"body": ["a"], "label": ["x"]})
    with pytest.raises(DataError, match=r"no column 'text', the input .*--columns text=NAME"):
        task.named(examples)
    with pytest.raises(DataError, match="no column 'bodi'; did you mean 'body'"):
        task.named(examples, {"text": "bodi"})
    with pytest.raises(DataError, match="reads no column 'txt'; did you mean 'text'"):
        task.named(examples, {"txt": "body"})
    unlabelled = Examples({"text": ["a"]})
    with pytest.raises(DataError, match="no column 'label', the answers"):
        task.named(unlabelled)
    assert task.named(unlabelled, labelled=False)[0] == {"text": "a"}
    with pytest.raises(DataError, match="holds no example of text-classification"):
        task.named(examples[:0], {"text": "body"})


def test_labels_of_texts(tokenizer):
    task = task_class("text-classification")(max_length=4)
    examples = Examples({"text": ["a b c d e", "b"], "label": ["no", "yes"]})
    found, data = ready(task, examples, tokenizer)
    assert found.id2label == {0: "no", 1: "yes"}
    assert found.problem_type == "single_label_classification"
    assert [row["labels"] for row in data.dataset] == [0, 1]
    assert len(data.dataset[0]["input_ids"]) == 4
    assert task.decode(logits([1, 0], 2), data, found)[0]["label"] == "yes"
    assert task.decode(np.zeros((2, 2)), data, found)[0]["score"] == pytest.approx(0.5)


def test_labels_that_a_model_has_already_keep_their_numbers():
    task = task_class("text-classification")()
    examples = Examples({"text": ["a", "b"], "label": ["yes", "no"]})
    known = config(id2label={0: "yes", 1: "maybe", 2: "no"})
    assert "id2label" not in task.config_for(examples, known)
    other = config(id2label={0: "yes", 1: "maybe"})
    assert task.config_for(examples, other)["id2label"] == {0: "no", 1: "yes"}
    with pytest.raises(DataError, match="the only label is yes"):
        task.config_for(examples[:1], config())


def test_a_label_that_is_not_known_names_its_place(tokenizer, tmp_path):
    task = task_class("text-classification")()
    (tmp_path / "x.tsv").write_text("text\tlabel\na\tyes\nb\tnow\n")
    examples = task.named(task.read(tmp_path / "x.tsv"))
    with pytest.raises(DataError, match=r"x\.tsv, line 3: the label 'now' is not one of no, yes"):
        task.prepare(examples, tokenizer, config(id2label={0: "no", 1: "yes"}))
    (tmp_path / "x.tsv").write_text("text\tlabel\na\tyes\n \tno\n")
    examples = task.named(task.read(tmp_path / "x.tsv"))
    with pytest.raises(DataError, match=r"x\.tsv, line 3: 'text' is empty"):
        task.prepare(examples, tokenizer, config(id2label={0: "no", 1: "yes"}))


def test_several_labels_of_a_text(tokenizer):
    task = task_class("text-classification")(label_separator=",")
    examples = Examples({"text": ["a", "b", "c"], "label": ["x, y", "", "y"]})
    found, data = ready(task, examples, tokenizer)
    assert found.problem_type == "multi_label_classification"
    assert data.dataset["labels"] == [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    assert task.best(found) == "f1_micro"
    lists = Examples({"text": ["a", "b"], "label": [["x"], ["y", "z"]]})
    found, data = ready(task_class("text-classification")(), lists, tokenizer)
    assert data.dataset["labels"] == [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    said = task.decode(np.array([[3.0, -3.0, 0.1]]), data, found)
    assert said[0]["labels"] == ["x", "z"]
    assert said[0]["scores"][0] == pytest.approx(torch.sigmoid(torch.tensor(3.0)).item())
    batch = task.collator(tokenizer)([*data.dataset.keep(["input_ids", "labels"])])
    assert batch["labels"].is_floating_point()


def test_numbers_of_texts(tokenizer):
    task = task_class("text-similarity")()
    examples = Examples({"text": ["a", "b"], "text_pair": ["c", "d"], "label": ["4.5", "-1"]})
    found, data = ready(task, examples, tokenizer)
    assert (found.num_labels, found.problem_type) == (1, "regression")
    assert data.dataset["labels"] == [4.5, -1.0]
    assert data.dataset[0]["token_type_ids"] == [0, 0, 0, 1, 1]
    assert task.decode(np.array([[2.5], [1.0]]), data, found) == [{"score": 2.5}, {"score": 1.0}]
    for wrong in ("high", "nan"):
        bad = examples.with_column("label", ["1", wrong])
        with pytest.raises(DataError, match="example 1"):
            task.prepare(bad, tokenizer, found)


def test_labels_of_words(tokenizer):
    task = task_class("ner")(max_length=5)
    tags = [["B-X", "O", "O", "O"], ["O"]]
    examples = Examples({"tokens": [["abb", "c", "d", "e"], ["b"]], "tags": tags})
    found, data = ready(task, examples, tokenizer)
    assert found.id2label == {0: "B-X", 1: "O", 2: "I-X"}
    # Three tokens of `abb` fill the first row; each word is answered once.
    assert data.dataset["example"] == [0, 0, 1]
    first, *others = data.dataset["labels"]
    assert first == [-100, 0, -100, -100, -100]
    assert others == [[-100, 1, 1, 1, -100], [-100, 1, -100]]
    said = logits([[1, 0, 1, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 1]], 3)
    rows = task.decode(said, data, found)
    assert rows[0]["tags"] == ["B-X", "O", "O", "B-X"]
    assert rows[0]["entities"][1] == {"type": "X", "text": "e", "start": 3, "end": 4}
    assert rows[1] == {"tags": ["O"], "entities": []}


def test_a_word_that_is_cut_in_two_is_answered_once(tokenizer):
    task = task_class("ner")(max_length=4)
    examples = Examples({"tokens": [["abb", "c"]], "tags": [["B-X", "O"]]})
    _, data = ready(task, examples, tokenizer)
    assert data.dataset["labels"] == [[-100, 0, -100, -100], [-100, -100, 1, -100]]


def test_labels_of_words_that_are_no_spans(tokenizer):
    task = task_class("pos")()
    examples = Examples({"words": [["a", "b"]], "upos": [["NOUN", "VERB"]]})
    found, data = ready(task, task.named(examples), tokenizer)
    assert task.best(found) == "accuracy"
    assert task.decode(logits([[0, 1, 0, 0]], 2), data, found) == [{"tags": ["VERB", "NOUN"]}]
    with pytest.raises(DataError, match="2 words and 1 labels in 'tags'"):
        task.prepare(Examples({"tokens": [["a", "b"]], "tags": [["NOUN"]]}), tokenizer, found)
    with pytest.raises(DataError, match="wanted a list of words"):
        task.prepare(Examples({"tokens": ["a b"]}), tokenizer, found)


ROLES = {
    "tokens": [["a", "bb", "a", "c"]],
    "predicate": ["1"],
    "roles": [["ARG0", "V", "_", "ARGM-TMP"]],
}


def test_the_predicate_is_of_the_second_segment(tokenizer):
    task = task_class("srl")()
    found, data = ready(task, Examples(ROLES), tokenizer)
    (row,) = data.dataset
    assert tokenizer.convert_ids_to_tokens(row["input_ids"])[1:5] == ["a", "b", "##b", "a"]
    assert row["token_type_ids"] == [0, 0, 1, 1, 0, 0, 0]
    number = found.label2id
    wanted = [number[role] for role in ROLES["roles"][0]]
    assert row["labels"] == [-100, *wanted[:2], -100, *wanted[2:], -100]


def test_without_segments_the_predicate_is_a_second_text(tokenizer):
    task = task_class("srl")()
    plain = config(DistilBertConfig)
    found = plain.replace(**task.config_for(Examples(ROLES), plain))
    (row,) = task.prepare(Examples(ROLES), tokenizer, found).dataset
    tokens = tokenizer.convert_ids_to_tokens(row["input_ids"])
    assert tokens == ["[CLS]", "a", "b", "##b", "a", "c", "[SEP]", "b", "##b", "[SEP]"]
    assert [n for n, label in enumerate(row["labels"]) if label != -100] == [1, 2, 4, 5]


def test_roles_are_counted_without_the_predicate(tokenizer):
    task = task_class("srl")()
    found, data = ready(task, Examples(ROLES), tokenizer)
    number = found.label2id
    said = [number[r] for r in ("_", "ARG0", "V", "V", "ARGM-TMP", "ARGM-TMP", "_")]
    metrics = task.metric(found, data)((logits([said], 4), np.array(data.dataset["labels"])))
    # Two of three predicted roles are right; the predicate itself is none.
    assert (metrics["precision"], metrics["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert metrics["f1_ARG0"] == 1.0
    (row,) = task.decode(logits([said], 4), data, found)
    assert row["arguments"][0] == {"role": "ARG0", "text": "a", "word": 0}
    assert [each["role"] for each in row["arguments"]] == ["ARG0", "ARGM-TMP", "ARGM-TMP"]


def test_a_predicate_that_is_no_word(tokenizer):
    task = task_class("srl")()
    for wrong, message in ((4, "word 4; there are 4"), ("verb", "'predicate' is 'verb'")):
        with pytest.raises(DataError, match=message):
            task.prepare(Examples(ROLES | {"predicate": [wrong]}), tokenizer, config())


def test_words_with_a_sense_are_predicates(tokenizer, tmp_path):
    plain = "{}\t{}" + "\t_" * 8
    lines = [
        plain.format(1, "a") + "\t_\tARG0\t_",
        plain.format(2, "bb") + "\tbb.01\tV\t_",
        plain.format(3, "c") + "\tc.01\t_\tV",
        "",
        plain.format(1, "d") + "\t_",
        "",
    ]
    (tmp_path / "x.conllu").write_text("\n".join(lines) + "\n")
    task = task_class("predicate-identification")()
    examples = task.named(task.read(tmp_path / "x.conllu"))
    assert [*examples.column("tags")] == [["O", "V", "V"], ["O"]]
    found, data = ready(task, examples, tokenizer)
    number = found.label2id
    row = data.dataset[0]
    assert row["labels"] == [-100, number["O"], number["V"], -100, number["V"], -100]
    said = [[number[tag] for tag in tags] for tags in ("OOVOVO", "OVOOOO")]
    padded = np.full((2, 6), -100)
    for place, labels in enumerate(data.dataset["labels"]):
        padded[place, : len(labels)] = labels
    metrics = task.metric(found, data)((logits(said, 2), padded))
    # Both predicates are found, and one that is none; neighbours are two.
    assert (metrics["precision"], metrics["recall"]) == (pytest.approx(2 / 3), 1.0)
    rows = task.decode(logits(said, 2), data, found)
    assert [each["predicates"] for each in rows] == [[1, 2], [0]]


def test_answers_out_of_windows(tokenizer):
    task = task_class("qa")(max_length=10, doc_stride=2)
    context = "a b c d e a b c d e"
    answers = [{"text": ["e a"], "answer_start": [8]}]
    examples = Examples({"question": ["a ?"], "context": [context], "answers": answers})
    found, data = ready(task, examples, tokenizer)
    assert len(data.dataset) > 1
    assert {*data.dataset["example_id"]} == {"0"}
    start, end = (np.zeros((len(data.dataset), 10)) for _ in range(2))
    for row, (first, last) in enumerate(
        zip(data.dataset["start_positions"], data.dataset["end_positions"], strict=True)
    ):
        if first:
            start[row, first] = end[row, last] = 9.0
    assert task.decode((start, end), data, found)[0]["answer"] == "e a"
    assert task.metric(found, data)(((start, end), None))["f1"] == 100.0


def test_a_question_may_have_no_answer():
    task = task_class("qa")()
    examples = Examples({"answers": [{"text": ["a"]}, {"text": []}]})
    assert task.settled(examples).no_answer is True
    assert task.settled(examples[:1]).no_answer is False
    assert task_class("qa")(no_answer=False).settled(examples).no_answer is False


def test_questions_about_one_text_are_held_out_together():
    task = task_class("qa")()
    contexts = [f"text {number // 4}" for number in range(40)]
    questions = [str(number) for number in range(40)]
    first, second = task.split(Examples({"context": contexts, "question": questions}), 0.3, 1)
    assert len(first) + len(second) == 40
    assert 4 <= len(second) <= 28
    assert not {*first["context"]} & {*second["context"]}


def test_labels_are_as_frequent_in_both_parts():
    examples = Examples({"text": ["a"] * 40, "label": ["x"] * 30 + ["y"] * 10})
    _, second = task_class("text-classification")().split(examples, 0.2, 1)
    assert sorted(second["label"]) == ["x"] * 6 + ["y"] * 2


def test_choices(tokenizer):
    task = task_class("multiple-choice")()
    columns = {"text": ["a", "b"], "choices": [["c", "d d"], ["d", "c"]], "label": ["1", 0]}
    found, data = ready(task, Examples(columns), tokenizer)
    batch = task.collator(tokenizer)([*data.dataset.keep(["input_ids", "labels"])])
    assert batch["input_ids"].shape == (2, 2, 6)
    assert batch["labels"].tolist() == [1, 0]
    assert task.decode(logits([1, 0], 2), data, found)[0]["choice"] == "d d"
    for wrong in ({"label": [2, 0]}, {"choices": [["c"], ["d", "c"]]}):
        with pytest.raises(DataError, match="example 0"):
            task.prepare(Examples(columns | wrong), tokenizer, found)


def test_texts_from_texts(tokenizer):
    task = task_class("summarization")(prefix="c: ", max_length=5)
    examples = task.named(Examples({"document": ["a b d e"], "summary": ["a ."]}))
    row = task.prepare(examples, tokenizer, config()).dataset[0]
    assert tokenizer.convert_ids_to_tokens(row["input_ids"])[1] == "c"
    assert len(row["input_ids"]) == 5
    assert tokenizer.decode(row["labels"], skip_special_tokens=True) == "a."


def test_pictures_of_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        image.new("L", (5, 4), 9).save(tmp_path / label / "1.png")
    task = task_class("image-classification")()
    examples = task.named(task.read(tmp_path))
    found = config().replace(**task.config_for(examples, config()))
    processor = regard.ViTImageProcessor(size={"height": 6, "width": 6})
    data = task.prepare(examples, processor, found)
    assert data.dataset[1]["pixel_values"].shape == (3, 6, 6)
    assert [data.dataset[n]["labels"] for n in range(2)] == [0, 1]
    (tmp_path / "dog" / "2.png").write_text("no picture")
    data = task.prepare(task.named(task.read(tmp_path)), processor, found)
    with pytest.raises(DataError, match=r"2\.png: no picture"):
        data.dataset[2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no picture in it"):
        task.read(tmp_path / "empty")


def test_a_model_says_what_it_is_for():
    saved = config(architectures=["BertForTokenClassification"])
    assert task_of(saved).name == "token-classification"
    assert task_of(saved, "srl").name == "semantic-role-labeling"
    saved.extra[SAVED_AS] = task_class("srl")(max_length=9).saved()
    assert task_of(Config.from_dict.__func__(BertConfig, saved.to_dict())).max_length == 9
    assert task_of(saved, "ner").max_length is None
    with pytest.raises(ConfigError, match="no trained head for question-answering"):
        task_of(saved, "qa")
    with pytest.raises(ConfigError, match=r"no trained head of any task \(BertModel\)"):
        task_of(config(architectures=["BertModel"]))
    assert has_head(config(architectures=["BertForQuestionAnswering"]), task_class("qa"))


def test_a_task_that_answers_nothing_says_so():
    class Silent(task_class("text-classification")):
        name = "silent"
        decode = Task.decode

    with pytest.raises(ConfigError, match="silent makes no predictions"):
        Silent().decode(None, Prepared(None, None), config())


def test_lengths(tokenizer):
    task = task_class("text-classification")
    assert task().length(tokenizer, config()) == 24
    assert task(max_length=30).length(tokenizer, config()) == 30
    assert task().length(tokenizer, BertConfig(max_position_embeddings=1024)) == 512
