"""ModernBERT gives the reference's outputs, losses and gradients, from the files it writes."""

import json
from typing import ClassVar

import pytest
import torch
import transformers

import regard

from .reference import Parity, assert_close, disturb

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "local_attention": 4,
}
FULL, SLIDING = "full_attention", "sliding_attention"

#: What answerdotai/ModernBERT-base has: the older names, and some that nothing reads.
PUBLISHED = {
    "global_attn_every_n_layers": 2,
    "global_rope_theta": 300.0,
    "local_rope_theta": 20.0,
    "layer_norm_eps": 1e-5,
    "position_embedding_type": "absolute",
    "gradient_checkpointing": False,
}


class TestModernBert(Parity):
    prefix = "ModernBert"
    tasks = (
        "Model",
        "ForMaskedLM",
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "ForMultipleChoice",
    )
    sizes: ClassVar = {
        "vocab_size": 99,
        "max_position_embeddings": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "cls_token_id": 1,
        "sep_token_id": 2,
    }
    rates = ("embedding_dropout", "attention_dropout", "mlp_dropout", "classifier_dropout")
    configs: ClassVar = {
        "small": SMALL,
        "every bias, relu, mean, untied, thetas, every second layer": SMALL
        | {
            "num_hidden_layers": 4,
            "hidden_activation": "relu",
            "classifier_activation": "silu",
            "classifier_pooling": "mean",
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
            "classifier_bias": True,
            "tie_word_embeddings": False,
            "global_attn_every_n_layers": 2,
            "global_rope_theta": 300.0,
            "local_rope_theta": 20.0,
            "local_attention": 2,
            "norm_eps": 1e-3,
        },
        "kinds of layers, odd window, no word biases": SMALL
        | {
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "local_attention": 7,
            "decoder_bias": False,
            "layer_types": [SLIDING, SLIDING, FULL],
            "rope_parameters": {
                FULL: {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0},
                SLIDING: {"rope_type": "dynamic", "rope_theta": 50.0, "factor": 4.0},
            },
        },
        "window wider than the text, untied without word biases": SMALL
        | {
            "num_hidden_layers": 3,
            "local_attention": 128,
            "decoder_bias": False,
            "tie_word_embeddings": False,
        },
        "itself alone": SMALL | {"local_attention": 1, "layer_types": [SLIDING, SLIDING]},
    }
    published = ({}, 149_014_272)  # ModernBERT-base

    @pytest.mark.parametrize("pooling", ["cls", "mean"])
    def test_ragged_batches_of_both_poolings(self, pooling, tmp_path):
        for task in ("ForSequenceClassification", "ForMultipleChoice"):
            options = SMALL | {"classifier_pooling": pooling}
            theirs, ours = self.both(task, tmp_path / task, **options)
            self.compare(ours, theirs, self.labelled(task, theirs.config, ragged=True))

    @pytest.mark.parametrize("older", [{}, PUBLISHED], ids=["all left out", "published"])
    def test_older_configurations(self, older, tmp_path):
        self.both("ForMaskedLM", tmp_path, **SMALL | {"num_hidden_layers": 4})
        file = tmp_path / "config.json"
        values = json.loads(file.read_text("utf-8"))
        del values["layer_types"], values["rope_parameters"]
        file.write_text(json.dumps(values | older), "utf-8")
        theirs = transformers.ModernBertForMaskedLM.from_pretrained(tmp_path)
        ours = regard.ModernBertForMaskedLM.from_pretrained(tmp_path)
        batch = self.labelled("ForMaskedLM", theirs.config, ragged=True)
        self.compare(ours, theirs, batch)
        ours.config.save_pretrained(tmp_path / "ours")
        written = json.loads((tmp_path / "ours/config.json").read_text("utf-8"))
        assert older.items() <= written.items()
        again = transformers.ModernBertConfig.from_pretrained(tmp_path / "ours")
        assert again.layer_types == theirs.config.layer_types
        assert again.rope_parameters == theirs.config.rope_parameters
        for kind, parameters in theirs.config.rope_parameters.items():
            assert ours.config.rotary(kind)[0] == parameters["rope_theta"]

    def test_long_texts_of_many_windows(self, tmp_path):
        """Long enough that windows are computed in blocks."""
        options = SMALL | {"num_hidden_layers": 4, "local_attention": 16}
        theirs, ours = self.both("Model", tmp_path, **options)
        ids = torch.randint(1, 99, (3, 301))
        mask = torch.ones_like(ids)
        mask[1, 150:], mask[2, 40:] = 0, 0
        batch = {"input_ids": ids, "attention_mask": mask}
        self.compare(ours, theirs, batch)
        left = torch.cat([torch.zeros(3, 5).long(), mask], 1)
        moved = ours(torch.cat([torch.zeros(3, 5).long(), ids], 1), left).last_hidden_state
        expected = theirs(**batch).last_hidden_state
        assert_close("hidden", moved[:, 5:], expected, mask)

    @pytest.mark.parametrize("sparse", [False, True])
    def test_sparse_prediction_changes_no_loss(self, sparse, tmp_path):
        options = SMALL | {"sparse_prediction": sparse}
        theirs, ours = self.both("ForMaskedLM", tmp_path, **options)
        batch = self.labelled("ForMaskedLM", theirs.config, ragged=True)
        expected, found = theirs(**batch), ours(**batch)
        assert_close("loss", found.loss, expected.loss)
        labelled = batch["labels"] != -100
        reference = expected.logits if sparse else expected.logits[labelled]
        assert_close("logits", found.logits[labelled], reference)
        batch.pop("labels")
        mask = batch["attention_mask"]
        assert_close("logits", ours(**batch).logits, theirs(**batch).logits, mask)

    def test_a_classifier_over_a_pretrained_model_keeps_the_transform(self, tmp_path, caplog):
        """The head's first half is trained with masked words; only the scores are new."""
        torch.manual_seed(0)
        theirs = transformers.ModernBertForMaskedLM(self.config(transformers, **SMALL))
        disturb(theirs)
        theirs.save_pretrained(tmp_path)
        model = regard.ModernBertForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
        assert torch.equal(model.dense.weight, theirs.head.dense.weight)
        assert torch.equal(model.norm.weight, theirs.head.norm.weight)
        assert "new and random until trained: classifier.weight, classifier.bias" in caplog.text
        assert model(torch.ones(2, 3).long()).logits.shape == (2, 3)

    def test_new_models_start_small_at_the_residuals(self):
        model = regard.ModernBertModel(
            self.config(regard, **SMALL | {"num_hidden_layers": 8, "hidden_size": 128})
        )
        layer = model.encoder.layers[3]
        for weight, std in (
            (layer.attention.query.weight, 0.02),
            (layer.attention.output.weight, 0.02 / 4),
            (layer.feed_forward.gate.weight, 0.02),
            (layer.feed_forward.down.weight, 0.02 / 4),
        ):
            assert weight.std().item() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer_types": [FULL]}, "layer_types names 1 layers; num_hidden_layers is 2"),
        ({"layer_types": [FULL, "sliding"]}, "'sliding'.*known: full_attention"),
        ({"layer_types": [FULL, 3]}, "layer_types is .*; it must be list.str. or null"),
        ({"rope_parameters": {"rope_theta": 10.0}}, "rope_parameters is .*; it must be dict"),
        ({"rope_parameters": {"global": {}}}, "'global'.*known: full_attention"),
        ({"rope_parameters": {FULL: {"rope_type": "yran"}}}, "did you mean 'yarn'"),
        ({"rope_scaling": {"factor": 2.0}}, "rope_scaling=.*is not implemented"),
        ({"classifier_pooling": "max"}, "classifier_pooling says 'max'.*known: cls, mean"),
        ({"local_attention": -1}, "local_attention is -1"),
        ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers is 0"),
        ({"sparse_pred_ignore_index": 0}, "sparse_pred_ignore_index=0 is not implemented"),
        ({"num_attention_heads": 5}, "num_attention_heads .5. must divide"),
    ],
)
def test_wrong_configurations(options, says):
    with pytest.raises(regard.ConfigError, match=says):
        regard.ModernBertModel(regard.ModernBertConfig(**TestModernBert.sizes | SMALL | options))
