"""A sequence gives the same answer alone, padded on either side, and in any batch."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import regard
from regard.attention.attention import ScaledDotProduct
from regard.models.auto import FAMILIES, family

from .families import but_kin, inputs, tiny

TOLERANCE = 1e-6
TEXTS = [
    "A great film.",
    "",
    "The same words again and again and again and again and again, until nobody listens.",
    "Ein Satz auf Deutsch",
    "短い文",
    "Is it?",
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = regard.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=24,
    )
    return regard.BertForTokenClassification(config).eval()


def assert_near(left, right):
    difference = (left - right).abs().max().item() if left.numel() else 0.0
    # Doubles tell an error of the method from one of rounding, whatever the size of the values.
    assert difference <= (1e-12 if left.dtype == torch.float64 else TOLERANCE), f"{difference:.1e}"


@settings(max_examples=12)
@given(data=st.data())
def test_alone_padded_and_in_any_batch(model, data):
    rows = data.draw(
        st.lists(st.lists(st.integers(1, 49), min_size=1, max_size=12), min_size=1, max_size=4)
    )
    left = data.draw(st.integers(0, 4))
    right = data.draw(st.integers(0, 4))
    width = left + max(map(len, rows)) + right
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for row, sequence in enumerate(rows):
        ids[row, left : left + len(sequence)] = torch.tensor(sequence)
        mask[row, left : left + len(sequence)] = 1
    with torch.no_grad():
        together = model(ids, attention_mask=mask).logits
        for row, sequence in enumerate(rows):
            alone = model(torch.tensor([sequence])).logits[0]
            assert_near(together[row, left : left + len(sequence)], alone)
            assert not together[row][mask[row] == 0].any()


def test_what_stands_at_padding_does_not_matter(model):
    ids = torch.randint(1, 50, (2, 8))
    mask = torch.tensor([[1] * 8, [1] * 3 + [0] * 5])
    labels = torch.ones(2, 8, dtype=torch.long)
    garbage = torch.where(mask == 1, ids, 49)
    junk_labels = torch.where(mask == 1, labels, 0)
    one = model(ids, attention_mask=mask, labels=labels)
    other = model(garbage, attention_mask=mask, labels=junk_labels)
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.loss, other.loss)


def test_a_row_without_tokens_does_not_disturb_the_others(model):
    ids = torch.randint(1, 50, (3, 5))
    mask = torch.tensor([[1] * 5, [0] * 5, [1] * 5])
    with_empty = model(ids, attention_mask=mask).logits
    assert_near(with_empty[[0, 2]], model(ids[[0, 2]]).logits)
    assert not with_empty[1].any()


@pytest.mark.parametrize("batch_tokens", [30, 10_000])
def test_minilm_embeddings_do_not_depend_on_the_batch(batch_tokens):
    encoder = regard.SentenceEncoder.from_pretrained()
    encoder.batch_tokens = batch_tokens
    together = encoder.encode(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert_near(torch.tensor(encoder.encode(text)), torch.tensor(vector))
    backwards = encoder.encode(TEXTS[::-1])[::-1]
    assert_near(torch.tensor(backwards.copy()), torch.tensor(together))


def run(model, batch):
    with torch.no_grad():
        return model(**batch).last_hidden_state


def rows_of(batch, row):
    return {name: value[row : row + 1] for name, value in batch.items()}


@pytest.mark.parametrize("model_type", but_kin(FAMILIES))
def test_every_family_alone_and_in_a_batch(model_type):
    model = tiny(model_type).double()
    batch = inputs(model, rows=4)
    together = run(model, batch)
    for row in range(4):
        assert_near(together[row], run(model, rows_of(batch, row))[0])


def arguments_of(model_type):
    return inspect.signature(family(model_type).base.forward).parameters


TEXT_FAMILIES = [name for name in FAMILIES if "input_ids" in arguments_of(name)]


@pytest.mark.parametrize("left", [0, 3])
@pytest.mark.parametrize("model_type", but_kin(TEXT_FAMILIES))
def test_every_text_family_alone_and_padded(model_type, left):
    model = tiny(model_type).double()
    batch = inputs(model)
    ids = torch.randint(5, model.config.vocab_size, (3, 15))
    mask, lengths = torch.zeros_like(ids), (12, 5, 1)
    for row, length in enumerate(lengths):
        mask[row, left : left + length] = 1
    batch |= {"input_ids": ids, "attention_mask": mask}
    together = run(model, batch)
    for row, length in enumerate(lengths):
        text = slice(left, left + length)
        alone = rows_of(batch, row)
        alone |= {"input_ids": ids[row : row + 1, text], "attention_mask": mask[row, text][None]}
        # What a decoder of its own gives has its own columns, none of which is padding.
        columns = slice(None) if "decoder_input_ids" in batch else text
        assert_near(together[row, columns], run(model, alone)[0])
    garbage = batch | {"input_ids": torch.where(mask == 1, ids, ids.flip(0))}
    assert torch.equal(run(model, garbage), together)


DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")
#: Encoders that can be decoders.
DECODING = ("bert", "roberta", "electra")


def is_causal(model):
    parts = [part for part in model.modules() if isinstance(part, ScaledDotProduct)]
    assert parts
    return all(part.pattern.causal for part in parts)


def test_what_comes_later_changes_nothing_that_came_before():
    models = {name: tiny(name) for name in TEXT_FAMILIES}
    models |= {f"{name}, causal": tiny(name, is_decoder=True) for name in DECODING}
    causal = {name: model for name, model in models.items() if is_causal(model)}
    assert {*DECODERS, *(f"{name}, causal" for name in DECODING)} <= {*causal}
    assert not {*DECODING} & {*causal}
    for model in causal.values():
        ids = inputs(model)["input_ids"]
        whole = run(model, {"input_ids": ids})
        for length in range(1, ids.shape[1]):
            assert_near(run(model, {"input_ids": ids[:, :length]}), whole[:, :length])
