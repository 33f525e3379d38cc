"""Predicates and their arguments, in texts of any length and any script."""

from pathlib import Path
from typing import Any

import pytest
import torch

import regard
from regard.data.examples import Examples
from regard.models.tasks import SAVED_AS
from regard.pipelines.job import as_numpy
from regard.pipelines.reading import Reader
from regard.pipelines.semantic_role_labeling import Finding, RoleLabelling
from regard.text.words import word_spans
from regard.training.tasks.predicate_identification import PredicateIdentification
from regard.training.tasks.semantic_role_labeling import SemanticRoleLabeling

from .answers import assert_close

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
ROLES = ["_", "A0", "A1", "AM-TMP", "V"]
TEXT = "Anna didn't eat the unbelievable cake. Zoë   Ångström slept!\n\nThey left 💜 Oslo yesterday"
TASKS: dict[str, Any] = {
    "predicates": {"head": "token-classification", "id2label": {0: "O", 1: "V"}},
    "roles": {"head": "token-classification", "id2label": dict(enumerate(ROLES))},
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return regard.AutoTokenizer.from_pretrained(MINILM)


def _config(tokenizer: Any, kind: Any = regard.BertConfig, **fields: Any) -> Any:
    return kind(
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "initializer_range": 0.5,
            **fields,
        }
    )


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    return regard.MultiTaskModel.from_config(_config(tokenizer), TASKS).eval()


@pytest.fixture(scope="module")
def label(model: Any, tokenizer: Any) -> Any:
    return regard.pipeline("srl", model, tokenizer=tokenizer)


def _moved(found: Any, by: int) -> Any:
    def move(span: dict[str, Any]) -> dict[str, Any]:
        return {**span, "start": span["start"] + by, "end": span["end"] + by}

    return [
        {"predicate": move(each["predicate"]), "arguments": [*map(move, each["arguments"])]}
        for each in found
    ]


def test_places_are_exact(label: Any) -> None:
    """Every word is the text between its places, and every predicate is some word."""
    found = label(TEXT)
    assert len(found) > 2
    assert any(each["arguments"] for each in found)
    words = {*word_spans(TEXT)}
    for each in found:
        assert [*each] == ["predicate", "arguments"]
        assert [*each["predicate"]] == ["word", "start", "end", "score"]
        assert each["predicate"]["score"] > 0.5
        for span in (each["predicate"], *each["arguments"]):
            assert span["word"] == TEXT[span["start"] : span["end"]]
            assert (span["start"], span["end"]) in words
        for argument in each["arguments"]:
            assert [*argument] == ["role", "word", "start", "end", "score"]
            assert argument["role"] in {"A0", "A1", "AM-TMP"}


def test_a_text_has_the_roles_of_its_sentences(label: Any) -> None:
    """A hundred times as long, all in one run."""
    parts = [
        "Anna didn't eat the unbelievable cake.",
        "Zoë   Ångström slept!",
        "They left 💜 Oslo.",
    ]
    shift, expected = 0, []
    for part, found in zip(parts, label(parts), strict=True):
        expected += _moved(found, shift)
        shift += len(part) + 1
    text = " ".join(parts)
    assert_close(label(text), expected)
    long = label(" ".join([text] * 100))
    assert len(long) == 100 * len(expected)
    assert_close(long[-len(expected) :], _moved(expected, 99 * (len(text) + 1)))


def test_predicates_may_be_given(label: Any) -> None:
    """As numbers of words or as characters, with words or a text; in any form of input."""
    words = ("Anna", "did", "n't", "eat", "cake")
    text = " ".join(words)
    place = text.index("eat"), text.index("eat") + 3
    (expected,) = label(words, predicates=[3])
    assert expected["predicate"] == {"word": "eat", "start": place[0], "end": place[1]}
    assert_close(label({"words": words, "predicates": [place]}), [expected])
    assert_close(label({"text": "Anna did n't eat cake", "predicates": [3]}), [expected])
    assert_close(label(text, predicates=[place, 3]), [expected])
    assert_close(label([text, [*words]], predicates=[[3], [3]]), [[expected], [expected]])
    assert label([text, text], predicates=[[], [3]])[0] == []
    found = label((each for each in [text, text]), predicates=iter([None, [3]]))
    assert_close(next(found), label(text))
    assert_close(next(found), [expected])
    assert label(["", "  \n", ()]) == [[], [], []]


def test_a_model_of_roles_has_to_be_told(model: Any, tokenizer: Any, label: Any) -> None:
    """Then it answers as the same head among others does."""
    alone = regard.pipeline("srl", model.extract("roles"), tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"input 0: this model .* does not find predicates"):
        alone(TEXT)
    assert_close(alone(TEXT, predicates=[3, 11]), label(TEXT, predicates=[3, 11]))


def test_one_pass_for_all_predicates(model: Any, label: Any, monkeypatch: Any) -> None:
    """All sentences of all texts together, then all predicates of all texts together."""
    batches: list[int] = []
    encode = model.base_model.encode

    def counted(batch: Any) -> Any:
        batches.append(len(batch.layout.lengths))
        return encode(batch)

    monkeypatch.setattr(model.base_model, "encode", counted)
    found = label([TEXT, TEXT])
    assert batches == [6, sum(map(len, found))]


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_models_see_what_they_were_trained_on(tokenizer: Any, family: str) -> None:
    """Ids, segments and labels are those of the tasks that train such models."""
    kind = {"bert": regard.BertConfig, "distilbert": regard.DistilBertConfig}[family]
    config = _config(tokenizer, kind, id2label=dict(enumerate(ROLES)))
    words = ["Anna", "did", "n't", "eat", "unbelievablest", "cake"]
    examples = Examples({"tokens": [words], "predicate": [4]})
    (row,) = SemanticRoleLabeling().prepare(examples, tokenizer, config).dataset
    head = regard.AutoModelForTokenClassification.from_config(config)
    reader = Reader(tokenizer, 64)
    finding = Finding(reader=reader, head=head)
    given = finding.check({"words": words, "predicates": [4]})
    known = finding.answer(given, *finding.cut([given]), [])
    (cut,) = RoleLabelling(reader=reader, head=head).cut([known])
    assert not isinstance(cut, ValueError)
    assert cut.windows[0].ids == row["input_ids"]
    assert cut.windows[0].segments == row["token_type_ids"]
    pieces = len(tokenizer.tokenize("unbelievablest"))
    assert pieces > 1
    assert sum(cut.windows[0].segments) == (pieces if family == "bert" else pieces + 1)

    examples = Examples({"tokens": [words]})
    (row,) = PredicateIdentification().prepare(examples, tokenizer, config).dataset
    given = finding.check(words)
    (cut,) = finding.cut([given])
    assert not isinstance(cut, ValueError)
    assert cut.windows[0].ids == row["input_ids"]


def test_a_sentence_longer_than_a_window_is_read_to_its_end(tokenizer: Any) -> None:
    """By a model that looks at single tokens, windows change nothing."""
    torch.manual_seed(0)
    config = _config(tokenizer, num_hidden_layers=0)
    model = regard.MultiTaskModel.from_config(config, TASKS).eval()
    model.base_model.embeddings.positions.weight.data.zero_()  # pyright: ignore
    text = " ".join(["Anna ate the unbelievable cake and slept"] * 20)
    whole = regard.pipeline("srl", model, tokenizer=tokenizer)(text)
    assert any(each["arguments"] for each in whole)
    assert_close(regard.pipeline("srl", model, tokenizer=tokenizer, max_length=24)(text), whole)


def test_spans_with_prefixes_are_joined(tokenizer: Any) -> None:
    """Of models that were trained on spans and not on head words."""
    names = {0: "O", 1: "B-ARG0", 2: "I-ARG0", 3: "B-V"}
    model = regard.BertForTokenClassification(_config(tokenizer, id2label=names))
    label = regard.pipeline("srl", model, tokenizer=tokenizer)
    job = RoleLabelling(reader=label.reader(), head=label.roles)
    finding = Finding(reader=label.reader(), head=None)
    given = finding.check({"words": ["The", "cat", "sat"], "predicates": [2]})
    known = finding.answer(given, *finding.cut([given]), [])
    (cut,) = job.cut([known])
    logits = torch.zeros(len(cut.windows[0].ids), 4)  # pyright: ignore
    for place, number in ((1, 1), (2, 2), (3, 3)):
        logits[place, number] = 9
    (found,) = job.answer(known, cut, [as_numpy(logits)])  # pyright: ignore
    (argument,) = found["arguments"]
    assert (argument["role"], argument["word"]) == ("ARG0", "The cat")


def test_bad_inputs_are_named(model: Any, tokenizer: Any, label: Any) -> None:
    """Wrong keys, words that are none, predicates that are not there."""
    bad: list[tuple[Any, type[Exception], str]] = [
        (None, TypeError, "wanted a text or words; found NoneType"),
        ({"sentence": "x"}, ValueError, "needs 'text' or 'words'; found sentence"),
        (["He", None], TypeError, "wanted a word; found NoneType"),
        (
            {"text": "He left.", "predicates": [3]},
            ValueError,
            "predicate 3 is no word; there are 3",
        ),
        ({"text": "He left.", "predicates": ["left"]}, ValueError, "wanted a word's number"),
        ({"text": "He left.", "predicates": [(9, 12)]}, ValueError, "no word has characters 9"),
    ]
    for item, kind, message in bad:
        with pytest.raises(kind, match=f"input 1: .*{message}"):
            label(["He left.", item])
    lenient = regard.pipeline("srl", model, tokenizer=tokenizer, on_error="return")
    found = lenient(["He left.", *(item for item, _, _ in bad), "He left."])
    assert_close(found[-1], found[0])
    assert [each.index for each in found if isinstance(each, regard.Failure)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="predicates are of 1 texts; there are 2"):
        label(["He left.", "He left."], predicates=[[1]])
    other = regard.MultiTaskModel.from_config(_config(tokenizer), {"topic": TASKS["roles"]})
    with pytest.raises(ValueError, match="no task 'roles'"):
        regard.pipeline("srl", other, tokenizer=tokenizer)


def test_a_predicate_that_fills_a_window_is_named(tokenizer: Any) -> None:
    """Where it has to stand beside its sentence; a model with segments reads it."""
    words = ("He", "x" * 80)
    for kind, message in ((regard.DistilBertConfig, "the predicate 'xxx"), (regard.BertConfig, "")):
        config = _config(tokenizer, kind, id2label=dict(enumerate(ROLES)))
        model = regard.AutoModelForTokenClassification.from_config(config)
        label = regard.pipeline("srl", model, tokenizer=tokenizer, max_length=24, on_error="return")
        found = label(words, predicates=[1])
        assert isinstance(found, regard.Failure) == bool(message)
        assert not message or message in found.error


def test_it_loads_from_a_folder(model: Any, tokenizer: Any, label: Any, tmp_path: Path) -> None:
    """Several heads, and one."""
    model.save_pretrained(tmp_path / "several")
    tokenizer.save_pretrained(tmp_path / "several")
    assert_close(regard.pipeline("srl", tmp_path / "several")(TEXT), label(TEXT))
    alone = model.extract("roles")
    alone.config.extra[SAVED_AS] = SemanticRoleLabeling().saved()
    alone.save_pretrained(tmp_path / "one")
    tokenizer.save_pretrained(tmp_path / "one")
    found = regard.pipeline("srl", tmp_path / "one")(TEXT, predicates=[3])
    assert_close(found, label(TEXT, predicates=[3]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't think she'll go; can’t!", "I do n't think she 'll go ; ca n’t !"),
        ("👩‍👩‍👧‍👦 ran 🇩🇪", "👩‍👩‍👧‍👦 ran 🇩🇪"),
        ("नमस्ते दुनिया।", "नमस्ते दुनिया ।"),
        ("re\u0301sume\u0301, שלום", "re\u0301sume\u0301 , שלום"),
        ("東京は日本", "東 京 は 日 本"),
        (" \n", ""),
    ],
)
def test_words_of_any_script(text: str, words: str) -> None:
    """Clitics, marks, emoji of several characters, Han characters."""
    assert [text[a:b] for a, b in word_spans(text)] == words.split()
