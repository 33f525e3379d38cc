import json
import shutil

import pytest
from huggingface_hub import constants

from regard.models.bert import BertConfig, BertForSequenceClassification
from regard.text.families import BertTokenizer

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
    assert found == {
        "name": str(tiny),
        "origin": "folder",
        "folder": str(tiny),
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "sizes": SIZES,
        "parameters": PARAMETERS,
        "tokenizer": {"class": "BertTokenizer", "tokens": 6, "max_length": 16},
        "pooling": None,
        "labels": ["bad", "mäßig", "good"],
    }
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
