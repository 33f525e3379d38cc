"""ViT and DeiT give the reference's outputs, losses and gradients, from the files it writes."""

import pytest
import torch
import transformers
from safetensors.torch import load_file

import regard
from regard.checkpoints.keymap import disk_names

TOLERANCE = 1e-5
BATCH = 3

CONFIGS = {
    "small": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "one layer, relu, no biases, grey": {
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "hidden_act": "relu",
        "qkv_bias": False,
        "num_channels": 1,
    },
    "deep, tanh gelu, other pooler": {
        "hidden_size": 48,
        "num_hidden_layers": 5,
        "num_attention_heads": 2,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-6,
        "pooler_output_size": 20,
        "pooler_act": "relu",
    },
    "image that patches do not fill": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "image_size": 19,
        "patch_size": 5,
        "hidden_act": "silu",
    },
    "image and patches that are not square": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": [12, 20],
        "patch_size": [3, 5],
    },
}
HEADS = (
    "ViTModel",
    "ViTForImageClassification",
    "ViTForMaskedImageModeling",
    "DeiTModel",
    "DeiTForMaskedImageModeling",
    "DeiTForImageClassification",
    "DeiTForImageClassificationWithTeacher",
)


def both(head, folder, **options):
    """Write a random reference model, and load it with the reference and with regard."""
    torch.manual_seed(0)
    sizes = {"intermediate_size": 40, "image_size": 16, "patch_size": 4, "num_labels": 3}
    sizes["encoder_stride"] = options.get("patch_size", 4)
    if isinstance(sizes["encoder_stride"], list):
        sizes["encoder_stride"] = 2
    config = getattr(transformers, f"{head.split('For')[0].removesuffix('Model')}Config")
    model = getattr(transformers, head)(config(**sizes | options))
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, which start at 0 and 1
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    reference = getattr(transformers, head).from_pretrained(folder, attn_implementation="eager")
    return reference, getattr(regard, head).from_pretrained(folder)


def images(config, height=None, width=None):
    size = config.image_size
    whole = [size, size] if isinstance(size, int) else size
    shape = (BATCH, config.num_channels, height or whole[0], width or whole[1])
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def assert_close(name, ours, theirs):
    assert ours.shape == theirs.shape, name
    difference = (ours - theirs).abs().max().item()
    assert difference <= TOLERANCE, f"{name} differs by {difference:.1e}"


def assert_same_outputs(ours, theirs):
    assert list(ours.keys()) == list(theirs.keys())
    for name, value in theirs.items():
        if isinstance(value, tuple):
            assert len(ours[name]) == len(value), name
            for index, each in enumerate(value):
                assert_close(f"{name}[{index}]", ours[name][index], each)
        else:
            assert_close(name, ours[name], value)


def assert_same_gradients(ours, theirs, folder):
    """Compare by the names on disk, which are not those in the reference's memory."""
    with torch.no_grad():
        for model in (ours, theirs):
            for parameter in model.parameters():
                gradient = parameter.grad
                parameter.copy_(torch.zeros_like(parameter) if gradient is None else gradient)
    theirs.save_pretrained(folder)
    expected = load_file(folder / "model.safetensors")
    found = ours.state_dict()
    for name, on_disk in disk_names(ours, found).items():
        assert_close(f"gradient of {name}", found[name], expected.pop(on_disk))
    assert not expected


def inputs(head, config):
    """Return images, and what makes a loss, where the reference has one for such images."""
    batch = {"pixel_values": images(config)}
    if head.endswith("Classification"):
        batch["labels"] = torch.tensor([2, 0, 1])
    whole = isinstance(config.image_size, int) and config.image_size % config.patch_size == 0
    if head.endswith("Modeling") and whole:
        count = (config.image_size // config.patch_size) ** 2
        generator = torch.Generator().manual_seed(2)
        batch["bool_masked_pos"] = torch.rand(BATCH, count, generator=generator) < 0.4
    return batch


@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("head", HEADS)
def test_outputs_losses_and_gradients(head, options, tmp_path):
    theirs, ours = both(head, tmp_path, **options)
    batch = inputs(head, theirs.config)
    theirs.train(), ours.train()
    expected, found = theirs(**batch), ours(**batch)
    assert_same_outputs(found, expected)
    for output in (expected, found):
        total = output.loss if "loss" in output else output[0].square().mean()
        if head.endswith("Model"):
            total = total + output.pooler_output.sum()
        total.backward()
    assert_same_gradients(ours, theirs, tmp_path / "gradients")


@pytest.mark.parametrize("rate", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
@pytest.mark.parametrize("head", HEADS)
def test_every_dropout_stands_where_the_references_does(head, rate, tmp_path):
    """A probability of 1 drops everything, without chance: so the outputs must be the same."""
    theirs, ours = both(head, tmp_path, **CONFIGS["small"] | {rate: 1.0})
    batch = inputs(head, theirs.config)
    assert_same_outputs(ours.train()(**batch), theirs.train()(**batch))


@pytest.mark.parametrize("family", ["ViT", "DeiT"])
def test_a_base_hides_patches_too(family, tmp_path):
    """The reference's base takes ``bool_masked_pos``, and a file with a mask token serves any."""
    head = f"{family}ForMaskedImageModeling"
    theirs, ours = both(head, tmp_path, **CONFIGS["small"])
    hidden = inputs(head, theirs.config)
    expected, found = theirs.base_model(**hidden), ours.base_model(**hidden)
    assert_close("last_hidden_state", found.last_hidden_state, expected.last_hidden_state)
    plain = getattr(regard, f"{family}ForImageClassification").from_pretrained(tmp_path)
    pixels = {"pixel_values": hidden["pixel_values"]}
    expected = theirs.base_model(**pixels).last_hidden_state
    assert_close("last_hidden_state", plain.base_model(**pixels).last_hidden_state, expected)


@pytest.mark.parametrize("head", HEADS)
def test_auto_classes_find_every_head(head, tmp_path):
    both(head, tmp_path, **CONFIGS["small"])
    task = head.removesuffix("Model").removeprefix("DeiT").removeprefix("ViT")
    automatic = getattr(regard, f"AutoModel{task.removesuffix('WithTeacher')}")
    assert type(automatic.from_pretrained(tmp_path)) is getattr(regard, head)


@pytest.mark.parametrize("size", [(24, 24), (8, 8), (8, 32), (20, 12), (17, 23)])
@pytest.mark.parametrize("head", ["ViTModel", "DeiTForImageClassificationWithTeacher"])
def test_images_of_other_sizes(head, size, tmp_path):
    theirs, ours = both(head, tmp_path, **CONFIGS["small"])
    batch = {"pixel_values": images(theirs.config, *size), "interpolate_pos_encoding": True}
    expected, found = theirs(**batch), ours(**batch)
    assert_same_outputs(found, expected)
    for output in (expected, found):
        output[0].square().mean().backward()
    if head == "ViTModel":
        assert_same_gradients(ours, theirs, tmp_path / "gradients")


def test_interpolating_to_the_trained_size_changes_nothing(tmp_path):
    _, ours = both("ViTModel", tmp_path, **CONFIGS["small"])
    pixels = images(ours.config)
    plain, stretched = ours(pixels), ours(pixels, interpolate_pos_encoding=True)
    assert torch.equal(plain.last_hidden_state, stretched.last_hidden_state)


@pytest.mark.parametrize("head", HEADS)
def test_hidden_states_and_attentions(head, tmp_path):
    theirs, ours = both(head, tmp_path, **CONFIGS["small"])
    wanted = {"output_hidden_states": True, "output_attentions": True}
    pixels = images(theirs.config)
    expected, found = theirs(pixels, **wanted), ours(pixels, **wanted)
    assert len(found.hidden_states) == 3
    assert len(found.attentions) == 2
    assert_same_outputs(found, expected)
    assert torch.equal(ours(pixels)[0], found[0])


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"num_labels": 1}, torch.tensor([0.5, -1.0, 2.0])),
        ({"num_labels": 2, "problem_type": "regression"}, torch.arange(6.0).view(3, 2)),
        ({"num_labels": 3}, torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]])),
        ({"num_labels": 3}, torch.tensor([2, 0, -100])),
    ],
    ids=["regression", "several numbers", "several labels", "one label, one without"],
)
def test_losses(options, target, tmp_path):
    theirs, ours = both("ViTForImageClassification", tmp_path, **CONFIGS["small"], **options)
    pixels = images(theirs.config)
    assert_same_outputs(ours(pixels, labels=target), theirs(pixels, labels=target))


@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("head", HEADS)
def test_save_of_load_has_the_same_names_and_bits(head, options, tmp_path):
    theirs, ours = both(head, tmp_path / "theirs", **options)
    ours.save_pretrained(tmp_path / "ours")
    expected = load_file(tmp_path / "theirs" / "model.safetensors")
    found = load_file(tmp_path / "ours" / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    again = getattr(transformers, head).from_pretrained(
        tmp_path / "ours", attn_implementation="eager"
    )
    pixels = images(theirs.config)
    assert torch.equal(again(pixels)[0], theirs(pixels)[0])
