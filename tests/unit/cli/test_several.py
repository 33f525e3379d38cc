"""`regard train`, `evaluate` and `predict` of one model for several tasks."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from regard.models.auto import AutoConfig, AutoModelForSequenceClassification
from regard.models.bert import BertModel
from regard.models.multitask import MultiTaskModel, task_configs
from regard.training.trainer import Trainer

from . import task_data

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a checkpoint, data of three tasks, and the file of a run."""
    folder = tmp_path_factory.mktemp("several")
    task_data.save_bert(folder / "bert")
    data = {
        "mood": ("text-classification", task_data.classification(folder / "mood", 48)),
        "names": ("ner", task_data.names(folder / "names", 32)),
        "answers": ("qa", task_data.questions(folder / "answers", 16)),
    }
    run = {
        "model": str(folder / "bert"),
        "epochs": 8,
        "learning-rate": 3e-3,
        "batch_size": 8,
        "report_to": "none",
        "validation_split": 0.25,
        "tasks": {name: {"task": task, "data": str(path)} for name, (task, path) in data.items()},
    }
    (folder / "run.json").write_text(json.dumps(run, indent=1))
    return folder


@pytest.fixture(scope="module")
def trained(made):
    """The model that the file makes, and what the command said of it."""
    from typer.testing import CliRunner

    from regard.cli.main import app

    done = CliRunner().invoke(
        app, ["train", "-c", str(made / "run.json"), "-o", str(made / "out"), "--json"]
    )
    assert done.exit_code == 0, done.output
    return made / "out", json.loads(done.stdout)


def test_the_tasks_are_learned_and_told_apart(trained):
    output, said = trained
    assert [*said["tasks"]] == ["mood", "names", "answers"]
    assert said["tasks"]["names"]["task"] == "token-classification"
    assert said["tasks"]["mood"]["metrics"]["accuracy"] == 1.0
    assert said["tasks"]["names"]["metrics"]["f1"] == 1.0
    mood, names, answers = (
        said["tasks"][name]["metrics"][metric]
        for name, metric in (("mood", "accuracy"), ("names", "f1"), ("answers", "f1"))
    )
    assert answers == 100.0, "a percentage, which the mean counts as a share"
    assert said["metrics"]["mean"] == pytest.approx((mood + names + answers / 100) / 3)
    assert set(said["metrics"]) == {"loss", "mean"}
    config = json.loads((output / "config.json").read_text())
    assert config["tasks"]["mood"]["extra"]["regard_task"]["name"] == "text-classification"


def test_the_settings_of_a_run_repeat_its_evaluation(trained, run):
    output, said = trained
    done = run("evaluate", "-m", output, "-c", output / "settings.json", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["tasks"]
    assert {name: each["examples"] for name, each in found.items()} == {
        "mood": 12, "names": 8, "answers": 12,
    }  # fmt: skip
    for name, each in found.items():
        assert each["metrics"] == pytest.approx(said["tasks"][name]["metrics"], rel=1e-5)
    shown = run("evaluate", "-m", output, "-c", output / "settings.json").stdout
    assert "mood: text-classification, 12 examples" in shown
    assert "names: token-classification, 8 examples" in shown


def test_one_task_is_named(trained, made, run, fails):
    output, _ = trained
    done = run("evaluate", "-m", output, "-t", "mood", "-d", made / "mood/data.tsv", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["examples"] == 48
    assert json.loads(done.stdout)["metrics"]["accuracy"] == 1.0
    done = run("predict", "-m", output, "-t", "answers", "-f", made / "answers/data.json", "--json")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 16
    assert "answer" in json.loads(done.stdout.splitlines()[0])
    for verb in (
        ("evaluate", "-d", made / "mood/data.tsv"),
        ("predict", "-f", made / "answers/data.json"),
    ):
        wanted = "which task? It has answers, mood, names: name one by --task"
        assert wanted in fails(verb[0], "-m", output, *verb[1:])
    said = fails("evaluate", "-m", output, "-t", "moods", "-d", made / "mood/data.tsv")
    assert "no task 'moods'; did you mean 'mood'?" in said


def test_texts_are_answered_for_all_tasks_in_one_pass(trained, run, tmp_path, monkeypatch):
    output, _ = trained
    passes, encode = [], BertModel.encode
    monkeypatch.setattr(BertModel, "encode", lambda *given: passes.append(1) or encode(*given))
    texts = ("the film is good", "ann is in oslo .")
    done = run("predict", "-m", output, *texts, "--json")
    assert done.exit_code == 0, done.output
    assert len(passes) == 1
    assert "left out: answers: question-answering needs question and context" in done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == [*texts]
    assert rows[0]["mood_label"] == "positive"
    assert next(each["text"] for each in rows[1]["names_entities"]) == "ann"
    # The same as each task says alone.
    for name in ("mood", "names"):
        alone = run("predict", "-m", output, "-t", name, *texts, "--json")
        for row, own in zip(rows, map(json.loads, alone.stdout.splitlines()), strict=True):
            for key, value in own.items():
                shared = row["text" if key == "text" else f"{name}_{key}"]
                close = isinstance(value, float)
                assert shared == (pytest.approx(value, rel=1e-5) if close else value)
    done = run("predict", "-m", output, *texts, "-o", tmp_path / "rows.csv")
    assert done.exit_code == 0, done.output
    with (tmp_path / "rows.csv").open() as file:
        assert next(row["mood_label"] for row in csv.DictReader(file)) == "positive"


def test_a_text_that_one_task_cuts_is_answered_as_that_task_would(made, run, tmp_path):
    told = json.loads((made / "run.json").read_text())
    told["tasks"] = {
        "long": told["tasks"]["mood"],
        "short": told["tasks"]["mood"] | {"max_length": 4},
    }
    file = tmp_path / "run.json"
    file.write_text(json.dumps(told))
    done = run("train", "-c", file, "-o", tmp_path / "out", "--max-steps", 4)
    assert done.exit_code == 0, done.output
    text = "the film is good"
    row = json.loads(run("predict", "-m", tmp_path / "out", text, "--json").stdout)
    for name in ("long", "short"):
        done = run("predict", "-m", tmp_path / "out", "-t", name, text, "--json")
        assert row[f"{name}_score"] == pytest.approx(json.loads(done.stdout)["score"], rel=1e-5)
    cut = json.loads(run("predict", "-m", tmp_path / "out", "the film", "--json").stdout)
    assert row["short_score"] == pytest.approx(cut["short_score"], rel=1e-5)
    assert row["long_score"] != pytest.approx(cut["long_score"], rel=1e-5)


def test_dry_run_tells_of_all_tasks(made, run, tmp_path):
    arguments = ("train", "-c", made / "run.json", "-o", tmp_path / "out", "--dry-run")
    plan = json.loads(run(*arguments, "--json").stdout)
    assert plan["examples"] == {
        "mood training": 36, "mood validation": 12, "names training": 24, "names validation": 8,
        "answers training": 4, "answers validation": 12,
    }  # fmt: skip
    assert plan["task"] == (
        "mood text-classification, names token-classification, answers question-answering"
    )
    assert plan["labels"][:3] == ["mood negative", "mood positive", "names B-LOC"]
    assert plan["model"] == "MultiTaskModel"
    assert (plan["steps_in_epoch"], plan["steps"]) == (5 + 3 + 1, 72)
    assert sum(plan["trained"].values()) == plan["parameters"]
    assert plan["memory"]["largest batch"] > 0
    assert not (tmp_path / "out").exists()
    shown = run(*arguments).stdout
    assert "mood training" in shown
    assert "72, 9 in one pass" in shown


def test_a_run_resumes_and_its_settings_repeat_it(made, run, tmp_path, monkeypatch):
    def train(output, *more, config=made / "run.json"):
        return run("train", "-c", config, "-o", tmp_path / output, "--epochs", 2, *more)

    assert train("whole").exit_code == 0
    step = Trainer.training_step

    def interrupted(trainer, *arguments, **options):
        if trainer.state.global_step == 13:
            raise KeyboardInterrupt
        return step(trainer, *arguments, **options)

    monkeypatch.setattr(Trainer, "training_step", interrupted)
    assert train("out").exit_code != 0
    assert not (tmp_path / "out/model.safetensors").exists()
    monkeypatch.setattr(Trainer, "training_step", step)
    done = train("out", "--resume")
    assert done.exit_code == 0, done.output
    assert train("again", config=tmp_path / "whole/settings.json").exit_code == 0
    whole, *others = (
        load_file(tmp_path / name / "model.safetensors") for name in ("whole", "out", "again")
    )
    for other in others:
        assert all(torch.equal(whole[name], other[name]) for name in whole)


def test_training_goes_on_with_other_data_of_the_same_labels(trained, made, run, tmp_path):
    """Heads that the checkpoint has go on, with the numbers of their labels; others are new."""
    output, _ = trained
    rows = [("film good", "negative"), ("film bad", "positive")] * 4
    data = task_data.write_tsv(tmp_path / "d.tsv", ("text", "label"), rows)
    tasks = {"mood": {"data": str(data)}, "more": {"data": str(made / "mood/data.tsv")}}
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"task": "text-classification", "tasks": tasks}))
    more = ("--set", "report_to=none", "--max-steps", 1, "--lr", 1e-12)
    done = run("train", "-c", file, "-m", output, "-o", tmp_path / "out", *more)
    assert done.exit_code == 0, done.output
    before, after = (MultiTaskModel.from_pretrained(each) for each in (output, tmp_path / "out"))
    assert after.tasks == ["mood", "more"]
    torch.testing.assert_close(
        after.head("mood").classifier.weight, before.head("mood").classifier.weight
    )


def test_the_encoder_of_several_tasks_goes_on_with_one(trained, made, run, tmp_path):
    data = ("-t", "text-classification", "-d", made / "mood/data.tsv", "-m", trained[0])
    more = ("--set", "report_to=none", "--max-steps", 1, "-o", tmp_path / "out")
    assert run("train", *data, *more).exit_code == 0
    done = run("predict", "-m", tmp_path / "out", "good film", "--json")
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)) == {"text", "label", "score"}
    assert "tasks" not in json.loads((tmp_path / "out/config.json").read_text())
    # Saved by a program, config.json still has them.
    AutoModelForSequenceClassification.from_pretrained(trained[0], num_labels=2).save_pretrained(
        tmp_path / "alone"
    )
    config = AutoConfig.from_pretrained(tmp_path / "alone")
    assert config.extra["tasks"]
    assert task_configs(config) == {}


def test_a_model_of_one_task_is_measured_by_its_settings_too(made, run, tmp_path):
    data = ("-t", "text-classification", "-d", made / "mood/data.tsv", "-m", made / "bert")
    more = ("--set", "report_to=none", "--max-steps", 2, "-o", tmp_path / "out", "--json")
    said = json.loads(run("train", *data, *more).stdout)
    settings = ("-c", tmp_path / "out/settings.json")
    done = run("evaluate", "-m", tmp_path / "out", *settings, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["metrics"] == pytest.approx(said["metrics"], rel=1e-5)
    assert json.loads(done.stdout)["examples"] == 5


def test_what_is_refused(trained, made, run, fails):
    output, _ = trained
    settings = output / "settings.json"
    said = fails("train", "-c", made / "run.json", "-o", "x", "-d", made / "mood/data.tsv")
    assert "data is given for all tasks, and each of mood, names, answers says its own" in said
    for more in (("-t", "mood"), ("--columns", "text=a"), ("-d", made / "mood/data.tsv")):
        assert run("evaluate", "-m", output, "-c", settings, *more).exit_code == 2
    assert run("evaluate", "-m", output).exit_code == 2
