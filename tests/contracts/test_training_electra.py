"""ELECTRA's two models in one step: however it is cut into batches, and whatever stands beside."""

import pytest
import torch

from regard.data.labels import IGNORED
from regard.models.electra_pretraining import (
    DETECTION_WEIGHT,
    AutoModelForJointPreTraining,
    ElectraForJointPreTraining,
    drawn,
)

from .families import LENGTH, tiny
from .test_training_loss import CUTS, ROWS, assert_same_step, at_once, one_step


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = tiny("electra", "PreTraining").config
    return AutoModelForJointPreTraining.from_config(config).double().eval()


def examples(model):
    draw = torch.Generator().manual_seed(3)
    words = model.config.vocab_size
    lengths = torch.randint(2, LENGTH + 1, (ROWS,), generator=draw)
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    ids = torch.randint(words, (ROWS, LENGTH), generator=draw)
    chosen = (torch.rand(ids.shape, generator=draw) < 0.9) & (mask == 1)
    chosen[2] = False
    return {
        "input_ids": ids.masked_fill(chosen, 4),
        "attention_mask": mask,
        "labels": ids.masked_fill(~chosen, IGNORED),
        "sampling": torch.rand(ids.shape, generator=draw),
    }


@pytest.mark.parametrize("cut", CUTS)
def test_a_step_is_what_its_examples_are(model, cut, tmp_path):
    batch = examples(model)
    assert_same_step(one_step(tmp_path, model, batch, cut), at_once(model, batch))


def test_padding_changes_nothing(model):
    batch = examples(model)
    output = model(**batch)
    assert float(output.replaced[batch["attention_mask"] == 0].max()) == IGNORED
    whole = output.loss_parts
    sums = [torch.zeros((), dtype=torch.double) for _ in range(2)]
    for row in range(ROWS):
        length = int(batch["attention_mask"][row].sum())
        alone = model(**{n: v[row : row + 1, :length] for n, v in batch.items()}).loss_parts
        sums = [total + part for total, part in zip(sums, alone.totals, strict=True)]
    torch.testing.assert_close(torch.stack(sums), torch.stack(whole.totals), rtol=0, atol=1e-10)


def test_the_loss_is_that_of_both_models_alone(model):
    batch = examples(model)
    output = model(**batch)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    generator = model.generator(**inputs, labels=batch["labels"])
    places = batch["labels"] != IGNORED
    filled = batch["input_ids"].clone()
    filled[places] = drawn(generator.logits[places], batch["sampling"][places])
    replaced = (filled != torch.where(places, batch["labels"], batch["input_ids"])).long()
    assert 0 < int(replaced.sum()) < int(places.sum())
    found = model.discriminator(
        input_ids=filled, attention_mask=batch["attention_mask"], labels=replaced
    )
    expected = generator.loss + DETECTION_WEIGHT * found.loss
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(output.logits, found.logits, rtol=0, atol=1e-10)


def test_nothing_flows_from_the_discriminator_into_the_generator(model):
    batch = examples(model)
    model(**batch).loss_parts.totals[1].backward()
    own = [p for n, p in model.generator.named_parameters() if "embeddings" not in n]
    tied = model.generator.get_output_embeddings().weight
    assert all(p.grad is None for p in own if p is not tied)
    assert tied is model.discriminator.get_input_embeddings().weight


def test_draws_have_the_generators_probabilities():
    logits = torch.randn(7, generator=torch.Generator().manual_seed(1))
    numbers = (torch.arange(70000) + 0.5) / 70000
    counts = torch.bincount(drawn(logits.expand(70000, -1), numbers), minlength=7)
    torch.testing.assert_close(counts / 70000, logits.softmax(0), rtol=0, atol=1e-4)
    assert drawn(logits[None], torch.ones(1)).item() == 6


def test_saved_as_two_models_and_loaded_as_one(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert (tmp_path / "generator" / "config.json").is_file()
    loaded = AutoModelForJointPreTraining.from_pretrained(tmp_path)
    assert isinstance(loaded, ElectraForJointPreTraining)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert loaded.generator.base_model.embeddings is loaded.discriminator.base_model.embeddings
