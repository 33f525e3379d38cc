import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from regard.models.auto import FAMILIES, family
from regard.models.bert import BertConfig, BertForMaskedLM

SIZES = {
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 6,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    BertForMaskedLM(BertConfig(**SIZES)).save_pretrained(folder)
    return folder


@pytest.fixture
def old(written, tmp_path):
    """The same as a `.bin` file of long ago: gamma and beta, a wrapper's prefix, no `bert.`."""
    folder = shutil.copytree(written, tmp_path / "old")
    content = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        name = name.removeprefix("bert.")
        if "LayerNorm" in name:
            name = name.replace("weight", "gamma").replace("bias", "beta")
        content[f"module.{name}"] = tensor
    content["module.embeddings.position_ids"] = torch.arange(6)[None]
    torch.save(content, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "training_args.bin").write_bytes(b"?")
    return folder


def facts(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_names_are_kept_unless_asked(run, old, tmp_path):
    found = facts(run("convert", old, tmp_path / "new", "--json"))
    content = torch.load(old / "pytorch_model.bin", weights_only=True)
    assert load_file(tmp_path / "new" / "model.safetensors").keys() == content.keys()
    assert found == {
        "source": str(old),
        "target": str(tmp_path / "new"),
        "files": ["model.safetensors"],
        "bytes": sum(t.numel() * t.element_size() for t in content.values()),
        "tensors": len(content),
        "renamed": {},
        "dropped": [],
        "copied": ["config.json"],
        "left_out": ["training_args.bin"],
    }


def test_todays_names(run, old, written, tmp_path):
    found = facts(run("convert", old, tmp_path / "new", "--rename", "--json"))
    wanted = load_file(written / "model.safetensors")
    content = load_file(tmp_path / "new" / "model.safetensors")
    assert content.keys() == wanted.keys()
    assert all(torch.equal(content[name], wanted[name]) for name in wanted)
    assert found["dropped"] == ["module.embeddings.position_ids"]
    new = found["renamed"]["module.encoder.layer.1.output.LayerNorm.gamma"]
    assert new == "bert.encoder.layer.1.output.LayerNorm.weight"
    assert len(found["renamed"]) == len(wanted) == found["tensors"]


@pytest.mark.parametrize("heads", [1, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FAMILIES)
def test_names_of_today_stay_in_every_family(run, tiny_config, name, heads, tmp_path):
    """Of its first head, and in the slow run of the base and all heads."""
    models = [*family(name).heads.items(), ("base", family(name).base)]
    for head, model in models[:heads]:
        # Apart they have every name that there can be.
        sizes = {"num_hidden_layers": 1, "tie_word_embeddings": False}
        config = tiny_config(name, is_decoder=head == "CausalLM", **sizes)
        model(config).save_pretrained(tmp_path / head)
        done = run("convert", tmp_path / head, tmp_path / f"{head}-new", "--rename", "--json")
        found = facts(done)
        assert (found["renamed"], found["dropped"]) == ({}, []), head
        checked = facts(run("convert", "--check", tmp_path / f"{head}-new", "--json"))
        assert checked["model"] == model.__name__


def test_table(run, old, tmp_path):
    done = run("convert", old, tmp_path / "new", "--rename", "--max-shard-size", "2KB")
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    assert f"{old} is now in {tmp_path / 'new'}" in words.replace("- ", "-")
    assert "weights model-00001-of-" in words
    assert "each read back and equal" in words
    assert "LayerNorm.beta -> bert.embeddings.LayerNorm.bias, " in words
    assert "dropped module.embeddings.position_ids: recomputed" in words
    assert "left out training_args.bin: other formats, or what could hold code" in words


def test_type(run, written, tmp_path):
    found = facts(run("convert", written, tmp_path / "new", "--dtype", "bfloat16", "--json"))
    content = load_file(tmp_path / "new" / "model.safetensors")
    assert {tensor.dtype for tensor in content.values()} == {torch.bfloat16}
    assert found["bytes"] * 2 == sum(t.numel() * 4 for t in content.values())
    config = json.loads((tmp_path / "new" / "config.json").read_text("utf-8"))
    assert config["dtype"] == "bfloat16"
    model = BertForMaskedLM.from_pretrained(tmp_path / "new")
    assert model.dtype == torch.bfloat16


def test_a_model_that_nobody_knows(run, fails, old, tmp_path):
    (old / "config.json").write_text('{"model_type": "unheard-of"}')
    found = facts(run("convert", old, tmp_path / "new", "--json"))
    assert found["copied"] == ["config.json"]
    assert "--rename needs a config.json of a family" in fails(
        "convert", old, tmp_path / "other", "--rename"
    )
    assert facts(run("convert", tmp_path / "new", "--check", "--json"))["model"] is None
    assert "not compared" in run("convert", "--check", tmp_path / "new").stdout


def test_no_config(run, fails, old, tmp_path):
    (old / "config.json").unlink()
    assert facts(run("convert", old, tmp_path / "new", "--json"))["copied"] == []
    assert "--rename needs" in fails("convert", old, tmp_path / "other", "--rename")


@pytest.mark.parametrize("named", [None, [], ["BertForAnything"]])
def test_an_architecture_is_needed_to_rename(fails, old, tmp_path, named):
    config = json.loads((old / "config.json").read_text("utf-8"))
    (old / "config.json").write_text(json.dumps(config | {"architectures": named}))
    said = fails("convert", old, tmp_path / "new", "--rename")
    assert "names no architecture that regard has" in said
    assert not (tmp_path / "new").exists()


def test_force(run, fails, old, written, tmp_path):
    run("convert", old, tmp_path / "new")
    assert "is not empty; give another folder, or --force" in fails(
        "convert", written, tmp_path / "new"
    )
    assert facts(run("convert", written, tmp_path / "new", "--force", "--json"))["tensors"] > 0
    assert "is the source, or holds it" in fails("convert", old, old, "--force")


def test_check(run, written):
    found = facts(run("convert", "--check", written, "--json"))
    content = load_file(written / "model.safetensors")
    assert found == {
        "source": str(written),
        "tensors": len(content),
        "numbers": {"float32": sum(t.numel() for t in content.values())},
        "files": ["model.safetensors"],
        "model": "BertForMaskedLM",
    }
    words = " ".join(run("convert", "--check", written).stdout.split())
    assert "is whole" in words
    assert "every number finite" in words
    assert "model fits BertForMaskedLM" in words


def damage(folder, target, change):
    shutil.copytree(folder, target)
    content = load_file(target / "model.safetensors")
    change(content)
    save_file(content, target / "model.safetensors")
    return target


WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop(WORDS), r"missing (1): bert.embeddings.words.weight"),
        (lambda c: c.update({WORDS: torch.zeros(3, 8)}), "is [3, 8] in the file and [12, 8]"),
        (lambda c: c.update({"bert.more": torch.zeros(3)}), "not in the model (1): bert.more"),
    ],
)
def test_check_finds_what_does_not_fit(run, written, tmp_path, change, message):
    done = run("convert", "--check", damage(written, tmp_path / "bad", change))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert message in done.stderr


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_check_finds_numbers_that_are_none(fails, written, tmp_path, value):
    bad = damage(written, tmp_path / "bad", lambda content: content[WORDS][1, 2:4].fill_(value))
    assert f"infinite or not a number: {WORDS} (2 of 96)" in fails("convert", "--check", bad)


def test_check_finds_a_damaged_file(fails, written, tmp_path):
    bad = shutil.copytree(written, tmp_path / "bad")
    content = (bad / "model.safetensors").read_bytes()
    (bad / "model.safetensors").write_bytes(content[:-1])
    assert "not a readable safetensors file" in fails("convert", bad, "--check")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{old}",), "missing; or give --check"),
        (("{old}", "new", "--check"), "--check writes nothing: leave DEST out"),
    ],
)
def test_a_target_or_a_check(run, old, arguments, message):
    done = run("convert", *(each.format(old=old) for each in arguments))
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dtype", "int8"), "dtype 'int8' is not a floating type"),
        (("--max-shard-size", "big"), "a size is a positive number of bytes or like '200MB'"),
    ],
)
def test_wrong_options(fails, old, tmp_path, options, message):
    assert message in fails("convert", old, tmp_path / "new", *options)
    assert not (tmp_path / "new").exists()


def test_no_such_source(fails, tmp_path):
    assert "no such folder" in fails("convert", tmp_path / "none", tmp_path / "new")
    assert "no weights" in fails("convert", tmp_path, tmp_path / "new" / "er")
