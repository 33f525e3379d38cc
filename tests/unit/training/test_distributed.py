import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file

from regard.errors import CheckpointError
from regard.training.checkpoint import checkpoints, damage

from ...processes import PATIENCE
from .runs import equal_contents, same, trainer

TOGETHER = Path(__file__).with_name("together.py")


def start(folder, program, *more):
    """Run a program alone, and as two processes that accumulate half; return their folders."""
    folders = [folder / "one", folder / "two"]
    for each in folders:
        each.mkdir()
    # The store of torchrun itself would be here too: it takes a port that is free and keeps it.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    told |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, TOGETHER, Path(__file__).with_name(program), *folders, *more],
        env=os.environ | told,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folders


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return start(tmp_path_factory.mktemp("runs"), "pair.py")


@pytest.fixture(scope="module")
def one(runs):
    return runs[0]


@pytest.fixture(scope="module")
def two(runs):
    return runs[1]


@pytest.mark.parametrize("data", ["still", "stream"])
def test_two_processes_are_one_with_twice_the_accumulation(data, one, two):
    found, wanted = (load_file(folder / f"{data}.safetensors") for folder in (two, one))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
    found, wanted = (json.loads((folder / f"{data}.json").read_text()) for folder in (two, one))
    assert len(found) == len(wanted) >= 4
    for log, other in zip(found, wanted, strict=True):
        assert log == pytest.approx(other, rel=1e-5)


def test_evaluation_on_two_processes_is_evaluation_on_one(one, two):
    found, wanted = (json.loads((f / "still.json").read_text()) for f in (two, one))
    measured = [log["eval_loss"] for log in found if "eval_loss" in log]
    assert len(measured) == 2
    assert measured == pytest.approx([w["eval_loss"] for w in wanted if "eval_loss" in w], rel=1e-6)


@pytest.mark.parametrize("kind", ["cut", "told"])
def test_two_processes_resume_to_the_same_bits(kind, two):
    assert same(load_file(two / f"{kind}.safetensors"), load_file(two / "whole.safetensors"))
    assert (two / f"{kind}.json").read_text() == (two / "whole.json").read_text()
    assert equal_contents(two / kind / "checkpoint-7", two / "whole" / "checkpoint-7")


def test_every_process_has_a_generator_of_its_own_in_the_checkpoint(two):
    folder = checkpoints(two / "whole")[-1]
    states = [load_file(folder / f"random-{rank}.safetensors")["cpu"] for rank in (0, 1)]
    assert not torch.equal(*states)
    first, second = json.loads((two / "draws.json").read_text())
    assert first != second
    assert damage(folder) is None


def test_when_one_process_is_told_to_end_all_save_and_end(two):
    assert [(two / f"left-{rank}").read_text() for rank in (0, 1)] == ["143", "143"]


def test_a_full_disk_ends_every_process(two):
    texts = [(two / f"full-{rank}").read_text() for rank in (0, 1)]
    assert "No space" in texts[0]
    assert re.search("cannot be written by the first process", texts[1])
    assert checkpoints(two / "full") == []


def test_another_number_of_processes_is_refused(two, tmp_path):
    run = trainer(tmp_path)
    with pytest.raises(CheckpointError, match="saved by 2 processes, this run has 1"):
        run.train(resume_from_checkpoint=str(two / "whole" / "checkpoint-2"))


def test_idle_parameters_are_looked_for_only_where_there_are_some(one, two):
    for name, looks in {"all": False, "some": True, "asked": True}.items():
        with safe_open(two / f"{name}.safetensors", "pt") as file:
            assert file.metadata() == {"find_unused": str(looks)}
        tensors = load_file(one / f"{name}.safetensors")
        for key, value in load_file(two / f"{name}.safetensors").items():
            torch.testing.assert_close(value, tensors[key], rtol=0, atol=1e-6)
