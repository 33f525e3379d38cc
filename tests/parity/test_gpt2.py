"""GPT-2 gives the reference's numbers, from the files it writes."""

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import regard

from .decoders import SIZES, TASKS, DecoderParity
from .reference import assert_close


class TestGPT2(DecoderParity):
    prefix = "GPT2"
    tasks = ("Model", "LMHeadModel", "DoubleHeadsModel", *TASKS[2:])
    without_auto = ("DoubleHeadsModel",)
    sizes = SIZES | {"n_positions": 20}
    rates = (
        *("resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout"),
        "summary_first_dropout",
    )
    configs = {
        "small": {"n_embd": 32, "n_layer": 2, "n_head": 4},
        "relu, own inner size, scaled by layer": {
            "n_embd": 24,
            "n_layer": 3,
            "n_head": 3,
            "n_inner": 50,
            "activation_function": "relu",
            "summary_activation": "tanh",
            "scale_attn_by_inverse_layer_idx": True,
        },
        "untied, unscaled": {
            "n_embd": 16,
            "n_layer": 1,
            "n_head": 1,
            "tie_word_embeddings": False,
            "scale_attn_weights": False,
            "layer_norm_epsilon": 1e-6,
        },
    }
    published = ({}, 124_439_808)  # gpt2

    def test_the_hubs_old_file_without_prefix_and_with_masks(self, tmp_path):
        theirs, _ = self.both("LMHeadModel", tmp_path, **self.small)
        file = tmp_path / "model.safetensors"
        old = {n.removeprefix("transformer."): t for n, t in load_file(file).items()}
        for layer in range(2):
            old[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 20, 20)
            old[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        save_file(old, file, {"format": "pt"})
        ours = regard.GPT2LMHeadModel.from_pretrained(tmp_path)
        ids = torch.randint(1, 99, (2, 7))
        assert_close("logits", ours(ids).logits, theirs(ids).logits)

    def test_segments_are_words(self, tmp_path):
        theirs, ours = self.both("Model", tmp_path, **self.small)
        ids, segments = torch.randint(1, 99, (2, 2, 7)).unbind()
        expected = theirs(ids, token_type_ids=segments).last_hidden_state
        found = ours(ids, token_type_ids=segments).last_hidden_state
        assert_close("last_hidden_state", found, expected)

    def test_labels_of_texts_padded_without_a_mask(self, tmp_path):
        theirs, ours = self.both("ForSequenceClassification", tmp_path, **self.small)
        ids = torch.randint(1, 99, (3, 7))
        ids[0, 4:] = 0
        ids[1, 1:] = 0
        assert_close("logits", ours(ids).logits, theirs(ids).logits)

    def test_a_split_matrix_of_another_size_is_refused(self, tmp_path):
        self.both("Model", tmp_path, **self.small)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        tensors["h.0.attn.c_attn.weight"] = torch.zeros(32, 95)
        save_file(tensors, file, {"format": "pt"})
        with pytest.raises(regard.CheckpointError, match=r"attention\.query"):
            regard.GPT2Model.from_pretrained(tmp_path)

    def test_residual_outputs_start_smaller(self):
        torch.manual_seed(0)
        config = regard.GPT2Config(n_embd=64, n_layer=8, n_head=2, vocab_size=50)
        layer = regard.GPT2Model(config).decoder.layers[3]
        assert layer.feed_forward.up.weight.std().item() == pytest.approx(0.02, rel=0.1)
        for linear in (layer.attention.output, layer.feed_forward.down):
            assert linear.weight.std().item() == pytest.approx(0.02 / 4, rel=0.1)


def test_both_spellings_of_the_configuration():
    one = regard.GPT2Config(n_embd=64, n_layer=3)
    other = regard.GPT2Config(hidden_size=64, num_hidden_layers=3)
    assert one == other
    assert one.to_dict()["n_embd"] == 64
    assert transformers.GPT2Config(**one.to_dict()).hidden_size == 64
