"""What every model can do beside `forward`."""

import copy

import pytest
import torch
from torch import nn

import regard
from regard.attention.kernels import eager, sdpa

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 10,
}
IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def build(head="BertModel", *arguments, **options):
    torch.manual_seed(0)
    return getattr(regard, head)(regard.BertConfig(**SIZES | options), *arguments).eval()


def test_initialisation_is_the_papers():
    model = build(
        "BertForPreTraining", hidden_size=64, intermediate_size=64, initializer_range=0.05
    )
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            assert module.weight.std().item() == pytest.approx(0.05, rel=0.25), name
            assert abs(module.weight.mean().item()) < 0.02, name
        if isinstance(module, nn.Linear):
            assert not module.bias.any(), name
        if isinstance(module, nn.LayerNorm):
            assert module.weight.eq(1).all(), name
            assert not module.bias.any(), name


def test_padding_vector_starts_at_zero_and_is_not_trained():
    model = build()
    assert not model.get_input_embeddings().weight[0].any()
    model(torch.tensor([[0, 1]])).last_hidden_state.square().sum().backward()
    assert not model.get_input_embeddings().weight.grad[0].any()
    assert model.get_input_embeddings().weight.grad[1].any()


def test_dropout_works_in_training_only():
    model = build(hidden_dropout_prob=0.5)
    still = model(IDS).last_hidden_state
    assert torch.equal(still, model(IDS).last_hidden_state)
    model.train()
    assert not torch.equal(model(IDS).last_hidden_state, model(IDS).last_hidden_state)
    for rate in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        quiet = build(
            **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, rate: 0.5}
        )
        assert not torch.equal(quiet.train()(IDS)[0], quiet.eval()(IDS)[0]), rate


def test_without_a_pooler_there_is_no_pooler_output():
    model = build("BertModel", False)
    output = model(IDS)
    assert model.pooler is None
    assert output.pooler_output is None
    assert len(output) == 1
    with pytest.raises(ValueError, match="add_pooling_layer=False"):
        model.pool(torch.zeros(3, 16), regard.Layout.from_lengths([3]))


def test_numbers_of_parameters():
    model = build("BertForMaskedLM")
    width, inner = 16, 20
    embeddings = (40 + 10 + 2) * width + 2 * width
    layer = 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width
    head = width * width + width + 2 * width + 40
    assert model.num_parameters() == embeddings + 2 * layer + head
    assert model.num_parameters(exclude_embeddings=True) == 2 * layer + head + 2 * width
    model.bert.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == head


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("count", [30, 47])
def test_resizing_keeps_what_was_and_stays_tied(tied, count):
    model = build("BertForMaskedLM", tie_word_embeddings=tied)
    with torch.no_grad():
        model.predictions.decoder.bias.normal_()
    before = copy.deepcopy(model)
    returned = model.resize_token_embeddings(count)
    kept = min(count, 40)
    assert returned is model.get_input_embeddings()
    assert model.config.vocab_size == count
    assert torch.equal(returned.weight[:kept], before.get_input_embeddings().weight[:kept])
    assert (model.predictions.decoder.weight is returned.weight) == tied
    decoder = before.predictions.decoder
    assert torch.equal(model.predictions.decoder.weight[:kept], decoder.weight[:kept])
    assert torch.equal(model.predictions.decoder.bias[:kept], decoder.bias[:kept])
    assert not model.predictions.decoder.bias[40:].any()
    logits = model(IDS).logits
    assert logits.shape == (2, 3, count)
    assert torch.allclose(logits[..., :kept], before(IDS).logits[..., :kept], atol=1e-6)


def test_resizing_rounds_up_and_refuses_nothing():
    model = build()
    assert model.resize_token_embeddings(41, pad_to_multiple_of=8).num_embeddings == 48
    assert model.resize_token_embeddings(pad_to_multiple_of=5).num_embeddings == 50
    with pytest.raises(ValueError, match="at least one"):
        model.resize_token_embeddings(0)


def test_attention_kernels_are_chosen_by_name():
    model = build()
    expected = model(IDS).last_hidden_state
    mixes = [m for m in model.modules() if type(m).__name__ == "ScaledDotProduct"]
    assert [mix.kernel for mix in mixes] == [sdpa] * 2
    model.set_attn_implementation("eager")
    assert [mix.kernel for mix in mixes] == [eager] * 2
    assert torch.allclose(model(IDS).last_hidden_state, expected, atol=1e-6)
    with pytest.raises(ValueError, match="did you mean 'sdpa'"):
        model.set_attn_implementation("sdp")


def test_states_do_not_change_the_answer_and_leave_no_hooks():
    model = build()
    plain = model(IDS).last_hidden_state
    seen = model(IDS, output_attentions=True, output_hidden_states=True)
    assert torch.equal(seen.last_hidden_state, plain)
    assert torch.equal(seen.hidden_states[-1], plain)
    assert not any(module._forward_hooks for module in model.modules())
    assert model(IDS).hidden_states is None


def test_the_config_may_ask_for_states():
    model = build(output_attentions=True)
    assert len(model(IDS).attentions) == 2
    assert model(IDS, output_attentions=False).attentions is None


def test_states_carry_gradients():
    model = build()
    states = model(IDS, output_attentions=True, output_hidden_states=True)
    (states.attentions[0][..., 0].sum() + states.hidden_states[1].sum()).backward()
    assert model.encoder.layers[0].attention.query.weight.grad.abs().max() > 0


def test_outputs_by_key_index_and_tuple():
    model = build("BertForSequenceClassification")
    output = model(IDS, labels=torch.tensor([0, 1]))
    assert output[0] is output.loss is output["loss"]
    assert output[1] is output.logits
    loss, logits = model(IDS, labels=torch.tensor([0, 1]), return_dict=False)
    assert torch.equal(loss, output.loss)
    assert torch.equal(logits, output.logits)


def test_dtype_and_device_follow_the_model():
    model = build().to(torch.float64)
    assert (model.dtype, model.device.type) == (torch.float64, "cpu")
    assert model(IDS).last_hidden_state.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_the_full(dtype):
    model = build("BertForTokenClassification")
    expected = model(IDS).logits
    found = model.to(dtype)(IDS).logits
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected, atol=0.02)


def test_auto_classes_choose_by_model_type(tmp_path):
    build("BertForTokenClassification", num_labels=5).save_pretrained(tmp_path)
    model = regard.AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert type(model) is regard.BertForTokenClassification
    assert model.config.num_labels == 5
    assert type(regard.AutoModel.from_pretrained(tmp_path)) is regard.BertModel
    assert type(regard.AutoConfig.from_pretrained(tmp_path)) is regard.BertConfig
    config = regard.BertConfig(**SIZES)
    assert type(regard.AutoModelForMaskedLM.from_config(config)) is regard.BertForMaskedLM


def test_auto_classes_name_the_nearest_family(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "brt"}')
    with pytest.raises(regard.ConfigError, match="did you mean 'bert'"):
        regard.AutoModel.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(regard.ConfigError, match="no model_type"):
        regard.AutoConfig.from_pretrained(tmp_path)


def test_training_a_head_learns():
    model = build("BertForSequenceClassification", num_labels=2).train()
    ids = torch.randint(1, 40, (32, 6), generator=torch.Generator().manual_seed(0))
    labels = (ids[:, 0] > 20).long()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    assert loss.item() < 0.1
