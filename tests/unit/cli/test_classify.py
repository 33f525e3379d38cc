import json

import pytest

TEXTS = ["I flew to Rome", "boil the pasta"]
LABELS = ("--labels", "travel, cooking,politics")


def parsed(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json(run):
    first, second = parsed(run("classify", *TEXTS, *LABELS, "--json"))
    assert list(first) == ["text", "labels", "scores"]
    assert [first["text"], second["text"]] == TEXTS
    assert [first["labels"][0], second["labels"][0]] == ["travel", "cooking"]
    assert sorted(first["labels"]) == ["cooking", "politics", "travel"]
    assert sum(first["scores"]) == pytest.approx(1, abs=2e-6)
    assert first["scores"] == [round(score, 6) for score in sorted(first["scores"])[::-1]]


def test_labels_may_be_repeated(run):
    each = run("classify", *TEXTS, "-l", "travel", "-l", "cooking,politics", "--json")
    assert parsed(each) == parsed(run("classify", *TEXTS, *LABELS, "--json"))


def test_multi_label_scores_each_alone(run):
    (one,) = parsed(run("classify", TEXTS[0], "-l", "travel", "--multi-label", "--json"))
    (two,) = parsed(run("classify", TEXTS[0], "-l", "travel,flight", "--multi-label", "--json"))
    assert one["scores"][0] < 0.9
    assert dict(zip(two["labels"], two["scores"], strict=True))["travel"] == pytest.approx(
        one["scores"][0], abs=2e-6
    )


def test_template(run):
    plain = parsed(run("classify", TEXTS[0], *LABELS, "--json"))
    default = "{}"
    assert parsed(run("classify", TEXTS[0], *LABELS, "--json", "--template", default)) == plain
    assert (
        parsed(run("classify", TEXTS[0], *LABELS, "--json", "--template", "A text about {}."))
        != plain
    )


def test_table(run):
    done = run("classify", *TEXTS, *LABELS)
    head, _, first, *rest = done.stdout.splitlines()
    assert head.split() == ["Text", "Label", "Score"]
    assert first.split()[:-1] == ["I", "flew", "to", "Rome", "travel"]
    assert len(rest) == 5
    assert len({line.rindex(".") for line in [first, *rest]}) == 1


def test_table_of_many_long_labels(run):
    labels = [f"label number {number} with a long name" for number in range(9)]
    done = run("classify", TEXTS[0], "-l", ",".join(labels))
    rows = done.stdout.splitlines()[2:]
    assert len(rows) == 6
    assert "(4 more)" in rows[-1]
    assert all("..." in row for row in rows[:-1])
    assert max(map(len, rows)) <= 80


def test_file(run, lines_file, lines):
    done = run("classify", "-f", lines_file, *LABELS, "--json")
    assert [each["text"] for each in parsed(done)] == lines
    assert "skipped 2 blank lines" in done.stderr


def test_stdin(run):
    done = run("classify", *LABELS, "--json", input="\n".join(TEXTS))
    assert [each["labels"][0] for each in parsed(done)] == ["travel", "cooking"]


@pytest.mark.parametrize("labels", ["", " , "])
def test_no_label(fails, labels):
    assert "--labels names no label" in fails("classify", "a", "--labels", labels)


def test_a_template_is_about_labels(run):
    done = run("classify", "a", "--template", "about {}", "--model", "x")
    assert done.exit_code == 2
    assert "--labels" in done.stderr


def test_without_labels_it_is_sentiment(run):
    good, bad = parsed(run("classify", "I loved every minute.", "A dull mess.", "--json"))
    assert [good["labels"][0], bad["labels"][0]] == ["positive", "negative"]


def test_a_model_with_labels_of_its_own(run, tagger):
    (found,) = parsed(run("classify", "a", "-m", tagger / "sequences", "--json"))
    assert sorted(found["labels"]) == ["B-PER", "I-PER", "O"]
    assert sum(found["scores"]) == pytest.approx(1, abs=1e-5)
    (each,) = parsed(run("classify", "a", "-m", tagger / "sequences", "--json", "--multi-label"))
    assert each["scores"] != found["scores"]


def test_csv(run):
    rows = run("classify", *TEXTS, *LABELS, "--csv").stdout.splitlines()
    assert rows[0] == "text,label,score"
    assert rows[1].startswith("I flew to Rome,travel,0.")
    assert len(rows) == 7


def test_template_without_its_place(fails):
    assert "--template needs {}" in fails("classify", "a", *LABELS, "--template", "about")
