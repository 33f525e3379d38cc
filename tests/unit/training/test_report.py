"""What a run leaves to read."""

import dataclasses
import json
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

import regard
from regard.training.curves import MOST, draw, ticks
from regard.training.inspection import example_text, inspect
from regard.training.report import changed_settings, curves_of, table
from regard.training.reporting import SHOWN, as_line

NAMES = {0: "bad", 1: "good"}


class Scores(torch.nn.Module):
    """Gives each example the logits that its ids are."""

    def __init__(self, config=None):
        super().__init__()
        self.config = config
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        logits = input_ids.float() * self.scale
        logits = logits if labels.ndim == 1 else torch.stack([-logits, logits], -1)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten())
        return {"loss": loss, "logits": logits}


EXAMPLES = [
    {"input_ids": [2, 0], "labels": 0, "text": "right"},
    {"input_ids": [0, 1], "labels": 0, "text": "a bit | wrong"},
    {"input_ids": [5, 0], "labels": 1, "text": "very wrong"},
]


def trained(folder, examples=EXAMPLES, config=None, callbacks=None, **settings):
    config = config or regard.BertConfig(id2label=NAMES)
    settings = {"use_cpu": True, "num_train_epochs": 2, "learning_rate": 0.0, **settings}
    args = regard.TrainingArguments(
        folder, per_device_train_batch_size=2, disable_tqdm=True, logging_steps=1, **settings
    )
    trainer = regard.Trainer(
        Scores(config),
        args,
        train_dataset=examples,
        eval_dataset=examples,
        compute_metrics=regard.load_metric("classification"),
        callbacks=callbacks,
    )
    trainer.train()
    return trainer


def test_a_run_leaves_a_report(tmp_path):
    trained(tmp_path, eval_strategy="epoch", report_to="report")
    report = (tmp_path / "report.md").read_text("utf-8")
    facts = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    picture = ElementTree.parse(tmp_path / "curves.svg").getroot()
    assert facts["confusion"] == [[1, 1], [1, 0]]
    assert [each["example"] for each in facts["worst"]] == [2, 1, 0]
    assert facts["worst"][0]["loss"] == pytest.approx(math.log(1 + math.exp(5)))
    assert facts["last"]["eval_accuracy"] == pytest.approx(1 / 3)
    assert facts["data"] == {"train": 3, "eval": 3}
    assert (facts["steps"], facts["last"]["step"]) == (4, 4)
    # Two passes over three examples of two tokens; seconds are rounded when they are logged.
    tokens = facts["tokens_per_second"] * facts["seconds"]
    assert tokens == pytest.approx(12, rel=0.05)
    assert facts["settings"]["num_train_epochs"] == 2
    assert "weight_decay" not in facts["settings"]
    for part in (
        "| bad | 1 | 1 |",
        r"good | bad | very wrong | 2 |",
        r"bad | good | a bit \| wrong | 1 |",
        "![Curves of loss and metrics](curves.svg)",
        "| eval_accuracy | 0.33333 | 0.33333 |",
        "| num_train_epochs | 2 |",
    ):
        assert part in report
    assert "train_loss" in "".join(picture.itertext())


def test_a_report_can_be_left_out(tmp_path):
    trained(tmp_path, report_to="none")
    assert not [*tmp_path.glob("report*")]


def test_a_report_without_evaluation(tmp_path):
    config = regard.BertConfig(id2label=NAMES)
    callback = regard.ReportCallback(examples=0)
    trained(tmp_path, config=config, callbacks=[callback], report_to="none")
    facts = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert (facts["best"], facts["last"]) == ({}, {})
    assert "worst" not in facts
    assert "## Metrics" not in (tmp_path / "report.md").read_text("utf-8")


def test_a_report_that_cannot_be_written_does_not_end_the_run(tmp_path, caplog):
    (tmp_path / "report.md").mkdir()
    trained(tmp_path, report_to="report", save_strategy="no")
    assert "the report could not be written" in caplog.text


def test_only_some_examples_are_looked_at(tmp_path):
    trainer = trained(tmp_path, report_to="none")
    found = inspect(trainer, examples=2, worst=1)[""]
    assert found.examples == 2
    assert [each["text"] for each in found.worst] == ["a bit | wrong"]
    assert found.confusion is not None
    assert found.confusion.sum() == 2
    trainer.eval_dataset = {"one": EXAMPLES[:1], "two": EXAMPLES}
    found = inspect(trainer, examples=9, worst=9)
    assert {name: each.examples for name, each in found.items()} == {"one": 1, "two": 3}
    trainer.eval_dataset = None
    assert inspect(trainer, examples=9, worst=9) == {}


def test_one_of_two_processes_looks_at_every_example(tmp_path):
    trainer = trained(tmp_path, report_to="none")
    trainer.processes = dataclasses.replace(trainer.processes, world_size=2)
    assert inspect(trainer, examples=9, worst=9)[""].examples == 3


def test_tokens_are_classes_but_words_are_none(tmp_path):
    rows = [{"input_ids": [1, -2, 3], "labels": [1, 1, -100]}]
    trainer = trained(tmp_path, rows, report_to="none")
    found = inspect(trainer, examples=1, worst=1)[""]
    assert found.confusion.tolist() == [[0, 0], [1, 1]]
    assert found.worst[0]["predicted"] == "good bad"
    wanted = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(4))) / 2
    assert found.worst[0]["loss"] == pytest.approx(wanted)
    trainer.model.config = regard.BertConfig(vocab_size=2, id2label=NAMES)
    assert inspect(trainer, examples=1, worst=1) == {}


def test_the_text_of_an_example():
    assert example_text({"input_ids": [1], "a": "x", "b": ["y", "z"]}, None) == "x | y z"
    assert example_text({"input_ids": [1]}, None) == ""


def test_cells_are_shown_as_they_are():
    shown = table(("a",), [["x|y\n`<b>`"], ["_it_ is_so"], [0.123456789], ["w" * 400]])
    lines = shown.splitlines()
    assert lines[2:5] == [r"| x\|y \`&lt;b&gt;\` |", r"| \_it\_ is_so |", "| 0.12346 |"]
    assert len(lines[5]) == 304
    assert lines[5].endswith("w… |")


def test_only_changed_settings_are_listed():
    args = regard.TrainingArguments("somewhere", seed=7)
    assert changed_settings(args) == {"output_dir": "somewhere", "seed": 7}


def test_curves_are_sorted_into_panels():
    history = [
        {"step": 1, "loss": 3.0, "learning_rate": 0.1},
        {"step": 1, "eval_f1": 0.5, "eval_accuracy": 0.5, "eval_bleu": 30.0, "eval_runtime": 9.0},
        {"step": 2, "eval_f1": 0.6, "eval_accuracy": 0.6, "eval_bleu": 31.0, "eval_loss": 2.0},
    ]
    assert curves_of(history) == {
        "Loss": {"train_loss": [(1, 3.0)], "eval_loss": [(2, 2.0)]},
        "Metrics": {"eval_f1": [(1, 0.5), (2, 0.6)]},
        "Metrics beyond 1": {"eval_bleu": [(1, 30.0), (2, 31.0)]},
    }


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 1.0, [0, 0.5, 1]),
        (0.81, 1.17, [0.8, 0.9, 1.0, 1.1, 1.2]),
        (0, 150, [0, 50, 100, 150]),
        (3.0, 3.0, [1, 2, 3, 4, 5]),
        (0.0, 0.0, [-0.5, 0, 0.5]),
        (-1e-9, 1e-9, [-1e-9, -5e-10, 0, 5e-10, 1e-9]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, wanted):
    found = ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert found == pytest.approx(wanted)


def test_a_picture_is_within_its_frame():
    values = np.random.default_rng(0).normal(size=40)
    curves = {"a<b": [*enumerate(values)], "n": [(0, math.nan), (5, 1.0)]}
    root = ElementTree.fromstring(draw({"One": curves, "Two": {"x": [(0, math.inf)]}}))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(map(float, p.split(","))) for p in lines[0].get("points").split()]
    assert len(points) == 40
    assert all(64 <= x <= 550 and 34 <= y <= 204 for x, y in points)
    assert (points[0][0], points[-1][0]) == (64, 550)
    highest = int(np.argmax(values))
    assert points[highest][1] == min(y for _, y in points)
    assert "a<b" in "".join(root.itertext())
    assert "nothing finite" in "".join(root.itertext())


def test_a_panel_has_no_more_lines_than_colors():
    root = ElementTree.fromstring(draw({"All": {str(i): [(0, i)] for i in range(MOST + 3)}}))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == MOST


def test_a_line_of_a_log_has_an_end():
    few = {"epoch": 1.0, "loss": 0.25}
    assert as_line(3, few) == "step 3 · epoch 1 · loss 0.25"
    many = few | {f"eval_f1_{number}": 0.5 for number in range(30)}
    line = as_line(3, many)
    assert line.count(" · ") == SHOWN + 1
    assert line.endswith(" · 20 more")
