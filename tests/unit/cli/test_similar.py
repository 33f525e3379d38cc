import json

import pytest

from regard.cli.similar import _best

TEXT, OTHERS = "a trip to Italy", ["boil the pasta", "I flew to Rome", "politics"]


def parsed(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_is_sorted_and_rounded(run):
    found = parsed(run("similar", TEXT, *OTHERS, "--json"))
    scores = [each["score"] for each in found]
    assert found[0]["text"] == "I flew to Rome"
    assert sorted(OTHERS) == sorted(each["text"] for each in found)
    assert scores == sorted(scores, reverse=True)
    assert scores == [round(score, 6) for score in scores]


def test_the_same_text_scores_one(run):
    (found,) = parsed(run("similar", TEXT, TEXT, "--json"))
    assert found["score"] == pytest.approx(1, abs=1e-5)


def test_table(run):
    done = run("similar", TEXT, *OTHERS)
    head, rule, first, *rest = done.stdout.splitlines()
    assert head.split() == ["Score", "Text"]
    assert set(rule) == {"─"}
    score, text = first.split(maxsplit=1)
    assert text == "I flew to Rome"
    assert len(score) == len("0.123456")
    assert len(rest) == 2


def test_top(run):
    every = parsed(run("similar", TEXT, *OTHERS, "--json"))
    assert parsed(run("similar", TEXT, *OTHERS, "--json", "--top", 2)) == every[:2]


def test_equal_scores_stay_in_order():
    scored = [(0.5, "a"), (0.9, "b"), (0.5, "c"), (0.9, "d")]
    assert [text for _, text in _best(iter(scored), None)] == ["b", "d", "a", "c"]
    assert [text for _, text in _best(iter(scored), 3)] == ["b", "d", "a"]


def test_top_must_be_positive(run):
    assert run("similar", TEXT, "a", "--top", 0).exit_code == 2


@pytest.mark.parametrize("arguments", [(), ("-",), ("-f", "-")])
def test_stdin(run, arguments):
    done = run("similar", TEXT, *arguments, "--json", input="\n".join(OTHERS))
    expected = parsed(run("similar", TEXT, *OTHERS, "--json"))
    assert [each["text"] for each in parsed(done)] == [each["text"] for each in expected]


def test_file_adds_to_the_arguments(run, lines_file, lines):
    done = run("similar", TEXT, "one more", "-f", lines_file, "--json")
    assert sorted(each["text"] for each in parsed(done)) == sorted(["one more", *lines])


def test_nothing_to_compare_with(fails, run):
    assert "stdin: there is no text in it" in fails("similar", TEXT)
    assert run("similar").exit_code == 2


def test_output_that_knows_only_ascii(run):
    done = run("similar", "a", "é 日本 😀", "--json", charset="ascii")
    assert parsed(done)[0]["text"] == "é 日本 😀"
    assert "\\u65e5" in done.stdout
    table = run("similar", "é", "日本", charset="ascii")
    assert table.exit_code == 0
    assert "\\u65e5" in table.stdout
