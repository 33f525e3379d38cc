"""Texts and images matched as by the reference: entailment, cross-encoders, groups, pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import regard
from regard.pipelines.clustering import close_pairs, communities

from .labelled import save_labelled_bert

TEXTS = ["The striker scored twice.", "Ångström's 💜 pasta — 東京!", "a", "politics, and money"]
LABELS = ["sports", "cooking", "very long label, with words"]
ORDERS = {
    "last": ["contradiction", "neutral", "entailment"],
    "first": ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"],
    "two": ["not_entailment", "entailment"],
}


def _save(place: Path, labels: list[str]) -> str:
    save_labelled_bert({"SequenceClassification": place}, labels)
    return str(place)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("models")
    return {name: _save(place / name, labels) for name, labels in ORDERS.items()}


@pytest.mark.parametrize("order", [*ORDERS])
@pytest.mark.parametrize(
    "options", [{}, {"multi_label": True}, {"hypothesis_template": "It is on {}!"}], ids=str
)
def test_entailment_scores_labels(
    folders: dict[str, str], order: str, options: dict[str, Any]
) -> None:
    """One text, several, one label."""
    ours = regard.pipeline("zero-shot-classification", folders[order])
    theirs = transformers.pipeline("zero-shot-classification", folders[order])
    for given, labels in ((TEXTS, LABELS), (TEXTS[0], "sports, cooking"), (TEXTS[1], ["one"])):
        one, other = ours(given, labels, **options), theirs(given, labels, **options)
        assert type(one) is type(other)
        for mine, known in zip(
            *(each if isinstance(each, list) else [each] for each in (one, other)), strict=True
        ):
            assert (mine["sequence"], mine["labels"]) == (known["sequence"], known["labels"])
            assert mine["scores"] == pytest.approx(known["scores"], abs=1e-5)


def test_cross_encoder_scores_pairs(tmp_path: Path) -> None:
    """As sentence-transformers does, for a model with one label."""
    peer = pytest.importorskip("sentence_transformers")
    place = _save(tmp_path, ["relevant"])
    query = "Who won the match?"
    expected = peer.CrossEncoder(place, device="cpu").predict([(query, text) for text in TEXTS])
    found = regard.pipeline("ranking", place)(query, TEXTS)
    assert [each["index"] for each in found] == np.argsort(-expected).tolist()
    scores = {each["index"]: each["score"] for each in found}
    assert [scores[i] for i in range(len(TEXTS))] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.fixture(scope="module")
def vectors() -> Any:
    drawn = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_communities_are_those_of_the_reference(vectors: Any) -> None:
    """The same sets, in the same order but for equal sizes."""
    peer = pytest.importorskip("sentence_transformers.util")
    known = peer.community_detection(torch.from_numpy(vectors), 0.8, 3)
    found = [each.tolist() for each in communities(vectors, 0.8, 3)]
    assert len(found) > 5
    assert sorted(map(sorted, found)) == sorted(map(sorted, known))


def test_pairs_are_those_of_the_reference(vectors: Any) -> None:
    """The pairs from a threshold on, best first."""
    peer = pytest.importorskip("sentence_transformers.util")
    known = peer.paraphrase_mining_embeddings(torch.from_numpy(vectors), top_k=300, max_pairs=10**6)
    known = [(score, *sorted(pair)) for score, *pair in known if score >= 0.9]
    scores, firsts, seconds = close_pairs(vectors, 0.9, 10**6)
    assert len(known) > 50
    assert {(i, j) for _, i, j in known} == {*zip(firsts.tolist(), seconds.tolist(), strict=True)}
    assert scores.tolist() == pytest.approx([score for score, *_ in known], abs=1e-6)


def test_images_are_labelled_as_by_the_reference(tmp_path: Path) -> None:
    """A path, a picture, a list."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        initializer_range=0.5,
        num_labels=7,
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    drawn = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    pictures = [Image.fromarray(each) for each in drawn]
    file = tmp_path / "picture.png"
    pictures[0].save(file)
    ours = regard.pipeline("image-classification", str(tmp_path))
    theirs = transformers.pipeline("image-classification", str(tmp_path))
    for given in (str(file), pictures[1], pictures):
        for options in ({}, {"top_k": 2}, {"function_to_apply": "sigmoid"}):
            one, other = ours(given, **options), theirs(given, **options)
            flat = [
                [label for each in found for label in (each if isinstance(each, list) else [each])]
                for found in (one, other)
            ]
            assert [each["label"] for each in flat[0]] == [each["label"] for each in flat[1]]
            scores = [[each["score"] for each in found] for found in flat]
            # The resizing of theirs is torchvision's, where it is installed.
            assert scores[0] == pytest.approx(scores[1], abs=2e-3)
