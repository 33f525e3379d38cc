"""BART gives the reference's numbers, from the files it writes."""

from typing import ClassVar

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import regard

from .reference import assert_close
from .seq2seq import SOURCES, Seq2SeqParity, to_the_left

SIZES = {
    "vocab_size": 61,
    "max_position_embeddings": 20,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 24,
    "use_cache": False,
}
SMALL = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
}
RATES = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "encoder_layerdrop",
    "decoder_layerdrop",
)


class TestBart(Seq2SeqParity):
    prefix = "Bart"
    tasks = (
        "Model",
        "ForConditionalGeneration",
        "ForSequenceClassification",
        "ForQuestionAnswering",
        "ForCausalLM",
    )
    sizes = SIZES
    rates = (*RATES, "classifier_dropout")
    configs: ClassVar = {
        "small": SMALL,
        "scaled, relu": SMALL | {"scale_embedding": True, "activation_function": "relu"},
        "one layer, untied": {
            "d_model": 24,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 3,
            "decoder_attention_heads": 3,
            "tie_word_embeddings": False,
            "num_labels": 4,
        },
    }
    base_size: ClassVar = {
        "d_model": 768,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "encoder_attention_heads": 12,
        "decoder_attention_heads": 12,
        "encoder_ffn_dim": 3072,
        "decoder_ffn_dim": 3072,
    }
    sized: ClassVar = {
        "facebook/bart-base": (base_size, 139_420_416),
        "facebook/bart-large": ({}, 406_291_456),
    }

    def base_class(self, task):
        if task == "ForCausalLM":
            from regard.models.bart import BartDecoder

            return BartDecoder
        return regard.BartModel

    def test_without_a_target_the_source_is_decoded(self, tmp_path):
        theirs, ours = self.both("Model", tmp_path, **self.small)
        batch = self.inputs("ForSequenceClassification", theirs.config, ragged=True)
        self.compare(ours, theirs, batch)
        batch["input_ids"], batch["attention_mask"] = to_the_left(*batch.values())
        found = ours(**batch).last_hidden_state
        for row, length in enumerate(SOURCES):
            alone = theirs(batch["input_ids"][row : row + 1, -length:]).last_hidden_state
            assert_close("last_hidden_state", found[row, -length:], alone[0])

    def test_layers_are_left_out_as_in_the_reference(self, tmp_path):
        options = {"encoder_layerdrop": 0.5, "decoder_layerdrop": 0.5}
        theirs, ours = self.both("Model", tmp_path, **self.small | options)
        batch = self.inputs("Model", theirs.config, ragged=True)
        theirs.train(), ours.train()
        different = set()
        for seed in range(8):
            torch.manual_seed(seed)
            expected = theirs(**batch)
            torch.manual_seed(seed)
            found = ours(**batch)
            self.assert_same_outputs(found, expected, batch)
            different.add(found.last_hidden_state.sum().item())
        assert len(different) > 4

    def test_what_a_classifier_reads_is_dropped_too(self, tmp_path):
        task = "ForSequenceClassification"
        theirs, ours = self.both(task, tmp_path, **self.small | {"classifier_dropout": 0.5})
        batch = self.inputs(task, theirs.config, ragged=False)
        theirs.train(), ours.train()
        torch.manual_seed(0)
        expected = theirs(**batch)
        torch.manual_seed(0)
        assert_close("logits", ours(**batch).logits, expected.logits)

    def test_files_in_which_only_the_output_is_not_tied(self, tmp_path):
        """As the reference wrote them before version 5, which leaves both sides' words random."""
        options = self.small | {"tie_word_embeddings": False}
        theirs, _ = self.both("ForConditionalGeneration", tmp_path, **options)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        for side in (theirs.model.encoder, theirs.model.decoder):
            side.embed_tokens.weight.data = tensors["model.shared.weight"].clone()
        del tensors["model.encoder.embed_tokens.weight"]
        del tensors["model.decoder.embed_tokens.weight"]
        save_file(tensors, file, {"format": "pt"})
        ours = self.model_class(regard, "ForConditionalGeneration").from_pretrained(tmp_path)
        batch = self.labelled("ForConditionalGeneration", theirs.config, ragged=True)
        self.compare(ours, theirs, batch)

    def test_words_that_a_tied_file_has_apart_are_loaded_apart(self, tmp_path, told):
        self.both("ForConditionalGeneration", tmp_path, **self.small)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        for side in ("encoder", "decoder"):
            other = torch.randn_like(tensors["model.shared.weight"])
            tensors[f"model.{side}.embed_tokens.weight"] = other
        save_file(tensors, file, {"format": "pt"})
        kind = self.model_class(transformers, "ForConditionalGeneration")
        theirs = kind.from_pretrained(tmp_path, attn_implementation="eager")
        kind = self.model_class(regard, "ForConditionalGeneration")
        ours = kind.from_pretrained(tmp_path)
        assert len(told) == 1
        assert "have different values in the file, so they are not tied" in told[0]
        batch = self.labelled("ForConditionalGeneration", theirs.config, ragged=True)
        self.assert_same_outputs(ours(**batch), theirs(**batch), batch)
        assert len({p.data_ptr() for p in ours.parameters()}) == len([*ours.parameters()])
        ours.save_pretrained(tmp_path / "again")
        told.clear()
        again = kind.from_pretrained(tmp_path / "again")
        assert not told
        assert torch.equal(again(**batch).logits, ours(**batch).logits)
        with pytest.raises(ValueError, match="source and target have words of their own"):
            ours.resize_token_embeddings(70)

    @pytest.mark.parametrize("count", [70, 40])
    def test_resizing_keeps_the_biases_of_words_that_stay(self, count, tmp_path):
        _, ours = self.both("ForConditionalGeneration", tmp_path, **self.small)
        bias = ours.final_logits_bias.clone()
        ours.resize_token_embeddings(count)
        kept = min(count, 61)
        assert torch.equal(ours.final_logits_bias[:, :kept], bias[:, :kept])
        assert not ours.final_logits_bias[:, kept:].any()
        words = ours.model.shared.weight
        sides = (ours.model.encoder, ours.model.decoder)
        assert all(side.embeddings.words.weight is words for side in sides)
        assert ours.lm_head.weight is words
        ids = torch.randint(4, kept, (2, 5))
        assert ours(ids, labels=ids).logits.shape == (2, 5, count)
        ours.save_pretrained(tmp_path / "resized")
        again = type(ours).from_pretrained(tmp_path / "resized")
        assert torch.equal(again(ids, labels=ids).logits, ours(ids, labels=ids).logits)

    def test_a_missing_bias_is_zero_and_says_nothing(self, tmp_path, told):
        kind = self.model_class(regard, "ForConditionalGeneration")
        _, ours = self.both("ForConditionalGeneration", tmp_path, **self.small)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        bias = tensors.pop("final_logits_bias")
        save_file(tensors, file, {"format": "pt"})
        again = kind.from_pretrained(tmp_path)
        assert not told
        assert not again.final_logits_bias.any()
        ids = torch.randint(4, 61, (2, 5))
        difference = ours(ids).logits - again(ids).logits
        assert_close("bias", difference, bias.expand(2, 5, 61))
        save_file(tensors | {"final_logits_bias": bias[:, :9].clone()}, file, {"format": "pt"})
        with pytest.raises(regard.CheckpointError, match=r"final_logits_bias is \[1, 9\]"):
            kind.from_pretrained(tmp_path)

    def test_a_decoder_by_itself_says_what_it_is(self, tmp_path):
        config = self.config(regard, **self.small)
        model = self.model_class(regard, "ForCausalLM")(config)
        assert config.is_encoder_decoder
        assert not config.is_decoder
        model.save_pretrained(tmp_path)
        kept = type(config).from_pretrained(tmp_path)
        assert kept.is_decoder
        assert not kept.is_encoder_decoder


class TestEndTokens:
    """What `BartForSequenceClassification` reads."""

    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        config = regard.BartConfig(**SIZES, **SMALL)
        return regard.BartForSequenceClassification(config).eval()

    def test_the_last_counts_and_padding_does_not(self, model):
        ids = torch.tensor([[5, 2, 6, 7, 2, 1, 2], [5, 6, 7, 8, 9, 2, 2]])
        mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1] * 7])
        found = model(ids, mask).logits
        assert_close("logits", found[:1], model(ids[:1, :5]).logits)
        assert_close("logits", found[1:], model(ids[1:]).logits)

    def test_their_absence_is_an_error(self, model):
        ids = torch.tensor([[5, 6, 2], [5, 6, 2]])
        mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
        with pytest.raises(ValueError, match=r"row 1 has no end token \(2\)"):
            model(ids, mask)
        with pytest.raises(ValueError, match="target has 2 columns and the source 3"):
            model(ids, decoder_input_ids=ids[:, :2])
        with pytest.raises(ValueError, match="needs input_ids"):
            model(inputs_embeds=torch.zeros(1, 3, 32), decoder_input_ids=ids[:1])

    def test_two_labels_are_still_two_after_saving(self, tmp_path):
        """The reference leaves two labels out of the file and reads three."""
        config = regard.BartConfig(**SIZES, **SMALL, num_labels=2)
        model = regard.BartForSequenceClassification(config)
        model.save_pretrained(tmp_path)
        kind = regard.BartForSequenceClassification
        assert kind.from_pretrained(tmp_path).num_parameters() == model.num_parameters()
        assert transformers.BartConfig.from_pretrained(tmp_path).num_labels == 2
        assert regard.BartConfig().num_labels == 3


#: From the hub's bart-large-mnli: what the reference no longer knows, or knows as generation's.
OLD = {
    "_num_labels": 3,
    "add_bias_logits": False,
    "add_final_layer_norm": False,
    "classif_dropout": 0.1,
    "classifier_dropout": 0.0,
    "early_stopping": True,
    "encoder_layers": 2,
    "extra_pos_embeddings": 2,
    "force_bos_token_to_be_generated": False,
    "forced_eos_token_id": 2,
    "gradient_checkpointing": False,
    "id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"},
    "label2id": {"contradiction": 0, "entailment": 2, "neutral": 1},
    "length_penalty": 2.0,
    "no_repeat_ngram_size": 3,
    "normalize_before": False,
    "normalize_embedding": True,
    "num_beams": 4,
    "num_hidden_layers": 2,
    "output_past": False,
    "static_position_embeddings": False,
    "task_specific_params": {"summarization": {"max_length": 142}},
}


def test_old_settings_are_read_kept_and_written():
    config = regard.BartConfig.from_dict(OLD)
    assert config.num_hidden_layers == 2
    assert config.id2label[2] == "entailment"
    written = config.to_dict()
    assert written["encoder_layers"] == 2
    assert written["id2label"] == {0: "contradiction", 1: "neutral", 2: "entailment"}
    kept = OLD.keys() - {"num_hidden_layers", "id2label"}
    assert {name: written[name] for name in kept} == {name: OLD[name] for name in kept}
    assert regard.BartConfig.from_dict(written) == config


@pytest.mark.parametrize(
    ("family", "setting"),
    [
        ("Bart", {"normalize_before": True}),
        ("Bart", {"add_final_layer_norm": True}),
        ("Bart", {"static_position_embeddings": True}),
        ("Bart", {"normalize_embedding": False}),
        ("MBart", {"normalize_before": False}),
        ("Marian", {"normalize_embedding": True}),
        ("Marian", {"static_position_embeddings": False}),
    ],
)
def test_an_anatomy_that_is_another_familys_is_refused(family, setting):
    kind = getattr(regard, f"{family}Config")
    with pytest.raises(regard.ConfigError, match=next(iter(setting))):
        kind.from_dict(setting)


def test_absurd_sizes_are_refused():
    for wrong in (
        {"decoder_layers": 10**9},
        {"decoder_attention_heads": 0},
        {"decoder_ffn_dim": 0},
        {"encoder_layerdrop": 1.5},
        {"d_model": "wide"},
    ):
        with pytest.raises(regard.ConfigError):
            regard.BartConfig(**wrong)
    with pytest.raises(regard.ConfigError, match=r"encoder_layers|num_hidden_layers"):
        regard.BartConfig.from_dict({"encoder_layers": 2, "num_hidden_layers": 3})
    with pytest.raises(TypeError, match="num_beams"):
        regard.BartConfig(num_beams=4)


def test_what_is_missing_or_too_long_is_named():
    model = regard.BartModel(regard.BartConfig(**SIZES, **SMALL))
    with pytest.raises(ValueError, match="give decoder_input_ids"):
        model(inputs_embeds=torch.zeros(1, 3, 32))
    ids = torch.full((1, 21), 5)
    with pytest.raises(ValueError, match="longer than the 20 positions"):
        model(ids)
    assert model(ids[:, :20]).last_hidden_state.shape == (1, 20, 32)
    alone = regard.BartForCausalLM(regard.BartConfig(**SIZES, **SMALL))
    with pytest.raises(ValueError, match="needs the encoder_hidden_states"):
        alone(ids[:, :3], encoder_attention_mask=ids[:, :3])
    bare = regard.BartModel(regard.BartConfig(**SIZES, **SMALL, decoder_start_token_id=None))
    with pytest.raises(ValueError, match="needs a decoder_start_token_id"):
        bare(ids[:, :3])
