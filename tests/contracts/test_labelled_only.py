"""Heads that score words compute what is labelled and nothing else, when asked to."""

import pytest
import torch

from regard.models.heads import WordLabels
from regard.models.losses import labelled_only
from regard.models.pretraining_heads import PreTraining
from regard.models.seq2seq_heads import ConditionalGeneration

from .families import BASE, but_kin, every_task, inputs, model_class, tiny

SCORE_WORDS = (WordLabels, PreTraining, ConditionalGeneration)
HEADS = [
    (kind, task)
    for kind, task in every_task()
    if task != BASE and issubclass(model_class(kind, task), SCORE_WORDS)
]


def labelled(model):
    """Return a batch with three labelled tokens that a head counts."""
    batch = inputs(model)
    target = batch.pop("decoder_input_ids", batch["input_ids"])
    labels = torch.full_like(target, -100)
    labels[0, 2], labels[1, 4], labels[2, 3] = 5, 7, 9
    more = {"next_sentence_label": torch.tensor([0, 1, -100])}
    return batch | {"labels": labels} | (more if isinstance(model, PreTraining) else {})


def scored_tokens(model, batch):
    """Return a model's output, and how many tokens it scored words for."""
    seen = []
    output = model.get_output_embeddings()
    hook = output.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = model(**batch)
    hook.remove()
    return found, sum(seen)


@pytest.mark.parametrize(("model_type", "task"), but_kin(HEADS))
def test_the_loss_is_the_same_and_only_labelled_tokens_are_scored(model_type, task):
    model = tiny(model_type, task).double()
    batch = labelled(model)
    whole, tokens = scored_tokens(model, batch)
    with labelled_only(model, True):
        part, few = scored_tokens(model, batch)
    assert few == 3 < tokens
    assert part.loss.item() == pytest.approx(whole.loss.item(), abs=1e-12)
    assert part.get("logits") is None
    assert part.get("prediction_logits") is None
    again, tokens_again = scored_tokens(model, batch)
    assert tokens_again == tokens
    assert again.loss.item() == whole.loss.item()


@pytest.mark.parametrize(("model_type", "task"), but_kin(HEADS))
def test_a_wrong_label_is_named_by_its_place(model_type, task):
    model = tiny(model_type, task)
    batch = labelled(model)
    batch["labels"][1, 4] = 1000
    with pytest.raises(ValueError, match="row 1, column") as whole:
        model(**batch)
    with labelled_only(model, True), pytest.raises(ValueError, match="row 1") as part:
        model(**batch)
    assert str(part.value) == str(whole.value)


def test_nothing_labelled_is_a_loss_of_zero():
    model = tiny("bert", "MaskedLM")
    batch = labelled(model)
    batch["labels"].fill_(-100)
    with labelled_only(model, True):
        loss = model(**batch).loss
    assert loss.item() == 0
    loss.backward()
