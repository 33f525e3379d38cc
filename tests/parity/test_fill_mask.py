"""Words for gaps against the reference's pipeline."""

from pathlib import Path
from typing import Any

import pytest
import transformers

import regard

from .encoders import encoder_folder

TEXTS = [
    "{} is born free.",
    "Everyone is born {} and equal in {}.",
    "  All   human {}\tbeings {}{} are\n born 💜 free ,  and שלום .",
    "{}",
]


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    place: Path = tmp_path_factory.mktemp("models") / request.param
    return str(encoder_folder(place, request.param, "ForMaskedLM"))


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_k": 9, "targets": True}], ids=str)
def test_gaps_are_filled_as_by_the_reference(folder: str, options: dict[str, Any]) -> None:
    """One mask and several, all keys the same."""
    ours = regard.pipeline("fill-mask", folder, precision="fp32")
    theirs = transformers.pipeline("fill-mask", folder)
    if "targets" in options:
        options = {**options, "targets": ours.tokenizer.convert_ids_to_tokens([300, 400, 500])}
    for text in TEXTS:
        given = text.replace("{}", str(ours.tokenizer.mask_token))
        _same(ours(given, **options), theirs(given, **options))
    given = [text.replace("{}", str(ours.tokenizer.mask_token)) for text in TEXTS]
    _same(ours(given, **options), theirs(given, **options))


def _same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            _same(one, other)
        return
    assert [*ours] == [*theirs]
    assert ours["score"] == pytest.approx(theirs["score"], abs=1e-5)
    assert {**ours, "score": 0} == {**theirs, "score": 0}
