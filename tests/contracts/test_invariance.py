"""A sequence gives the same answer alone, padded on either side, and in any batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import regard

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
    assert difference <= TOLERANCE, f"{difference:.1e}"


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


DECODER = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    ("head", "config"),
    [
        ("GPT2LMHeadModel", regard.GPT2Config(**DECODER)),
        ("LlamaForCausalLM", regard.LlamaConfig(**DECODER, num_key_value_heads=2)),
        ("MistralForCausalLM", regard.MistralConfig(**DECODER, num_key_value_heads=2)),
    ],
)
@pytest.mark.parametrize("left", [0, 3])
def test_decoders_alone_padded_and_in_a_batch(head, config, left):
    torch.manual_seed(0)
    model = getattr(regard, head)(config).eval()
    ids, mask = torch.randint(3, 50, (3, 15)), torch.zeros(3, 15, dtype=torch.long)
    for row, length in enumerate((12, 5, 1)):
        mask[row, left : left + length] = 1
    together = model(ids, attention_mask=mask).logits
    for row, length in enumerate((12, 5, 1)):
        alone = model(ids[row : row + 1, left : left + length]).logits[0]
        assert_near(together[row, left : left + length], alone)
        # What comes later changes nothing that came before.
        shorter = model(ids[row : row + 1, left : left + length - 1]).logits[0] if length > 1 else 0
        assert length == 1 or (alone[:-1] - shorter).abs().max() <= TOLERANCE
