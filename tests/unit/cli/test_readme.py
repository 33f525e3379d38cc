"""Every command in the README runs, as it stands there, in a folder with what it names."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import regard

from . import task_data

README = Path(__file__).parents[3] / "README.md"
#: Verbs that write with an embedded model of 135 million parameters.
WRITING = ("chat", "summarize", "generate")
LINES = ["a trip to Rome", "boil the pasta", "the vote in parliament"]


def commands():
    """Return what follows ``regard`` in the blocks of shell commands."""
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    parts = [part for block in blocks for line in block.splitlines() for part in line.split("&&")]
    words = [shlex.split(part, comments=True) for part in parts]
    return [each[1:] for each in words if each and each[0] in ("regard", ".venv/bin/regard")]


COMMANDS = commands()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with the files that the README names: small, and real."""
    folder = tmp_path_factory.mktemp("readme")
    rows = task_data.sentiments(24)
    task_data.write_tsv(folder / "reviews.tsv", ("text", "label"), rows)
    task_data.write_tsv(folder / "test.tsv", ("text", "label"), rows[:8])
    task_data.write_jsonl(folder / "new.jsonl", [{"text": text} for text, _ in rows[:3]])
    (folder / "lines.txt").write_text("\n".join(LINES))
    regard.pipeline("search").index(LINES).save(folder / "index")
    (folder / "report.txt").write_text("The fox jumps. The dog barks. Nobody knows why they do.")
    (folder / "texts").mkdir()
    (folder / "texts/a.txt").write_text("stary człowiek widzi rzekę\nstara łódź nad rzeką\n" * 4)
    bert = task_data.save_bert(folder / "bert")
    task_data.train(bert, folder / "reviews.tsv", folder / "model")
    shutil.copytree(folder / "model", folder / "my-model")
    save_masked(folder / "bert")
    return folder


def save_masked(folder):
    """Save a model that foresees words, over the one there."""
    torch.manual_seed(0)
    config = regard.AutoConfig.from_pretrained(folder)
    regard.BertForMaskedLM(config).save_pretrained(folder)


def test_the_readme_has_commands():
    assert {"train", "evaluate", "embed", "similar", "classify", "doctor"} <= {
        each[0] for each in COMMANDS
    }


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(each, marks=pytest.mark.slow if each[0] in WRITING else (), id=" ".join(each))
        for each in COMMANDS
    ],
)
def test_a_command_of_the_readme(words, prepared, run, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    writes = "--output" in words and words[0] in ("train", "convert", "vocabulary")
    if words[0] == "train":
        shutil.rmtree(folder / "model")
    done = run(*words, input="Say hello.\n" if words[0] == "chat" else None)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip()
    if writes:
        assert regard.AutoConfig.from_pretrained(words[words.index("--output") + 1])
