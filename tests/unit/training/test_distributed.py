import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from regard.errors import CheckpointError
from regard.training.checkpoint import checkpoints, damage

from .runs import equal_contents, same, trainer

PAIR = str(Path(__file__).with_name("pair.py"))


def start(folder, world, accumulation, program=PAIR, *more):
    """Run a program in `world` processes, with the variables that torchrun sets."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    usual = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    usual |= {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, program, str(folder), str(accumulation), *more],
            env=os.environ | usual | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in started:
        try:
            _, errors = process.communicate(timeout=200)
        finally:
            process.kill()
        assert process.returncode == 0, errors
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return start(tmp_path_factory.mktemp("runs") / "two", 2, 1)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return start(tmp_path_factory.mktemp("runs") / "one", 1, 2)


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


def test_idle_parameters_are_looked_for_only_where_there_are_some(tmp_path):
    program = str(Path(__file__).with_name("pair_unused.py"))
    wanted = start(tmp_path / "one", 1, 2, program)
    found = start(tmp_path / "two", 2, 1, program)
    for name, looks in {"all": False, "some": True, "asked": True}.items():
        with safe_open(found / f"{name}.safetensors", "pt") as file:
            assert file.metadata() == {"find_unused": str(looks)}
        tensors = load_file(wanted / f"{name}.safetensors")
        for key, value in load_file(found / f"{name}.safetensors").items():
            torch.testing.assert_close(value, tensors[key], rtol=0, atol=1e-6)
