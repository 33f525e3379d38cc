"""`recipes/similarity.py`: correlations of plain cosines with what people say."""

import os
import runpy
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[3] / "recipes" / "similarity.py"
PAIRS = """\
sentence_A\tsentence_B\trelatedness_score
A man is playing a guitar\tA man plays the guitar\t4.9
A man is playing a guitar\tSomeone makes music\t3.5
A man is playing a guitar\tThe dog swims in a river\t1.1
"""


@pytest.fixture
def measured(monkeypatch, capsys):
    """Run the recipe; return number of pairs, Pearson and Spearman."""

    def measure(data):
        monkeypatch.setattr(sys, "argv", [str(RECIPE), "--data", str(data)])
        runpy.run_path(str(RECIPE), run_name="__main__")
        *_, row = capsys.readouterr().out.splitlines()
        where, *numbers = row.strip("| ").split(" | ")
        assert where == str(data)
        return [float(each) for each in numbers]

    return measure


def test_closer_sentences_have_a_larger_cosine(measured, tmp_path):
    (tmp_path / "pairs.tsv").write_text(PAIRS)
    count, pearson, spearman = measured(tmp_path / "pairs.tsv")
    assert (count, spearman) == (3, 1)
    assert 0.9 < pearson < 1


def test_a_scale_turned_round_turns_the_sign(measured, tmp_path):
    rows = [line.split("\t") for line in PAIRS.splitlines()[1:]]
    turned = [f"{left}\t{right}\t{-float(score)}\n" for left, right, score in rows]
    (tmp_path / "pairs.tsv").write_text("text\ttext_pair\tlabel\n" + "".join(turned))
    assert measured(tmp_path / "pairs.tsv")[2] == -1


@pytest.mark.slow
@pytest.mark.skipif("REGARD_DATA" not in os.environ, reason="REGARD_DATA names no corpora")
def test_sick(measured):
    count, pearson, _ = measured(Path(os.environ["REGARD_DATA"]) / "sick")
    assert count == 500
    assert pearson == pytest.approx(0.8458, abs=2e-3)
