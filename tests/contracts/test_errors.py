"""Wrong input gets an error that names what, where and the fix; and nothing is cut in silence."""

import logging

import pytest
import torch

import regard

CONFIG = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 10,
    "num_labels": 3,
}
IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def build(head="BertForSequenceClassification", **options):
    torch.manual_seed(0)
    return getattr(regard, head)(regard.BertConfig(**CONFIG | options)).eval()


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"input_ids": IDS, "atention_mask": IDS}, TypeError, "did you mean 'attention_mask'"),
        ({"input_ids": torch.rand(8, 1, 28, 28)}, TypeError, "pixel_values"),
        ({"input_ids": torch.rand(2, 3)}, TypeError, "inputs_embeds"),
        ({"input_ids": IDS[0]}, ValueError, r"input_ids\[None\]"),
        ({"input_ids": torch.tensor([[1, 2], [3, 40]])}, ValueError, "row 1, column 1"),
        ({"input_ids": torch.tensor([[1, -2]])}, ValueError, "token id -2 at row 0, column 1"),
        ({"input_ids": torch.ones(2, 11).long()}, ValueError, "10 positions.*max_length=10"),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 4)}, ValueError, r"\(2, 3\)"),
        ({"input_ids": IDS, "attention_mask": IDS}, ValueError, "1 for tokens and 0 for padding"),
        ({"input_ids": IDS, "token_type_ids": IDS}, ValueError, "segment"),
        ({"input_ids": IDS, "position_ids": IDS + 5}, ValueError, "position .* 0 to 9"),
        ({"input_ids": IDS, "inputs_embeds": torch.rand(2, 3, 16)}, ValueError, "either"),
        ({}, ValueError, "either input_ids or inputs_embeds"),
        ({"inputs_embeds": torch.rand(2, 3, 8)}, ValueError, "width 8; this model's is 16"),
        ({"input_ids": IDS, "labels": torch.tensor([0, 3])}, ValueError, "example 1 has label 3"),
        ({"input_ids": IDS, "labels": torch.tensor([-1, 0])}, ValueError, "example 0 has label -1"),
        ({"input_ids": IDS, "labels": torch.tensor([0])}, ValueError, "do not fit"),
        ({"input_ids": IDS, "attention_mask": IDS * 0}, ValueError, "sequence 0 has no tokens"),
    ],
)
def test_wrong_inputs_say_what_is_wrong(model, arguments, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        model(**arguments)


def test_a_long_sequence_hidden_among_short_ones_is_named(model):
    ids, mask = torch.ones(2, 12).long(), torch.zeros(2, 12).long()
    mask[0, :4] = 1
    mask[1, 1:] = 1
    with pytest.raises(ValueError, match="row 1, column 11"):
        model(ids, attention_mask=mask)
    mask[1, 8:] = 0  # wide rows are fine as long as no sequence is too long
    assert model(ids, attention_mask=mask).logits.shape == (2, 3)


def test_token_labels_name_row_and_column():
    model = build("BertForTokenClassification")
    labels = torch.tensor([[0, 1, 2], [0, 7, 0]])
    with pytest.raises(ValueError, match="row 1, column 1 has label 7"):
        model(IDS, labels=labels)
    with pytest.raises(ValueError, match=r"one label per token, shape \(2, 3\)"):
        model(IDS, labels=labels[:, :2])
    with pytest.raises(TypeError, match="integers"):
        model(IDS, labels=labels.float())


def test_answers_on_padding_are_refused():
    model = build("BertForQuestionAnswering")
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    inside, outside = torch.tensor([0, 1]), torch.tensor([0, 2])
    assert model(IDS, mask, start_positions=inside, end_positions=inside).loss.isfinite()
    with pytest.raises(ValueError, match="end_positions of example 1 is 2"):
        model(IDS, mask, start_positions=inside, end_positions=outside)
    with pytest.raises(ValueError, match="give both start_positions and end_positions"):
        model(IDS, start_positions=inside)


def test_multiple_choice_wants_three_dimensions():
    with pytest.raises(ValueError, match=r"\(batch, choices, length"):
        build("BertForMultipleChoice")(IDS)


def test_a_model_is_not_built_from_a_name():
    with pytest.raises(TypeError, match="from_pretrained"):
        regard.BertModel("bert-base-uncased")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hidden_sise": 3}, "did you mean 'hidden_size'"),
        ({"hidden_act": "gelo"}, "did you mean 'gelu'"),
        ({"num_attention_heads": 5}, "must divide"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is 1.5"),
        ({"add_cross_attention": True}, "add_cross_attention=True is not implemented"),
        ({"position_embedding_type": "relative_key"}, "only 'absolute'"),
    ],
)
def test_wrong_configurations(options, says):
    with pytest.raises((TypeError, regard.ConfigError), match=says):
        build(**options)


def test_padding_that_is_attended_to_is_said_once(model, caplog):
    model = build()
    padded = torch.tensor([[1, 2, 0, 0]])
    with caplog.at_level(logging.WARNING, "regard"):
        model(padded), model(padded)
    assert [record for record in caplog.messages if "attention_mask" in record] == caplog.messages
    assert len(caplog.messages) == 1


def test_no_labels_give_a_zero_loss_not_a_nan():
    model = build("BertForTokenClassification")
    loss = model(IDS, labels=torch.full((2, 3), -100)).loss
    loss.backward()
    assert loss.item() == 0.0
    assert not model.classifier.weight.grad.any()


@pytest.mark.parametrize("task", ["feature-extractoin", "sentence_similarity"])
def test_unknown_tasks_name_the_nearest(task):
    with pytest.raises(
        ValueError, match=r"did you mean '(feature-extraction|sentence-similarity)'"
    ):
        regard.pipeline(task)


def test_a_loaded_model_needs_its_tokenizer():
    with pytest.raises(TypeError, match="tokenizer"):
        regard.pipeline("feature-extraction", build("BertModel"))


@pytest.mark.parametrize(
    "head",
    [
        *("BertLMHeadModel", "RobertaForCausalLM", "XLMRobertaForCausalLM"),
        *("CamembertForCausalLM", "ElectraForCausalLM"),
    ],
)
def test_an_encoder_that_sees_what_comes_does_not_continue_text(head):
    found = getattr(regard, head)
    sizes = {name: value for name, value in CONFIG.items() if name != "num_labels"}
    with pytest.raises(regard.ConfigError, match=f"{head} continues text.*is_decoder=True"):
        found(found.config_class(**sizes))
    model = found(found.config_class(**sizes, is_decoder=True)).eval()
    one, other = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    logits = model(torch.stack([one, other])).logits
    assert torch.allclose(logits[0, :3], logits[1, :3], atol=1e-6)
    assert not torch.allclose(logits[0, 3], logits[1, 3], atol=1e-3)


@pytest.fixture(scope="module")
def double():
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 40, "n_positions": 10}
    return regard.GPT2DoubleHeadsModel(regard.GPT2Config(**sizes)).eval()


CHOICES = torch.arange(12).view(1, 3, 4)
SHORT = torch.tensor([[[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"input_ids": IDS}, r"\(batch, choices, length"),
        ({"input_ids": CHOICES, "mc_token_ids": torch.tensor([[3, 3]])}, "each of 3 texts"),
        ({"input_ids": CHOICES, "mc_token_ids": torch.tensor([[3, 4, 3]])}, "text 1 is 4, where"),
        ({"input_ids": CHOICES, "mc_token_ids": torch.tensor([[3, -1, 3]])}, "text 1 is -1, where"),
        (
            {
                "input_ids": CHOICES,
                "attention_mask": SHORT,
                "mc_token_ids": torch.tensor([[3, 1, 3]]),
            },
            "text 2 is 3, where it has no token",
        ),
        (
            {"input_ids": CHOICES, "mc_labels": torch.tensor([3])},
            "mc_labels: example 0 has label 3",
        ),
        ({"input_ids": CHOICES, "labels": CHOICES[0, :2]}, "one label per token"),
    ],
)
def test_wrong_choices_say_what_is_wrong(double, arguments, says):
    with pytest.raises(ValueError, match=says):
        double(**arguments)


def test_choices_are_read_at_the_last_token_of_each_text(double):
    """In the reference it is the last column, be it padding."""
    last = SHORT.sum(-1) - 1
    found = double(CHOICES, SHORT).mc_logits
    assert torch.equal(found, double(CHOICES, SHORT, mc_token_ids=last).mc_logits)
    alone = [double(CHOICES[:, row : row + 1, : last[0, row] + 1]).mc_logits for row in range(3)]
    assert torch.allclose(found, torch.cat(alone, 1), atol=1e-6)
