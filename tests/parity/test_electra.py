"""ELECTRA gives the reference's outputs, losses and gradients, from the files it writes."""

from typing import ClassVar

import pytest
import torch

import regard

from .reference import BATCH, LENGTH, Parity


class TestElectra(Parity):
    prefix = "Electra"
    tasks = (
        "Model",
        "ForPreTraining",
        "ForMaskedLM",
        "ForCausalLM",
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "ForMultipleChoice",
    )
    sizes: ClassVar = {
        "vocab_size": 99,
        "intermediate_size": 40,
        "max_position_embeddings": 20,
        "embedding_size": 12,
    }
    rates = (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "summary_last_dropout",
    )
    configs: ClassVar = {
        "small": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        "one layer, relu, untied, tanh summary": {
            "hidden_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 3,
            "hidden_act": "relu",
            "summary_activation": "tanh",
            "tie_word_embeddings": False,
        },
        "deep, tanh gelu, words as wide as layers": {
            "hidden_size": 48,
            "embedding_size": 48,
            "num_hidden_layers": 5,
            "num_attention_heads": 2,
            "hidden_act": "gelu_new",
            "type_vocab_size": 1,
        },
        "silu, wider words, no pad token": {
            "hidden_size": 16,
            "embedding_size": 20,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
            "hidden_act": "silu",
            "pad_token_id": None,
        },
    }
    switches: ClassVar = {"ForCausalLM": {"is_decoder": True, "use_cache": False}}
    published = ({}, 13_483_008)  # electra-small-discriminator

    def labels(self, task, config, mask):
        if task != "ForPreTraining":
            return super().labels(task, config, mask)
        generator = torch.Generator().manual_seed(2)
        return {"labels": torch.randint(2, (BATCH, LENGTH), generator=generator)}

    def test_tokens_without_a_label_do_not_count(self, tmp_path):
        theirs, ours = self.both("ForPreTraining", tmp_path, **self.small)
        batch = self.inputs("ForPreTraining", theirs.config, ragged=False)
        labels = torch.ones(BATCH, LENGTH).long()
        labels[:, 3:] = -100
        scores = theirs(**batch).logits[:, :3]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels[:, :3].float())
        assert abs(ours(**batch, labels=labels).loss.item() - loss.item()) < 1e-6
        nothing = ours(**batch, labels=labels * 0 - 100).loss
        nothing.backward()
        assert nothing.item() == 0

    def test_labels_other_than_0_and_1_are_named(self, tmp_path):
        _, ours = self.both("ForPreTraining", tmp_path, **self.small)
        ids = torch.ones(2, 3).long()
        with pytest.raises(ValueError, match="row 1, column 2 has label 2; it must be 0 or 1"):
            ours(ids, labels=torch.tensor([[0, 1, 0], [1, 0, 2]]))
        with pytest.raises(ValueError, match="one label per token"):
            ours(ids, labels=ids[:, :2])

    @pytest.mark.parametrize("switch", [{"summary_type": "mean"}, {"summary_use_proj": False}])
    def test_other_summaries_are_refused(self, switch):
        with pytest.raises(regard.ConfigError, match="is not implemented for 'electra'"):
            regard.ElectraConfig(**switch)
