"""mBART gives the reference's numbers, from the files it writes."""

from typing import ClassVar

import torch

import regard
from regard.models.mbart import MBartDecoder

from . import test_bart
from .reference import assert_close
from .test_bart import SIZES, SMALL

LABELS = torch.tensor([[7, 8, 9, 2, 50], [7, 2, 51, 1, 1], [2, 52, -100, -100, -100]])


class TestMBart(test_bart.TestBart):
    prefix = "MBart"
    holes = False  # the reference takes another token for the language then
    sizes = SIZES
    configs: ClassVar = {
        "small": SMALL,
        "scaled, two labels": SMALL | {"scale_embedding": True, "num_labels": 2},
        "one layer, untied": test_bart.TestBart.configs["one layer, untied"],
    }
    sized: ClassVar = {
        "facebook/mbart-large-cc25": ({"vocab_size": 250_027}, 610_851_840),
    }

    def base_class(self, task):
        return MBartDecoder if task == "ForCausalLM" else regard.MBartModel

    def test_a_target_begins_with_its_language(self, tmp_path):
        theirs, ours = self.both("ForConditionalGeneration", tmp_path, **self.small)
        wanted = torch.tensor([[50, 7, 8, 9, 2], [51, 7, 2, 51, 1], [52, 2, 52, 1, 1]])
        assert torch.equal(ours.model.shift_right(LABELS), wanted)
        assert torch.equal(theirs.prepare_decoder_input_ids_from_labels(LABELS), wanted)

    def test_a_hole_in_the_labels_is_no_padding(self):
        """The reference counts it as such, and begins with the token before the language."""
        model = regard.MBartModel(self.config(regard, **self.small))
        labels = torch.tensor([[7, -100, 9, 2, 50]])
        assert model.shift_right(labels).tolist() == [[50, 7, 1, 9, 2]]

    def test_one_row_alone(self, tmp_path):
        theirs, ours = self.both("ForConditionalGeneration", tmp_path, **self.small)
        row = LABELS[:1]
        assert_close("loss", ours(row, labels=row).loss, theirs(row, labels=row).loss)
