"""Models of your own load from the field's checkpoints and save and load like ours."""

import pytest
import torch
from torch import nn

import regard
from regard import Config, PreTrainedModel
from regard.errors import CheckpointError
from regard.models.bert import BertConfig, BertModel, BertPreTrainedModel

from .checkpoint_folders import (
    SIZES,
    assert_same_bits,
    assert_same_state,
    rewrite,
    told,
    write,
)


class Rated(BertPreTrainedModel):
    """A base, a raw parameter, a recurrent head, and a constant that is not saved."""

    def __init__(self, config, scale=2.0):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.memory = nn.LSTM(config.hidden_size, 4)
        self.scale = nn.Parameter(torch.full((3,), scale))
        self.register_buffer("steps", torch.arange(3.0) / 3, persistent=False)
        self.register_buffer("seen", torch.tensor(7))
        self.post_init()

    def forward(self, input_ids):
        hidden = self.memory(self.bert(input_ids).last_hidden_state)[0].mean()
        return hidden * self.scale + self.steps


class Extended(regard.BertForSequenceClassification):
    """Our classifier with one more layer, set after our constructor is done."""

    def __init__(self, config):
        super().__init__(config)
        self.extra = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.extra.weight)

    def forward(self, input_ids):
        return self.extra(super().forward(input_ids).logits)


class FieldsConfig(Config):
    model_type = "fields"

    depth: int = 2
    width: int = 8
    names: list[str] | None = None


class OwnInitConfig(Config):
    """As people write it for the reference: attributes in a constructor."""

    def __init__(self, depth=2, width=8, names=None, **kwargs):
        self.depth = depth
        self.width = width
        self.names = names
        self.area = depth * width
        super().__init__(**kwargs)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(2))
        self.beta = nn.Parameter(torch.rand(2))


class Standalone(PreTrainedModel):
    """Nothing of ours inside, and names that the loader knows in another sense."""

    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.module = nn.Sequential(*(nn.Linear(config.width, 3) for _ in range(config.depth)))
        self.norm = Odd()
        self.embeddings = nn.Module()
        self.embeddings.register_buffer("position_ids", torch.arange(4) * 2)
        self.post_init()

    def forward(self, x):
        return self.module[0](x)


class WithFields(Standalone):
    config_class = FieldsConfig


class WithOwnInit(Standalone):
    config_class = OwnInitConfig


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "bert")


IDS = torch.tensor([[1, 2, 3]])


def test_new_parts_have_the_constructors_values(folder):
    with told() as notices:
        model = Rated.from_pretrained(folder)
    assert len(notices) == 1
    assert "scale" in notices[0]
    assert "memory.weight_ih_l0" in notices[0]
    assert torch.equal(model.scale, torch.full((3,), 2.0))
    assert torch.equal(model.steps, torch.arange(3.0) / 3)
    assert model.seen == 7
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    base = BertModel.from_pretrained(folder, add_pooling_layer=False)
    assert_same_state(model.bert, base)


def test_constructor_options_reach_the_constructor(folder):
    assert (Rated.from_pretrained(folder, scale=5.0).scale == 5).all()


def test_a_wrong_constructor_option_names_the_nearest(folder):
    with pytest.raises(TypeError, match="did you mean 'scale'"):
        Rated.from_pretrained(folder, scal=5.0)


def test_a_wrong_option_is_refused(folder):
    with pytest.raises(TypeError, match="'scal'"):
        Rated.from_pretrained(folder, scal=5.0)
    with pytest.raises(TypeError, match="did you mean 'hidden_dropout_prob'"):
        Rated.from_pretrained(folder, hidden_droput_prob=0.0)


def test_a_model_around_a_base_saves_and_loads(folder, tmp_path):
    model = Rated.from_pretrained(folder, scale=3.0)
    with torch.no_grad():
        model.scale.add_(1)
        model.seen.add_(1)
    model.save_pretrained(tmp_path / "mine")
    with told() as notices:
        again = Rated.from_pretrained(tmp_path / "mine")
    assert notices == []
    assert_same_state(again, model)
    assert torch.allclose(again(IDS), model(IDS))
    again.memory.weight_ih_l0.data.zero_()  # the recurrent kernel reads what was loaded
    assert not torch.equal(again(IDS), model(IDS))


def test_an_extra_layer_on_our_head(folder, tmp_path):
    with told() as notices:
        model = Extended.from_pretrained(folder)
    assert len(notices) == 1
    assert "extra.weight" in notices[0]
    assert torch.equal(model.extra.weight, torch.eye(2))
    model.extra.weight.data.fill_(3)
    model.save_pretrained(tmp_path / "mine")
    again = Extended.from_pretrained(tmp_path / "mine")
    assert_same_state(again, model)
    assert torch.allclose(again(IDS), model(IDS))
    with told() as notices:
        plain = regard.BertForSequenceClassification.from_pretrained(tmp_path / "mine")
    assert notices == [f"{tmp_path / 'mine'}: left out, no place in this model: extra.weight"]
    assert_same_state(plain.bert, model.bert)


@pytest.mark.parametrize("kind", [WithFields, WithOwnInit])
def test_a_model_of_ones_own(kind, tmp_path):
    config = kind.config_class(depth=3, width=5, names=["x"], num_labels=4)
    model = kind(config)
    model.save_pretrained(tmp_path)
    with told() as notices:
        again = kind.from_pretrained(tmp_path)
    assert notices == []
    assert again.config == model.config
    assert (again.config.depth, again.config.names) == (3, ["x"])
    assert_same_state(again, model)
    assert torch.allclose(again(torch.ones(1, 5)), model(torch.ones(1, 5)))


@pytest.mark.parametrize("kind", [WithFields, WithOwnInit])
def test_a_model_of_ones_own_is_loaded_as_strictly(kind, tmp_path):
    kind(kind.config_class(depth=3)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"missing \(2\): module.3.weight, module.3.bias"):
        kind.from_pretrained(tmp_path, depth=4)
    with pytest.raises(CheckpointError, match=r"not in the model \(2\): module.2.bias"):
        kind.from_pretrained(tmp_path, depth=2)


@pytest.mark.parametrize("kind", [FieldsConfig, OwnInitConfig])
def test_configs_of_ones_own(kind, tmp_path):
    config = kind(depth=3, width=5, pad_token_id=1)
    config.note = "by hand"
    config.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert (again.depth, again.width, again.pad_token_id) == (3, 5, 1)
    changed = config.replace(depth=7, num_labels=3)
    assert (changed.depth, changed.width, changed.note, changed.num_labels) == (7, 5, "by hand", 3)
    assert kind.from_pretrained(tmp_path, depth=9).depth == 9
    with pytest.raises(TypeError, match="has no field 'dept'"):
        kind(dept=1)


def test_own_attributes_that_follow_from_others_are_computed_again(tmp_path):
    OwnInitConfig(depth=3, width=5).save_pretrained(tmp_path)
    assert OwnInitConfig.from_pretrained(tmp_path).area == 15
    assert OwnInitConfig.from_pretrained(tmp_path, depth=4).area == 20
    assert OwnInitConfig(depth=3).replace(width=2).area == 6


class Towers(PreTrainedModel):
    """Two bases side by side."""

    config_class = BertConfig

    def __init__(self, config, poolers=True):
        super().__init__(config)
        self.left = BertModel(config, add_pooling_layer=poolers)
        self.right = BertModel(config, add_pooling_layer=poolers)
        self.post_init()

    def forward(self, input_ids):
        return self.left(input_ids).pooler_output - self.right(input_ids).pooler_output


def test_two_bases_in_one_model(tmp_path):
    model = Towers(BertConfig(**SIZES))
    model.save_pretrained(tmp_path)
    again = Towers.from_pretrained(tmp_path)
    assert_same_bits(again.state_dict(), model.state_dict())
    with pytest.raises(CheckpointError, match=r"missing \(32\): left.encoder.layers.2"):
        Towers.from_pretrained(tmp_path, num_hidden_layers=3)


@pytest.mark.parametrize("poolers", [True, False])
def test_towers_are_saved_with_poolers_and_loaded_without_or_the_reverse(tmp_path, poolers):
    model = Towers(BertConfig(**SIZES), poolers=poolers)
    model.save_pretrained(tmp_path)
    with told() as notices:
        again = Towers.from_pretrained(tmp_path, poolers=not poolers)
    kept = {name: t for name, t in model.state_dict().items() if "pooler" not in name}
    found = {name: t for name, t in again.state_dict().items() if "pooler" not in name}
    assert_same_bits(found, kept)
    assert len(notices) == (0 if poolers else 1)  # what is left out is not missed, what is new is
    assert poolers or "new and random until trained: left.pooler.dense.weight" in notices[0]


def test_half_a_towers_pooler_is_refused(tmp_path):
    Towers(BertConfig(**SIZES)).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop("left.pooler.dense.bias"))
    with pytest.raises(CheckpointError, match=r"head is there \(1\): left.pooler.dense.bias"):
        Towers.from_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop("left.pooler.dense.weight"))
    with told() as notices:
        Towers.from_pretrained(tmp_path)
    assert "right.pooler" not in "".join(notices)


class Pictured(PreTrainedModel):
    """A base of another family inside, and a rule of its own for what is its own."""

    config_class = regard.ViTConfig

    def __init__(self, config):
        super().__init__(config)
        self.eye = regard.ViTModel(config, add_pooling_layer=False)
        self.rank = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def init_module(self, module):
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 7)
            nn.init.constant_(module.bias, 7)


def test_what_a_file_lacks_is_filled_by_the_model_that_it_stands_in(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = regard.ViTConfig(**sizes, image_size=8, patch_size=4, initializer_range=0.5)
    model = Pictured(config)
    assert (model.rank.weight == 7).all()
    model.save_pretrained(tmp_path)
    lost = ("embeddings.cls_token", "encoder.layer.0.intermediate.dense.weight")
    for name in lost:
        rewrite(tmp_path, lambda tensors, name=name: tensors.pop(f"eye.{name}"))
    rewrite(tmp_path, lambda tensors: (tensors.pop("rank.weight"), tensors.pop("rank.bias")))
    again = Pictured.from_pretrained(tmp_path, strict=False)
    up = again.eye.encoder.layers[0].feed_forward.up.weight
    for fresh in (up, again.eye.embeddings.class_token):
        assert 0.3 < fresh.std().item() < 0.7
    assert (again.rank.weight == 7).all()


class Scaled(BertModel):
    """A base with a parameter that no rule fills."""

    def __init__(self, config):
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(3))


def test_what_no_rule_fills_is_refused(tmp_path):
    BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"missing \(1\): scale"):
        Scaled.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"{tmp_path} lacks scale, which init_module"):
        Scaled.from_pretrained(tmp_path, strict=False)


def test_tensors_that_share_memory_can_be_saved(tmp_path):
    model = WithFields(FieldsConfig())
    model.module[1].weight = nn.Parameter(model.module[0].weight.data)
    model.save_pretrained(tmp_path)
    assert_same_state(WithFields.from_pretrained(tmp_path), model)
