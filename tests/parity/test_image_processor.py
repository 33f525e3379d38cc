"""The image processors give the numbers of the reference's processors over Pillow.

The reference's other backend, over torchvision, resizes with another rounding; it is not compared.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import regard

#: Written by the reference's processor and read by ours.
SETTINGS = {
    "as it comes": {},
    "small, bicubic": {"size": {"height": 32, "width": 48}, "resample": 3},
    "larger than the image": {"size": 400, "resample": 1},
    "nearest": {"size": [20, 30], "resample": 0},
    "keeps proportions, cuts the middle": {
        "size": {"shortest_edge": 50},
        "do_center_crop": True,
        "crop_size": 41,
    },
    "cuts more than there is": {
        "do_resize": False,
        "do_center_crop": True,
        "crop_size": {"height": 90, "width": 64},
    },
    "other mean and deviation": {
        "size": 33,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "no normalising": {"size": 33, "do_normalize": False},
    "no rescaling": {"size": 33, "do_rescale": False, "do_normalize": False},
}
#: Height and width of test images.
SIZES = [(61, 87), (87, 61), (50, 50), (1, 7), (224, 224), (301, 17)]


def picture(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def both(folder, reference=ViTImageProcessorPil, **settings):
    reference(**settings).save_pretrained(folder)
    return reference.from_pretrained(folder), regard.AutoImageProcessor.from_pretrained(folder)


def assert_same(ours, theirs):
    """Bit for bit."""
    assert ours.shape == theirs.shape
    assert torch.equal(ours, theirs.float())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_images_of_any_size(settings, size, tmp_path):
    if "shortest_edge" in str(settings) and size == (301, 17):
        size = (301, 60)
    theirs, ours = both(tmp_path, **settings)
    image = picture(*size)
    expected = theirs(Image.fromarray(image), return_tensors="pt").pixel_values
    for given, order in (
        (Image.fromarray(image), None),
        (image, "channels_last"),
        (torch.from_numpy(image.transpose(2, 0, 1)), "channels_first"),
    ):
        order = order if min(size) <= 4 else None  # such an axis could be that of channels
        found = ours(given, return_tensors="pt", input_data_format=order).pixel_values
        assert_same(found, expected)


@pytest.mark.parametrize("size", SIZES)
def test_deit(size, tmp_path):
    theirs, ours = both(tmp_path, DeiTImageProcessorPil)
    assert type(ours) is regard.DeiTImageProcessor
    image = Image.fromarray(picture(*size))
    expected = theirs(image, return_tensors="pt").pixel_values
    assert_same(ours(image, return_tensors="pt").pixel_values, expected)
    assert_same(regard.DeiTImageProcessor()(image, return_tensors="pt").pixel_values, expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_conversion_to_rgb(channels, tmp_path):
    theirs, ours = both(tmp_path, size=24, do_convert_rgb=True)
    image = Image.fromarray(picture(31, 40, channels))
    expected = theirs(image, return_tensors="pt").pixel_values
    assert_same(ours(image, return_tensors="pt").pixel_values, expected)
    assert_same(ours(np.array(image), return_tensors="pt").pixel_values, expected)


def test_palettes_and_their_transparency(tmp_path):
    theirs, ours = both(tmp_path, size=24, do_convert_rgb=True)
    for transparency in (None, 3):
        image = Image.fromarray(picture(31, 40)).quantize(16)
        if transparency is not None:
            image.info["transparency"] = transparency
        expected = theirs(image, return_tensors="pt").pixel_values
        assert_same(ours(image, return_tensors="pt").pixel_values, expected)


def test_grey_images(tmp_path):
    theirs, ours = both(tmp_path, size=24, image_mean=[0.5], image_std=[0.5])
    image = picture(31, 40, 1)
    expected = theirs(Image.fromarray(image), return_tensors="pt").pixel_values
    for given in (Image.fromarray(image), image, image[None], image[..., None]):
        assert_same(ours(given, return_tensors="pt").pixel_values, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16])
def test_whole_numbers_of_another_type(dtype, tmp_path):
    theirs, ours = both(tmp_path, size=24)
    image = picture(31, 40)
    expected = theirs(image, return_tensors="pt").pixel_values
    assert_same(ours(image.astype(dtype), return_tensors="pt").pixel_values, expected)


def test_floats_of_0_to_1(tmp_path):
    """Pillow resizes bytes: the reference cuts to them, we round, so they differ by one at most."""
    theirs, ours = both(tmp_path, size=24, do_rescale=False, do_normalize=False)
    image = np.random.default_rng(0).random((31, 40, 3), dtype=np.float32)
    expected = theirs(image, return_tensors="pt").pixel_values
    found = ours(image, return_tensors="pt").pixel_values
    assert (found - expected).abs().max() <= 1 / 255 + 1e-6
    whole = picture(31, 40)
    scaled = (whole / 255).astype(np.float32)
    plain = ours(whole, do_rescale=True, return_tensors="pt").pixel_values
    assert_same(ours(scaled, return_tensors="pt").pixel_values, plain)


def test_batches(tmp_path):
    theirs, ours = both(tmp_path, size=24)
    images = np.stack([picture(31, 40, seed=seed) for seed in range(3)])
    expected = theirs([*images], return_tensors="pt").pixel_values
    forms = (images, [*images], [*map(Image.fromarray, images)], torch.from_numpy(images))
    for given in (*forms, images.transpose(0, 3, 1, 2), [[images[0]], [images[1], images[2]]]):
        assert_same(ours(given, return_tensors="pt").pixel_values, expected)
    assert_same(torch.from_numpy(ours(images, return_tensors="np").pixel_values), expected)
    assert np.array_equal(np.stack(ours(images)["pixel_values"]), expected)


@pytest.mark.parametrize("reference", [ViTImageProcessorPil, DeiTImageProcessorPil])
def test_the_reference_reads_what_we_write(reference, tmp_path):
    theirs, ours = both(tmp_path / "theirs", reference, size=40, crop_size=30)
    ours.save_pretrained(tmp_path / "ours")
    again = reference.from_pretrained(tmp_path / "ours")
    image = picture(31, 40)
    assert_same(
        again(image, return_tensors="pt").pixel_values,
        theirs(image, return_tensors="pt").pixel_values,
    )
    assert regard.AutoImageProcessor.from_pretrained(tmp_path / "ours") == ours


def test_old_files(tmp_path):
    """As google/vit-base-patch16-224 has it: a plain size, an older name, no rescaling."""
    mean = [0.5, 0.5, 0.5]
    old = {"do_normalize": True, "do_resize": True, "image_mean": mean, "image_std": mean}
    old |= {"feature_extractor_type": "ViTFeatureExtractor", "resample": 2, "size": 24}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    theirs = ViTImageProcessorPil.from_pretrained(tmp_path)
    ours = regard.ViTImageProcessor.from_pretrained(tmp_path)
    image = picture(31, 40)
    expected = theirs(image, return_tensors="pt").pixel_values
    assert_same(ours(image, return_tensors="pt").pixel_values, expected)
