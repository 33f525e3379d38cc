"""Verbs over any task: inputs from anywhere, answers in any form, bad inputs told."""

import csv
import io
import json

import pytest

from regard.cli.answers import Output
from regard.pipelines.job import Failure
from regard.pipelines.running import Runner
from regard.pipelines.tasks import TASKS

TEXTS = ["Anna met Bo in Oslo.", "nothing here"]
BAD = b"fly to Rome\nboil \xff\n\nboil pasta\n"


def parsed(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows(done):
    assert done.exit_code == 0, done.output
    return [*csv.DictReader(io.StringIO(done.stdout))]


def test_run_gives_an_object_for_each_input(run, tagger):
    options = ("-m", tagger / "tokens", "--set", "aggregation_strategy=first")
    found = parsed(run("run", "ner", *TEXTS, *options, "--json"))
    assert [each["input"] for each in found] == TEXTS
    assert {"entity_group", "score", "word", "start", "end"} == {*found[0]["output"][0]}
    flat = rows(run("run", "ner", *TEXTS, *options, "--csv"))
    assert len(flat) == sum(max(len(each["output"]), 1) for each in found)
    assert [*flat[0]] == ["input", "entity_group", "score", "word", "start", "end"]
    head, *_ = run("run", "ner", *TEXTS, *options, "--set", "ignore_labels=[]").stdout.split("─")
    assert {*head.split()} == {"Input", "Entity", "group", "Score", "Word", "Start", "End"}


def test_run_of_pairs_and_of_files(run, tmp_path):
    lines = [{"source_sentence": "a trip", "sentences": ["to Rome"]}]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines) + "{broken\n")
    done = run("run", "feature-extraction", "--file", file, "--json")
    assert done.exit_code == 1
    assert "pairs.jsonl, line 2: not JSON" in done.stderr
    assert "pairs.jsonl, line 1: wanted a text; found dict" in done.stderr
    documents = tmp_path / "docs.txt"
    documents.write_text("fly to Rome\nboil pasta\n")
    told = ("--set", f"documents=@{documents}", "--set", "top_k=1", "--json")
    (found,) = parsed(run("run", "ranking", "cooking", *told))
    assert found["output"][0]["text"] == "boil pasta"


def test_run_of_tasks_that_take_all_at_once(run):
    texts = ["boil the pasta", "fly to Rome", "cook the pasta"]
    (found,) = parsed(run("run", "paraphrase-mining", *texts, "--set", "threshold=0.6", "--json"))
    assert (found["first"], found["second"]) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nerr", "a"), "unknown task 'nerr'; did you mean 'ner'"),
        (("ranking", "a", "--set", "topk=1"), "ranking has no option 'topk'; did you mean 'top_k'"),
        (("ranking", "a", "--set", "top_k"), "wanted NAME=VALUE"),
        (("text-generation", "a", "--set", "max_tokens=1"), "has no option 'max_tokens'"),
        (("fill-mask", "a"), "name a model for fill-mask"),
        (("search", "a"), "search needs an index"),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_what_run_cannot_do(fails, arguments, message):
    assert message in fails("run", *arguments)


def test_bad_lines_are_told_and_the_rest_go_on(run):
    done = run(
        "run",
        "zero-shot-classification",
        "--set",
        "candidate_labels=travel,food",
        "--json",
        input=BAD,
    )
    assert done.exit_code == 1
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["labels"][0] for each in found] == ["travel", "food"]
    assert "stdin, line 2: not UTF-8 (invalid start byte at byte 6" in done.stderr
    assert "1 input could not be answered" in done.stderr
    assert "skipped 1 blank line" in done.stderr


def test_tag_finds_groups(run, tagger):
    found = parsed(run("tag", *TEXTS, "-m", tagger / "tokens", "--json"))
    assert [each["text"] for each in found] == TEXTS
    for text, each in zip(TEXTS, found, strict=True):
        assert all(text[e["start"] : e["end"]] == e["word"] for e in each["entities"])
    tokens = parsed(run("tag", TEXTS[0], "-m", tagger / "tokens", "--json", "--groups", "none"))
    assert "entity" in tokens[0]["entities"][0]
    assert rows(run("tag", TEXTS[0], "-m", tagger / "tokens", "--csv"))[0]["text"] == TEXTS[0]


def test_rank(run):
    done = run("rank", "cooking", "-f", "-", "--json", "--top", 1, input="fly to Rome\nboil pasta")
    (found,) = parsed(done)
    assert (found["index"], found["text"]) == (1, "boil pasta")
    long = "travel " * 400 + "boil pasta"
    (found,) = rows(run("rank", "cooking pasta", long, "--csv"))
    assert int(found["end"]) == len(long)
    assert run("rank", "cooking", "boil pasta").stdout.split()[:3] == ["Score", "Index", "Text"]


def test_search(run, fails, tmp_path):
    folder = tmp_path / "index"
    done = run("search", "build", folder, input=BAD)
    assert done.exit_code == 1, "a bad line"
    assert done.stdout == f"{folder}: 2 texts\n"
    assert "is there already" in fails("search", "build", folder, "a")
    (built,) = parsed(run("search", "build", folder, "a law", "--add", "--json"))
    assert built["texts"] == 3
    (found,) = parsed(run("search", "query", folder, "cooking", "--json", "-n", 1))
    assert found["query"] == "cooking"
    assert [each["text"] for each in found["found"]] == ["boil pasta"]
    flat = rows(run("search", "query", folder, "cooking", "a trip", "--csv", "-n", 1))
    assert [each["text"] for each in flat] == ["boil pasta", "fly to Rome"]
    assert "no search index" in fails("search", "query", tmp_path, "a")


def test_cluster(run):
    texts = ["boil the pasta", "fly to Rome", "cook the pasta"]
    (found,) = parsed(run("cluster", *texts, "--threshold", 0.6, "--json"))
    assert sorted(found["indices"]) == [0, 2]
    flat = rows(run("cluster", *texts, "--threshold", 0.6, "--csv"))
    assert [(each["cluster"], each["text"]) for each in flat] == [
        ("0", texts[i]) for i in found["indices"]
    ]


class Asked(Runner):
    """Answers with the first letters of the context."""

    task = "question-answering"

    def __init__(self):
        super().__init__("return", {})

    @classmethod
    def from_pretrained(cls, name=None, **options):
        return cls()

    def __call__(self, inputs, *, top_k=1):
        for each in inputs:
            if "!" in each["question"]:
                yield Failure(0, "no question")
            else:
                yield {"answer": each["context"][: 3 * top_k], "score": 0.5}


def test_ask(run, monkeypatch, tmp_path):
    monkeypatch.setitem(TASKS, "question-answering", Asked)
    (found,) = parsed(run("ask", "-q", "who?", "--context", "Anna ran", "--json", "-n", 2))
    assert found == {"question": "who?", "answer": "Anna r", "score": 0.5}
    done = run("ask", "-q", "who?", "-q", "so!", "-q", "where?", "--json", input="Bo sat")
    assert done.exit_code == 1
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == ["who?", "where?"]
    assert "text 2: no question" in done.stderr
    file = tmp_path / "a.txt"
    file.write_text("Cy slept\nlong")
    flat = rows(run("ask", "-q", "who?", "-c", "Anna ran", "-f", file, "--csv"))
    assert [(each["answer"], each["file"]) for each in flat] == [
        ("Ann", "Anna ran"),
        ("Cy ", str(file)),
    ]
    assert run("ask", "--context", "a").exit_code == 2


@pytest.mark.parametrize("verb", ["fill", "roles", "tag"])
def test_verbs_of_models_that_are_not_there(run, verb):
    """Each says what it lacks, and none fails otherwise."""
    done = run(verb, "a text", "--model", "missing/../model")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_json_and_csv_exclude_each_other(run):
    assert run("rank", "a", "b", "--json", "--csv").exit_code == 2


def test_csv_quotes_what_needs_it(capsys):
    Output(as_csv=True).write([[{"a": 'x,"y"', "b": None, "c": [1, {"d": 0.1234567}]}], []])
    assert [*csv.reader(io.StringIO(capsys.readouterr().out))] == [
        ["a", "b", "c"],
        ['x,"y"', "", '[1, {"d": 0.123457}]'],
    ]


def test_a_table_of_roles_has_words_and_no_json(run):
    done = run("roles", "The company sold the factory.")
    assert done.exit_code == 0, done.output
    assert "sold" in done.stdout
    assert "ARG0 company" in done.stdout
    assert "{" not in done.stdout
    (found,) = [
        json.loads(line)
        for line in run("roles", "The company sold it.", "--json").stdout.splitlines()
    ]
    assert found["roles"][0]["arguments"][0]["role"] == "ARG0"
    several = run("run", "multi-task", "Anna sold the house, said John.")
    assert several.exit_code == 0, several.output
    assert all(words in several.stdout for words in ("sold ARG0", "ARG1", "house; said"))
    assert "{" not in several.stdout
