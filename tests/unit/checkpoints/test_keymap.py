"""Names in memory and names on disk, by table and by the spellings of old files."""

import pytest
from torch import nn

from regard.checkpoints.keymap import Place, current_name, disk_names, disk_places


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(1, 1)


class Base(nn.Module):
    keys = {
        "layers.{}.up": "h.{}.c_fc",
        "layers.{}.up.bias": "bias_of.{}",
        "words": "wte",
    }

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(12))
        self.words = nn.Embedding(2, 2)
        self.wordsmith = nn.Linear(1, 1)


class Head(nn.Module):
    keys = {"score": "lm_head"}

    def __init__(self):
        super().__init__()
        self.base = Base()
        self.score = nn.Linear(1, 1)
        self.own = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("memory", "disk"),
    [
        ("base.layers.0.up.weight", "base.h.0.c_fc.weight"),
        ("base.layers.11.up.weight", "base.h.11.c_fc.weight"),
        ("base.layers.3.up.bias", "base.bias_of.3"),
        ("base.words.weight", "base.wte.weight"),
        ("base.wordsmith.weight", "base.wordsmith.weight"),
        ("score.weight", "lm_head.weight"),
        ("own.weight", "own.weight"),
    ],
)
def test_names_on_disk(memory, disk):
    assert disk_names(Head(), [memory]) == {memory: disk}


class Flat(Head):
    keys = {"base": "", "own": "mine"}


class Tower(nn.Module):
    keys = {"floors.{}": "storey.{}.flat"}

    def __init__(self):
        super().__init__()
        self.floors = nn.ModuleList(Flat() for _ in range(2))


@pytest.mark.parametrize(
    ("memory", "disk"),
    [
        ("floors.1.base.layers.3.up.bias", "storey.1.flat.bias_of.3"),
        ("floors.1.base.wordsmith.weight", "storey.1.flat.wordsmith.weight"),
        ("floors.0.own.weight", "storey.0.flat.mine.weight"),
    ],
)
def test_the_tables_around_a_module_say_where_it_lies(memory, disk):
    assert disk_names(Tower(), [memory]) == {memory: disk}


def test_every_tensor_has_its_own_name():
    model = Head()
    names = disk_names(model, model.state_dict())
    assert names.keys() == model.state_dict().keys()
    assert len({*names.values()}) == len(names)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a.LayerNorm.gamma", "a.LayerNorm.weight"),
        ("a.LayerNorm.beta", "a.LayerNorm.bias"),
        ("norm1.gamma", "norm1.weight"),
        ("a.gamma", "a.gamma"),
        ("gamma.weight", "gamma.weight"),
        ("module.a.b", "a.b"),
        ("module.module.a", "a"),
        ("_orig_mod.a", "a"),
        ("module._orig_mod.a", "a"),
        ("_orig_mod.module.a", "a"),
        ("a._orig_mod.b", "a.b"),
        ("a.my_orig_mod.b", "a.my_orig_mod.b"),
        ("a.module.b", "a.module.b"),
        ("submodule.a", "submodule.a"),
        ("bert.embeddings.position_ids", None),
        ("embeddings.token_type_ids", None),
        ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", None),
        ("module.embeddings.position_ids", None),
        ("model.encoder.version", None),
        ("decoder.embed_positions.weight", None),
        ("my_encoder.version", "my_encoder.version"),
        ("my_embeddings.position_ids", "my_embeddings.position_ids"),
        ("embeddings.position_ids.weight", "embeddings.position_ids.weight"),
    ],
)
def test_old_spellings(old, new):
    assert current_name(old) == new


def test_the_other_name_is_where_the_first_one_is():
    class Other(Head):
        keys = {"score": Place("out.score", otherwise="base.wte")}

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Other()

    place = disk_places(Outer(), ["model.score.weight"])["model.score.weight"]
    assert place == Place("model.out.score.weight", otherwise="model.base.wte.weight")
