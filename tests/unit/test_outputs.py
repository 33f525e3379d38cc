"""A model's output is reached by attribute, key and index, and all three agree."""

import pytest
import torch

from regard.outputs import (
    BaseModelOutputWithPooling,
    ModelOutput,
    PreTrainingOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
)

LOSS, LOGITS, LAYER = torch.tensor(0.5), torch.ones(2, 3), torch.zeros(2, 4, 8)


@pytest.fixture
def full():
    return SequenceClassifierOutput(
        loss=LOSS, logits=LOGITS, hidden_states=(LAYER, LAYER), attentions=(LAYER,)
    )


def test_attribute_key_and_index_are_the_same_tensor(full):
    assert full.logits is full["logits"] is full[1] is LOGITS
    assert full.loss is full["loss"] is full[0] is LOSS
    assert full[-1] is full.attentions


def test_the_loss_comes_first_and_what_was_watched_last(full):
    assert full.keys() == ["loss", "logits", "hidden_states", "attentions"]
    assert full.to_tuple() == (LOSS, LOGITS, full.hidden_states, full.attentions)
    assert full.values() == [*full.to_tuple()]
    assert full.items() == [*zip(full.keys(), full.to_tuple(), strict=True)]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        (BaseModelOutputWithPooling, ["last_hidden_state", "pooler_output"]),
        (PreTrainingOutput, ["loss", "prediction_logits", "seq_relationship_logits"]),
        (QuestionAnsweringModelOutput, ["loss", "start_logits", "end_logits"]),
    ],
)
def test_the_order_of_every_kind(kind, keys):
    given = dict.fromkeys([*keys, "attentions", "hidden_states"][::-1], LOGITS)
    assert kind(**given).keys() == [*keys, "hidden_states", "attentions"]


def test_fields_that_are_none_are_not_there():
    output = SequenceClassifierOutput(logits=LOGITS)
    assert output.keys() == ["logits"]
    assert output[0] is LOGITS
    assert len(output) == 1
    assert "loss" not in output
    assert output.loss is None


def test_slices(full):
    assert full[:2] == (LOSS, LOGITS)
    assert full[1:] == (LOGITS, full.hidden_states, full.attentions)
    assert full[:0] == ()


def test_iterating_gives_the_keys_as_with_a_dict(full):
    assert [*full] == full.keys()
    assert dict(full) == dict(full.items())
    assert {**full}["logits"] is LOGITS
    loss, logits, *_ = full.to_tuple()
    assert (loss, logits) == (LOSS, LOGITS)


def test_in_and_get(full):
    assert "logits" in full
    assert "pooler_output" not in full
    assert 0 not in full
    assert full.get("logits") is LOGITS
    assert full.get("pooler_output") is None
    assert full.get("pooler_output", 3) == 3


def test_a_missing_key_names_what_is_there(full):
    with pytest.raises(KeyError, match=r"SequenceClassifierOutput has no 'pooler_output'.*logits"):
        full["pooler_output"]
    with pytest.raises(KeyError, match="has no 'loss'"):
        SequenceClassifierOutput(logits=LOGITS)["loss"]
    with pytest.raises(IndexError):
        full[4]


def test_unknown_and_missing_fields_are_refused():
    with pytest.raises(TypeError, match="logit"):
        SequenceClassifierOutput(logits=LOGITS, logit=LOGITS)
    with pytest.raises(TypeError, match="logits"):
        SequenceClassifierOutput(loss=LOSS)


def test_a_field_that_is_set_later_is_there():
    output = SequenceClassifierOutput(logits=LOGITS)
    output.hidden_states = (LAYER,)
    assert output.keys() == ["logits", "hidden_states"]


def test_an_output_of_ones_own():
    class Scored(ModelOutput):
        scores: torch.Tensor
        extra: torch.Tensor | None = None

    output = Scored(scores=LOGITS, attentions=(LAYER,), extra=LOSS)
    assert output.keys() == ["scores", "extra", "attentions"]
