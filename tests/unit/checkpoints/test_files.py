"""Names lead to folders, and file names never lead out of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.checkpoints.files import (
    CheckpointFolder,
    find_checkpoint,
    plain_name,
    read_json,
    read_json_object,
    source_options,
)
from regard.errors import CheckpointError, CheckpointNotFoundError


def test_a_folder_is_found_by_text_and_by_path(tmp_path):
    (tmp_path / "config.json").write_text('{"a": 1}')
    for name in (tmp_path, str(tmp_path)):
        folder = find_checkpoint(name)
        assert (folder.origin, folder.name) == ("folder", str(tmp_path))
        assert folder.path("config.json") == tmp_path / "config.json"
        assert folder.read_json("config.json") == {"a": 1}


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "sub").mkdir()
    folder = find_checkpoint(tmp_path)
    for name in ("nothing", "sub", "x" * 5000):
        assert folder.find(name) is None
        with pytest.raises(CheckpointNotFoundError, match=f"there is no file '{name}'"):
            folder.path(name)


def test_a_file_in_a_subfolder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_text("{}")
    assert find_checkpoint(tmp_path).find("sub/a.json") == tmp_path / "sub" / "a.json"


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/../b", "/a", "//a/b", "a\\b", "..\\a", "C:a", "C:\\a", "a\0"]
)
def test_names_that_are_not_plain(name):
    with pytest.raises(CheckpointError, match=r"owner: .* is not a plain file name"):
        plain_name(name, "owner")


@given(name=st.text(st.sampled_from("./\\:aC~\0 "), max_size=8))
def test_no_name_leads_outside(name, tmp_path_factory):
    asked = []
    folder = CheckpointFolder("owner", "folder", lambda file: asked.append(file))
    try:
        folder.find(name)
    except CheckpointError:
        assert asked == []
        return
    root = tmp_path_factory.getbasetemp()
    assert (root / asked[0]).resolve().is_relative_to(root.resolve())


@pytest.mark.parametrize("name", ["", "/no/such/folder", "./a", "../a", "~/a", "a/b/c", "a/", "/"])
def test_paths_are_never_asked_of_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if name == "/":
        assert find_checkpoint(name).origin == "folder"
        return
    with pytest.raises(CheckpointNotFoundError):
        find_checkpoint(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "./my-bret",
            "my-bret: no such folder or file; {here} has no 'my-bret'; did you mean 'my-bert'?",
        ),
        (
            "{here}/my-bret",
            "my-bret: no such folder or file; {here} has no 'my-bret'; did you mean",
        ),
        ("runs/checkpoint-11", "runs has no 'checkpoint-11'; did you mean 'checkpoint-10'?"),
        ("runs/a model", "runs has no 'a model'. If a model on the Hub is meant"),
        ("run/checkpoint-10/x", "{here} has no 'run'; did you mean 'runs'?"),
        ("tinny.gguf", "{here} has no 'tinny.gguf'; did you mean 'tiny.gguf'?"),
    ],
)
def test_what_looks_like_a_path_is_refused_with_near_names(name, says, monkeypatch, tmp_path):
    for folder in ("my-bert", "runs/checkpoint-10"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tiny.gguf").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFoundError) as caught:
        find_checkpoint(name.format(here=tmp_path))
    assert says.format(here=tmp_path) in str(caught.value)


def test_a_name_on_the_hub_may_be_the_name_of_a_folder_here(monkeypatch, tmp_path):
    (tmp_path / "google-bert").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("google-bert/bert-base-uncased", revision="main").origin == "hub"


@pytest.mark.parametrize("name", ["bert-base-uncased", "google-bert/bert-base-uncased"])
def test_names_of_the_hub_are_resolved_when_a_file_is_wanted(name):
    folder = find_checkpoint(name)
    assert folder.origin == "hub"
    with pytest.raises(CheckpointError, match=r"'\.\./a' is not a plain file name"):
        folder.find("../a")


def test_json_errors_name_the_file(tmp_path):
    file = tmp_path / "a.json"
    for text in ("", "{", "[" * 100_000, "1" * 5000):
        file.write_text(text)
        with pytest.raises(CheckpointError, match=r"a\.json: not valid JSON"):
            read_json(file)
    file.write_text("[1]")
    assert read_json(file) == [1]
    with pytest.raises(CheckpointError, match=r"a\.json: wanted a JSON object, found list"):
        read_json_object(file)


def test_source_options_are_those_of_find_checkpoint():
    options = {"revision": "a", "token": True, "num_labels": 3}
    assert source_options(options) == {"revision": "a", "token": True}
