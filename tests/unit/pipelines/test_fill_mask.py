"""Gaps in texts of any length, and words to choose among."""

from typing import Any

import pytest
import torch

import regard

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def fill() -> Any:
    tokenizer = regard.AutoTokenizer.from_pretrained(MINILM)
    torch.manual_seed(0)
    config = regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
        max_position_embeddings=64,
    )
    model = regard.BertForMaskedLM(config).eval()
    return regard.pipeline("fill-mask", model, tokenizer=tokenizer)


def test_a_gap_is_seen_with_what_is_around_it(fill: Any) -> None:
    """The window is as wide as the model takes, with the mask amid it; the text stays whole."""
    words = [f"{number % 89}" for number in range(300)]
    words[150] = "[MASK]"
    found = fill(" ".join(words), top_k=3)
    near = fill(" ".join(words[150 - 31 : 150 + 31]), top_k=3)
    assert [each["token"] for each in found] == [each["token"] for each in near]
    assert [each["score"] for each in found] == pytest.approx([each["score"] for each in near])
    words[150] = found[0]["token_str"]
    assert found[0]["sequence"] == " ".join(words).replace(" ##", "")


def test_gaps_far_apart_have_windows_of_their_own(fill: Any) -> None:
    """Each is answered as it would be alone, where it does not see the other."""
    words = ["far"] * 300
    for place in (0, 299):
        alone = [*words]
        alone[place] = "[MASK]"
        both = [*words]
        both[0] = both[299] = "[MASK]"
        (first, last) = fill(" ".join(both))
        expected = fill(" ".join(alone))
        found = first if place == 0 else last
        assert [each["token"] for each in found] == [each["token"] for each in expected]
        scores = [each["score"] for each in expected]
        assert [each["score"] for each in found] == pytest.approx(scores)
        assert found[0]["sequence"].count("[MASK]") == 1


def test_only_gaps_are_scored(fill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocabulary is large: two rows of it, not one for each token."""
    rows: list[int] = []
    score = fill.model.score

    def counted(hidden: torch.Tensor) -> torch.Tensor:
        rows.append(len(hidden))
        return score(hidden)

    monkeypatch.setattr(fill.model, "score", counted)
    fill("a [MASK] in the hand is worth [MASK] in the bush")
    assert rows == [2]


def test_targets_are_chosen_among(fill: Any) -> None:
    """Words and ids, each once, with their scores among all words."""
    every = {each["token"]: each["score"] for each in fill("so [MASK] .", top_k=40000)}
    assert sum(every.values()) == pytest.approx(1, abs=1e-4)
    (number,) = fill.tokenizer.encode("water", add_special_tokens=False)
    found = fill("so [MASK] .", targets=["fire", "Water", number])
    assert {each["token_str"] for each in found} == {"fire", "water"}
    assert all(each["score"] == pytest.approx(every[each["token"]]) for each in found)
    for target, message in [
        ("unbelievably-long", "no single token of the vocabulary, but 'un', '##bel'"),
        (10**6, "the number of no token"),
        ([], "targets is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            fill("so [MASK] .", targets=target)


def test_bad_inputs_are_named(fill: Any) -> None:
    """A text without a gap; and the others are answered."""
    with pytest.raises(ValueError, match=r"input 1: 'no gap' has no mask; write \[MASK\]"):
        fill(["[MASK]", "no gap"])
    lenient = regard.pipeline("fill-mask", fill.model, tokenizer=fill.tokenizer, on_error="return")
    found = lenient(["[MASK] 1", None, "", "[MASK] 2"])
    assert [each.index for each in found if isinstance(each, regard.Failure)] == [1, 2]
    assert [each["token"] for each in found[3]] == [each["token"] for each in fill("[MASK] 2")]
    with pytest.raises(ValueError, match="top_k is 0"):
        fill("[MASK]", top_k=0)
