"""New rows of a vocabulary begin as what its pieces were before."""

import copy

import pytest
import torch

import regard
from regard.models.extension import extend_embeddings
from regard.text.extend import extend_tokenizer
from regard.text.learn import train_tokenizer

STEMS = ["river", "boat", "man", "sea", "house", "stone", "light", "night"]
NEW = {20: [3, 4], 22: [5], 21: [1, 2, 3], 23: []}


@pytest.mark.parametrize("tied", [True, False])
def test_rows_are_means_and_old_ones_stay(tied):
    config = regard.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    model = regard.BertForMaskedLM(config)
    with torch.no_grad():
        model.get_output_embeddings().bias.normal_()
    words = model.get_input_embeddings().weight.detach().clone()
    output = model.get_output_embeddings()
    scores, bias = output.weight.detach().clone(), output.bias.detach().clone()
    extend_embeddings(model, NEW)
    now = model.get_output_embeddings()
    pairs = (
        (words, model.get_input_embeddings().weight),
        (scores, now.weight),
        (bias, now.bias),
    )
    for old, new in pairs:
        assert len(new) == model.config.vocab_size == 24
        assert torch.equal(new[:20], old)
        for number, parts in NEW.items():
            if parts:
                torch.testing.assert_close(new[number], old[parts].mean(0), rtol=0, atol=1e-7)
    assert (now.weight is model.get_input_embeddings().weight) == tied
    assert model(torch.tensor([[20, 23]])).logits.shape == (1, 2, 24)


def test_rows_that_are_there_already_are_filled(tiny_config):
    model = regard.GPT2LMHeadModel(tiny_config("gpt2"))
    before = model.get_input_embeddings().weight.detach().clone()
    extend_embeddings(model, {29: [4, 5]})
    after = model.get_input_embeddings().weight
    assert len(after) == len(before)
    torch.testing.assert_close(after[29], before[4:6].mean(0), rtol=0, atol=1e-7)


def test_an_encoder_decoder_grows_everywhere(tiny_config):
    model = regard.BartForConditionalGeneration(tiny_config("bart"))
    extend_embeddings(model, {31: [4, 5]})
    assert model(torch.tensor([[31, 4]]), labels=torch.tensor([[31, 2]])).logits.shape[-1] == 32


def test_sources_must_be_old_rows(tiny_config):
    model = regard.GPT2LMHeadModel(tiny_config("gpt2"))
    with pytest.raises(ValueError, match="piece 31"):
        extend_embeddings(model, {31: [2], 32: [31]})
    with pytest.raises(ValueError, match="piece 40"):
        extend_embeddings(model, {31: [40]})


def test_a_trained_model_loses_less_than_with_new_rows_at_random():
    """A model that knows the pieces of a text does better on their joints than with noise."""
    torch.manual_seed(0)
    choose = torch.Generator().manual_seed(1)
    endings = ["s", "ing", "er", "ed", "less"]
    texts = [
        " ".join(
            STEMS[int(a)] + endings[int(a) % 5]
            for a in torch.randint(len(STEMS), (12,), generator=choose)
        )
        for _ in range(40)
    ]
    old = train_tokenizer(texts, "gpt2", 275)
    model = regard.GPT2LMHeadModel(
        regard.GPT2Config(
            vocab_size=275, n_embd=32, n_layer=1, n_head=2, n_positions=128, bos_token_id=0,
            eos_token_id=0,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    rows = [torch.tensor([old(text)["input_ids"]]) for text in texts]
    for step in range(120):
        ids = rows[step % len(rows)]
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = extend_tokenizer(old, texts, 30)
    losses = []
    model.eval()
    for fill in (True, False):
        grown = copy.deepcopy(model)
        if fill:
            extend_embeddings(grown, found.pieces)
        else:
            grown.resize_token_embeddings(len(found.tokenizer))
        with torch.no_grad():
            each = [torch.tensor([found.tokenizer(text)["input_ids"]]) for text in texts]
            losses.append(sum(float(grown(ids, labels=ids).loss) for ids in each) / len(each))
    assert losses[0] < losses[1] - 0.1
