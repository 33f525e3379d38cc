import json
import shutil

import pytest
from huggingface_hub import constants

from regard.adapters.adapter import add_adapter, merge_and_unload
from regard.adapters.config import LoraConfig
from regard.adapters.files import save_adapters
from regard.errors import CheckpointError
from regard.models.auto import FAMILIES, family
from regard.models.bert import BertConfig, BertForSequenceClassification
from regard.text.families import AutoTokenizer, BertTokenizer

from ...contracts.families import one_of_each_kind

SIZES = {"layers": 1, "width": 8, "heads": 2, "vocabulary": 6, "positions": 16}
PARAMETERS = 8 * (6 + 16 + 2 + 2) + 4 * 72 + (8 * 32 + 32) + (32 * 8 + 8) + 32 + 72 + 27


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    config = BertConfig(
        vocab_size=6,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        id2label={0: "bad", 1: "mäßig", 2: "good"},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    BertTokenizer(vocabulary, model_max_length=16).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copy")


def facts(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_folder(run, tiny):
    found = facts(run("info", tiny, "--json"))
    weights = found.pop("weights")
    costs = {name: found.pop(name) for name in ("parts", "memory", "cache_per_token", "flops")}
    assert found == {
        "name": str(tiny),
        "origin": "folder",
        "folder": str(tiny),
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "model": "BertForSequenceClassification",
        "sizes": SIZES,
        "parameters": PARAMETERS,
        "tokenizer": {"class": "BertTokenizer", "tokens": 6, "max_length": 16},
        "pooling": None,
        "labels": ["bad", "mäßig", "good"],
    }
    norms = {"parameters": 48, "per_layer": [32], "flops": 0}
    assert costs["parts"]["norms"] == norms
    assert sum(part["parameters"] for part in costs["parts"].values()) == PARAMETERS
    assert costs["memory"]["training"] == 16 * PARAMETERS
    assert costs["cache_per_token"] is None
    layer = 2 * 16 * (4 * 8 * 8 + 2 * 8 * 32) + 2 * 2 * 16 * 16 * 8
    assert costs["flops"]["total"] == layer + 2 * (8 * 8 + 8 * 3)
    assert costs["flops"]["attention_scores"] == 2 * 2 * 16 * 16 * 8
    assert costs["flops"]["tokens"] == 16
    assert weights["files"] == ["model.safetensors"]
    assert weights["bytes"] == (tiny / "model.safetensors").stat().st_size
    assert weights["numbers"] == {"float32": PARAMETERS}


def test_embedded_is_the_default(run):
    found = facts(run("info", "--json"))
    assert found["name"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert found["origin"] == "embedded"
    assert found["parameters"] == 22_713_216
    assert found["pooling"] == {"modes": ["mean"], "normalize": True, "max_length": 256}
    assert found["labels"] is None


def test_table(run, tiny):
    done = run("info", tiny)
    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    assert f"parameters {PARAMETERS:,}" in words
    assert "labels 3: bad, mäßig, good" in words
    assert "pooling none: not a sentence encoder" in words
    assert "weights model.safetensors, 0.0 MB, float32" in words
    assert "tokenizer BertTokenizer, 6 tokens, at most 16 in a text" in words
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_table_of_a_sentence_encoder(run):
    words = " ".join(run("info").stdout.split())
    assert "pooling mean, vectors of length 1, texts cut at 256 tokens" in words
    assert "float32 (22,713,216 numbers), int64 (512 numbers)" in words
    assert "labels none" in words


def test_what_cannot_be_read_hides_nothing_else(run, copy):
    (copy / "model.safetensors").write_bytes(b"not weights")
    (copy / "tokenizer.json").write_text("{")
    (copy / "modules.json").write_text("{}")
    found = facts(run("info", copy, "--json"))
    assert "model.safetensors" in found["weights"]["error"]
    assert "tokenizer.json" in found["tokenizer"]["error"]
    assert "modules.json" in found["pooling"]["error"]
    assert found["parameters"] == PARAMETERS
    done = run("info", copy)
    assert done.exit_code == 0
    assert done.stdout.count("cannot be read:") == 3


def test_folder_without_weights_or_tokenizer(run, copy):
    for file in copy.iterdir():
        if file.name != "config.json":
            file.unlink()
    found = facts(run("info", copy, "--json"))
    assert "no weights" in found["weights"]["error"]
    assert "tokenizer" in found["tokenizer"]["error"]


def test_hub_does_not_download_weights(run, tiny, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    refs = tmp_path / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    shutil.copy(tiny / "config.json", snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = facts(run("info", "org/tiny", "--json"))
    assert found["origin"] == "hub"
    assert found["folder"] == str(snapshot)
    assert found["weights"] is None
    assert "not downloaded yet" in run("info", "org/tiny").stdout
    shutil.copy(tiny / "model.safetensors", snapshot)
    found = facts(run("info", "org/tiny", "--json"))
    assert found["weights"]["numbers"] == {"float32": PARAMETERS}


def test_a_revision_is_not_the_embedded_package(fails):
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert "not in the local cache" in fails("info", name, "--revision", "no-such")


def test_unknown_model(fails, tmp_path):
    assert "no such folder" in fails("info", tmp_path / "none")
    assert "config.json" in fails("info", tmp_path)


def test_unknown_family(fails, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "berd"}')
    assert "did you mean 'bert'" in fails("info", tmp_path)


def test_a_configuration_alone(run, tiny, tmp_path):
    file = tmp_path / "any.json"
    shutil.copy(tiny / "config.json", file)
    found = facts(run("info", file, "--json"))
    assert (found["name"], found["origin"], found["folder"]) == (str(file), "file", str(tmp_path))
    assert found["parameters"] == PARAMETERS
    assert not {"weights", "tokenizer"} & found.keys()
    assert "a configuration without weights" in run("info", file).stdout


@pytest.mark.parametrize("name", one_of_each_kind(FAMILIES))
def test_every_family_by_its_defaults(run, name):
    found = facts(run("info", "--family", name, "--json"))
    assert (found["name"], found["origin"], found["model_type"]) == (name, "family", name)
    assert found["model"] == family(name).base.__name__
    done = run("info", "--family", name)
    assert done.exit_code == 0
    assert f"parameters {found['parameters']:,}" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_table_of_costs(run):
    done = run("info", "--family", "llama", "--head", "CausalLM", "--length", 1024)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "LlamaForCausalLM, one forward over 1,024 tokens" in lines
    assert "Part Parameters Per layer Share FLOPs" in lines
    assert "attention 2,147,483,648 32 x 67,108,864 31.9 % 4.40 T" in lines
    assert "attention pairs 550 G" in lines
    assert "head 131,072,000 1.9 % 268 G" in lines
    assert "total 6,738,415,616 14.1 T" in lines
    assert "weights 27.0 GB in float32, 13.5 GB in bfloat16, 6.74 GB in int8" in lines
    assert "KV cache for each token 1.05 MB in float32, 524 kB in bfloat16" in lines


def test_the_table_of_parts_that_not_every_layer_has(run):
    done = run("info", "--family", "transformer", "--head", "Seq2SeqLM")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "cross-attention 6,303,744 6 x 1,050,624 10.0 % 6.44 G" in lines
    assert "norms 30,720 2.05 k to 3.07 k 0.0 % 0" in lines
    assert "head 0 0.0 % 19.4 G" in lines  # the word vectors again, which it computes with


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "--family", "bert"), "give MODEL or --family, not both"),
        (("--family", "brt"), "did you mean 'bert'"),
        (("--family", "vit", "--head", "CausalLM"), "vit has no head 'CausalLM'; it has Image"),
        (("--family", "bert", "--length", "513"), "at most the 512 positions of this model"),
    ],
)
def test_wrong_options(fails, arguments, message):
    assert message in fails("info", *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "wanted a JSON object"),
        ("{}", "names no model_type"),
        ('{"model_type": "bert", "hidden_size": "wide"}', "hidden_size is 'wide'"),
    ],
)
def test_a_configuration_that_is_none(fails, tmp_path, content, message):
    file = tmp_path / "config.json"
    file.write_text(content)
    said = fails("info", file)
    assert message in said
    assert str(file) in said


def test_no_length_is_a_usage_error(run):
    assert run("info", "--family", "bert", "--length", 0).exit_code == 2


@pytest.fixture
def adapter(tiny, tmp_path):
    """A folder with nothing but an adapter of the tiny model."""
    model = BertForSequenceClassification.from_pretrained(tiny)
    add_adapter(model, LoraConfig(r=2, target_modules=["query"]))
    save_adapters(model, tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_and_its_base(run, tiny, adapter):
    found, base = facts(run("info", adapter, "--json")), facts(run("info", tiny, "--json"))
    size = (adapter / "adapter_model.safetensors").stat().st_size
    assert found.pop("adapter") == {
        "kind": "LORA",
        "rank": 2,
        "targets": ["query"],
        "numbers": 2 * 8 + 8 * 2,
        "bytes": size,
    }
    assert found.pop("base") == str(tiny)
    assert found == base | {"name": str(adapter), "folder": str(adapter)}
    shown = " ".join(run("info", adapter).stdout.split())
    assert "LORA of rank 2 on query, 32 numbers" in shown
    assert str(tiny) in shown.replace(" ", "")


def test_an_adapter_whose_base_is_gone(fails, adapter):
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "./gone"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert "its base model is not there: gone: no such folder" in fails("info", adapter)


def test_an_adapter_is_not_converted_but_merged_first(run, fails, tiny, adapter, tmp_path):
    for arguments in ((adapter, tmp_path / "new"), (adapter, "--check")):
        message = fails("convert", *arguments)
        assert f"{adapter} is an adapter of {tiny}; merge it first" in message
    model = BertForSequenceClassification.from_pretrained(adapter)
    merge_and_unload(model).save_pretrained(tmp_path / "merged")
    assert run("convert", tmp_path / "merged", "--check").exit_code == 0


def test_the_tokenizer_of_an_adapter_is_its_bases_unless_it_has_one(tiny, adapter):
    assert AutoTokenizer.from_pretrained(adapter).get_vocab()["a"] == 5
    BertTokenizer({"[UNK]": 0, "[PAD]": 1, "a": 2}).save_pretrained(adapter)
    assert AutoTokenizer.from_pretrained(adapter).get_vocab()["a"] == 2
    for file in adapter.glob("*token*"):
        file.unlink()
    (adapter / "vocab.txt").unlink(missing_ok=True)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "./gone"})
    )
    with pytest.raises(CheckpointError, match="has no tokenizer of its own, and its base"):
        AutoTokenizer.from_pretrained(adapter)
