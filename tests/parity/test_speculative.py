"""Guessed tokens: every family writes what the reference writes without them."""

import pytest
import torch

from .generators import FAMILIES, both, prompts


@torch.no_grad()
@pytest.mark.parametrize(
    "family",
    [pytest.param(each, marks=[] if each == "llama" else [pytest.mark.slow]) for each in FAMILIES],
)
def test_guesses_change_nothing(family, tmp_path):
    theirs, ours = both(family, tmp_path)
    guesses = type(ours).from_pretrained(tmp_path).double()
    torch.manual_seed(0)
    for parameter in guesses.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.01)
    options = {"max_new_tokens": 16, "do_sample": False}
    ids = prompts()
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)
    for how in (
        {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 1},
        {"assistant_model": guesses, "num_assistant_tokens": 4},
        {"assistant_model": guesses, "assistant_confidence_threshold": 0.0},
    ):
        assert torch.equal(ours.generate(ids, **options, **how), expected), how
