import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from regard.errors import ConfigError
from regard.models.bert import BertForMaskedLM, BertForSequenceClassification
from regard.training.arguments import TrainingArguments
from regard.training.checkpoint import checkpoints, damage

from .runs import equal_contents, examples, pad, same
from .test_distributed import start

KINDS = {"masked": BertForMaskedLM, "odd": BertForSequenceClassification}


@pytest.fixture(
    scope="module", params=["full_shard", pytest.param("shard_grad_op", marks=pytest.mark.slow)]
)
def runs(request, tmp_path_factory):
    return start(tmp_path_factory.mktemp("runs"), "pair_sharded.py", request.param)


@pytest.fixture(scope="module")
def one(runs):
    return runs[0]


@pytest.fixture(scope="module")
def two(runs):
    return runs[1]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_parts_are_one_with_the_whole(kind, one, two):
    found, wanted = (load_file(folder / f"{kind}.safetensors") for folder in (two, one))
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
    found, wanted = (json.loads((folder / f"{kind}.json").read_text()) for folder in (two, one))
    assert len(found) == len(wanted) >= 9
    for log, other in zip(found, wanted, strict=True):
        assert log == pytest.approx(other, rel=1e-5)
    found, wanted = (load_file(f / f"{kind}-predicted.safetensors") for f in (two, one))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sharded_is_read_back_whole_by_one_process(kind, two):
    found = KINDS[kind].from_pretrained(two / f"{kind}-saved")
    assert same(found.state_dict(), load_file(two / f"{kind}.safetensors"))
    if kind == "masked":  # its collator draws other masks for another pass
        return
    with torch.no_grad():
        logits = found(**pad(examples(5, seed=8))).logits
    wanted = load_file(two / f"{kind}-predicted.safetensors")["logits"]
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)


def test_a_sharded_run_resumes_to_the_same_bits(two):
    assert same(load_file(two / "cut.safetensors"), load_file(two / "whole.safetensors"))
    assert (two / "cut.json").read_text() == (two / "whole.json").read_text()
    ends = [two / kind / "checkpoint-7" for kind in ("cut", "whole")]
    assert equal_contents(*ends)


def test_a_checkpoint_has_a_part_for_each_process_and_no_pickle(two, tmp_path):
    folder = shutil.copytree(checkpoints(two / "whole")[-1], tmp_path / "checkpoint-7")
    assert damage(folder) is None
    parts = sorted((folder / "optimizer").iterdir())
    assert len(parts) == 2
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {
        ".json",
        ".safetensors",
    }
    named = [{*load_file(part)} for part in parts]
    assert all(name.endswith(("exp_avg", "exp_avg_sq")) for part in named for name in part)
    words = [load_file(part)["0.exp_avg"].shape for part in parts]
    whole = load_file(folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"].shape
    assert [sum(shape[0] for shape in words), words[0][1]] == [*whole]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {f"optimizer/{part.name}" for part in parts} <= {*manifest}
    parts[1].write_bytes(parts[1].read_bytes()[:-1] + b"?")
    assert damage(folder) == f"optimizer/{parts[1].name} is not what was saved"


def test_half_precision_computes_and_whole_precision_is_kept(two):
    kept = load_file(two / "half.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    losses = [log["loss"] for log in json.loads((two / "half.json").read_text()) if "loss" in log]
    whole = [log["loss"] for log in json.loads((two / "whole.json").read_text()) if "loss" in log]
    assert losses[0] == pytest.approx(whole[0], rel=0.05)
    assert losses[0] != whole[0]


def test_what_cannot_be_is_said_by_every_process(two):
    for rank in (0, 1):
        said = json.loads((two / f"refused-{rank}.json").read_text())
        assert "optim='muon' needs whole tensors" in said["muon"]
        assert "override create_optimizer" in said["given"]
        assert "resume with the fsdp" in said["plain"]
        assert "saved by a run without fsdp" in said["sharded"]
        assert "No space left on device" in said["full"]
    assert checkpoints(two / "full") == []


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (True, "full_shard"),
        ("full_shard auto_wrap", "full_shard"),
        (["shard_grad_op"], "shard_grad_op"),
        (False, ""),
        ("", ""),
        (None, ""),
        ([], ""),
    ],
)
def test_what_fsdp_may_say(given, wanted):
    assert TrainingArguments(fsdp=given).fsdp == wanted
    assert TrainingArguments(**TrainingArguments(fsdp=given).to_dict()).fsdp == wanted


def test_an_unknown_word_is_an_error_with_the_nearest():
    with pytest.raises(ConfigError, match="fsdp is 'full_sharding'; did you mean 'full_shard'"):
        TrainingArguments(fsdp="full_sharding")
    with pytest.raises(ConfigError, match="must be one of full_shard, shard_grad_op"):
        TrainingArguments(fsdp="full_shard offload")
