"""DistilBERT gives the reference's outputs, losses and gradients, from the files it writes."""

from typing import ClassVar

import pytest
import torch
import transformers

import regard

from .reference import Parity, assert_close


class TestDistilBert(Parity):
    prefix = "DistilBert"
    tasks = (
        "Model",
        "ForMaskedLM",
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "ForMultipleChoice",
    )
    sizes: ClassVar = {"vocab_size": 99, "hidden_dim": 40, "max_position_embeddings": 20}
    rates = ("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout")
    configs: ClassVar = {
        "small": {"dim": 32, "n_layers": 2, "n_heads": 4},
        "one layer, relu, untied": {
            "dim": 24,
            "n_layers": 1,
            "n_heads": 3,
            "activation": "relu",
            "tie_word_embeddings": False,
        },
        "deep, tanh gelu, sines": {
            "dim": 48,
            "n_layers": 5,
            "n_heads": 2,
            "activation": "gelu_new",
            "sinusoidal_pos_embds": True,
        },
        "silu, no pad token": {
            "dim": 16,
            "n_layers": 2,
            "n_heads": 1,
            "activation": "silu",
            "pad_token_id": None,
        },
    }
    published = ({}, 66_362_880)  # distilbert-base-uncased

    @pytest.mark.parametrize("width", [6, 8])
    def test_sines_are_the_references(self, width):
        options = {"dim": width, "n_heads": 1, "n_layers": 1, "sinusoidal_pos_embds": True}
        theirs = transformers.DistilBertModel(self.config(transformers, **options))
        ours = regard.DistilBertModel(self.config(regard, **options))
        table = theirs.embeddings.position_embeddings.weight
        assert_close("positions", ours.embeddings.positions.weight, table)

    def test_both_spellings_of_a_field_work(self):
        config = regard.DistilBertConfig(dim=24, num_attention_heads=3, hidden_dim=7, dropout=0.5)
        assert (config.hidden_size, config.num_attention_heads) == (24, 3)
        written = config.to_dict()
        assert (written["dim"], written["n_heads"], written["hidden_dim"]) == (24, 3, 7)
        assert written["dropout"] == 0.5
        assert not {"hidden_size", "intermediate_size", "layer_norm_eps"} & written.keys()

    def test_segments_are_refused(self, tmp_path):
        _, ours = self.both("Model", tmp_path, **self.small)
        ids = torch.tensor([[4, 5, 6]])
        expected = ours(ids).last_hidden_state
        assert torch.equal(ours(ids, token_type_ids=ids * 0).last_hidden_state, expected)
        with pytest.raises(ValueError, match="segments other than 0; this model knows none"):
            ours(ids, token_type_ids=ids)

    def test_there_is_no_pooler(self, tmp_path):
        _, ours = self.both("Model", tmp_path, **self.small)
        with pytest.raises(ValueError, match="this DistilBertModel has no pooler"):
            ours.pool(torch.zeros(1, 32), None)
