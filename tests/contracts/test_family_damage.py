"""In every family, whatever is changed in a checkpoint: a clear error, or the very same model.

Nothing is ever silently random, and nothing but an error of ours that names the folder comes out.
"""

import dataclasses
import functools
import itertools
import json
import re
import tempfile
import typing
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from regard.checkpoints.keymap import disk_places
from regard.errors import CheckpointError, ConfigError
from regard.limits import LIMITS
from regard.models.auto import FAMILIES, family

from .checkpoint_folders import INDEX, WEIGHTS, bits, told
from .families import but_kin, every_task, main_task, model_class, one_of_each_kind, tiny

CONFIG = "config.json"
SHARD = 3_000


class Original:
    """A tiny checkpoint as bytes, whole and in shards, and the tensors that it is."""

    def __init__(self, model_type, task):
        self.model_class = model_class(model_type, task)
        model = tiny(model_type, task)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(Path(folder, "whole"))
            model.save_pretrained(Path(folder, "shards"), max_shard_size=SHARD)
            self.files, self.shards = (read(Path(folder, kind)) for kind in ("whole", "shards"))
            self.tensors = load_file(Path(folder, "whole", WEIGHTS))
        assert INDEX in self.shards
        self.state = model.state_dict()
        # What is computed or counted, not learned, has its value before a file is read.
        self.buffers = {name for name, _ in model.named_buffers()}
        self.called = {name: {name} for name in self.tensors}
        for name, place in disk_places(model, self.state).items():
            self.called.get(place.name, set()).add(name)
        self.header = 8 + int.from_bytes(self.files[WEIGHTS][:8], "little")


def read(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


original = functools.cache(Original)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


def outcome(one, folder, files):
    """Write `files` and load them: return the error, or the notices after checking every tensor.

    A tensor must have its old bits, unless a notice says that it is new.
    """
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with told() as notices:
        model = loaded_or_error(one, folder)
    if isinstance(model, Exception):
        assert str(folder) in str(model)
        return model
    state, text = model.state_dict(), "\n".join(notices)
    assert state.keys() == one.state.keys()
    for name, tensor in one.state.items():
        same = state[name].shape == tensor.shape and torch.equal(bits(state[name]), bits(tensor))
        assert same or ("new and random" in text and name in text), f"{name} is silently another"
        assert state[name].isfinite().all(), name
    return text


def loaded_or_error(one, folder):
    try:
        return one.model_class.from_pretrained(folder)
    except (CheckpointError, ConfigError) as error:
        return error


def damaged(tensors, name, kind):
    """Return the tensors with one of them damaged."""
    tensors = dict(tensors)
    tensor = tensors.pop(name)
    if kind == "drop":
        return tensors
    if kind == "rename":
        return tensors | {f"{name}x": tensor}
    other = {
        "deepen": tensor[None],
        "flatten": tensor.flatten()[None],
        "cut": tensor[: len(tensor) // 2],
        "retype": tensor.view(torch.int32),
    }[kind]
    return tensors | {name: other.contiguous()}


KINDS = ("drop", "rename", "deepen", "flatten", "cut", "retype")


def check_damage(one, folder, name, kind):
    tensor = one.tensors[name]
    if kind == "flatten" and tensor.dim() == 2 and len(tensor) == 1:
        return  # that is its own shape
    content = save(damaged(one.tensors, name, kind))
    found = outcome(one, folder, one.files | {WEIGHTS: content})
    if kind == "drop" and name in one.buffers:
        assert found == ""
        return
    assert any(each in str(found) for each in one.called[name]), f"{kind} {name}: {found}"
    # Only a head may be new, as a whole; what is there must fit.
    assert isinstance(found, CheckpointError) or kind in ("drop", "rename"), (kind, name)


@pytest.mark.parametrize("model_type", but_kin(FAMILIES))
def test_every_tensor_damaged_is_named(model_type, scratch):
    """One of each kind, one way after the other; the slow test takes every one in every way."""
    one = original(model_type, main_task(model_type))
    kinds = {re.sub(r"\d+", "0", name): name for name in one.tensors}
    first = [*FAMILIES].index(model_type)
    for name, kind in zip(kinds.values(), turns(KINDS, first), strict=False):
        check_damage(one, scratch, name, kind)


def turns(values, first):
    """Yield values without end, one after the other."""
    return itertools.islice(itertools.cycle(values), first % len(values), None)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "task"), every_task())
def test_every_tensor_of_every_head_damaged_in_every_way_is_named(model_type, task, scratch):
    one = original(model_type, task)
    for name, kind in itertools.product(one.tensors, KINDS):
        check_damage(one, scratch, name, kind)


def check_truncated(one, folder, files, name, length):
    found = outcome(one, folder, files | {name: files[name][:length]})
    if not isinstance(found, Exception):  # a line's end is all that JSON can lose
        assert name.endswith(".json")
        assert length == len(files[name]) - 1


def lengths(content):
    return sorted({0, 1, 7, 8, len(content) // 2, len(content) - 2, len(content) - 1})


@pytest.mark.parametrize("model_type", but_kin(FAMILIES))
def test_every_file_cut(model_type, scratch):
    """Each at one length; the slow test takes them all."""
    one = original(model_type, main_task(model_type))
    for files in (one.files, one.shards):
        for at, (name, content) in enumerate(sorted(files.items())):
            length = next(turns(lengths(content), at + [*FAMILIES].index(model_type)))
            check_truncated(one, scratch, files, name, length)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_file_cut_anywhere(model_type, scratch):
    one = original(model_type, main_task(model_type))
    for files in (one.files, one.shards):
        for name, content in files.items():
            for length in lengths(content):
                check_truncated(one, scratch, files, name, length)


@pytest.mark.parametrize("model_type", one_of_each_kind(FAMILIES))
def test_every_shard_that_is_missing_or_another(model_type, scratch):
    one = original(model_type, main_task(model_type))
    shards = sorted(name for name in one.shards if name.endswith(".safetensors"))
    for name, other in zip(shards, [*shards[1:], shards[0]], strict=True):
        left = {file: content for file, content in one.shards.items() if file != name}
        assert name in str(outcome(one, scratch, left))
        found = outcome(one, scratch, left | {name: one.shards[other]})
        assert isinstance(found, CheckpointError)
        assert INDEX in str(found)


def flipped(content, data, header):
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, header - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(content)


NAMES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["..", "../x", "/etc/passwd", CONFIG, "model-00001-of-00002.safetensors"]),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)


def edited_index(content, data):
    index = json.loads(content)
    places = index["weight_map"]
    tensor = data.draw(st.sampled_from(sorted(places)))
    kind = data.draw(st.sampled_from(["drop", "point elsewhere", "replace", "add"]))
    if kind == "drop":
        del places[tensor]
    if kind == "point elsewhere":
        places[tensor] = data.draw(NAMES | st.sampled_from(sorted(places.values())))
    if kind == "replace":
        index["weight_map"] = data.draw(ANYTHING)
    if kind == "add":
        places[data.draw(NAMES)] = data.draw(ANYTHING)
    return json.dumps(index).encode()


def edited_config(content, data):
    config = json.loads(content)
    # Many layers take seconds to build; the bounds of all numbers are tested below.
    names = sorted(config.keys() - {"num_hidden_layers", "n_layer", "n_layers"})
    config[data.draw(st.sampled_from(names))] = data.draw(ANYTHING)
    return json.dumps(config).encode()


def random_damage(one, data):
    """Return the files of a checkpoint with something in them changed at random."""
    kind = data.draw(st.sampled_from(["header", "length", "index", "config", "swap"]))
    if kind == "header":
        return one.files | {WEIGHTS: flipped(one.files[WEIGHTS], data, one.header)}
    if kind == "length":
        files = data.draw(st.sampled_from([one.files, one.shards]))
        name = data.draw(st.sampled_from(sorted(files)))
        return files | {name: files[name][: data.draw(st.integers(0, len(files[name]) - 1))]}
    if kind == "index":
        return one.shards | {INDEX: edited_index(one.shards[INDEX], data)}
    if kind == "config":
        return one.files | {CONFIG: edited_config(one.files[CONFIG], data)}
    first, second = (data.draw(st.sampled_from(sorted(one.tensors))) for _ in range(2))
    swapped = dict(one.tensors)
    if swapped[first].shape != swapped[second].shape:
        swapped[first], swapped[second] = swapped[second], swapped[first]
    return one.files | {WEIGHTS: save(swapped)}


@settings(max_examples=20)
@given(data=st.data())
@pytest.mark.parametrize("model_type", but_kin(FAMILIES))
def test_anything_changed_at_random(model_type, scratch, data):
    one = original(model_type, main_task(model_type))
    outcome(one, scratch, random_damage(one, data))


@pytest.mark.slow
@settings(max_examples=200)
@given(data=st.data())
@pytest.mark.parametrize(("model_type", "task"), every_task())
def test_anything_changed_at_random_in_every_head(model_type, task, scratch, data):
    one = original(model_type, task)
    outcome(one, scratch, random_damage(one, data))


#: No size, rate or token id is any of these.
NO_NUMBERS = (-2, 10**30, float("nan"), float("inf"), -float("inf"), "7", True, [7.5], {"a": 1})


def numbers(model_type):
    """Return the numeric fields of a family: name on disk -> name of the field."""
    config = family(model_type).config
    on_disk = {field: name for name, field in config.aliases.items()}
    hints = typing.get_type_hints(config)
    return {
        on_disk.get(field.name, field.name): field.name
        for field in dataclasses.fields(config)
        if {int, float} & {hints[field.name], *typing.get_args(hints[field.name])}
    }


@pytest.mark.parametrize("model_type", one_of_each_kind(FAMILIES))
def test_a_number_that_is_none_is_refused_by_name(model_type, scratch):
    one = original(model_type, main_task(model_type))
    config = json.loads(one.files[CONFIG])
    for on_disk, field in numbers(model_type).items():
        for value in NO_NUMBERS:
            changed = json.dumps(config | {on_disk: value}).encode()
            found = outcome(one, scratch, one.files | {CONFIG: changed})
            assert isinstance(found, ConfigError), f"{on_disk}={value!r} is accepted"
            assert field in str(found)
            assert on_disk in str(found)


@pytest.mark.parametrize(
    "model_type",
    [pytest.param(each, marks=[pytest.mark.slow] * (each != "bert")) for each in FAMILIES],
)
def test_the_largest_and_smallest_numbers_cost_nothing(model_type, scratch):
    """What they would ask for in memory is terabytes: it is never allocated."""
    one = original(model_type, main_task(model_type))
    config = json.loads(one.files[CONFIG])
    for on_disk, field in numbers(model_type).items():
        for value in LIMITS.get(field, (0, 65_535)):
            whole = isinstance(config.get(on_disk), int)
            changed = config | {on_disk: int(value) if whole else value}
            if "layers" not in field or value != 1000:  # takes seconds to build
                outcome(one, scratch, one.files | {CONFIG: json.dumps(changed).encode()})


@pytest.mark.parametrize("model_type", one_of_each_kind(FAMILIES))
def test_heads_that_do_not_divide_are_refused(model_type, scratch):
    one = original(model_type, main_task(model_type))
    config = json.loads(one.files[CONFIG])
    fields = {field: on_disk for on_disk, field in numbers(model_type).items()}
    for field in {"num_attention_heads", "num_key_value_heads"} & fields.keys():
        for count in (3, 5, 7, 1000):
            changed = json.dumps(config | {fields[field]: count}).encode()
            found = outcome(one, scratch, one.files | {CONFIG: changed})
            assert isinstance(found, (ConfigError, CheckpointError)), f"{field}={count}"


ROTARY = [family(name).config.model_type for name in FAMILIES if "rope_theta" in numbers(name)]


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "yran", "factor": 2.0},
        {"rope_type": 7},
        {"rope_type": ["linear"]},
        {"rope_type": "linear"},
        {"rope_type": "llama3", "factor": 8.0},
        *({"rope_type": "linear", "factor": bad} for bad in (0, -1, "x", None, [2], float("nan"))),
        *({"rope_type": "dynamic", "factor": bad} for bad in (0, "x", float("inf"), 10**400)),
        *({"rope_type": "yarn", "factor": 2.0, "beta_fast": bad} for bad in (-1, "x", [])),
        {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": -4},
        {"rope_type": "default", "rope_theta": 0},
        {"rope_type": "default", "rope_theta": "x"},
        {"rope_type": "default", "rope_theta": None},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 4.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8,
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("model_type", one_of_each_kind(ROTARY))
def test_absurd_rotary_positions_are_refused(model_type, scaling, scratch):
    one = original(model_type, main_task(model_type))
    config = json.loads(one.files[CONFIG])
    for old in ("rope_theta", "rope_scaling"):
        config.pop(old, None)
    changed = json.dumps(config | {"rope_parameters": scaling}).encode()
    assert isinstance(outcome(one, scratch, one.files | {CONFIG: changed}), ConfigError)
