import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from regard.training.callbacks import TrainerCallback
from regard.training.checkpoint import checkpoints, damage
from regard.training.signals import ending

from ...processes import PATIENCE
from .runs import equal_contents, history, same, trainer, weights

JOB = [sys.executable, str(Path(__file__).with_name("job.py"))]
ALONE = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def job(*words):
    words = [*JOB, *map(str, words)]
    done = subprocess.run(
        words, env=os.environ | ALONE, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_killed_while_it_writes_a_run_ends_with_the_same_bits(tmp_path):
    found = job("die", tmp_path / "out", 8, 1)
    assert found["wrong"] == []
    assert found["kills"] >= 8


@pytest.mark.slow
def test_killed_at_many_touches_of_files_a_run_ends_with_the_same_bits(tmp_path):
    found = job("die", tmp_path / "out", 60, 7)
    assert found["wrong"] == []
    assert found["kills"] >= 60


@pytest.mark.slow
def test_killed_at_random_times_a_run_ends_with_the_same_bits(tmp_path):
    found = job("kill", tmp_path / "out", 60, 2)
    assert found["wrong"] == []
    assert found["kills"] >= 60


def test_told_to_end_a_program_saves_and_exits_with_143(tmp_path):
    with subprocess.Popen(
        [*JOB, "train", str(tmp_path / "out")],
        env=os.environ | ALONE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert any("step 3" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM == 143, errors
    assert "saved and leaving" in errors
    assert damage(checkpoints(tmp_path / "out")[-1]) is None


class TellToEnd(TrainerCallback):
    """Sends this process SIGTERM in the middle of a step."""

    def __init__(self, step, event):
        self.step = step
        setattr(self, event, self.tell)

    def tell(self, args, state, control, **run):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("event", ["on_substep_end", "on_step_end", "on_save", "on_epoch_end"])
def test_told_to_end_at_any_moment_a_run_goes_on_later(event, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    whole = trainer(tmp_path / "whole", save_steps=3)
    whole.train()
    cut = trainer(tmp_path / "cut", save_steps=3, callbacks=[TellToEnd(3, event)])
    with pytest.raises(SystemExit) as left:
        cut.train()
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert damage(checkpoints(tmp_path / "cut")[-1]) is None
    again = trainer(tmp_path / "cut", save_steps=3)
    again.train(resume_from_checkpoint=True)
    assert same(weights(again), weights(whole))
    assert history(again) == history(whole)
    assert equal_contents(tmp_path / "cut" / "checkpoint-7", tmp_path / "whole" / "checkpoint-7")


def test_told_to_end_after_its_last_look_a_run_does_not_forget_it(tmp_path):
    run = trainer(tmp_path, callbacks=[TellToEnd(7, "on_save")], save_strategy="epoch")
    with pytest.raises(SystemExit):
        run.train()
    assert damage(tmp_path / "checkpoint-7") is None


def test_in_another_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with ending() as told:
            seen.append((told.signal, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
