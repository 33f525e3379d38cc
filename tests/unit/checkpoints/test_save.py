"""Sizes of shards, and files that are whole or not there."""

import pytest
import torch
from safetensors import SafetensorError

from regard.checkpoints import save
from regard.checkpoints.save import parse_size, write_shard
from regard.checkpoints.write import write_atomically, write_text, write_together


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (1, 1),
        (12345, 12345),
        ("7B", 7),
        ("5KB", 5000),
        ("5kb", 5000),
        ("1.5 MB", 1_500_000),
        ("2GB", 2 * 10**9),
        ("3TB", 3 * 10**12),
    ],
)
def test_sizes(size, count):
    assert parse_size(size) == count


@pytest.mark.parametrize(
    "size", [0, -1, "0GB", "5", "GB", "5GiB", "-5GB", "5 GB extra", "", 1.5, None]
)
def test_sizes_that_are_none(size):
    with pytest.raises(ValueError, match="a size is a positive number of bytes or like '200MB'"):
        parse_size(size)


def names(folder):
    return {file.name for file in folder.iterdir()}


def test_text_is_written_into_a_new_folder(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "ä\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "ä\n".encode()
    assert names(tmp_path / "a" / "b") == {"c.txt"}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_atomically(tmp_path / "a", fail)
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == {"a"}


def test_a_reader_of_the_old_file_keeps_it(tmp_path):
    write_text(tmp_path / "a", "old")
    with (tmp_path / "a").open() as reader:
        write_text(tmp_path / "a", "new")
        assert reader.read() == "old"
    assert (tmp_path / "a").read_text() == "new"


def test_files_written_together_appear_only_when_all_are_written(tmp_path):
    for name in ("a", "b", "index"):
        (tmp_path / name).write_text("old")
    seen = []

    def write(path):
        seen.append({name: (tmp_path / name).read_text() for name in ("a", "b", "index")})
        path.write_text("new")

    write_together(tmp_path, {"a": write, "b": write}, stale=["index", "never there"])
    assert seen == [{"a": "old", "b": "old", "index": "old"}] * 2
    assert names(tmp_path) == {"a", "b"}
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "new"


def test_a_disk_that_takes_no_more_is_an_error_of_the_system(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(save, "save_file", full)
    with pytest.raises(OSError, match=r"a\.safetensors cannot be written \(No space left"):
        write_shard({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
