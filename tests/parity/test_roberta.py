"""RoBERTa, XLM-RoBERTa and CamemBERT give the reference's numbers, from the files it writes."""

from typing import ClassVar

import pytest
import torch

import regard

from .reference import LENGTH, Parity, assert_close

TASKS = (
    "Model",
    "ForMaskedLM",
    "ForCausalLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)
BASE = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}


class TestRoberta(Parity):
    prefix = "Roberta"
    tasks = TASKS
    sizes: ClassVar = {"vocab_size": 99, "intermediate_size": 40, "max_position_embeddings": 20}
    rates = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    configs: ClassVar = {
        "small": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
        },
        "one layer, relu, untied": {
            "hidden_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 3,
            "hidden_act": "relu",
            "tie_word_embeddings": False,
        },
        "deep, tanh gelu, padding is 0": {
            "hidden_size": 48,
            "num_hidden_layers": 5,
            "num_attention_heads": 2,
            "hidden_act": "gelu_new",
            "pad_token_id": 0,
            "max_position_embeddings": 15,
        },
        "silu, padding is 5": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
            "hidden_act": "silu",
            "pad_token_id": 5,
            "type_vocab_size": 3,
        },
    }
    switches: ClassVar = {"ForCausalLM": {"is_decoder": True, "use_cache": False}}
    published = (BASE, 124_645_632)  # roberta-base

    @pytest.mark.parametrize("attended", [False, True])
    def test_padding_on_either_side_and_inside(self, attended, tmp_path):
        """With padding attended to, as by callers who give no mask, positions skip it too."""
        theirs, ours = self.both("ForTokenClassification", tmp_path, **self.configs["small"])
        batch = self.inputs("ForTokenClassification", theirs.config, ragged=False)
        padding = torch.zeros(4, LENGTH, dtype=torch.bool)
        padding[0, :4] = padding[1, 6:] = padding[2, :2] = padding[2, 9:] = True
        if attended:
            padding[0, 7] = padding[1, 2:4] = padding[3, 1] = True
        batch["input_ids"] = batch["input_ids"].masked_fill(padding, theirs.config.pad_token_id)
        batch["attention_mask"] = (
            torch.ones_like(padding).long() if attended else 1 - padding.long()
        )
        labels = torch.ones_like(padding).long().masked_fill(batch["attention_mask"] == 0, -100)
        self.compare(ours, theirs, batch | {"labels": labels})

    def test_a_sequence_that_is_too_long_names_the_usable_positions(self):
        sizes = self.sizes | self.configs["small"] | {"max_position_embeddings": 514}
        model = self.model_class(regard, "Model")(self.config(regard, **sizes)).eval()
        assert model(torch.full((1, 512), 7)).last_hidden_state.shape == (1, 512, 32)
        says = r"row 0, column 512 is longer than the 512 positions.*max_length=512"
        with pytest.raises(ValueError, match=f"(?s){says}"):
            model(torch.full((1, 513), 7))

    @pytest.mark.parametrize("fields", [{"pad_token_id": None}, {"max_position_embeddings": 2}])
    def test_a_configuration_without_positions_is_refused(self, fields):
        with pytest.raises(regard.ConfigError, match="positions start behind pad_token_id"):
            self.config(regard, **fields)

    def test_a_file_without_a_pooler_is_normal(self, tmp_path, caplog):
        theirs, _ = self.both("ForMaskedLM", tmp_path, **self.configs["small"])
        ours = self.model_class(regard, "Model").from_pretrained(tmp_path)
        assert "new and random until trained: pooler" in caplog.text
        batch = self.inputs("Model", theirs.config, ragged=True)
        expected, found = theirs.roberta(**batch), ours(**batch)
        mask = batch["attention_mask"]
        assert_close("states", found.last_hidden_state, expected.last_hidden_state, mask)


class TestXLMRoberta(TestRoberta):
    prefix = "XLMRoberta"
    published = (BASE | {"vocab_size": 250_002}, 278_043_648)  # xlm-roberta-base


class TestCamembert(TestRoberta):
    prefix = "Camembert"
    published = (BASE | {"vocab_size": 32_005}, 110_621_952)  # camembert-base
