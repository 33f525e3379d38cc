"""What answers where no model is named: plain cases, which any model worth shipping gets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import regard
from regard.adapters.adapter import attached
from regard.checkpoints.shipped import shipped_models

CITY = "Marie Curie was born in Warsaw and worked in Paris."


def test_sentiment():
    classify = regard.pipeline("sentiment-analysis")
    good, bad = classify(["I loved every minute of this film.", "A dull, lifeless mess."])
    assert (good["label"], bad["label"]) == ("positive", "negative")
    assert min(good["score"], bad["score"]) > 0.9
    # The adapter is in the weights, so that nothing more is computed than for the base.
    assert attached(classify.model) is None


def test_names():
    found = regard.pipeline("ner", aggregation_strategy="simple")(CITY)
    assert [(each["entity_group"], each["word"]) for each in found] == [
        *(("PER", "Marie Curie"), ("LOC", "Warsaw"), ("LOC", "Paris"))
    ]


def test_roles():
    (found,) = regard.pipeline("srl")("The cat chased the mouse.")
    assert found["predicate"]["word"] == "chased"
    assert {(each["role"], each["word"]) for each in found["arguments"]} == {
        *(("ARG0", "cat"), ("ARG1", "mouse"))
    }


def test_answers():
    found = regard.pipeline("qa")(question="Who was born in Warsaw?", context=CITY)
    assert found["answer"] == "Marie Curie"
    assert CITY[found["start"] : found["end"]] == "Marie Curie"


def test_all_of_them_at_once():
    ask = regard.pipeline("multi-task")
    found = ask(CITY, question="Where was Marie Curie born?")
    assert {*found} == {"sentiment", "entities", "predicates", "roles", "answers"}
    assert "Warsaw" in found["answers"]["answer"]
    names = [(each["entity_group"], each["word"]) for each in found["entities"]]
    assert names == [("PER", "Marie Curie"), ("LOC", "Warsaw"), ("LOC", "Paris")]
    roles = {each["predicate"]["word"]: each["arguments"] for each in found["roles"]}
    assert ("ARG1", "Marie") in [(each["role"], each["word"]) for each in roles["born"]]
    (mood,) = ask(["I loved every minute of this film."], tasks=["sentiment"])
    assert mood["sentiment"]["label"] == "positive"


def test_a_shipped_model_by_its_name():
    model = regard.AutoModelForSequenceClassification.from_pretrained("regard/sentiment")
    assert attached(model) is not None
    tokenizer = regard.AutoTokenizer.from_pretrained("regard/sentiment")
    (found,) = regard.pipeline("sentiment-analysis", model, tokenizer=tokenizer)("I loved it.")
    (usual,) = regard.pipeline("sentiment-analysis", precision="fp32")("I loved it.")
    assert found["score"] == pytest.approx(usual["score"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif("REGARD_DATA" not in os.environ, reason="REGARD_DATA names no corpora")
def test_the_recipe_prints_the_scores_of_the_cards():
    recipe = Path(__file__).parents[3] / "recipes" / "shipped.py"
    done = subprocess.run([sys.executable, recipe], capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    printed = {
        (name.strip("`"), f"{metric}, {data}"): float(score)
        for name, data, _, metric, score in rows
    }
    cards = {
        (name, what): score
        for name, model in shipped_models().items()
        for what, score in model.scores.items()
    }
    assert {key: printed[key] for key in cards} == pytest.approx(cards, rel=0.005)
