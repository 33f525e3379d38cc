"""Loggers that people have: what wandb, trackio and mlflow are told, by fakes and by themselves."""

import os
import sqlite3
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from regard.training.reporting import LOGGERS

from .runs import examples, trainer


class Fake(ModuleType):
    """The part of wandb and trackio that is called: one run at a time, which goes on till finish.

    `holder.get()` is the run; wandb has it as `run` too, where trackio has a module of that name.
    """

    def __init__(self, name):
        super().__init__(name)
        self.calls, self.going = [], None
        self.context_vars = SimpleNamespace(current_run=SimpleNamespace(get=lambda: self.going))
        self.__spec__ = SimpleNamespace(name=name)

    @property
    def run(self):
        return self.going if self.__name__ == "wandb" else ModuleType("trackio.run")

    def init(self, project, name=None, config=None):
        assert self.going is None
        self.going = object()
        self.calls.append(("init", project, name, config["max_steps"]))

    def log(self, numbers, step=None):
        assert self.going is not None
        self.calls.append(("log", step, {*numbers}))

    def finish(self):
        self.going = None
        self.calls.append(("finish",))


class FakeMLflow(ModuleType):
    """The part of mlflow that is called, with its limits."""

    def __init__(self):
        super().__init__("mlflow")
        self.runs, self.params, self.logged = [], {}, {}
        self.__spec__ = SimpleNamespace(name="mlflow")

    def active_run(self):
        return self.runs[-1] if self.runs else None

    def start_run(self, run_name=None, nested=False):
        assert nested == bool(self.runs)
        self.runs.append(run_name)

    def log_params(self, params):
        assert len(params) <= 100
        assert all(len(value) <= 250 for value in params.values())
        self.params |= params

    def log_metrics(self, numbers, step):
        assert not [name for name in numbers if {*name} & {*"*/()"}]
        self.logged.setdefault(step, {}).update(numbers)

    def end_run(self):
        self.runs.pop()


def run(folder, name):
    """Train 4 steps, and evaluate at the last; one metric has a name of signs."""
    made = trainer(
        folder / "model",
        report_to=[name],
        run_name="tiny",
        max_steps=4,
        eval_strategy="steps",
        eval_steps=4,
        eval_dataset=examples(3),
        save_strategy="no",
    )
    made.compute_metrics = lambda _: {"f1_V*(x/y)": 0.5}
    made.train()
    return {log["step"]: log["loss"] for log in made.state.log_history if "loss" in log}


@pytest.mark.parametrize("begun", [False, True], ids=["own", "the caller's"])
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_numbers_go_to_a_run_of_its_own_or_to_the_callers(name, begun, tmp_path, monkeypatch):
    fake = Fake(name)
    monkeypatch.setitem(sys.modules, name, fake)
    fake.going = object() if begun else None
    run(tmp_path, name)
    kinds = [call[0] for call in fake.calls]
    assert kinds == ["log"] * 4 if begun else ["init", *["log"] * 4, "finish"]
    assert begun or fake.calls[0] == ("init", "model", "tiny", 4)
    logs = [call[1:] for call in fake.calls if call[0] == "log"]
    assert [step for step, _ in logs] == [2, 4, 4, 4]
    assert logs[0][1] == {"train/loss", "train/learning_rate", "train/grad_norm", "train/epoch"}
    assert {"eval/loss", "eval/f1_V*(x/y)"} < logs[2][1]
    assert "train/train_loss" in logs[3][1]
    assert "train/loss" not in logs[3][1]
    assert (fake.going is None) != begun


@pytest.mark.parametrize("begun", [False, True], ids=["own", "within the caller's"])
def test_mlflow_is_told_within_its_limits(begun, tmp_path, monkeypatch):
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    fake.runs = ["theirs"] if begun else []
    losses = run(tmp_path, "mlflow")
    assert fake.runs == (["theirs"] if begun else [])
    assert fake.params["max_steps"] == "4"
    assert {step: logs["loss"] for step, logs in fake.logged.items()} == losses
    assert fake.logged[4]["eval_f1_V__x_y_"] == 0.5


def test_what_is_not_installed_is_said_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(LOGGERS, "wandb", ("no_such_package", LOGGERS["wandb"][1]))
    with pytest.raises(ValueError, match="pip install wandb"):
        run(tmp_path, "wandb")


def test_wandb_itself(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    with wandb.init(project="theirs") as theirs:
        losses = run(tmp_path, "wandb")
        assert wandb.run is theirs
        theirs.log({}, step=5)  # a step is kept back until it is over
        assert theirs.summary["train/loss"] == losses[4]
        assert theirs.summary["eval/f1_V*(x/y)"] == 0.5
    run(tmp_path, "wandb")
    assert wandb.run is None
    assert len([*tmp_path.glob("wandb/offline-run-*")]) == 2


def test_mlflow_itself(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    losses = run(tmp_path, "mlflow")
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert found.info.status == "FINISHED"
    history = mlflow.MlflowClient().get_metric_history(found.info.run_id, "loss")
    assert {each.step: each.value for each in history} == losses
    assert found.data.params["max_steps"] == "4"


def test_trackio_itself(tmp_path):
    pytest.importorskip("trackio")
    if "TRACKIO_DIR" not in os.environ:  # which it reads when it is imported
        pytest.skip("set TRACKIO_DIR to a folder to throw away")
    losses = run(tmp_path, "trackio")
    with sqlite3.connect(Path(os.environ["TRACKIO_DIR"]) / "model.db") as stored:
        rows = stored.execute("select step, metrics from metrics").fetchall()
    assert {step for step, _ in rows} >= {*losses}
