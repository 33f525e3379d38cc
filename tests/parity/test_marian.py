"""Marian gives the reference's numbers, from the files it writes."""

from typing import ClassVar

import pytest
import torch
import transformers

import regard
from regard.models.marian import MarianDecoder

from .reference import assert_close
from .seq2seq import Seq2SeqParity
from .test_bart import RATES, SIZES, SMALL

APART = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 73}


class TestMarian(Seq2SeqParity):
    prefix = "Marian"
    tasks = ("Model", "MTModel", "ForCausalLM")
    sizes: ClassVar = SIZES | {
        "pad_token_id": 3,
        "decoder_start_token_id": 3,
        "activation_function": "swish",
    }
    rates = RATES
    configs: ClassVar = {
        "small": SMALL,
        "scaled": SMALL | {"scale_embedding": True},
        "untied": SMALL | {"tie_word_embeddings": False},
    }
    opus: ClassVar = {
        "d_model": 512,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
        "decoder_ffn_dim": 2048,
        "max_position_embeddings": 512,
    }
    #: Without the sinusoids, 2 x 512 x 512 numbers that the reference counts.
    sized: ClassVar = {"Helsinki-NLP/opus-mt-en-de": (opus, 74_410_496 - 2 * 512 * 512)}
    unlearned = tuple(
        f"{prefix}{side}.embed_positions.weight"
        for prefix in ("", "model.")
        for side in ("encoder", "decoder")
    )

    test_sequence_losses = None
    test_ragged_questions_equal_the_reference_one_by_one = None

    def base_class(self, task):
        return MarianDecoder if task == "ForCausalLM" else regard.MarianModel

    def test_each_side_with_words_of_its_own(self, tmp_path):
        for tied in (True, False):
            options = self.small | APART | {"tie_word_embeddings": tied}
            theirs, ours = self.both("MTModel", tmp_path, **options)
            batch = self.labelled("MTModel", theirs.config, ragged=True)
            batch["labels"] = torch.where(batch["labels"] > 50, 72, batch["labels"])
            self.compare(ours, theirs, batch)
            decoder = ours.model.decoder.embeddings.words.weight
            assert (ours.lm_head.weight is decoder) == tied
            self.test_files_are_the_same_both_ways("MTModel", options, tmp_path / str(tied))
            with pytest.raises(ValueError, match="source and target have words of their own"):
                ours.resize_token_embeddings(80)
            assert ours.config.vocab_size == 61

    def test_a_decoder_by_itself_has_the_targets_words(self, tmp_path):
        """The reference gives their scores too, but no loss: it counts the source's words."""
        theirs, ours = self.both("ForCausalLM", tmp_path, **self.small | APART)
        batch = self.inputs("ForCausalLM", theirs.config, ragged=True)
        batch["input_ids"][0, 0] = 72
        self.assert_same_outputs(ours(**batch), theirs(**batch), batch)
        labels = torch.full((4, 11), 70)
        found = ours(**batch, labels=labels)
        real = batch["attention_mask"].bool()
        wanted = torch.nn.functional.cross_entropy(found.logits[real], labels[real])
        assert_close("loss", found.loss, wanted)

    def test_resizing_grows_both_sides(self, tmp_path):
        _, ours = self.both("MTModel", tmp_path, **self.small)
        bias = ours.final_logits_bias.clone()
        ours.resize_token_embeddings(70)
        assert (ours.config.vocab_size, ours.config.decoder_vocab_size) == (70, 70)
        assert torch.equal(ours.final_logits_bias[:, :61], bias)
        ours.save_pretrained(tmp_path / "resized")
        again = regard.MarianMTModel.from_pretrained(tmp_path / "resized")
        theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "resized")
        ids = torch.randint(4, 70, (2, 5))
        assert torch.equal(again(ids, labels=ids).logits, ours(ids, labels=ids).logits)
        assert_close("logits", ours(ids, labels=ids).logits, theirs(ids, labels=ids).logits)

    def test_no_text_is_too_long(self):
        """The reference's table of sines ends; the sines do not."""
        model = regard.MarianModel(self.config(regard, **self.small)).eval()
        ids = torch.randint(4, 61, (1, 50))
        assert model(ids, decoder_input_ids=ids).last_hidden_state.shape == (1, 50, 32)

    def test_a_target_is_needed(self):
        model = regard.MarianMTModel(self.config(regard, **self.small))
        with pytest.raises(ValueError, match="needs a target: decoder_input_ids, or labels"):
            model(torch.full((1, 3), 5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"decoder_vocab_size": 9}, "vocab_size is 58101 and decoder_vocab_size 9"),
        (
            {"decoder_vocab_size": 9, "share_encoder_decoder_embeddings": False},
            "pad_token_id is 58100, outside the target's vocabulary of 9",
        ),
        ({"d_model": 31, "encoder_attention_heads": 1}, "even hidden_size"),
    ],
)
def test_what_cannot_be_built(wrong, message):
    with pytest.raises(regard.ConfigError, match=message):
        regard.MarianModel(regard.MarianConfig(**wrong))
