"""The parts that a folder of data has."""

import pytest

from regard.errors import DataError
from regard.training.splits import find_splits


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", ["validation.tsv", "valid.csv", "val.jsonl", "DEV.tsv.gz"])
def test_files_of_a_folder(tmp_path, name):
    found = find_splits(touch(tmp_path, "train.tsv", name, "README.md"))
    assert found == (tmp_path / "train.tsv", tmp_path / name)


def test_folders_of_a_folder(tmp_path):
    found = find_splits(touch(tmp_path, "train/a/1.txt", "val/a/2.txt"))
    assert found == (tmp_path / "train", tmp_path / "val")


def test_what_has_no_parts(tmp_path):
    assert find_splits(touch(tmp_path, "input.txt")) == (tmp_path, None)
    assert find_splits(tmp_path / "input.txt") == (tmp_path / "input.txt", None)
    # A name that only begins like a part's is none.
    assert find_splits(touch(tmp_path / "x", "trains.tsv")) == (tmp_path / "x", None)


def test_parallel_text(tmp_path):
    names = [f"{part}.{language}.gz" for part in ("train", "val") for language in ("de", "en")]
    found = find_splits(touch(tmp_path, *names))
    assert found.training == {n: tmp_path / f"train.{n}.gz" for n in ("de", "en")}
    assert found.validation == {n: tmp_path / f"val.{n}.gz" for n in ("de", "en")}


def test_a_part_that_is_twice_there(tmp_path):
    with pytest.raises(DataError, match=r"which of train\.csv, train\.tsv is it"):
        find_splits(touch(tmp_path, "train.csv", "train.tsv"))


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_splits(tmp_path / "none")
