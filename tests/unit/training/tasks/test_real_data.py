"""Real corpora through the tasks, where REGARD_DATA names the folder that has them."""

import os
from pathlib import Path

import pytest

import regard
from regard.training.splits import find_splits
from regard.training.tasks.registry import task_class
from regard.training.tasks.task import Prepared

ROOT = Path(os.environ.get("REGARD_DATA", ""))
#: Task, folder, columns, and what a model must tell apart.
CORPORA = [
    ("text-classification", "sst2", {}, 2),
    ("text-classification", "trec", {}, 6),
    ("text-classification", "sick", {"label": "entailment_judgment"}, 3),
    ("text-similarity", "sick", {}, 1),
    ("ner", "wnut17", {}, 13),
    ("srl", "up_en", {}, None),
    ("predicate-identification", "up_en", {}, 2),
    ("qa", "xquad/en.train.json", {}, None),
    ("translation", "multi30k", {"text": "en", "target": "de"}, None),
]

pytestmark = pytest.mark.skipif(
    "REGARD_DATA" not in os.environ, reason="REGARD_DATA names no folder of corpora"
)


@pytest.fixture(scope="module")
def tokenizer():
    return regard.AutoTokenizer.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")


@pytest.mark.parametrize(("name", "folder", "columns", "labels"), CORPORA)
def test_a_corpus_is_read_and_prepared(name, folder, columns, labels, tokenizer):
    splits = find_splits(ROOT / folder)
    task = task_class(name)()
    examples = task.named(task.read(splits.training), columns)
    config = regard.AutoConfig.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
    config = config.replace(**task.config_for(examples, config))
    assert labels is None or config.num_labels == labels
    found = task.prepare(examples[:50], tokenizer, config)
    assert isinstance(found, Prepared)
    assert len(found.dataset) >= 50
    assert max(map(len, found.dataset["input_ids"])) <= 384 + 128
    if splits.validation is not None:
        held = task.named(task.read(splits.validation), columns)
        assert len(task.prepare(held[:50], tokenizer, config).dataset) >= 50
