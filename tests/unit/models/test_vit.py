"""Vision Transformers beside their numbers: what they refuse, how they start, that they learn."""

import gzip
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

import regard

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 8,
    "patch_size": 2,
}


def build(head="ViTModel", *arguments, **options):
    torch.manual_seed(0)
    config = regard.DeiTConfig if head.startswith("DeiT") else regard.ViTConfig
    return getattr(regard, head)(config(**SIZES | options), *arguments).eval()


@pytest.fixture
def one_thread():
    """Small operations crawl when threads outnumber idle cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def learn(model, pixels, labels, *, epochs, rows, rate):
    """Train in a plain PyTorch loop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    steps = epochs * -(-len(labels) // rows)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(rows):
            model(pixels[batch], labels=labels[batch]).loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


def accuracy(model, pixels, labels):
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(batch).logits.argmax(-1) for batch in pixels.split(500)])
    return (found == labels).float().mean().item()


@pytest.mark.usefixtures("one_thread")
def test_a_small_vit_learns_digits():
    """A plain PyTorch loop over scikit-learn's 8 x 8 digits: 95 % of those it never saw."""
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)
    held_out = torch.arange(len(labels)) % 5 == 0
    options = {"patch_size": [2, 4], "num_channels": 1, "initializer_range": 0.05}
    model = build("ViTForImageClassification", num_labels=10, **options)
    learn(model, pixels[~held_out], labels[~held_out], epochs=15, rows=64, rate=3e-3)
    assert accuracy(model, pixels[held_out], labels[held_out]) >= 0.95


FASHION = "REGARD_FASHION_MNIST"


def fashion(folder, part):
    """Return images as (count, 1, 28, 28) from -1 to 1, and their labels."""
    images, labels = (
        gzip.decompress((folder / f"{part}-{kind}-ubyte.gz").read_bytes())
        for kind in ("images-idx3", "labels-idx1")
    )
    pixels = torch.frombuffer(bytearray(images[16:]), dtype=torch.uint8).view(-1, 1, 28, 28)
    return pixels / 127.5 - 1, torch.frombuffer(bytearray(labels[8:]), dtype=torch.uint8).long()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_small_vit_learns_clothes(record_property):
    """Fashion-MNIST (Xiao et al. 2017), all 60,000 images three times: 85 % of the 10,000 others.

    The folder is that of Debian's package dataset-fashion-mnist, `/usr/share/datasets`.
    """
    if FASHION not in os.environ:
        pytest.skip(f"{FASHION} names no folder with the four .gz files of Fashion-MNIST")
    folder = Path(os.environ[FASHION])
    options = {"image_size": 28, "patch_size": 7, "num_channels": 1, "initializer_range": 0.05}
    sizes = {"num_hidden_layers": 3, "intermediate_size": 128}
    model = build("ViTForImageClassification", num_labels=10, **options, **sizes)
    learn(model, *fashion(folder, "train"), epochs=3, rows=128, rate=2e-3)
    found = accuracy(model, *fashion(folder, "t10k"))
    record_property("accuracy", found)
    assert found > 0.85


@pytest.mark.parametrize(
    ("pixels", "error", "words"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), TypeError, "uint8.*AutoImageProcessor"),
        (torch.zeros(3, 8, 8), ValueError, r"For one image use pixel_values\[None\]"),
        (torch.zeros(2, 8, 8, 3), ValueError, r"3 channels.*permute\(0, 3, 1, 2\)"),
        (torch.zeros(2, 1, 8, 8), ValueError, "Use images of 3 channels"),
        (torch.zeros(2, 3, 8, 12), ValueError, "8 x 8 .*found 8 x 12.*interpolate_pos_encoding"),
    ],
)
@pytest.mark.parametrize("head", ["ViTModel", "ViTForImageClassification", "DeiTModel"])
def test_images_that_do_not_fit(head, pixels, error, words):
    with pytest.raises(error, match=words):
        build(head)(pixels)


def test_images_smaller_than_a_patch():
    with pytest.raises(ValueError, match="smaller than a patch of 2 x 2"):
        build()(torch.zeros(1, 3, 1, 8), interpolate_pos_encoding=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": [8, 8, 8]}, r"\[height, width\]"),
        ({"patch_size": [4, True]}, "patch_size is"),
        ({"patch_size": 9}, "patch_size 9 does not fit into image_size 8"),
        ({"num_channels": 0}, "num_channels is 0"),
        ({"pooler_act": "tan"}, "did you mean 'tanh'"),
    ],
)
def test_configurations_that_cannot_be_built(options, words):
    with pytest.raises(regard.ConfigError, match=words):
        build(**options)


def test_every_parameter_is_initialised():
    model = build("DeiTForImageClassification", hidden_size=128, initializer_range=0.05)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert parameter.eq(1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.25), name


def test_what_a_file_lacks_is_initialised_too(tmp_path):
    """The one token that DeiT adds to ViT is new; the rest is ViT's."""
    vit = build("ViTModel", False, image_size=[8, 10])
    vit.save_pretrained(tmp_path)
    with pytest.raises(regard.CheckpointError, match="distillation_token"):
        regard.DeiTModel.from_pretrained(tmp_path, config=regard.DeiTConfig(**SIZES))
    config = regard.DeiTConfig(**SIZES, initializer_range=0.05)
    deit = regard.DeiTModel.from_pretrained(tmp_path, config=config, strict=False)
    for name in ("class_token", "projection.weight"):
        loaded = deit.embeddings.get_parameter(name)
        assert torch.equal(loaded, vit.embeddings.get_parameter(name)), name
    for name in ("distillation_token", "positions"):
        new = deit.embeddings.get_parameter(name)
        assert new.std().item() == pytest.approx(0.05, rel=0.3), name
    assert deit(torch.zeros(1, 3, 8, 8)).last_hidden_state.isfinite().all()


def test_a_head_over_a_base_is_new(tmp_path, caplog):
    base = build()
    base.save_pretrained(tmp_path)
    model = regard.AutoModelForImageClassification.from_pretrained(tmp_path, num_labels=7)
    assert type(model) is regard.ViTForImageClassification
    assert "classifier" in caplog.text
    assert model.classifier.weight.std().item() == pytest.approx(0.02, rel=0.25)
    pixels = torch.randn(2, 3, 8, 8)
    hidden = base(pixels).last_hidden_state[:, 0]
    expected = F.linear(hidden, model.classifier.weight, model.classifier.bias)
    assert torch.allclose(model(pixels).logits, expected, atol=1e-6)
    assert isinstance(regard.AutoModel.from_pretrained(tmp_path), regard.ViTModel)


def test_half_precision_takes_whole_pixels(tmp_path):
    build("ViTForImageClassification").save_pretrained(tmp_path)
    model = regard.ViTForImageClassification.from_pretrained(tmp_path, dtype="bfloat16")
    assert model(torch.zeros(1, 3, 8, 8)).logits.dtype == torch.bfloat16


def test_the_packed_way_in_is_the_public_one():
    model = build("ViTForImageClassification")
    pixels = torch.randn(3, 3, 8, 8)
    batch = model.vit.patches(pixels)
    assert batch.layout.lengths == (17, 17, 17)
    assert torch.equal(model.logits(batch), model(pixels).logits)
    alone = torch.cat([model(one[None]).logits for one in pixels])
    assert torch.allclose(alone, model(pixels).logits, atol=1e-6)


def test_without_a_pooler_there_is_no_pooler_output():
    model = build("ViTModel", False)
    assert [*model(torch.zeros(1, 3, 8, 8))] == ["last_hidden_state"]
    with pytest.raises(ValueError, match="add_pooling_layer=False"):
        model.pool(torch.zeros(17, 64), regard.Layout.from_lengths([17]))


def test_from_picture_to_label(tmp_path):
    """A processor's output goes straight into a model that was loaded from the same folder."""
    build("DeiTForImageClassificationWithTeacher").save_pretrained(tmp_path)
    regard.DeiTImageProcessor(size=10, crop_size=8).save_pretrained(tmp_path)
    processor = regard.AutoImageProcessor.from_pretrained(tmp_path)
    model = regard.DeiTForImageClassificationWithTeacher.from_pretrained(tmp_path)
    image = torch.randint(256, (30, 40, 3), dtype=torch.uint8)
    output = model(**processor([image, image], return_tensors="pt"))
    assert output.logits.shape == (2, 2)
    assert torch.allclose(output.logits, (output.cls_logits + output.distillation_logits) / 2)


def test_hidden_patches_are_filled_in_where_they_are():
    """A grid that is not square, and an edge that fills no patch."""
    model = build("DeiTForMaskedImageModeling", image_size=[6, 9], encoder_stride=2)
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.bias.copy_(torch.arange(12.0))  # 3 channels of 2 x 2 pixels
    pixels = torch.randn(2, 3, 6, 9)
    hidden = torch.zeros(2, 12)
    hidden[1, 5] = 1  # the second row, the second column
    output = model(pixels, bool_masked_pos=hidden)
    assert output.reconstruction.shape == (2, 3, 6, 8)
    patch = torch.arange(12.0).view(3, 2, 2)
    assert torch.equal(output.reconstruction[0, :, 4:, 6:], patch)
    expected = (pixels[1, :, 2:4, 2:4] - patch).abs().mean()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert model(pixels).loss is None
    assert model(pixels, bool_masked_pos=hidden * 0).loss == 0


def test_what_hidden_patches_hold_does_not_matter():
    model = build("ViTForMaskedImageModeling", image_size=4, encoder_stride=2)
    pixels, hidden = torch.randn(1, 3, 4, 4), torch.tensor([[True, False, False, False]])
    other = pixels.clone()
    other[..., :2, :2] = 9
    one, two = (model(each, bool_masked_pos=hidden).reconstruction for each in (pixels, other))
    assert torch.equal(one, two)
    assert not torch.equal(one, model(pixels).reconstruction)


@pytest.mark.parametrize(
    ("head", "options", "hidden", "words"),
    [
        ("ViTModel", {}, torch.ones(1, 16), "no mask token.*use_mask_token=True"),
        ("ViTForMaskedImageModeling", {"encoder_stride": 2}, torch.ones(1, 15), r"\(1, 16\)"),
        ("DeiTForMaskedImageModeling", {}, torch.ones(1, 16), r"encoder_stride \(16\) must equal"),
    ],
)
def test_patches_that_cannot_be_hidden(head, options, hidden, words):
    with pytest.raises(ValueError, match=words):
        build(head, **options)(torch.zeros(1, 3, 8, 8), bool_masked_pos=hidden)


def test_a_base_without_a_mask_token_gets_a_new_one(tmp_path, caplog):
    build("ViTModel", False).save_pretrained(tmp_path)
    options = {"encoder_stride": 2, "initializer_range": 0.5}
    model = regard.AutoModelForMaskedImageModeling.from_pretrained(tmp_path, **options)
    assert type(model) is regard.ViTForMaskedImageModeling
    assert "new and random until trained: vit.embeddings.mask_token, decoder" in caplog.text
    assert 0.3 < model.vit.embeddings.mask_token.std().item() < 0.7
