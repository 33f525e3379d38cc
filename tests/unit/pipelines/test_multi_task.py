"""Many heads, one pass; each answers as it would alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

import regard
from regard.models.tasks import SAVED_AS

from .answers import assert_close

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = ["Anna met Bo in Oslo.", "So long " * 60 + "Zoë left.", "I 💜 שלום"]
QUESTION = "Where did they meet?"
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "LOC"}
TASKS: dict[str, Any] = {
    "mood": {"head": "sequence-classification", "id2label": {0: "bad", 1: "good", 2: "so so"}},
    "likeness": {"head": "sequence-classification", "num_labels": 1, "problem_type": "regression"},
    "names": {"head": "token-classification", "id2label": TAGS},
    "events": {
        "head": "token-classification",
        "id2label": {0: "O", 1: "V"},
        "extra": {SAVED_AS: {"name": "predicate-identification"}},
    },
    "who": {
        "head": "token-classification",
        "id2label": {0: "_", 1: "A0", 2: "V"},
        "extra": {SAVED_AS: {"name": "semantic-role-labeling"}},
    },
    "answer": {"head": "question-answering"},
    "gaps": {"head": "masked-lm"},
}
#: What each task's own pipeline is called.
KINDS = {"mood": "text-classification", "likeness": "text-classification", "names": "ner"}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return regard.AutoTokenizer.from_pretrained(MINILM)


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    config = regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    return regard.MultiTaskModel.from_config(config, TASKS).eval()


@pytest.fixture(scope="module")
def ask(model: Any, tokenizer: Any) -> Any:
    return regard.pipeline("multi-task", model, tokenizer=tokenizer)


def test_each_answers_as_it_would_alone(model: Any, tokenizer: Any, ask: Any) -> None:
    """Equal to the pipeline of the single-task model, also of long texts."""
    options = {"names": {"aggregation_strategy": "first"}, "mood": {"top_k": None}}
    found = ask(TEXTS, question=QUESTION, options=options)
    assert [*found[0]] == ["answer", "events", "likeness", "mood", "names", "who"]
    for name, kind in KINDS.items():
        alone = regard.pipeline(kind, model.extract(name), tokenizer=tokenizer)
        assert_close([each[name] for each in found], alone(TEXTS, **options.get(name, {})))
    alone = regard.pipeline("qa", model.extract("answer"), tokenizer=tokenizer)
    assert_close([each["answer"] for each in found], alone(question=QUESTION, context=TEXTS))
    together = regard.pipeline("srl", model, tokenizer=tokenizer)
    assert_close([each["who"] for each in found], together(TEXTS))
    assert any(each["who"] for each in found)
    text = "so [MASK] ."
    alone = regard.pipeline("fill-mask", model.extract("gaps"), tokenizer=tokenizer)
    assert_close(ask(text, tasks=["gaps"]), {"gaps": alone(text)})


def test_names_are_whole_if_nothing_else_is_said(model: Any, tokenizer: Any, ask: Any) -> None:
    """And what has no beginning, such as a predicate, is a token."""
    alone = regard.pipeline("ner", model.extract("names"), tokenizer=tokenizer)
    found = ask(TEXTS[0])
    assert_close(found["names"], alone(TEXTS[0], aggregation_strategy="simple"))
    assert found["names"]
    assert all("entity_group" in each for each in found["names"])
    assert all("entity" in each for each in found["events"])
    assert_close(
        ask(TEXTS[0], tasks=["names"], options={"names": {"aggregation_strategy": "none"}})[
            "names"
        ],
        alone(TEXTS[0]),
    )


def test_the_text_is_encoded_once(model: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many heads read it; what needs more has a pass of its own."""
    batches: list[int] = []
    encode = model.base_model.encode

    def counted(batch: Any) -> Any:
        batches.append(len(batch.layout.lengths))
        return encode(batch)

    monkeypatch.setattr(model.base_model, "encode", counted)
    plain = ["mood", "likeness", "names", "events"]
    assert [*ask(TEXTS[0], tasks=plain)] == plain
    assert batches == [1]
    ask(TEXTS[0], tasks=[*plain, "answer"], question=QUESTION)
    assert batches == [1, 1, 1]


def test_tasks_are_chosen(ask: Any) -> None:
    """By name, or by what is given for them."""
    assert [*ask(TEXTS[0])] == ["events", "likeness", "mood", "names", "who"]
    assert [*ask(TEXTS[0], tasks=["names", "mood"])] == ["names", "mood"]
    assert [*ask(TEXTS[0], tasks=["answer"], question=QUESTION)] == ["answer"]
    (found,) = ask(TEXTS[0], tasks=["who"], predicates=[1])["who"]
    assert found["predicate"] == {"word": "met", "start": 5, "end": 8}
    both = ask(TEXTS[:2], tasks=["who"], predicates=[[1], []])
    assert [len(each["who"]) for each in both] == [1, 0]


def test_streams_are_read_as_answers_are_taken(ask: Any) -> None:
    """By all passes at the same pace."""

    def forever() -> Any:
        while True:
            yield TEXTS[0]

    stream = ask(forever(), question=QUESTION, tasks=["mood", "answer"])
    assert_close(next(stream), ask(TEXTS[0], question=QUESTION, tasks=["mood", "answer"]))


def test_bad_inputs_are_named(model: Any, tokenizer: Any, ask: Any) -> None:
    """Tasks that are not there or lack something, and texts that are none."""
    for given, message in [
        ({"tasks": ["moods"]}, "no task 'moods'.*did you mean 'mood'"),
        ({"tasks": ["mood", "answer"]}, "answer needs question="),
        ({"options": {"name": {}}}, "no task 'name'"),
        ({"tasks": ["mood"], "question": QUESTION}, "question is given, and none of mood takes it"),
        ({"options": {"names": {"stride": 3}}}, "names: all tasks share their windows"),
    ]:
        with pytest.raises(ValueError, match=message):
            ask(TEXTS[0], **given)
    with pytest.raises(TypeError, match="input 1: wanted a text; found NoneType"):
        ask([TEXTS[0], None])
    lenient = regard.pipeline("multi-task", model, tokenizer=tokenizer, on_error="return")
    found = lenient([TEXTS[0], None, TEXTS[2]], question=QUESTION)
    assert isinstance(found[1], regard.Failure)
    assert found[1].index == 1
    assert_close([found[0], found[2]], ask([TEXTS[0], TEXTS[2]], question=QUESTION))
    with pytest.raises(TypeError, match="cannot do multi-task"):
        regard.pipeline("multi-task", model.extract("mood"), tokenizer=tokenizer)


def test_it_loads_from_a_folder(model: Any, tokenizer: Any, ask: Any, tmp_path: Path) -> None:
    """With all heads."""
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert_close(regard.pipeline("multi-task", tmp_path)(TEXTS[0]), ask(TEXTS[0]))
