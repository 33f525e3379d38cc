"""What the image processor refuses, keeps and says; its numbers are in tests/parity."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import regard

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
FLOATS = (IMAGE / 255).astype(np.float32)


@pytest.fixture
def processor():
    return regard.ImageProcessor(size=8)


def test_one_image_several_and_none(processor):
    assert processor(IMAGE, return_tensors="pt").pixel_values.shape == (1, 3, 8, 8)
    assert processor([IMAGE, IMAGE], return_tensors="np")["pixel_values"].shape == (2, 3, 8, 8)
    assert [each.shape for each in processor([IMAGE]).pixel_values] == [(3, 8, 8)]
    with pytest.raises(ValueError, match="no image"):
        processor([], return_tensors="pt")
    with pytest.raises(ValueError, match="'pt', 'np' or None"):
        processor(IMAGE, return_tensors="tf")


def test_the_input_is_left_alone_and_the_output_is_contiguous(processor):
    before = IMAGE.copy()
    pixels = processor(IMAGE, return_tensors="pt").pixel_values
    assert np.array_equal(IMAGE, before)
    assert pixels.is_contiguous()
    assert pixels.dtype == torch.float32


def test_output_moves_and_is_a_mapping(processor):
    output = processor(IMAGE, return_tensors="pt")
    assert {**output}.keys() == {"pixel_values"}
    assert output.to(torch.bfloat16).pixel_values.dtype == torch.bfloat16
    with pytest.raises(AttributeError, match="there are pixel_values"):
        output.pixels  # noqa: B018 - the access is what is tested


def test_settings_of_one_call(processor):
    larger = processor(IMAGE, size=12, do_normalize=False, return_tensors="pt").pixel_values
    assert larger.shape == (1, 3, 12, 12)
    assert larger.min() >= 0
    assert processor.size == {"height": 8, "width": 8}
    with pytest.raises(TypeError, match="did you mean 'do_resize'"):
        processor(IMAGE, do_resise=False)


def test_order_of_axes(processor):
    with pytest.raises(ValueError, match=r"could be either .* input_data_format"):
        processor(IMAGE[:3])
    first = processor(IMAGE[:3], input_data_format="channels_last", return_tensors="pt")
    assert first.pixel_values.shape == (1, 3, 8, 8)
    with pytest.raises(ValueError, match="is neither"):
        processor(np.zeros((20, 30, 7), np.uint8))
    with pytest.raises(ValueError, match="found 'CHW'"):
        processor(IMAGE, input_data_format="CHW")
    with pytest.raises(ValueError, match=r"\(height, width, channels\)"):
        processor(np.zeros(12, np.uint8))


def test_kinds_of_images(processor):
    with pytest.raises(TypeError, match=r"found str; open the file first: PIL.Image.open"):
        processor("cat.png")
    with pytest.raises(TypeError, match="found NoneType"):
        processor([IMAGE, None])
    with pytest.raises(TypeError, match="bool"):
        processor(IMAGE > 3)
    with pytest.raises(ValueError, match="no pixels"):
        processor(IMAGE[:0])


def test_number_of_channels(processor):
    with pytest.raises(ValueError, match=r"1 channels.*do_convert_rgb=True"):
        processor(Image.fromarray(IMAGE[..., 0]))
    with pytest.raises(ValueError, match=r"3 channels.*give 1 channels"):
        processor(IMAGE, image_mean=[0.5], image_std=[0.5])
    with pytest.raises(ValueError, match="make no batch"):
        processor([IMAGE, IMAGE[..., :1]], do_normalize=False, return_tensors="pt")


@pytest.mark.parametrize("resize", [True, False])
def test_values_that_would_be_rescaled_twice_or_not_at_all(resize):
    processor = regard.ImageProcessor(size=8, do_resize=resize)
    with pytest.raises(ValueError, match="rescaled already; pass do_rescale=False"):
        processor(FLOATS)
    with pytest.raises(ValueError, match="Leave do_rescale on"):
        processor(IMAGE.astype(np.float32), do_rescale=False)
    with pytest.raises(ValueError, match="Leave do_rescale on"):
        processor(IMAGE, do_rescale=False)
    for wrong in (FLOATS * 2 - 1, IMAGE.astype(np.float32) * 2, IMAGE.astype(np.uint16) * 257):
        with pytest.raises(ValueError, match="wanted 0 to 255"):
            processor(wrong)
    with pytest.raises(ValueError, match="from nan to nan"):
        processor(FLOATS * np.nan)


def test_values_that_are_right():
    processor = regard.ImageProcessor(do_resize=False)
    expected = processor(IMAGE, return_tensors="pt").pixel_values
    for given, settings in (
        (IMAGE.astype(np.float32), {}),
        (FLOATS, {"do_rescale": False}),
        (torch.from_numpy(FLOATS).permute(2, 0, 1), {"do_rescale": False}),
    ):
        found = processor(given, return_tensors="pt", **settings).pixel_values
        assert torch.allclose(found, expected, atol=1e-6)
    assert processor(np.zeros((3, 9, 9), np.float32), return_tensors="pt").pixel_values.eq(-1).all()
    caffe = {"do_rescale": False, "image_mean": [104.0, 117, 123], "image_std": [1.0, 1, 1]}
    assert processor(IMAGE, return_tensors="pt", **caffe).pixel_values.max() > 100


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"do_resize": 1}, "do_resize is 1; it must be true or false"),
        ({"do_convert_rgb": "no"}, "do_convert_rgb is 'no'"),
        ({"size": 0}, "size is 0"),
        ({"size": "224"}, "size is '224'"),
        ({"size": {"longest_edge": 5}}, "a mapping of height and width"),
        ({"size": [1, 2, 3]}, "size is"),
        ({"crop_size": {"shortest_edge": 5}, "do_center_crop": True}, "height and width"),
        ({"resample": 9}, "0 to 5"),
        ({"rescale_factor": 0}, "above 0"),
        ({"image_mean": 0.5}, "a list of numbers"),
        ({"image_mean": [0.5]}, "as long as image_mean"),
        ({"image_std": [0.5, 0, 0.5]}, "nowhere 0"),
    ],
)
def test_settings_that_cannot_be(settings, words, tmp_path):
    with pytest.raises(regard.ConfigError, match=words):
        regard.ImageProcessor(**settings)
    text = json.dumps({"image_processor_type": "ViTImageProcessor", **settings})
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(regard.ConfigError, match=rf"preprocessor_config\.json: .*{words}"):
        regard.AutoImageProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, "'CLIPImageProcessor' is not implemented"),
        ({"do_pad": True}, "do_pad is True"),
        ({"do_flip_channel_order": True}, "no such step"),
    ],
)
def test_processors_that_are_not_ours(values, words, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(regard.ConfigError, match=words):
        regard.AutoImageProcessor.from_pretrained(tmp_path)


def test_files(tmp_path):
    with pytest.raises(regard.CheckpointNotFoundError, match="preprocessor_config"):
        regard.AutoImageProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(regard.CheckpointError, match="not valid JSON"):
        regard.AutoImageProcessor.from_pretrained(tmp_path)
    regard.DeiTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(regard.ConfigError, match=r"describes a DeiT.*AutoImageProcessor"):
        regard.ImageProcessor.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match="did you mean 'resample'"):
        regard.AutoImageProcessor.from_pretrained(tmp_path, resampel=3)
    changed = regard.AutoImageProcessor.from_pretrained(tmp_path, size=300)
    assert changed.size == {"height": 300, "width": 300}


def test_plain_sizes_of_processors_that_keep_proportions(tmp_path):
    text = json.dumps({"size": 10, "default_to_square": False})
    (tmp_path / "preprocessor_config.json").write_text(text)
    processor = regard.AutoImageProcessor.from_pretrained(tmp_path)
    assert processor(IMAGE, return_tensors="pt").pixel_values.shape == (1, 3, 10, 15)


def test_what_we_do_not_know_is_kept(tmp_path):
    text = json.dumps({"size": 10, "my_key": [1, 2], "processor_class": "X"})
    (tmp_path / "preprocessor_config.json").write_text(text)
    processor = regard.AutoImageProcessor.from_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert written["my_key"] == [1, 2]
    assert written["processor_class"] == "X"
    assert regard.AutoImageProcessor.from_pretrained(tmp_path) == processor


def test_without_pillow_only_resizing_and_converting_fail():
    code = """
import sys
sys.modules["PIL"] = sys.modules["PIL.Image"] = None
import numpy, regard
image = numpy.zeros((9, 9, 3), numpy.uint8)
processor = regard.ImageProcessor(size=8)
assert processor(image, do_resize=False, return_tensors="np").pixel_values.shape == (1, 3, 9, 9)
assert "torch" not in sys.modules
try:
    processor(image)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'regard[images]'" in done.stdout, done.stdout + done.stderr
