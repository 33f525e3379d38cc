"""T5 and mT5 give the reference's numbers, from the files it writes and from those of old."""

import json
from typing import ClassVar

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.t5.modeling_t5 import T5Attention

import regard
from regard.attention.relative import RelativeBias

from .reference import BATCH, LENGTH, Parity, assert_close
from .seq2seq import TARGET, Seq2SeqParity

SMALL = {
    "d_model": 32,
    "d_kv": 5,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 6,
}
GATED = SMALL | {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 2}
BASE = {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
FLAN_BASE = BASE | {"d_ff": 2048, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
GENERATION = "ForConditionalGeneration"
#: Whether a file has output words of its own, and what its config says of scaling.
SCALED = [(True, True), (False, False), (True, None)]
ENCODERS = ("EncoderModel", "ForTokenClassification")


def rewrite(folder, **changes):
    """Change fields of a config.json; None removes one."""
    file = folder / "config.json"
    content = json.loads(file.read_text("utf-8")) | changes
    kept = {name: value for name, value in content.items() if value is not None}
    file.write_text(json.dumps(kept), "utf-8")


class TestT5(Seq2SeqParity):
    prefix = "T5"
    tasks = (
        "Model",
        GENERATION,
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "EncoderModel",
    )
    sizes: ClassVar = {"vocab_size": 61, "decoder_start_token_id": 0, "use_cache": False}
    rates = ("dropout_rate", "classifier_dropout")
    configs: ClassVar = {
        "small": SMALL,
        "gated, words of its own": GATED | {"tie_word_embeddings": False},
        "gated silu, tied, many buckets": {
            "d_model": 24,
            "d_kv": 16,
            "d_ff": 24,
            "num_layers": 1,
            "num_heads": 3,
            "feed_forward_proj": "gated-silu",
            "layer_norm_epsilon": 1e-5,
        },
    }
    sized: ClassVar = {
        "t5-small": ({}, 60_506_624),
        "t5-base": (BASE, 222_903_552),
        "flan-t5-base": (FLAN_BASE, 247_577_856 - 32128 * 768),
    }
    #: Whole models whose output words are not their input words: the reference ties these at first.
    untied: ClassVar = {"flan-t5-base": (FLAN_BASE, 247_577_856)}

    test_a_decoder_by_itself_may_have_a_memory = None  # a T5's does not stand by itself
    test_a_decoder_by_itself_reads_the_whole_models_file = None

    def base_class(self, task):
        return self.model_class(regard, "EncoderModel" if task in ENCODERS else "Model")

    def both(self, task, folder, **options):
        """As always, but untied models have output words of their own, as published ones do."""
        torch.manual_seed(0)
        reference = self.model_class(transformers, task)
        model = reference(self.config(transformers, **options))
        self.disturb(model)
        own = task == GENERATION and options.get("tie_word_embeddings") is False
        if own:
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
        model.save_pretrained(folder)
        if own:
            rewrite(folder, tie_word_embeddings=False, scale_decoder_outputs=None)
        theirs = reference.from_pretrained(folder, attn_implementation="eager")
        assert not own or theirs.lm_head.weight is not theirs.shared.weight
        return theirs, self.model_class(regard, task).from_pretrained(folder)

    def labels(self, task, config, mask):
        return {} if task == "EncoderModel" else super().labels(task, config, mask)

    def assert_same_outputs(self, found, expected, batch):
        there = {name: value for name, value in expected.items() if value != ()}  # cross_attentions
        super().assert_same_outputs(found, there, batch)

    def test_auto_classes_find_every_head(self, task, tmp_path):
        if task != "EncoderModel":
            Parity.test_auto_classes_find_every_head(self, task, tmp_path)
            return
        self.both(task, tmp_path, **self.small)
        with pytest.raises(regard.CheckpointError, match=r"(?s)missing .*decoder"):
            regard.AutoModel.from_pretrained(tmp_path)

    def test_every_single_dropout_counts(self, task, tmp_path, monkeypatch):
        """With less in place of chance, one that is missing or elsewhere gives other numbers."""

        def shrink(x, p=0.5, training=True, inplace=False):
            return x * (1 - p) if training else x

        monkeypatch.setattr(torch.nn.functional, "dropout", shrink)
        rates = {"dropout_rate": 0.3, "classifier_dropout": 0.2}
        theirs, ours = self.both(task, tmp_path, **self.small | rates)
        ours.set_attn_implementation("eager")
        batch = self.labelled(task, theirs.config, ragged=False)
        plain = ours(**batch)
        theirs.train(), ours.train()
        self.compare(ours, theirs, batch)
        trained = ours(**batch)
        assert (trained[0] - plain[0]).abs().max() > 1e-3

    @pytest.mark.parametrize("causal", [False, True])
    @pytest.mark.parametrize(("buckets", "furthest"), [(8, 6), (32, 128), (32, 20), (10, 300)])
    def test_buckets(self, buckets, furthest, causal):
        distance = torch.arange(-700, 700)
        ours = RelativeBias(1, buckets, furthest, causal=causal).bucket(distance)
        theirs = T5Attention._relative_position_bucket(distance, not causal, buckets, furthest)
        assert torch.equal(ours, theirs)

    def test_long_texts_reach_every_bucket(self, tmp_path):
        theirs, ours = self.both(
            "EncoderModel", tmp_path, **self.configs["gated silu, tied, many buckets"]
        )
        mask = (torch.arange(200) < torch.tensor([[200], [141]])).long()
        ids = torch.randint(2, 61, mask.shape)
        expected, found = (m(ids, attention_mask=mask) for m in (theirs, ours))
        assert_close("hidden", found.last_hidden_state, expected.last_hidden_state, mask)

    def test_holes_and_padding_on_the_left(self, tmp_path):
        theirs, ours = self.both("ForTokenClassification", tmp_path, **self.small)
        batch = self.inputs("ForTokenClassification", theirs.config, ragged=False)
        mask = batch["attention_mask"]
        mask[0, :4] = mask[1, 6:] = mask[2, 2:6] = mask[3, 0] = mask[3, 3] = mask[3, 5:8] = 0
        self.compare(ours, theirs, batch | {"labels": mask - 100 * (1 - mask)})
        seen = {"output_attentions": True, "output_hidden_states": True}
        self.assert_same_outputs(ours(**batch, **seen), theirs(**batch, **seen), batch)

    def test_a_file_with_every_word_matrix_by_its_own_name(self, tmp_path):
        """As the first files have it, and with a bias of the cross-attention that nothing reads."""
        theirs, _ = self.both(GENERATION, tmp_path, **self.small)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        for name in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
            tensors[f"{name}.weight"] = tensors["shared.weight"].clone()
        unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        save_file(tensors | {unread: torch.ones(8, 4)}, file, {"format": "pt"})
        for task in (GENERATION, "Model", "EncoderModel"):
            ours = self.model_class(regard, task).from_pretrained(tmp_path)
            words = ours.get_input_embeddings().weight
            assert words is ours.base_model.shared.weight
        ours = self.model_class(regard, GENERATION).from_pretrained(tmp_path)
        batch = self.labelled(GENERATION, theirs.config, ragged=True)
        self.compare(ours, theirs, batch)
        assert ours.lm_head.weight is ours.get_input_embeddings().weight

    @pytest.mark.parametrize("side", ["encoder", "decoder"])
    @pytest.mark.parametrize("which", ["Model", GENERATION])
    def test_words_that_differ_from_the_shared_ones_are_the_sides_own(self, side, which, tmp_path):
        self.both(which, tmp_path, **self.small)
        file, words = tmp_path / "model.safetensors", f"{side}.embed_tokens.weight"
        save_file(load_file(file) | {words: torch.randn(61, 32)}, file, {"format": "pt"})
        theirs = self.model_class(transformers, which).from_pretrained(tmp_path)
        ours = self.model_class(regard, which).from_pretrained(tmp_path)
        batch = self.inputs("Model", theirs.config, ragged=True)
        expected = theirs(**batch)
        self.assert_same_outputs(ours(**batch), expected, batch)
        ours.save_pretrained(tmp_path)
        for library in (transformers, regard):
            again = self.model_class(library, which).from_pretrained(tmp_path)
            self.assert_same_outputs(again(**batch), expected, batch)

    @pytest.mark.parametrize("base", ["Model", GENERATION, "ForSequenceClassification"])
    def test_the_encoder_of_a_whole_model(self, base, tmp_path, caplog):
        theirs, _ = self.both(base, tmp_path, **self.small)
        ours = self.model_class(regard, "EncoderModel").from_pretrained(tmp_path)
        assert "decoder" not in caplog.text
        batch = self.inputs("EncoderModel", theirs.config, ragged=True)
        mask = batch["attention_mask"]
        expected = (
            theirs.base_model.encoder(**batch) if base != "Model" else theirs.encoder(**batch)
        )
        found = ours(**batch).last_hidden_state
        assert_close("hidden", found, expected.last_hidden_state, mask)

    @pytest.mark.parametrize("tied", [True, False, None])
    @pytest.mark.parametrize(
        ("own", "scaled"),
        [*SCALED, *(pytest.param(not own, s, marks=pytest.mark.slow) for own, s in SCALED)],
    )
    def test_what_is_scaled_and_tied(self, tied, own, scaled, tmp_path):
        """For every file that the reference reads, however its config contradicts its tensors."""
        if self.prefix == "MT5" and scaled:
            pytest.skip("the reference never scales mT5; regard does what such a file says")
        theirs, _ = self.both(GENERATION, tmp_path, **self.small)
        rewrite(tmp_path, tie_word_embeddings=tied, scale_decoder_outputs=scaled)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        words = tensors["shared.weight"]
        tensors["lm_head.weight"] = torch.randn_like(words) if own else words.clone()
        save_file(tensors, file, {"format": "pt"})
        theirs = self.model_class(transformers, GENERATION).from_pretrained(tmp_path)
        ours = self.model_class(regard, GENERATION).from_pretrained(tmp_path)
        batch = self.inputs("Model", theirs.config, ragged=True)
        expected = theirs(**batch)
        self.assert_same_outputs(ours(**batch), expected, batch)
        ours.save_pretrained(tmp_path / "again")
        for library in (transformers, regard):
            again = self.model_class(library, GENERATION).from_pretrained(tmp_path / "again")
            self.assert_same_outputs(again(**batch), expected, batch)

    def test_output_words_that_a_file_lacks_are_new(self, tmp_path, caplog):
        self.both("Model", tmp_path, **self.small)
        tied = self.model_class(regard, GENERATION).from_pretrained(tmp_path)
        assert tied.lm_head.weight is tied.get_input_embeddings().weight
        assert "random" not in caplog.text
        rewrite(tmp_path, tie_word_embeddings=False)
        apart = self.model_class(regard, GENERATION).from_pretrained(tmp_path)
        assert "new and random until trained: lm_head.weight" in caplog.text
        assert apart.lm_head.weight.std().item() == pytest.approx(
            32**-0.5 * apart.config.initializer_factor, rel=0.15
        )

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype, tmp_path):
        """The layers add up to more than float16 can hold, as in published models."""
        theirs, _ = self.both(GENERATION, tmp_path, **GATED | {"initializer_factor": 1.0})
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        for name in [name for name in tensors if name.endswith("wo.weight")]:
            tensors[name] *= 2e4
        save_file(tensors, file, {"format": "pt"})
        exact, theirs = (
            self.model_class(transformers, GENERATION).from_pretrained(tmp_path, dtype=d)
            for d in (torch.float32, dtype)
        )
        ours = self.model_class(regard, GENERATION).from_pretrained(tmp_path, dtype=dtype)
        batch = self.inputs("Model", theirs.config, ragged=True)
        real = batch["decoder_attention_mask"].bool()
        seen = ours(**batch, output_hidden_states=True)
        assert max(h.abs().max() for h in seen.encoder_hidden_states) > 70_000
        assert seen.logits.dtype == dtype
        wanted = exact(**batch).logits[real]
        wrong, usual = (
            (output.logits[real].float() - wanted).abs().mean()
            for output in (seen, theirs(**batch))
        )
        assert wrong < 1.5 * usual
        assert usual < 0.05 * wanted.abs().mean()
        ours(**batch, labels=batch["decoder_input_ids"]).loss.backward()
        assert all(p.grad.isfinite().all() for p in ours.parameters())

    def test_sizes_of_whole_models(self):
        for options, count in self.untied.values():
            with torch.device("meta"):
                config = getattr(regard, f"{self.prefix}Config")(**options)
                model = self.model_class(regard, GENERATION)(config)
            assert model.num_parameters() == count

    def test_the_activation_that_a_file_names_counts(self, tmp_path):
        theirs, _ = self.both("Model", tmp_path, **GATED)
        rewrite(tmp_path, dense_act_fn="silu")
        theirs = self.model_class(transformers, "Model").from_pretrained(tmp_path)
        ours = self.model_class(regard, "Model").from_pretrained(tmp_path)
        batch = self.inputs("Model", theirs.config, ragged=True)
        assert ours.config.dense_act_fn == theirs.config.dense_act_fn
        self.assert_same_outputs(ours(**batch), theirs(**batch), batch)

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"feed_forward_proj": "gated-gelo"}, "unknown activation 'gelo'.*gelu"),
            ({"feed_forward_proj": "double-relu"}, "unknown activation 'double-relu'"),
            ({"relative_attention_num_buckets": 2}, r"relative_attention_num_buckets \(2\)"),
            ({"relative_attention_max_distance": 3}, r"relative_attention_max_distance \(3\)"),
        ],
    )
    def test_a_configuration_that_cannot_be_built_is_refused(self, fields, says):
        config = self.config(regard, **self.small | fields)
        with pytest.raises(regard.ConfigError, match=says):
            self.model_class(regard, "Model")(config)

    @pytest.mark.parametrize(
        "fields", [{"d_kv": 0}, {"relative_attention_num_buckets": 10**9}, {"num_heads": -1}]
    )
    def test_sizes_have_limits(self, fields):
        with pytest.raises(regard.ConfigError, match="must be from 1 to"):
            self.config(regard, **self.small | fields)

    def test_a_target_is_needed(self, tmp_path):
        _, ours = self.both(GENERATION, tmp_path, **self.small)
        with pytest.raises(ValueError, match="needs a target: decoder_input_ids, or labels"):
            ours(torch.ones(BATCH, LENGTH, dtype=torch.long))

    def test_new_weights_are_as_large_as_the_authors_make_them(self):
        torch.manual_seed(0)
        sizes = {"d_model": 256, "d_kv": 16, "d_ff": 512, "num_layers": 1, "num_heads": 8}
        same = {"feed_forward_proj": "relu", "initializer_factor": 1.0}
        config = self.config(regard, **sizes | same)
        model = self.model_class(regard, "Model")(config)
        layer = model.decoder.stack.layers[0]
        for weight, wanted in (
            (model.shared.weight, 1),
            (model.encoder.bias.weight, 256**-0.5),
            (layer.attention.query.weight, (256 * 16) ** -0.5),
            (layer.cross_attention.query.weight, (256 * 16) ** -0.5),
            (layer.cross_attention.key.weight, 256**-0.5),
            (layer.attention.output.weight, 128**-0.5),
            (layer.feed_forward.up.weight, 256**-0.5),
            (layer.feed_forward.down.weight, 512**-0.5),
        ):
            assert weight.std().item() == pytest.approx(wanted, rel=0.15)
        assert (model.decoder.stack.norm.weight == 1).all()


class TestMT5(TestT5):
    prefix = "MT5"
    # Its output is not scaled: with words of variance 1 the scores would be too large to compare.
    sizes: ClassVar = TestT5.sizes | {"initializer_factor": 0.3}
    sized: ClassVar = {"mt5-small": ({}, 300_176_768 - 250_112 * 512)}
    untied: ClassVar = {"mt5-small": ({"tie_word_embeddings": False}, 300_176_768)}


def test_a_folder_of_the_other_is_refused(tmp_path):
    config = regard.T5Config(vocab_size=20, **SMALL)
    regard.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(regard.ConfigError, match="describes a 't5' model"):
        regard.MT5Model.from_pretrained(tmp_path)
    assert type(regard.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)).__name__.startswith("T5")


def test_columns_after_the_last_label_are_not_decoded():
    torch.manual_seed(0)
    model = regard.T5ForConditionalGeneration(regard.T5Config(vocab_size=20, **SMALL)).eval()
    labels = torch.full((2, TARGET), -100)
    labels[0, :3], labels[1, :2] = 5, 6
    found = model(torch.randint(2, 20, (2, 4)), labels=labels)
    assert found.logits[0, :3].any(-1).all()
    assert not found.logits[0, 3:].any()
