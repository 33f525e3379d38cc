import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from regard.errors import ConfigError
from regard.models.auto import AutoConfig, AutoModelForSequenceClassification
from regard.models.multitask import MultiTaskModel
from regard.training.job import open_run
from regard.training.settings import read_settings
from regard.training.tasks.registry import task_of

from .runs import model, same
from .several import tokenizer

MOODS = "label\ttext\n" + "good\tw1 w2\nbad\tw3\ngood\tw4 w5\nbad\tw6 w7\n" * 5
NAMES = "w1\tB-PER\nw2\tI-PER\nw3\tO\n\nw4\tO\nw5\tB-LOC\n\nw6\tO\n"


@pytest.fixture
def folder(tmp_path):
    model().base_model.save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    for corpus, name, text in (
        ("sentence_polarity", "train.tsv", MOODS),
        ("trec", "train.tsv", MOODS),
        ("wnut17", "train.conll", NAMES),
        ("wnut17", "validation.conll", NAMES),
    ):
        (tmp_path / corpus).mkdir(exist_ok=True)
        (tmp_path / corpus / name).write_text(text)
    return tmp_path


def told(folder, **changes):
    """Write the file of a run."""
    values = {
        "model": str(folder / "base"),
        "output": str(folder / "out"),
        "batch_size": 2,
        "max_steps": 3,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "report_to": "none",
        "task_temperature": 2,
        "tasks": {
            "mood": {
                "task": "text-classification",
                "data": str(folder / "trec"),
                "validation": str(folder / "trec" / "train.tsv"),
            },
            "names": {"task": "ner", "data": str(folder / "wnut17"), "max_length": 6},
        },
    }
    (folder / "run.json").write_text(json.dumps(values | changes, indent=1))
    return folder / "run.json"


def test_the_mean_of_tasks_counts_percentages_as_shares(folder):
    """Else a task that is measured in percent would choose the checkpoint by itself."""
    paragraph = {"context": "w1 w2 w3", "qas": []}
    for number in range(4):
        answers = [{"text": "w1 w2 w3", "answer_start": 0}]
        paragraph["qas"].append({"id": str(number), "question": "w4 w5", "answers": answers})
    squad = {"data": [{"title": "one", "paragraphs": [paragraph]}]}
    (folder / "squad.json").write_text(json.dumps(squad))
    spans = {"task": "question-answering", "data": str(folder / "squad.json")}
    spans["validation"] = spans["data"]
    file = told(folder)
    values = json.loads(file.read_text())
    values["tasks"] = {"mood": values["tasks"]["mood"], "spans": spans}
    file.write_text(json.dumps(values))
    metrics = open_run(read_settings({}, file)).train()
    assert metrics["eval_spans_f1"] > 1
    wanted = (metrics["eval_mood_accuracy"] + metrics["eval_spans_f1"] / 100) / 2
    assert metrics["eval_mean"] == pytest.approx(wanted)


def test_a_file_of_several_tasks_is_a_run(folder):
    run = open_run(read_settings({}, told(folder)))
    metrics = run.train()
    wanted = (metrics["eval_mood_accuracy"] + metrics["eval_names_f1"]) / 2
    assert metrics["eval_mean"] == wanted
    saved = MultiTaskModel.from_pretrained(folder / "out")
    assert saved.head("mood").config.id2label == {0: "bad", 1: "good"}
    assert set(saved.head("names").config.label2id) == {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    alone = saved.extract("mood")
    alone.save_pretrained(folder / "alone")
    assert task_of(AutoConfig.from_pretrained(folder / "alone")) == run.parts["mood"].task
    assert task_of(saved.head("names").config).max_length == 6
    again, ids = AutoModelForSequenceClassification.from_pretrained(folder / "alone"), [[2, 6, 3]]
    assert same(again.state_dict(), alone.state_dict())
    # Where a mapped tensor begins decides how a product is summed, so not to the last bit.
    found, wanted = again(torch.tensor(ids)), saved(task="mood", input_ids=torch.tensor(ids))
    torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-5, atol=1e-7)


def test_what_is_wrong_with_the_data_names_the_task(folder):
    tasks = {"mood": {"task": "ner", "data": str(folder / "wnut17"), "validation_split": 0.5}}
    with pytest.raises(ConfigError, match=r"task .mood.: validation_split=0\.5"):
        open_run(read_settings({}, told(folder, tasks=tasks)))
    with pytest.raises(
        ConfigError, match=r"run\.json, line .*'max_step'.*did you mean 'max_steps'"
    ):
        read_settings({}, told(folder, max_step=3))


def test_the_recipe_runs(folder, monkeypatch, capsys):
    recipe = Path(__file__).parents[3] / "recipes" / "multitask.py"
    given = [
        "--data",
        str(folder),
        "--output",
        str(folder / "out"),
        "--model",
        str(folder / "base"),
    ]
    monkeypatch.setattr(sys, "argv", [str(recipe), *given, "--max-steps", "2", "--batch-size", "4"])
    runpy.run_path(str(recipe), run_name="__main__")
    result = json.loads((folder / "out" / "results.json").read_text())
    assert [*result["tasks"]] == ["sentiment", "question", "names"]
    shown = capsys.readouterr().out.splitlines()
    assert (
        sum(line.startswith(("| sentiment |", "| question |", "| names |")) for line in shown) == 3
    )
