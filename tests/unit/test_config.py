"""A config takes its fields and nothing else, checks them, and is its config.json."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard import BertConfig, Config, LlamaConfig
from regard.errors import ConfigError

from ..contracts.checkpoint_folders import told


class Wide(Config):
    model_type = "wide"
    aliases: ClassVar[Mapping[str, str]] = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers"}
    only: ClassVar[Mapping[str, Any]] = {"scale_attn": True}

    hidden_size: int = 768
    num_hidden_layers: int = 12
    rate: float = 0.1
    names: list[str] | None = None


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("hidden_sise", "hidden_size"),
        ("n_embed", "n_embd"),
        ("num_lables", "num_labels"),
        ("scale_atn", "scale_attn"),
        ("pad_token", "pad_token_id"),
    ],
)
def test_an_unknown_argument_names_the_nearest(wrong, nearest):
    with pytest.raises(TypeError, match=rf"Wide has no field '{wrong}'; did you mean '{nearest}'"):
        Wide(**{wrong: 1})


def test_an_unknown_argument_like_nothing():
    with pytest.raises(TypeError, match=r"has no field 'zzz'$"):
        Wide(zzz=1)


def test_a_familys_other_names_work_both_ways():
    config = Wide(n_embd=16, num_hidden_layers=3)
    assert (config.hidden_size, config.num_hidden_layers) == (16, 3)
    written = config.to_dict()
    assert (written["n_embd"], written["n_layer"]) == (16, 3)
    assert "hidden_size" not in written
    assert Wide.from_dict(written) == config
    assert config.replace(n_embd=8).hidden_size == 8


def test_one_field_under_two_names_must_agree():
    assert Wide(n_embd=16, hidden_size=16).hidden_size == 16
    with pytest.raises(ConfigError, match="hidden_size is given twice: 16 and 8"):
        Wide(n_embd=16, hidden_size=8)


def test_labels_are_two_unless_said():
    config = Wide()
    assert config.num_labels == 2
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}
    assert "id2label" not in config.to_dict()


@pytest.mark.parametrize(
    "given",
    [
        {"id2label": {0: "a", 1: "b", 2: "c"}},
        {"id2label": {"2": "c", "0": "a", "1": "b"}},
        {"label2id": {"a": 0, "b": 1, "c": 2}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "num_labels": 3},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
    ],
)
def test_labels_follow_from_what_is_given(given):
    config = Wide(**given)
    assert config.num_labels == 3
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    assert config.label2id == {"a": 0, "b": 1, "c": 2}


def test_labels_that_are_numbers_become_text():
    assert Wide(id2label={0: 10, 1: 20}).label2id == {"10": 0, "20": 1}


def test_the_numbers_decide_when_the_two_tables_differ():
    with told() as notices:
        config = Wide(id2label={0: "a", 1: "b"}, label2id={"a": 1, "b": 0})
    assert config.label2id == {"a": 0, "b": 1}
    assert len(notices) == 1
    assert "label2id contradicts id2label" in notices[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"num_labels": 3, "id2label": {0: "a"}}, "num_labels is 3, but id2label names 1"),
        ({"id2label": {1: "a", 2: "b"}}, "0 to 1 without gaps; found 1, 2"),
        ({"id2label": {"x": "a"}}, "id2label must give each label its number"),
        ({"label2id": {"a": "x"}}, "label2id must give each label its number"),
        ({"label2id": {"a": 0, "b": 0}}, "label2id gives two labels the same number"),
        ({"id2label": ["a"]}, r"id2label is \['a'\]; it must be dict"),
        ({"id2label": {0: None}}, r"id2label\[0\] is None; it must be str"),
        ({"num_labels": -1}, "num_labels is -1; it must be from 0"),
        ({"num_labels": 10**9}, "num_labels is 1000000000"),
        ({"num_labels": True}, "num_labels is True; it must be int"),
    ],
)
def test_labels_that_make_no_sense(given, says):
    with pytest.raises(ConfigError, match=says):
        Wide(**given)


def test_num_labels_can_be_set():
    config = Wide()
    config.num_labels = 3
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id["LABEL_2"] == 2
    with pytest.raises(ConfigError):
        config.num_labels = -1


def test_replace_gives_a_checked_copy():
    config = Wide(hidden_size=16, id2label={0: "a", 1: "b"}, scale_attn=True)
    config.extra["unknown"] = [1]
    copy = config.replace(rate=0.5)
    assert (copy.hidden_size, copy.rate, config.rate) == (16, 0.5, 0.1)
    assert copy.id2label == {0: "a", 1: "b"}
    assert copy.extra == {"unknown": [1], "scale_attn": True}
    with pytest.raises(ConfigError, match="hidden_size is 0"):
        config.replace(hidden_size=0)
    with pytest.raises(TypeError, match="did you mean 'hidden_size'"):
        config.replace(hiden_size=1)


def test_replace_renames_labels_only_when_their_number_changes():
    config = Wide(id2label={0: "a", 1: "b"})
    assert config.replace(num_labels=2).id2label == {0: "a", 1: "b"}
    assert config.replace(num_labels=1).id2label == {0: "LABEL_0"}
    assert config.replace(id2label={0: "x"}).label2id == {"x": 0}
    assert config.replace(label2id={"x": 0}).id2label == {0: "x"}


def test_equality_is_that_of_every_value():
    assert Wide() == Wide()
    assert Wide() != Wide(rate=0.2)
    assert Wide() != BertConfig()
    other = Wide()
    other.extra["unknown"] = 1
    assert other != Wide()
    other = Wide()
    other.note = "by hand"
    assert other != Wide()


def test_repr_shows_the_class_and_the_json():
    config = Wide(hidden_size=16)
    assert repr(config) == f"Wide {config.to_json_string()}"
    assert '"n_embd": 16' in repr(config)


def test_json_round_trip_keeps_unknown_keys(tmp_path):
    config = Wide.from_dict({"model_type": "wide", "n_embd": 8, "unknown": {"ä": [None, 1.5]}})
    config.save_pretrained(tmp_path / "new" / "folder")
    text = (tmp_path / "new" / "folder" / "config.json").read_text("utf-8")
    assert json.loads(text)["unknown"] == {"ä": [None, 1.5]}
    assert "ä" in text
    assert Wide.from_pretrained(tmp_path / "new" / "folder") == config


fields = st.fixed_dictionaries(
    {},
    optional={
        "hidden_size": st.integers(1, 2**20),
        "rate": st.floats(allow_nan=False) | st.integers(-5, 5),
        "names": st.none() | st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
        "id2label": st.lists(st.text("abcäλ"), min_size=1, unique=True).map(
            lambda labels: dict(enumerate(labels))
        ),
        "tie_word_embeddings": st.booleans(),
        "eos_token_id": st.none() | st.integers(0, 9) | st.lists(st.integers(0, 9)),
        "dtype": st.sampled_from([None, "float32", "bfloat16"]),
        "problem_type": st.none() | st.just("regression"),
        "scale_attn": st.just(True),
    },
)


@given(values=fields)
def test_any_config_survives_its_json(values):
    config = Wide(**values)
    again = Wide.from_dict(json.loads(config.to_json_string()))
    assert again == config
    assert again.to_json_string() == config.to_json_string()


def test_default_common_fields_are_not_written():
    written = Wide().to_dict()
    expected = {"model_type": "wide", "n_embd": 768, "n_layer": 12, "rate": 0.1}
    assert written == expected
    assert Wide(use_cache=False).to_dict()["use_cache"] is False


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"hidden_size": "768"}, "hidden_size is '768'; it must be int"),
        ({"hidden_size": 768.0}, "hidden_size is 768.0; it must be int"),
        ({"hidden_size": None}, "hidden_size is None; it must be int"),
        ({"hidden_size": True}, "hidden_size is True; it must be int"),
        ({"hidden_size": 0}, "hidden_size is 0; it must be from 1"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"rate": "x"}, "rate is 'x'; it must be float"),
        ({"rate": False}, "rate is False; it must be float"),
        ({"names": "ab"}, r"names is 'ab'; it must be list\[str\] or null"),
        ({"scale_attn": False}, "scale_attn=False is not implemented for 'wide'; only True is"),
        ({"dtype": "float31"}, "dtype is 'float31'; did you mean 'float32'"),
        ({"use_cache": 1}, "use_cache is 1; it must be bool"),
    ],
)
def test_values_that_cannot_be_built(given, says):
    with pytest.raises(ConfigError, match=says):
        Wide(**given)


class Chosen(Config):
    model_type = "chosen"
    choices: ClassVar = {
        "side": ("left", "right"),
        "layer_types": ("a", "b"),
        "by_kind": ("a", "b"),
    }

    num_hidden_layers: int = 2
    side: str | None = None
    layer_types: list[str] | None = None
    by_kind: dict[str, dict[str, Any] | None] | None = None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"side": "lft"}, "side says 'lft'; did you mean 'left'.*known: left, right"),
        ({"layer_types": ["a", "c"]}, "layer_types says 'c'.*known: a, b"),
        ({"layer_types": ["a"]}, "layer_types names 1 layers; num_hidden_layers is 2"),
        ({"layer_types": ["a", 1]}, "layer_types is .*; it must be list.str. or null"),
        ({"by_kind": {"c": {}}}, "by_kind says 'c'"),
        ({"by_kind": {"a": 3}}, "by_kind is .*; it must be dict"),
    ],
)
def test_words_that_a_field_does_not_know(given, says):
    with pytest.raises(ConfigError, match=says):
        Chosen(**given)


def test_words_that_a_field_knows():
    given = {"side": "right", "layer_types": ["b", "a"], "by_kind": {"a": {"x": [1]}, "b": None}}
    assert given.items() <= Chosen(**given).to_dict().items()
    assert Chosen().side is None


def test_whole_numbers_are_rates_too():
    config = BertConfig(hidden_dropout_prob=0, classifier_dropout=0)
    assert isinstance(config.hidden_dropout_prob, float)
    assert isinstance(config.classifier_dropout, float)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ({"dtype": "float16"}, "float16"),
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": torch.float16}, "float16"),
        ({"dtype": "torch.float16"}, "float16"),
        ({"dtype": "auto"}, None),
        ({}, None),
    ],
)
def test_spellings_of_dtype(given, dtype):
    assert Wide(**given).dtype == dtype


def test_another_familys_config_is_refused(tmp_path):
    Wide().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="describes a 'wide' model; BertConfig reads 'bert'"):
        BertConfig.from_pretrained(tmp_path)


def test_errors_in_a_file_name_the_file(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wide", "n_embd": "x"}')
    with pytest.raises(ConfigError, match=r"config\.json: hidden_size is 'x'"):
        Wide.from_pretrained(tmp_path)


def test_errors_in_an_argument_do_not_blame_the_file(tmp_path):
    Wide().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"^hidden_size is 'x'"):
        Wide.from_pretrained(tmp_path, hidden_size="x")


def test_a_field_without_a_default_is_told():
    class NoDefault(Config):
        width: int

    assert NoDefault(width=3).width == 3
    with pytest.raises(TypeError, match="field 'width' of a Config needs a default"):
        NoDefault()


def test_defaults_are_not_shared():
    class Listed(Config):
        names: list[str] | None = None

    first, second = Listed(), Listed()
    first.extra["a"] = 1
    first.names = ["x"]
    assert second.extra == {}
    assert second.names is None


@pytest.mark.parametrize("name", ["pad_token_id", "bos_token_id", "eos_token_id"])
def test_a_special_token_of_minus_one_is_none_and_told(name, tmp_path, caplog):
    """As the first Llamas' files have it; the reference takes the last word for padding."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", name: -1}))
    config = LlamaConfig.from_pretrained(tmp_path)
    assert vars(config)[name] is None
    assert caplog.messages == [f"{name} is -1, which is read as none"]
    assert vars(LlamaConfig(**{name: -1}))[name] is None
    with pytest.raises(ConfigError, match=f"{name} is -2"):
        LlamaConfig(**{name: -2})
