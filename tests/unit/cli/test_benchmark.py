import json

import pytest
import torch

from regard.runtime.precision import multiplies_int8

TEXTS = ("A quick brown fox.", "It rains in Bergen.")


def test_every_precision_has_a_row(run):
    done = run("benchmark", *TEXTS, "--rounds", 1, "--accuracy")
    assert done.exit_code == 0, done.output
    head, _, *rows = done.stdout.splitlines()[1:]
    assert head.split() == ["Precision", "Texts/s", "Median", "Times", "Agrees", "Least"]
    assert rows[0].split()[:2] == ["as", "loaded"]
    assert rows[0].split()[-3:] == ["1.00", "1.00000", "1.00000"]
    assert rows[1].split()[0] == "fp32"
    for row in rows[1:]:
        assert 0.99 < float(row.split()[-1]) <= float(row.split()[-2]) <= 1.0
    assert "2 texts" in done.stderr


def test_answers_that_are_no_vectors(run):
    done = run("benchmark", *TEXTS, "-t", "ner", "--rounds", 1, "--accuracy", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[0]["precision"] == "as loaded"
    assert all(row["texts"] == 2 and 0 < row["fastest"] <= row["median"] for row in rows)
    assert all(row["agreement"] == 1.0 and row["least"] is None for row in rows)
    assert ("int8" in [row["precision"] for row in rows]) == multiplies_int8(torch.device("cpu"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-t", "nerr"), "unknown task 'nerr'; did you mean 'ner'"),
        (("-t", "translation", "-m", "nowhere/at-all"), "nowhere/at-all"),
        (("--file", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_wrong_input(fails, arguments, said):
    assert said in fails("benchmark", *arguments)
