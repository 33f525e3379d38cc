"""The Transformer of the paper, against torch's own module of that name."""

import pytest
import torch

import regard
from regard import Transformer, TransformerConfig, TransformerModel

TINY = {
    "vocab_size": 23,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_decoder_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "hidden_dropout_prob": 0.0,
}
SOURCES, TARGETS = [7, 3, 7, 1], [2, 5, 5, 4]


def mask_of(lengths):
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


@pytest.fixture
def batch():
    torch.manual_seed(0)
    source, target = mask_of(SOURCES), mask_of(TARGETS)
    return {
        "input_ids": torch.randint(3, 23, source.shape) * source,
        "attention_mask": source,
        "decoder_input_ids": torch.randint(3, 23, target.shape) * target,
        "decoder_attention_mask": target,
    }


def copy_attention(ours, theirs):
    parts = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


@torch.no_grad()
def torch_twin(model):
    """Return torch.nn.Transformer with the weights of `model`; it has no embeddings."""
    twin = torch.nn.Transformer(16, 4, 2, 3, 24, dropout=0.0, batch_first=True)
    twin.encoder.norm = twin.decoder.norm = None
    for ours, theirs in zip(model.encoder.stack.layers, twin.encoder.layers, strict=True):
        copy_attention(ours.attention, theirs.self_attn)
        theirs.linear1.load_state_dict(ours.feed_forward.up.state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward.down.state_dict())
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())
    for ours, theirs in zip(model.decoder.stack.layers, twin.decoder.layers, strict=True):
        copy_attention(ours.attention, theirs.self_attn)
        copy_attention(ours.cross_attention, theirs.multihead_attn)
        theirs.linear1.load_state_dict(ours.feed_forward.up.state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward.down.state_dict())
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.norm2.load_state_dict(ours.cross_attention_norm.state_dict())
        theirs.norm3.load_state_dict(ours.feed_forward_norm.state_dict())
    return twin


def disturbed(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def embedded(model, ids):
    """Words by sqrt(width) and the sinusoids of section 3.5, by their formula."""
    vectors = model.get_input_embeddings()(ids) * 4
    for position in range(ids.shape[1]):
        for i in range(8):
            angle = torch.tensor(position / 10000 ** (2 * i / 16), dtype=torch.float64)
            vectors[:, position, 2 * i] += angle.sin().float()
            vectors[:, position, 2 * i + 1] += angle.cos().float()
    return vectors


def test_outputs_and_gradients_are_those_of_torch(batch):
    model = disturbed(TransformerModel(TransformerConfig(**TINY)))
    twin = torch_twin(model)
    ours = model(**batch).last_hidden_state
    theirs = twin(
        embedded(model, batch["input_ids"]),
        embedded(model, batch["decoder_input_ids"]),
        tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(max(TARGETS)).isinf(),
        src_key_padding_mask=batch["attention_mask"] == 0,
        memory_key_padding_mask=batch["attention_mask"] == 0,
        tgt_is_causal=True,
    )
    real = batch["decoder_attention_mask"].bool()
    assert (ours - theirs)[real].abs().max() < 1e-5
    assert not ours[~real].any()
    words = model.get_input_embeddings().weight
    gradients = []
    for hidden in (ours, theirs):
        words.grad = None
        hidden[real].square().mean().backward()
        gradients.append(words.grad)
    assert (gradients[0] - gradients[1])[1:].abs().max() < 1e-5


def test_a_batch_gives_what_each_row_gives_alone(batch):
    model = disturbed(Transformer(TransformerConfig(**TINY))).eval()
    together = model(**batch, output_attentions=True, output_hidden_states=True)
    assert len(together.cross_attentions) == len(together.decoder_attentions) == 3
    assert len(together.encoder_attentions) == 2
    assert len(together.encoder_hidden_states) == 3
    assert len(together.decoder_hidden_states) == 4
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        alone = model(
            batch["input_ids"][row : row + 1, :source],
            decoder_input_ids=batch["decoder_input_ids"][row : row + 1, :target],
            output_attentions=True,
        )
        assert (together.logits[row, :target] - alone.logits[0]).abs().max() < 1e-5
        for both, one in zip(together.cross_attentions, alone.cross_attentions, strict=True):
            assert (both[row, :, :target, :source] - one[0]).abs().max() < 1e-6
            assert both[row].sum().item() == pytest.approx(4 * target, abs=1e-4)


def test_an_encoded_source_stands_for_its_text(batch):
    model = disturbed(Transformer(TransformerConfig(**TINY))).eval()
    whole = model(**batch)
    source = batch.pop("input_ids")
    for encoded in (whole.encoder_last_hidden_state, model.model(source, **batch)[1]):
        again = model(**batch, encoder_outputs=(encoded,))
        assert torch.equal(again.logits, whole.logits)


def test_labels_are_the_target_and_their_padding_costs_nothing(batch):
    model = disturbed(Transformer(TransformerConfig(**TINY)))
    labels = torch.tensor(
        [[4, 5, 2, -100, -100], [4, -100, 6, 2, -100], [2] * 5, [7, 8, 9, 2, -100]]
    )
    source = {name: batch[name] for name in ("input_ids", "attention_mask")}
    found = model(**source, labels=labels)
    shifted = torch.tensor([[1, 4, 5, 0, 0], [1, 4, 0, 6, 0], [1, 2, 2, 2, 2], [1, 7, 8, 9, 0]])
    given = model(**source, decoder_input_ids=shifted)
    real = mask_of([3, 4, 5, 4]).bool()
    assert (found.logits - given.logits)[real].abs().max() < 1e-5
    assert not found.logits[~real].any()
    wanted = torch.nn.functional.cross_entropy(given.logits.flatten(0, 1), labels.flatten())
    assert found.loss.item() == pytest.approx(wanted.item(), abs=1e-5)


def test_files_both_ways(tmp_path, batch):
    model = disturbed(Transformer(TransformerConfig(**TINY))).eval()
    model.save_pretrained(tmp_path)
    for auto in (Transformer, regard.AutoModelForSeq2SeqLM):
        again = auto.from_pretrained(tmp_path)
        assert type(again) is Transformer
        assert torch.equal(again(**batch).logits, model(**batch).logits)
        assert again.num_parameters() == model.num_parameters()
        words = again.model.encoder.embeddings.words
        assert words is again.model.decoder.embeddings.words
        assert again.lm_head.weight is words.weight


def test_the_papers_base_model_has_the_papers_size():
    with torch.device("meta"):
        model = Transformer(TransformerConfig())
    assert round(model.num_parameters() / 1e6) == 63  # table 3 counts 65, with biases on words


def test_a_missing_target_or_source_is_an_error(batch):
    model = Transformer(TransformerConfig(**TINY))
    with pytest.raises(ValueError, match="needs a target: decoder_input_ids, or labels"):
        model(batch["input_ids"])
    empty = batch | {"attention_mask": batch["attention_mask"] * torch.tensor([[1], [0], [1], [1]])}
    with pytest.raises(ValueError, match="sequence 1 has no tokens to attend to in its source"):
        model(**empty)
    fewer = {name: value[:3] if "decoder" in name else value for name, value in batch.items()}
    with pytest.raises(ValueError, match="3 sequences cannot attend to 4"):
        model(**fewer)


def test_resizing_the_vocabulary_keeps_all_words_tied(batch):
    model = Transformer(TransformerConfig(**TINY))
    model.resize_token_embeddings(30)
    assert model(**batch).logits.shape[-1] == 30
    words = model.model.decoder.embeddings.words
    assert words.weight is model.model.encoder.embeddings.words.weight is model.lm_head.weight


@pytest.mark.slow
def test_it_learns_to_turn_sequences_round():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_decoder_layers": 1}
    model = Transformer(TransformerConfig(**TINY | sizes)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    source = torch.randint(3, 23, (16, 5))
    for _ in range(100):
        loss = model(source, labels=source.flip(1)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = model.eval()(source, labels=source.flip(1)).logits.argmax(-1)
    assert torch.equal(found, source.flip(1))
