import errno
import json
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from regard.errors import CheckpointError
from regard.training import checkpoint
from regard.training.optimizers import OPTIMIZERS, build_optimizer, parameter_groups

from .runs import heard, model, same, trainer, weights


def fill(content="x"):
    def write(folder):
        (folder / "first.txt").write_text(content)
        (folder / "sub").mkdir()
        (folder / "sub" / "second.txt").write_text(content * 2)

    return write


def failing(error):
    def write(folder):
        (folder / "first.txt").write_text("half")
        raise error

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_describes_every_file(tmp_path):
    folder = checkpoint.write_checkpoint(tmp_path, 3, fill())
    assert names(tmp_path) == ["checkpoint-3"]
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    assert manifest["sub/second.txt"]["size"] == 2
    # echo -n x | sha256sum
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert manifest["first.txt"] == {"size": 1, "sha256": digest}
    assert checkpoint.damage(folder) is None


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), CheckpointError),
        (RuntimeError("in the middle"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_save_that_fails_leaves_what_was_there(error, raised, tmp_path):
    first = checkpoint.write_checkpoint(tmp_path, 3, fill("a"))
    with pytest.raises(raised):
        checkpoint.write_checkpoint(tmp_path, 4, failing(error))
    with pytest.raises(raised):
        checkpoint.write_checkpoint(tmp_path, 3, failing(error))
    assert names(tmp_path) == ["checkpoint-3"]
    assert checkpoint.damage(first) is None
    assert (first / "first.txt").read_text() == "a"


def test_a_full_disk_is_named_with_its_cause(tmp_path):
    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(
        CheckpointError, match=r"checkpoint-4 cannot be written.*No space.*untouched"
    ):
        checkpoint.write_checkpoint(tmp_path, 4, failing(error))


def full_after(bytes_left, patch):
    """Let every write beyond a number of bytes fail, in Python's files and in safetensors."""
    real = checkpoint.write_shard

    def write_shard(tensors, path):
        size = sum(value.numel() * value.element_size() for value in tensors.values())
        if size > bytes_left:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    patch.setattr(checkpoint, "write_shard", write_shard)


def test_a_run_on_a_full_disk_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    trainer(tmp_path, max_steps=2).train()
    again = trainer(tmp_path, max_steps=4)
    full_after(1000, monkeypatch)
    with pytest.raises(CheckpointError, match=r"checkpoint-3 cannot be written: .*No space"):
        again.train(resume_from_checkpoint=True)
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-2"]
    assert checkpoint.newest_whole(tmp_path) == tmp_path / "checkpoint-2"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_full_is_an_os_error(tmp_path):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 0.1)
    (tmp_path / "optimizer.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        checkpoint.save_optimizer(optimizer, tmp_path)


def test_a_rename_that_fails_puts_the_old_one_back(tmp_path, monkeypatch):
    checkpoint.write_checkpoint(tmp_path, 3, fill("a"))
    real = Path.rename

    def rename(self, target):
        if self.name == "files":
            raise OSError("not now")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(CheckpointError, match="not now"):
        checkpoint.write_checkpoint(tmp_path, 3, fill("b"))
    monkeypatch.undo()
    assert names(tmp_path) == ["checkpoint-3"]
    assert (tmp_path / "checkpoint-3" / "first.txt").read_text() == "a"


def test_a_folder_that_cannot_be_written_is_told_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    run = trainer(tmp_path / "file" / "output")
    before = weights(run)
    with pytest.raises(CheckpointError, match=r"output_dir=.*cannot be written"):
        run.train()
    assert same(weights(run), before)
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.write_checkpoint(tmp_path / "file", 1, fill())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(CheckpointError, match="Permission denied"):
        checkpoint.write_checkpoint(tmp_path, 1, fill())
    tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: (f / "first.txt").unlink(), "first.txt is missing"),
        (lambda f: (f / "first.txt").write_text("y"), "first.txt is not what was saved"),
        (lambda f: (f / "first.txt").write_text(""), "first.txt is not what was saved"),
        (lambda f: (f / "sub" / "second.txt").write_text("xy"), "sub/second.txt is not"),
        (lambda f: (f / checkpoint.MANIFEST).unlink(), "manifest.json cannot be read"),
        (lambda f: (f / checkpoint.MANIFEST).write_text('{"a'), "manifest.json cannot be read"),
        (lambda f: (f / checkpoint.MANIFEST).write_text("[1]"), "manifest.json cannot be read"),
        (lambda f: (f / checkpoint.MANIFEST).write_bytes(b"\xff"), "manifest.json cannot be read"),
        (lambda f: (f / checkpoint.MANIFEST).write_text('{"../a": {}}'), "lies elsewhere"),
        (shutil.rmtree, "manifest.json cannot be read"),
    ],
)
def test_every_damage_is_named(harm, told, tmp_path):
    folder = checkpoint.write_checkpoint(tmp_path, 3, fill())
    harm(folder)
    assert told in checkpoint.damage(folder)


def test_the_newest_whole_one_is_found_and_others_reported(tmp_path):
    for step in (2, 9, 10):
        checkpoint.write_checkpoint(tmp_path, step, fill())
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-99").write_text("a file")
    (tmp_path / "checkpoint-10" / "first.txt").unlink()
    with heard() as texts:
        assert checkpoint.newest_whole(tmp_path) == tmp_path / "checkpoint-9"
    assert len(texts) == 1
    assert "checkpoint-10 is skipped: first.txt is missing" in texts[0]
    assert checkpoint.newest_whole(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [
        (None, None, [1, 2, 9, 10]),
        (1, None, [10]),
        (2, None, [9, 10]),
        (1, 2, [2, 10]),
        (2, 1, [1, 10]),
        (3, 1, [1, 9, 10]),
        (2, 10, [9, 10]),
        (9, 1, [1, 2, 9, 10]),
    ],
)
def test_the_newest_and_the_best_are_kept(keep, best, left, tmp_path):
    for step in (1, 2, 9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    checkpoint.prune(tmp_path, keep, best and str(tmp_path / f"checkpoint-{best}"))
    assert [checkpoint.step_of(each) for each in checkpoint.checkpoints(tmp_path)] == left


@pytest.mark.parametrize("part", ["files", "replaced"])
def test_a_whole_checkpoint_that_lacks_only_its_name_gets_it(part, tmp_path):
    folder = checkpoint.write_checkpoint(tmp_path, 12, fill())
    (tmp_path / ".checkpoint-12-ab_c").mkdir()
    folder.rename(tmp_path / ".checkpoint-12-ab_c" / part)
    checkpoint.recover(tmp_path)
    assert names(tmp_path) == ["checkpoint-12"]
    assert checkpoint.damage(folder) is None


def test_a_half_one_is_cleared_away(tmp_path):
    whole = checkpoint.write_checkpoint(tmp_path, 2, fill("a"))
    (tmp_path / ".checkpoint-2-abc" / "files").mkdir(parents=True)
    (tmp_path / ".checkpoint-3-abc" / "files").mkdir(parents=True)
    checkpoint.recover(tmp_path)
    assert names(tmp_path) == ["checkpoint-2"]
    assert (whole / "first.txt").read_text() == "a"


def step(net, optimizer, seed):
    torch.manual_seed(seed)
    ids = torch.randint(5, 40, (3, 6))
    net(input_ids=ids, labels=torch.tensor([0, 1, 0])).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize(
    ("name", "more"),
    [*((name, None) for name in OPTIMIZERS), ("sgd", "momentum=0.9"), ("rmsprop", "centered=True")],
)
def test_an_optimizer_goes_on_with_the_same_bits(name, more, tmp_path):
    def make(net):
        adam = {"betas": (0.8, 0.9), "eps": 1e-7}
        return build_optimizer(parameter_groups(net, 0.01, 0.1), name, 0.01, adam, more)

    first = model()
    optimizer = make(first)
    for seed in range(3):
        step(first, optimizer, seed)
    checkpoint.save_optimizer(optimizer, tmp_path)
    second = model()
    second.load_state_dict(first.state_dict())
    other = make(second)
    checkpoint.load_optimizer(other, tmp_path)
    for seed in range(3, 6):
        step(first, optimizer, seed)
        step(second, other, seed)
    assert same(second.state_dict(), first.state_dict())
    # And the state counts: without it the weights would differ.
    if name != "sgd" or more:
        third = model()
        third.load_state_dict(first.state_dict())
        step(third, make(third), 6)
        step(first, optimizer, 6)
        assert not same(third.state_dict(), first.state_dict())


def draws():
    return random.random(), random.gauss(0, 1), np.random.rand(), torch.rand(3).tolist()


def test_random_generators_go_on(tmp_path):
    random.gauss(0, 1)
    np.random.standard_normal()  # which keeps a second number for the next call
    checkpoint.save_random(tmp_path, 2, checkpoint.random_state())
    wanted = draws()
    assert draws() != wanted
    checkpoint.load_random(tmp_path, 2)
    assert draws() == wanted


def test_nothing_is_pickled(tmp_path, monkeypatch):
    def refuse(*args, **more):
        raise RuntimeError("pickle")

    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, refuse)
    for name in ("save", "load"):
        monkeypatch.setattr(torch, name, refuse)
    trainer(tmp_path, max_steps=2).train()
    trainer(tmp_path, max_steps=3).train(resume_from_checkpoint=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert not any(zipfile.is_zipfile(path) for path in files)
