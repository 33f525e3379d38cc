"""The same values in other files, types and names; and no half-made folder, whatever goes wrong."""

import gc
import json
import math
import os
import weakref

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from regard.checkpoints import convert
from regard.checkpoints.convert import Conversion, convert_checkpoint
from regard.checkpoints.files import find_checkpoint
from regard.checkpoints.tensors import StoredTensor, open_tensors
from regard.errors import CheckpointError, CheckpointNotFoundError

#: Every kind of tensor that a file may hold, with values that equality alone would miss.
TENSORS = {
    "matrix": torch.arange(12.0).view(3, 4),
    "half": torch.tensor([1.5, -0.0, math.nan, math.inf], dtype=torch.float16),
    "brain": torch.tensor([[3.0]], dtype=torch.bfloat16),
    "number": torch.tensor(7),
    "truth": torch.tensor([True, False]),
    "nothing": torch.zeros(0, 5),
}


def bits(tensor):
    return tensor.dtype, tensor.shape, tensor.contiguous().flatten().view(torch.uint8).tolist()


def assert_same(folder, tensors):
    found = open_tensors(find_checkpoint(folder))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert bits(found[name].read()) == bits(tensor), name


def run(source, target, *, force=False, **options):
    return convert_checkpoint(find_checkpoint(source), target, Conversion(**options), force=force)


@pytest.fixture
def source(tmp_path):
    """A folder with a `.bin` file, of a model that nobody knows, and with much beside it."""
    folder = tmp_path / "source"
    (folder / "1_Dense").mkdir(parents=True)
    (folder / "checkpoint-5").mkdir()
    torch.save(TENSORS, folder / "pytorch_model.bin")
    for name, content in {
        "config.json": '{"model_type": "unheard-of", "torch_dtype": "float32"}',
        "tokenizer.json": '{"a": "ä"}',
        "merges.txt": "a b\r\n",
        "own_labels.json": "[1]",
        "README.md": "read me",
        "LICENSE": "yours",
        ".hidden.json": "{}",
        "modeling.py": "raise RuntimeError",
        "checkpoint-5/config.json": "{}",
        "modules.json": '[{"path": ""}, {"path": "1_Dense"}]',
        "1_Dense/config.json": '{"in": 1}',
    }.items():
        (folder / name).write_bytes(content.encode())
    save_file({"w": torch.ones(2)}, folder / "1_Dense" / "model.safetensors")
    for name in ("optimizer.pt", "training_args.bin", "tf_model.h5"):
        (folder / name).write_bytes(b"\x80\x04K*.")
    return folder


PLAIN = {
    *("config.json", "tokenizer.json", "merges.txt", "own_labels.json", "README.md", "LICENSE"),
    *("modules.json", "1_Dense/config.json", "1_Dense/model.safetensors"),
}


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_bit_and_every_plain_file(source, tmp_path):
    target = tmp_path / "new" / "target"
    done = run(source, target)
    assert_same(target, TENSORS)
    assert names(target) == PLAIN | {"model.safetensors"}
    for name in PLAIN:
        assert (target / name).read_bytes() == (source / name).read_bytes(), name
    assert done.weights == ["model.safetensors"]
    assert done.size == sum(t.numel() * t.element_size() for t in TENSORS.values())
    assert done.names == {name: name for name in TENSORS}
    assert {*done.copied} == PLAIN
    assert done.left_out == [
        *("checkpoint-5/", "modeling.py", "optimizer.pt", "tf_model.h5", "training_args.bin")
    ]
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert target.stat().st_mode == source.stat().st_mode
    assert (target / "model.safetensors").stat().st_mode == (source / "LICENSE").stat().st_mode


@pytest.mark.parametrize("size", [1, 8, 49, "50B", "1KB"])
def test_shards(source, tmp_path, size):
    done = run(source, tmp_path / "target", max_shard_size=size)
    assert_same(tmp_path / "target", TENSORS)
    limit = {"50B": 50, "1KB": 1000}.get(size, size)
    if len(done.weights) == 1:
        assert done.size <= limit
        return
    index = json.loads((tmp_path / "target" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == done.size
    assert sorted({*index["weight_map"].values()}) == done.weights
    assert done.weights[-1] == f"model-{len(done.weights):05}-of-{len(done.weights):05}.safetensors"
    for file in done.weights:
        content = load_file(tmp_path / "target" / file)
        assert (
            len(content) == 1
            or sum(t.numel() * t.element_size() for t in content.values()) <= limit
        )
        assert {index["weight_map"][name] for name in content} == {file}


def test_shards_become_one_file(source, tmp_path):
    run(source, tmp_path / "shards", max_shard_size=20)
    done = run(tmp_path / "shards", tmp_path / "whole")
    assert done.weights == ["model.safetensors"]
    assert done.left_out == []
    assert names(tmp_path / "whole") == PLAIN | {"model.safetensors"}
    assert_same(tmp_path / "whole", TENSORS)


def test_memory_that_a_bin_file_shares(tmp_path):
    (tmp_path / "source").mkdir()
    shared = torch.arange(6.0)
    given = {"a": shared, "b": shared, "c": shared[2:4], "d": shared.view(2, 3).t()}
    torch.save(given, tmp_path / "source" / "pytorch_model.bin")
    run(tmp_path / "source", tmp_path / "target")
    assert_same(tmp_path / "target", given)


def test_another_type(source, tmp_path):
    given = {name: t for name, t in TENSORS.items() if name != "half"}
    torch.save(given, source / "pytorch_model.bin")
    run(source, tmp_path / "target", dtype=torch.float16)
    wanted = {n: t.half() if t.is_floating_point() else t for n, t in given.items()}
    assert_same(tmp_path / "target", wanted)
    config = json.loads((tmp_path / "target" / "config.json").read_text())
    assert config == {"model_type": "unheard-of", "torch_dtype": "float16"}
    run(tmp_path / "target", tmp_path / "back", dtype=torch.float32)
    assert_same(
        tmp_path / "back", {n: t.float() if t.is_floating_point() else t for n, t in given.items()}
    )


def test_a_config_without_type_gets_one(source, tmp_path):
    (source / "config.json").write_text("{}")
    run(source, tmp_path / "target", dtype=torch.bfloat16)
    assert json.loads((tmp_path / "target" / "config.json").read_text()) == {"dtype": "bfloat16"}


def test_a_number_that_the_type_cannot_hold(source, tmp_path):
    torch.save({"large": torch.tensor([1.0, 1e5])}, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin: 'large' has numbers too large"):
        run(source, tmp_path / "target", dtype=torch.float16)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    run(source, tmp_path / "target", dtype=torch.bfloat16)


def test_names(source, tmp_path):
    torch.save(
        {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(4)}, source / "pytorch_model.bin"
    )
    done = run(source, tmp_path / "target", rename={"a": "z", "b": "b", "c": None}.get)
    assert_same(tmp_path / "target", {"z": torch.ones(2), "b": torch.ones(3)})
    assert done.names == {"a": "z", "b": "b", "c": None}


def test_two_tensors_of_one_name(source, tmp_path):
    torch.save({"a": torch.ones(2), "b": torch.ones(2)}, source / "pytorch_model.bin")
    run(source, tmp_path / "same", rename=lambda _: "z")
    assert_same(tmp_path / "same", {"z": torch.ones(2)})
    torch.save({"a": torch.ones(2), "b": torch.zeros(2)}, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="'a' and 'b' are both 'z' today, with different"):
        run(source, tmp_path / "target", rename=lambda _: "z")


def test_a_target_with_something_in_it(source, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    run(source, target)  # an empty folder is fine
    before = (target / "model.safetensors").read_bytes()
    torch.save({"other": torch.ones(1)}, source / "pytorch_model.bin")
    (source / "own_labels.json").unlink()
    with pytest.raises(FileExistsError, match=r"is not empty; .* --force to replace"):
        run(source, target)
    assert (target / "model.safetensors").read_bytes() == before
    run(source, target, force=True)
    assert_same(target, {"other": torch.ones(1)})
    assert not (target / "own_labels.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_force_replaces_checkpoints_and_nothing_else(source, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="no checkpoint; remove it yourself"):
        run(source, tmp_path / "home", force=True)
    with pytest.raises(FileExistsError, match="is a file"):
        run(source, tmp_path / "home" / "letter.txt", force=True)
    assert names(tmp_path / "home") == {"letter.txt"}


@pytest.mark.parametrize("target", ["source", ".", "source/../source", "link"])
def test_a_target_that_holds_the_source(source, tmp_path, target):
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="is the source, or holds it"):
        run(source, tmp_path / target, force=True)
    assert (source / "pytorch_model.bin").is_file()


def test_a_target_inside_the_source(source):
    run(source, source / "converted")
    assert_same(source / "converted", TENSORS)


def test_what_reads_back_differently_is_not_put_in_place(source, tmp_path, monkeypatch):
    def damaging(tensors, path):
        save_file({name: t + 1 if name == "matrix" else t for name, t in tensors.items()}, path)

    monkeypatch.setattr(convert, "write_shard", damaging)
    with pytest.raises(CheckpointError, match="'matrix' does not read back as it was written"):
        run(source, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_is_lost_is_not_put_in_place(source, tmp_path, monkeypatch):
    monkeypatch.setattr(
        convert, "write_shard", lambda tensors, path: save_file({"matrix": tensors["matrix"]}, path)
    )
    with pytest.raises(CheckpointError, match="does not read back"):
        run(source, tmp_path / "target")


def test_a_failure_at_the_end_leaves_the_old_checkpoint(source, tmp_path, monkeypatch):
    run(source, tmp_path / "target")
    rename = os.rename

    def failing(old, new, **options):
        if str(new).endswith("target") and ".target-" in str(old) and "old" not in str(old):
            raise OSError("full")
        rename(old, new, **options)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="full"):
        run(source, tmp_path / "target", force=True, max_shard_size=1)
    assert_same(tmp_path / "target", TENSORS)
    assert (tmp_path / "target" / "model.safetensors").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_only_one_file_is_held_at_a_time(tmp_path, monkeypatch):
    """Twelve tensors in files of three: never more than those three are alive."""
    alive, most = set(), []

    def read(number):
        gc.collect()
        tensor = torch.full((5,), float(number))
        alive.add(number)
        weakref.finalize(tensor.untyped_storage(), alive.discard, number)
        most.append(len(alive))
        return tensor

    (tmp_path / "source").mkdir()
    file = tmp_path / "source" / "model.safetensors"
    save_file({str(n): torch.full((5,), float(n)) for n in range(12)}, file)
    real = convert.open_tensors
    stored = {str(n): StoredTensor(file, (5,), lambda n=n: read(n)) for n in range(12)}
    monkeypatch.setattr(
        convert, "open_tensors", lambda f: stored if f.name.endswith("source") else real(f)
    )
    done = run(tmp_path / "source", tmp_path / "target", max_shard_size=60)
    assert len(done.weights) == 4
    assert len(most) == 24  # once to write, once to compare
    assert max(most) <= 4  # three, and the one that no longer fits


def test_the_hub(source, tmp_path, monkeypatch):
    cached = tmp_path / "cache" / "models--org--one"
    (cached / "snapshots").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    source.rename(cached / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    done = run("org/one", tmp_path / "target")
    assert_same(tmp_path / "target", TENSORS)
    # What a model usually has; the names of other files are not known here.
    assert {*done.copied} == PLAIN - {"own_labels.json"}
    assert done.left_out == []


def test_no_weights(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(CheckpointNotFoundError, match="no weights"):
        run(tmp_path / "source", tmp_path / "target")


def test_modules_outside_the_folder(source, tmp_path):
    (source / "modules.json").write_text('[{"path": "../secret"}]')
    with pytest.raises(CheckpointError, match="is not a plain file name"):
        run(source, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("content", ["{}", "[1, null]", '[{"path": null}]'])
def test_modules_that_say_nothing(source, tmp_path, content):
    (source / "modules.json").write_text(content)
    done = run(source, tmp_path / "target")
    assert "modules.json" in done.copied
    assert "1_Dense/" in done.left_out


def test_a_wrong_size_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="a size is a positive number of bytes"):
        run(tmp_path, tmp_path / "target", max_shard_size="2 apples")
