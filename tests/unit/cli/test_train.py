"""`regard train`, `evaluate` and `predict`, for each task from a file to answers."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from regard.errors import CheckpointError
from regard.training.trainer import Trainer

from . import task_data

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

#: Task -> what writes its data, the checkpoint, more options, and the metric that must be reached.
TASKS = {
    "text-classification": (task_data.classification, "bert", (), ("accuracy", 1.0)),
    "natural-language-inference": (task_data.pairs, "bert", ("--epochs", 20), ("accuracy", 1.0)),
    "multi-label-classification": (task_data.several, "bert", (), ("accuracy", 1.0)),
    "sts": (task_data.regression, "bert", ("--epochs", 20), ("spearmanr", 0.8)),
    "ner": (task_data.names, "bert", (), ("f1", 1.0)),
    "srl": (task_data.roles, "bert", ("--epochs", 14), ("f1", 1.0)),
    "qa": (task_data.questions, "bert", ("--epochs", 20), ("f1", 100.0)),
    "multiple-choice": (task_data.choices, "bert", (), ("accuracy", 1.0)),
    "image-classification": (task_data.pictures, "vit", (), ("accuracy", 1.0)),
}
FAST = ("--lr", 3e-3, "--batch-size", 8, "--set", "report_to=none")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "bert": task_data.save_bert(folder / "bert"),
        "bart": task_data.save_bart(folder / "bart"),
        "gpt2": task_data.save_gpt2(folder / "gpt2"),
        "vit": task_data.save_vit(folder / "vit"),
    }


@pytest.fixture
def train(run, checkpoints, tmp_path):
    """Train on tiny data; return what the command said, as JSON."""

    def command(task, data, *more, checkpoint="bert", output=tmp_path / "out"):
        model = ("--model", checkpoints[checkpoint], "--output", output)
        done = run("train", "--task", task, "--data", data, *model, *FAST, "--json", *more)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return command


#: The fast run has one kind of head each; these are other names of the same.
ALIKE = ("natural-language-inference", "sts")


@pytest.mark.parametrize(
    "task",
    [pytest.param(each, marks=pytest.mark.slow) if each in ALIKE else each for each in TASKS],
)
def test_from_a_file_to_answers(task, train, run, tmp_path):
    write, checkpoint, more, (metric, wanted) = TASKS[task]
    data = write(tmp_path / "data", 48)
    options = ("--epochs", 10, "--validation-split", 0.25, *more)
    found = train(task, data, *options, checkpoint=checkpoint)
    assert found["metrics"][metric] >= wanted, found

    output = tmp_path / "out"
    done = run("evaluate", "--model", output, "--data", data, "--json")
    assert done.exit_code == 0, done.output
    whole = json.loads(done.stdout)
    assert whole["task"] == found["task"]
    assert whole["metrics"][metric] >= wanted

    rows = tmp_path / "rows.jsonl"
    done = run("predict", "--model", output, "--file", data, "--output", rows)
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(answers) == whole["examples"]
    check(task, answers)


def check(task, answers):
    """Compare what was predicted with what the words say."""
    for row in answers:
        if task == "text-classification":
            assert row["label"] == ("positive" if "good" in row["text"] else "negative")
            assert 0.5 < row["score"] <= 1
        elif task == "natural-language-inference":
            assert row["label"].lower() == row["text_pair"].split()[-1]
        elif task == "multi-label-classification":
            assert row["labels"] == sorted(w for w in ("GOOD", "BAD") if w.lower() in row["text"])
        elif task == "sts":
            assert (row["score"] > 3) == ("good" in row["text"])
        elif task == "ner":
            assert row["tags"][0] == "B-PER"
            assert row["entities"][1] == {
                "type": "LOC", "text": f"the {row['tokens'][4]}", "start": 3, "end": 5,
            }  # fmt: skip
        elif task == "srl":
            assert row["arguments"][-1]["role"] == ("ARG1" if row["predicate"] == 1 else "ARG2")
        elif task == "qa":
            assert row["answer"] == row["context"].split()[3]
        elif task == "multiple-choice":
            assert row["choice"] == "good"
        elif task == "image-classification":
            assert row["label"] == row["image"].split("/")[-2]


@pytest.mark.parametrize(
    "task", ["translation", pytest.param("summarization", marks=pytest.mark.slow)]
)
def test_texts_from_texts(task, train, run, tmp_path):
    write = task_data.parallel if task == "translation" else task_data.summaries
    columns = ("--columns", "text=aa,target=bb") if task == "translation" else ()
    data = write(tmp_path / "data", 32)
    short = ("--set", "max_new_tokens=9")
    found = train(task, data, "--epochs", 20, "--lr", 1e-2, *columns, *short, checkpoint="bart")
    assert found["metrics"]["perplexity"] < 1.5
    # Every target has two words, so its only n-grams are of one and two.
    metric, wanted = ("chrf", 100.0) if task == "translation" else ("rougeL", 1.0)
    assert found["metrics"][metric] == pytest.approx(wanted)
    done = run("evaluate", "-m", tmp_path / "out", "-d", data, *columns, "--json")
    assert done.exit_code == 0, done.output
    again = json.loads(done.stdout)["metrics"]
    assert again[metric] == pytest.approx(wanted)
    text = {
        "translation": "bob is in oslo",
        "summarization": "the film is bad . ann sees the film .",
    }
    done = run("predict", "-m", tmp_path / "out", text[task], "--json")
    assert done.exit_code == 0, done.output
    said = {"translation": "blue film", "summarization": "bad film"}
    assert json.loads(done.stdout)["target"] == said[task]


def test_a_decoder_without_padding_learns_too(train, tmp_path):
    data = task_data.classification(tmp_path / "data", 48)
    found = train("text-classification", data, "--epochs", 10, checkpoint="gpt2")
    assert found["metrics"]["accuracy"] == 1.0


def test_a_folder_with_validation_is_taken_as_that(train, tmp_path):
    rows = task_data.sentiments(20)
    task_data.write_tsv(tmp_path / "d/train.tsv", ("text", "label"), rows)
    task_data.write_tsv(tmp_path / "d/dev.tsv", ("text", "label"), rows[:7])
    plan = train("text-classification", tmp_path / "d", "--dry-run")
    assert plan["examples"] == {"training": 20, "validation": 7}


def test_dry_run_says_what_would_be_done_and_does_nothing(run, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 40)
    arguments = ("-t", "sentiment-analysis", "-d", data, "-m", checkpoints["bert"])
    arguments = ("train", *arguments, "-o", tmp_path / "out", "--batch-size", 8, "--dry-run")
    done = run(*arguments, "--json")
    plan = json.loads(done.stdout)
    assert plan["examples"] == {"training": 36, "validation": 4}
    assert (plan["steps_in_epoch"], plan["steps"], plan["warmup"]) == (5, 15, 2)
    assert plan["labels"] == ["negative", "positive"]
    assert sum(plan["trained"].values()) == plan["parameters"]
    assert plan["trained"]["classifier"] == 2 * 32 + 2
    assert plan["memory"]["weights and optimiser"] == 16 * plan["parameters"]
    assert plan["lengths"]["longest"] <= plan["lengths"]["limit"] == 48
    assert plan["tokens"] == round(plan["lengths"]["mean"] * 36)
    assert plan["first_loss"] == pytest.approx(0.69, abs=0.3)
    fewer = json.loads(run(*arguments, "--json", "--batch-size", 2).stdout)
    assert 0 < fewer["memory"]["largest batch"] < plan["memory"]["largest batch"]
    assert not (tmp_path / "out").exists()
    told = run(*arguments).stdout
    assert "15, 5 in one pass, of 8 examples" in told
    assert "2: negative, positive" in told


def test_settings_of_a_file(run, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 24)
    file = tmp_path / "run.yaml"
    file.write_text(
        f"task: text-classification\ndata: {data}\nmodel: {checkpoints['bert']}\n"
        f"output: {tmp_path / 'out'}\nepochs: 2\nlearning-rate: 3e-3\nvalidation_split: 0.25\n"
        "max_length: 12\nreport_to: none\n"
    )
    done = run("train", "--config", file, "--epochs", 1, "--json")
    assert done.exit_code == 0, done.output
    kept = json.loads((tmp_path / "out/training_args.json").read_text())
    assert (kept["num_train_epochs"], kept["learning_rate"]) == (1, 3e-3)
    assert json.loads((tmp_path / "out/config.json").read_text())["regard_task"] == {
        "name": "text-classification", "max_length": 12, "label_separator": None,
    }  # fmt: skip
    before = load_file(tmp_path / "out/model.safetensors")
    # The settings of a run are kept, and repeat it to the bit.
    done = run("train", "--config", tmp_path / "out/settings.json", "--output", tmp_path / "again")
    assert done.exit_code == 0, done.output
    after = load_file(tmp_path / "again/model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(train, run, tmp_path, monkeypatch):
    data = task_data.classification(tmp_path / "data", 32)
    train("text-classification", data, "--epochs", 3, output=tmp_path / "whole")
    step = Trainer.training_step

    def interrupted(trainer, *arguments, **options):
        if trainer.state.global_step == 6:
            raise KeyboardInterrupt
        return step(trainer, *arguments, **options)

    monkeypatch.setattr(Trainer, "training_step", interrupted)
    with pytest.raises(AssertionError):
        train("text-classification", data, "--epochs", 3)
    assert not (tmp_path / "out/model.safetensors").exists()
    monkeypatch.setattr(Trainer, "training_step", step)
    train("text-classification", data, "--epochs", 3, "--resume")
    whole, resumed = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "out"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_nothing_to_resume_from(run, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 16)
    model = ("-m", checkpoints["bert"], "-o", tmp_path / "out")
    done = run("train", "-t", "text-classification", "-d", data, *model, "--resume")
    assert done.exit_code == 1
    assert isinstance(done.exception.__cause__ or done.exception, CheckpointError | SystemExit)
    assert f"{tmp_path / 'out'} holds no whole checkpoint" in done.stderr


def test_random_weights_of_a_shape(run, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 16)
    shape = tmp_path / "shape.json"
    values = json.loads((checkpoints["bert"] / "config.json").read_text())
    shape.write_text(json.dumps(values | {"num_hidden_layers": 1}))
    arguments = ("-t", "text-classification", "-d", data, "--from-config", shape)
    done = run(
        *("train", *arguments, "--tokenizer", checkpoints["bert"], "-o", tmp_path / "out", *FAST),
        *("--max-steps", 2),
    )
    assert done.exit_code == 0, done.output
    names = [*load_file(tmp_path / "out/model.safetensors")]
    assert any("layer.0." in name for name in names)
    assert not any("layer.1." in name for name in names)
    done = run("train", *arguments, "-m", checkpoints["bert"], "-o", tmp_path / "x")
    assert "model and from_config are both given" in done.stderr


def test_texts_are_answered_from_the_command_line(train, run, tmp_path):
    train("text-classification", task_data.classification(tmp_path / "data", 48), "--epochs", 8)
    done = run("predict", "-m", tmp_path / "out", "the film is good", "bad film .", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["positive", "negative"]
    table = run("predict", "-m", tmp_path / "out", "the film is good").stdout
    assert table.split()[:3] == ["text", "label", "score"]
    lines = tmp_path / "lines.txt"
    lines.write_text("the film is bad\n\ngood film\n")
    done = run("predict", "-m", tmp_path / "out", "-f", lines, "-o", tmp_path / "rows.csv")
    assert done.exit_code == 0, done.output
    with (tmp_path / "rows.csv").open() as file:
        found = [*csv.DictReader(file)]
    assert [row["label"] for row in found] == ["negative", "positive"]


def test_words_of_a_text_are_labelled(train, run, tmp_path):
    train("ner", task_data.names(tmp_path / "data", 32), "--epochs", 6)
    done = run("predict", "-m", tmp_path / "out", "bob is in the oslo.", "--json")
    row = json.loads(done.stdout)
    assert row["tokens"] == ["bob", "is", "in", "the", "oslo", "."]
    assert [each["text"] for each in row["entities"]] == ["bob", "the oslo"]


REFUSED = {
    "column": (("--columns", "label=stars"), "no column 'stars'"),
    "task column": (("--columns", "labels=text"), "did you mean 'label'?"),
    "setting": (("--set", "lerning_rate=1"), "did you mean 'learning_rate'?"),
    "value": (("--set", "lr_scheduler_type=lineer"), "did you mean 'linear'?"),
    "form": (("--set", "seed"), "wanted NAME=VALUE"),
    "task": (("--task", "text-clasification"), "did you mean 'text-classification'?"),
    "head": (("--task", "translation", "--columns", "target=label"), "bert has no"),
    "split": (("--validation", "{data}", "--validation-split", 0.2), "leave one of them out"),
    "option": (("--set", "max_length=long"), "max_length is 'long'; it must be int"),
}


@pytest.mark.parametrize("what", [*REFUSED])
def test_what_is_refused(what, run, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 8)
    more, message = REFUSED[what]
    more = [str(each).format(data=data) for each in more]
    arguments = ("-d", data, "-m", checkpoints["bert"], "-o", tmp_path / "out", *more)
    done = run("train", "-t", "text-classification", *arguments)
    assert done.exit_code == 1
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_unknown_setting_in_a_file_names_its_line(run, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("task: ner\ndata: x\noutput: y\n\nlerning-rate: 1\n")
    done = run("train", "-c", file)
    assert f"error: {file}, line 5: no setting is called 'lerning_rate'; did you" in done.stderr


def test_a_label_that_training_had_not(train, run, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 16)
    other = task_data.write_tsv(tmp_path / "v.tsv", ("text", "label"), [("a", "neutral")])
    arguments = ("-t", "text-classification", "-d", data, "--validation", other)
    done = run("train", *arguments, "-m", checkpoints["bert"], "-o", tmp_path / "out")
    wanted = f"{other}, line 2: the label 'neutral' is not one of negative, positive"
    assert wanted in done.stderr
    train("text-classification", data, "--max-steps", 1)
    assert wanted in run("evaluate", "-m", tmp_path / "out", "-d", other).stderr


def test_a_model_without_the_head(train, run, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 16)
    done = run("evaluate", "-m", checkpoints["bert"], "-d", data)
    assert "has no trained head of any task (BertModel)" in done.stderr
    train("text-classification", data, "--max-steps", 1)
    done = run("predict", "-m", tmp_path / "out", "-t", "ner", "ann")
    assert "no trained head for token-classification" in done.stderr
    done = run("predict", "-m", tmp_path / "out", "-o", tmp_path / "a.parquet", "ann")
    assert "wanted .csv, .tsv or .jsonl" in done.stderr
