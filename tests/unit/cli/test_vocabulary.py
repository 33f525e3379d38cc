"""``regard vocabulary``: what it writes can be loaded, and what it says is so."""

import json

import pytest
import torch

import regard
from regard.models.auto import AutoModelForMaskedLM

OLD = ["the old man sees the river and the boat", "an old boat lies at the river"] * 4
NEW = ["stary człowiek widzi rzekę", "stara łódź leży nad rzeką", "człowiek nad rzeką"] * 4


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "old.txt").write_text("\n".join(OLD), encoding="utf-8")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.txt").write_text("\n".join(NEW), encoding="utf-8")
    return tmp_path


@pytest.fixture
def folder(texts, run):
    done = run(
        *("vocabulary", "train", "--data", texts / "old.txt", "--size", 70, "--lowercase"),
        *("--output", texts / "model"),
    )
    assert done.exit_code == 0, done.output
    tokenizer = regard.AutoTokenizer.from_pretrained(texts / "model")
    config = regard.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    regard.BertForMaskedLM(config).save_pretrained(texts / "model")
    return texts / "model"


@pytest.mark.parametrize(
    ("kind", "found"),
    [("wordpiece", "BertTokenizer"), ("bpe", "GPT2Tokenizer"), ("t5", "T5Tokenizer")],
)
def test_train(texts, run, kind, found):
    done = run(
        *("vocabulary", "train", "--data", texts / "old.txt", "--data", texts / "new"),
        *("--kind", kind, "--size", 300, "--output", texts / "out", "--json"),
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    tokenizer = regard.AutoTokenizer.from_pretrained(texts / "out")
    assert said == {"output": str(texts / "out"), "class": found, "tokens": len(tokenizer)}
    assert type(tokenizer).__name__ == found
    assert "".join(tokenizer.tokenize("łódź")) not in ("", "[UNK]")


def test_case_counts_unless_told_otherwise(texts, folder, run):
    (texts / "old.txt").write_text("The The THE\n" * 3)
    run("vocabulary", "train", "--data", texts / "old.txt", "--output", texts / "cased")
    cased = regard.AutoTokenizer.from_pretrained(texts / "cased")
    lower = regard.AutoTokenizer.from_pretrained(folder)
    assert cased.tokenize("The") == ["The"]
    assert lower.tokenize("The") == ["the"]


def test_extend_writes_tokenizer_and_model(texts, folder, run):
    done = run(
        *("vocabulary", "extend", "--model", folder, "--data", texts / "new", "--add", 30),
        *("--output", texts / "more", "--json"),
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    old = regard.AutoTokenizer.from_pretrained(folder)
    new = regard.AutoTokenizer.from_pretrained(texts / "more")
    assert (said["added"], said["model"], len(new)) == (30, True, len(old) + 30)
    assert said["before"]["tokens"] == sum(len(old.tokenize(text)) for text in NEW)
    assert said["after"]["tokens"] == sum(len(new.tokenize(text)) for text in NEW)
    assert said["after"]["unknown"] == 0 < said["before"]["unknown"]
    before, after = (AutoModelForMaskedLM.from_pretrained(f) for f in (folder, texts / "more"))
    assert after.config.vocab_size == len(new)
    rows = after.get_input_embeddings().weight
    assert torch.equal(rows[: len(old)], before.get_input_embeddings().weight)
    assert new.get_vocab()["rzeka"] >= len(old)


def test_extend_shows_a_table(texts, folder, run):
    (folder / "config.json").unlink()
    done = run(
        *("vocabulary", "extend", "--model", folder, "--data", texts / "new", "--add", 30),
        *("--output", texts / "more"),
    )
    assert "30 new pieces" in done.stdout
    old = len(regard.AutoTokenizer.from_pretrained(folder))
    assert f"before: {old} pieces" in done.stdout
    assert f"after: {old + 30} pieces" in done.stdout
    assert "only the tokenizer is written" in done.stderr
    assert not (texts / "more" / "model.safetensors").exists()


def test_refusals(texts, folder, fails, run):
    train = ("vocabulary", "train", "--output", texts / "out", "--data")
    assert "did you mean 'bpe'" in fails(*train, texts / "old.txt", "--kind", "bpee")
    assert "no column 'txt'" in fails(*train, texts / "old.txt", "--column", "txt")
    assert "no such file" in fails(*train, texts / "none.txt")
    assert "name a new folder" in fails(
        "vocabulary", "train", "--data", texts / "old.txt", "--output", folder
    )
    extend = ("vocabulary", "extend", "--model", folder, "--data", texts / "old.txt")
    known = regard.AutoTokenizer.from_pretrained(folder).tokenize("the")
    assert known == ["the"]
    (texts / "old.txt").write_text("the the the")
    assert "needs no extension" in fails(*extend, "--output", texts / "more")
    done = run(*train, texts / "old.txt", "--kind", "bpe", "--lowercase")
    assert done.exit_code == 2
    assert "only WordPiece" in done.stderr
