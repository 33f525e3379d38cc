"""Weights are mapped, not copied; saving is safe over the very folder that a model came from."""

import hashlib
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import regard
from regard.checkpoints import save
from regard.errors import CheckpointNotFoundError

from .checkpoint_folders import INDEX, SIZES, WEIGHTS, assert_same_state, write

MEGABYTE = 2**20


def private_memory():
    """Return the bytes that only this process holds, not backed by any file."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def to_bin(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("file", [WEIGHTS, "pytorch_model.bin"])
def test_loading_takes_no_private_memory(tmp_path, file):
    sizes = SIZES | {"vocab_size": 64 * MEGABYTE // (4 * 256), "hidden_size": 256}
    regard.BertModel(regard.BertConfig(**sizes)).save_pretrained(tmp_path)
    if file != WEIGHTS:
        to_bin(tmp_path)
    assert (tmp_path / file).stat().st_size > 64 * MEGABYTE
    before = private_memory()
    model = regard.BertModel.from_pretrained(tmp_path)
    assert private_memory() - before < 16 * MEGABYTE
    assert model.get_input_embeddings().weight.numel() * 4 == 64 * MEGABYTE


@pytest.mark.parametrize("file", [WEIGHTS, "pytorch_model.bin"])
def test_changing_a_model_in_place_does_not_change_its_file(tmp_path, file):
    write(tmp_path, "BertForMaskedLM")
    if file != WEIGHTS:
        to_bin(tmp_path)
    before = digest(tmp_path / file)
    model = regard.BertForMaskedLM.from_pretrained(tmp_path)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.tensor([[1, 2]])).logits.sum().backward()
    optimizer.step()
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(7)
    assert digest(tmp_path / file) == before


@pytest.mark.parametrize("file", [WEIGHTS, "pytorch_model.bin", INDEX])
def test_saving_over_the_folder_that_a_model_came_from(tmp_path, file):
    write(tmp_path, "BertForMaskedLM")
    size = "5KB" if file == INDEX else "5GB"
    if file == INDEX:
        regard.BertForMaskedLM.from_pretrained(tmp_path).save_pretrained(
            tmp_path, max_shard_size=size
        )
    elif file != WEIGHTS:
        to_bin(tmp_path)
    model = regard.BertForMaskedLM.from_pretrained(tmp_path)
    with torch.no_grad():
        model.predictions.dense.bias.fill_(7)
    model.save_pretrained(tmp_path, max_shard_size=size)
    again = regard.BertForMaskedLM.from_pretrained(tmp_path)
    assert_same_state(again, model)
    again.save_pretrained(tmp_path, max_shard_size="8KB")
    assert_same_state(again, model)
    assert_same_state(regard.BertForMaskedLM.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("size", ["5GB", "5KB"])
def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch, size):
    model = regard.BertModel.from_pretrained(write(tmp_path / "a"))
    model.save_pretrained(tmp_path / "b", max_shard_size=size)
    before = {file.name: file.read_bytes() for file in (tmp_path / "b").iterdir()}
    written = []

    def fail(tensors, path, metadata):
        written.append(path)
        if len(written) == (1 if size == "5GB" else 3):
            Path(path).write_bytes(b"half a file")
            raise OSError("no space left on device")
        save_file(tensors, path, metadata)

    monkeypatch.setattr(save, "save_file", fail)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(7)
    with pytest.raises(OSError, match="no space"):
        model.save_pretrained(tmp_path / "b", max_shard_size=size)
    assert {file.name: file.read_bytes() for file in (tmp_path / "b").iterdir()} == before


def test_a_crash_while_writing_the_config_leaves_the_old_one(tmp_path, monkeypatch):
    config = regard.BertConfig(**SIZES)
    config.save_pretrained(tmp_path)
    before = digest(tmp_path / "config.json")

    def fail(self, text, **_):
        with self.open("w") as file:
            file.write(text[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="no space"):
        config.replace(num_labels=3).save_pretrained(tmp_path)
    assert digest(tmp_path / "config.json") == before
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_written_files_can_be_read_by_whom_the_umask_allows(tmp_path):
    regard.BertModel.from_pretrained(write(tmp_path / "a")).save_pretrained(tmp_path / "b")
    (tmp_path / "plain").write_text("")
    expected = (tmp_path / "plain").stat().st_mode
    for file in (tmp_path / "b").iterdir():
        assert file.stat().st_mode == expected, file.name


def test_a_crash_while_renaming_never_leaves_a_mixture_that_loads(tmp_path, monkeypatch):
    model = regard.BertModel.from_pretrained(write(tmp_path / "a"))
    model.save_pretrained(tmp_path / "b", max_shard_size="5KB")
    renamed = []
    replace = Path.replace

    def fail_at_third(self, target):
        renamed.append(target)
        if len(renamed) == 3:
            raise OSError("killed")
        return replace(self, target)

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_at_third)
        with pytest.raises(OSError, match="killed"):
            model.save_pretrained(tmp_path / "b", max_shard_size="5KB")
    with pytest.raises(CheckpointNotFoundError, match="no weights"):
        regard.BertModel.from_pretrained(tmp_path / "b")
