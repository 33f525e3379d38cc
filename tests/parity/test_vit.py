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
    "DeiTModel",
    "DeiTForImageClassification",
    "DeiTForImageClassificationWithTeacher",
)


def both(head, folder, **options):
    """Write a random reference model, and load it with the reference and with regard."""
    torch.manual_seed(0)
    sizes = {"intermediate_size": 40, "image_size": 16, "patch_size": 4, "num_labels": 3}
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


@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("head", HEADS)
def test_outputs_losses_and_gradients(head, options, tmp_path):
    theirs, ours = both(head, tmp_path, **options)
    batch = {"pixel_values": images(theirs.config)}
    if head.endswith("Classification"):
        batch["labels"] = torch.tensor([2, 0, 1])
    theirs.train(), ours.train()
    expected, found = theirs(**batch), ours(**batch)
    assert_same_outputs(found, expected)
    for output in (expected, found):
        first = output["last_hidden_state" if head.endswith("Model") else "logits"]
        total = output.loss if "labels" in batch else first.square().mean()
        if head.endswith("Model"):
            total = total + output.pooler_output.sum()
        total.backward()
    assert_same_gradients(ours, theirs, tmp_path / "gradients")


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


@pytest.mark.parametrize(
    ("head", "options", "published"),
    [
        ("ViTForImageClassification", {"num_labels": 1000}, 86_567_656),  # vit-base-patch16-224
        (
            "DeiTForImageClassificationWithTeacher",
            {
                "num_labels": 1000,
                "hidden_size": 192,
                "intermediate_size": 768,
                "num_attention_heads": 3,
            },
            5_910_800,  # deit-tiny-distilled-patch16-224
        ),
    ],
)
def test_published_models_have_the_published_number_of_parameters(head, options, published):
    family = head.split("For")[0]
    with torch.device("meta"):
        ours = getattr(regard, head)(getattr(regard, f"{family}Config")(**options))
        theirs = getattr(transformers, head)(getattr(transformers, f"{family}Config")(**options))
    assert ours.num_parameters() == theirs.num_parameters() == published
