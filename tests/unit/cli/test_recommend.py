"""`regard recommend`: a table, records, and the command to go on with."""

import csv
import io
import json
import shlex

import pytest

from regard.cli import recommend as verb
from regard.selection import survey

from . import task_data

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
FACTS = {
    "score": 0.875, "metric": "accuracy", "spread": 0.05, "method": "linear", "ready": False,
    "latency": 12.5, "throughput": 250.0, "memory": 120.0, "parameters": 22_600_000, "longest": 256,
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    return task_data.classification(tmp_path / "data", 40)


@pytest.fixture
def measured(monkeypatch):
    """Measure nothing: models called bad cannot be loaded, and those called slow are."""

    def made(request):
        name = request["model"]
        if "bad" in name:
            return {"reason": f"{name}: no weights"}
        return FACTS | ({"latency": 99.0, "score": 0.9} if "slow" in name else {})

    monkeypatch.setattr(survey, "_in_a_process", made)


def test_the_embedded_model_is_measured_and_its_command_runs(run, data, tmp_path):
    done = run("recommend", "--task", "sentiment-analysis", "--data", data, "--model", MINILM)
    assert done.exit_code == 0, done.output
    assert "text-classification, 40 examples: accuracy" in done.stdout
    assert "all-MiniLM-L6-v2" in done.stdout
    assert "22.6 M" in done.stdout
    assert f"1 of 1: {MINILM}" in done.stderr
    command = shlex.split(done.stdout.splitlines()[-1])
    assert command[:4] == ["regard", "train", "--model", MINILM]
    plan = run(*command[1:-1], tmp_path / "out", "--dry-run", "--json")
    assert plan.exit_code == 0, plan.output
    assert json.loads(plan.stdout)["labels"] == ["negative", "positive"]


def test_what_is_at_hand_is_what_was_made_for_the_task_and_what_serves_for_any(run, data, measured):
    done = run("recommend", "--task", "sentiment-analysis", "--data", data)
    assert done.exit_code == 0, done.output
    assert f"1 of 2: regard/sentiment\n2 of 2: {MINILM}" in done.stderr


def test_the_table_is_of_the_best_and_says_what_is_out(run, data, measured):
    models = ("-m", "a/good", "-m", "b/slow", "-m", "c/bad")
    done = run("recommend", "-t", "text-classification", "-d", data, *models, "--latency", 20)
    assert done.exit_code == 0, done.output
    table, out = done.stdout.split("Out of the question")
    assert [line.split()[0] for line in table.splitlines()[3:6]] == ["good", "slow", "bad"]
    good = ["good", "0.8750", "0.050", "12.50", "250.0", "120", "22.6", "M", "256"]
    assert table.splitlines()[3].split() == good
    assert "99.0 ms, allowed are 20" in out
    assert "c/bad: no weights" in out
    assert done.stdout.splitlines()[-1].startswith("regard train --model a/good ")


def test_records(run, data, measured):
    asked = ("recommend", "-t", "text-classification", "-d", data, "-m", "a/bad", "-m", "a/good")
    rows = [json.loads(line) for line in run(*asked, "--json").stdout.splitlines()]
    assert [row["model"] for row in rows] == ["a/good", "a/bad"]
    assert {name: rows[0][name] for name in FACTS} == FACTS
    assert rows[1]["score"] is None
    assert rows[1]["reason"] == "a/bad: no weights"
    table = [*csv.DictReader(io.StringIO(run(*asked, "--csv").stdout))]
    assert [row["model"] for row in table] == ["a/good", "a/bad"]
    assert float(table[0]["latency"]) == 12.5


def test_columns_and_options_are_passed_on(run, tmp_path, measured):
    rows = [
        (text, "x,y" if label == "positive" else "y") for text, label in task_data.sentiments(8)
    ]
    data = task_data.write_tsv(tmp_path / "my data.tsv", ("body", "tags"), rows)
    done = run(
        *("recommend", "-t", "text-classification", "-d", data, "-m", "a/good"),
        *("--columns", "text=body,label=tags", "--set", "label_separator=,"),
    )
    assert done.exit_code == 0, done.output
    words = shlex.split(done.stdout.splitlines()[-1])
    assert words[words.index("--data") + 1] == str(data)
    assert words[words.index("--columns") + 1] == "text=body,label=tags"
    assert words[words.index("--set") + 1] == "label_separator=,"


def test_models_of_one_name_are_told_apart():
    assert verb._short(["a/x", "b/y"]) == ["x", "y"]
    assert verb._short(["a/x", "b/x"]) == ["a/x", "b/x"]


def test_wrong_input(fails, run, data, tmp_path, measured):
    asked = ("recommend", "-t", "text-classification", "-d")
    assert "No such file or folder" in fails(*asked, tmp_path / "none.tsv")
    assert "did you mean 'ranking'" in fails("recommend", "-t", "rankin", "-d", data)
    assert "folds=1" in fails(*asked, data, "--folds", 1)
    one = task_data.write_tsv(tmp_path / "one.tsv", ("text", "label"), [("a", "x"), ("b", "x")])
    assert "the only label is x" in fails(*asked, one)
    gone = run(*asked, data, "-m", "a/bad")
    assert gone.exit_code == 1
    assert "error: a/bad: no weights\n" in gone.stderr
    both = run(*asked, data, "--json", "--csv")
    assert both.exit_code == 2
