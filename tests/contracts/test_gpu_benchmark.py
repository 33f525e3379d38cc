"""The benchmark for GPUs runs, on a processor and with small sizes, and compares results."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

PATH = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu():
    spec = importlib.util.spec_from_file_location("gpu_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", [str(PATH), *arguments])
    module.main()


def test_all_jobs_run_small(gpu, monkeypatch, capsys):
    run(gpu, monkeypatch, "--device", "cpu", "--small", "--rounds", "1")
    printed = capsys.readouterr().out
    assert "small sizes" in printed
    assert "processor, PyTorch" in printed
    assert len(re.findall(r"(?m)^  regard  .* tokens/s .* TFLOP/s, .*% of peak", printed)) == 5
    assert len(re.findall(r"% of bandwidth", printed)) == 6
    for difference in re.findall(r"relative difference (\S+)", printed):
        assert float(difference) < 0.03
    losses = re.findall(r"losses (\S+) and (\S+)", printed)
    assert losses
    for theirs, ours in losses:
        assert float(ours) == pytest.approx(float(theirs), abs=0.02)
    assert len(re.findall(r"regard, graphs beside regard: ", printed)) == 2
    for same in re.findall(r"([\d.]+)% of the tokens are the same", printed):
        assert float(same) > 60  # a text in half precision may turn off where two words are near


def test_without_a_gpu(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"no GPU: .* pass --device cpu --small"):
        run(gpu, monkeypatch)


def test_operations_are_those_of_the_products(gpu):
    """Of one layer: 4 w^2 weights of attention and 2 w i of the feed-forward, and the scores."""
    config = gpu.regard.BertConfig(hidden_size=8, num_hidden_layers=1, intermediate_size=32)
    assert gpu.operations(config, [3, 2]) == 2 * 5 * (4 * 64 + 2 * 8 * 32) + 4 * 8 * (9 + 4)
    words = gpu.regard.GPT2Config(hidden_size=8, num_hidden_layers=1, vocab_size=11)
    wanted = 2 * (5 * (4 * 64 + 2 * 8 * 32) + 4 * 8 * 11) + 4 * 8 * (6 + 3)
    assert gpu.operations(words, [3, 2], scored=4) == wanted
