"""Settings of a file and of options, sorted by who understands them."""

import json

import pytest

from regard.errors import ConfigError
from regard.training.job import arguments_for
from regard.training.settings import ALONE, named_values, read_settings
from regard.training.tasks.registry import task_class

GIVEN = {"task": "qa", "data": "d", "output": "o"}


def arguments(evaluated=True, **given):
    settings = read_settings({"task": "text-classification", "data": "d", "output": "o"} | given)
    return arguments_for(settings, "accuracy", evaluated=evaluated)


def test_names_go_to_those_who_understand_them():
    found = read_settings(
        GIVEN | {"epochs": 2, "doc_stride": 9, "max_length": 5, "columns": {"question": "q"}}
    )
    assert found.arguments == {"output_dir": "o", "num_train_epochs": 2}
    (alone,) = found.tasks.values()
    assert alone.task is task_class("question-answering")
    assert alone.options == {"doc_stride": 9, "max_length": 5}
    assert alone.columns == {"question": "q"}
    assert read_settings(found.to_dict()) == found


@pytest.mark.parametrize("missing", ["task", "data", "output"])
def test_what_must_be_given(missing):
    with pytest.raises(ConfigError, match=f"no {missing} is given: --{missing}"):
        read_settings({name: value for name, value in GIVEN.items() if name != missing})


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_file_counts_less_than_options(tmp_path, suffix):
    file = tmp_path / f"run.{suffix}"
    values = {"task": "ner", "data": "d", "output": "123", "learning-rate": "5e-5", "seed": 1}
    file.write_text(json.dumps(values, indent=1))  # YAML too
    found = read_settings({"seed": 2, "data": None}, file)
    assert found.arguments == {"output_dir": "123", "learning_rate": 5e-5, "seed": 2}
    assert found.tasks[ALONE].data == "d"


@pytest.mark.parametrize("name", ["lerning_rate", "lerning-rate"])
def test_an_unknown_name_is_told_with_its_line(tmp_path, name):
    file = tmp_path / "run.yaml"
    file.write_text(f"task: ner\n# a comment\n{name}: 1\ndata: d\noutput: o\n")
    with pytest.raises(ConfigError, match=r"run\.yaml, line 3: .*did you mean 'learning_rate'"):
        read_settings({}, file)
    with pytest.raises(ConfigError, match=r"^no setting is called 'doc_stride'"):
        read_settings(GIVEN | {"task": "ner", "doc_stride": 3})


def test_a_name_that_is_given_twice(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("task: ner\ndata: d\noutput: o\nepochs: 1\nnum-train-epochs: 2\n")
    with pytest.raises(ConfigError, match="num_train_epochs is given twice"):
        read_settings({}, file)


def test_what_stands_beside_several_tasks_holds_for_those_that_say_nothing_else():
    tasks = {"a": {"task": "qa", "data": "x"}, "b": {"task": "ner", "data": "y", "max-length": "9"}}
    found = read_settings({"tasks": tasks, "output": "o", "max_length": 7, "doc_stride": 3})
    assert found.tasks["a"].options == {"max_length": 7, "doc_stride": 3}
    assert found.tasks["b"].options == {"max_length": 9}
    assert [each.data for each in found.tasks.values()] == ["x", "y"]
    assert found.arguments == {"output_dir": "o"}
    assert read_settings(found.to_dict()) == found


SEVERAL = {"a": {"task": "qa", "data": "x"}, "b": {"task": "ner", "data": "y"}}
WRONG = {
    "nothing": ({"tasks": {}}, "wanted NAME: {task: ..., data: ...} each"),
    "no name": ({"tasks": {"": SEVERAL["a"]}}, "wanted NAME"),
    "no settings": ({"tasks": {"a": "qa"}}, "wanted NAME"),
    "no data": ({"tasks": {"a": {"task": "qa"}}}, "task 'a': no data is given"),
    "no task": ({"tasks": {"a": {"data": "x"}}}, "task 'a': no task is given"),
    "kind": ({"tasks": {"a": {"task": "quaestion-answering", "data": "x"}}}, "did you mean"),
    "another's option": (
        {"tasks": SEVERAL | {"b": {"task": "ner", "data": "y", "doc_stride": 3}}},
        "task 'b': no setting is called 'doc_stride'",
    ),
    "an argument": (
        {"tasks": SEVERAL | {"b": {"task": "ner", "data": "y", "learning_rate": 3}}},
        "task 'b': learning_rate is said once, for all tasks",
    ),
    "nobody's": ({"tasks": SEVERAL, "doc_strid": 3}, "did you mean 'doc_stride'"),
    "said by all": (
        {"tasks": SEVERAL, "data": "z"},
        "data is given for all tasks, and each of a, b",
    ),
}


@pytest.mark.parametrize("what", [*WRONG])
def test_what_is_refused_of_several_tasks(what, tmp_path):
    given, message = WRONG[what]
    with pytest.raises(ConfigError) as caught:
        read_settings({"output": "o"} | given)
    assert message in str(caught.value)
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"output": "o"} | given))
    with pytest.raises(ConfigError) as caught:
        read_settings({}, file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_texts_are_read_as_values():
    pairs = ["a=1", "b=5e-5", "c=true", "d=x=y", "e=[0.5, 2]", "f-g=none", "h=1.2.3"]
    assert named_values(pairs, "--set") == {
        "a": 1, "b": 5e-5, "c": True, "d": "x=y", "e": [0.5, 2], "f-g": None, "h": "1.2.3",
    }  # fmt: skip
    for wrong in ("a", "=1", "a="):
        with pytest.raises(ConfigError, match="wanted NAME=VALUE"):
            named_values([wrong], "--set")


def test_what_most_people_want():
    found = arguments()
    assert (found.eval_strategy, found.save_strategy) == ("epoch", "epoch")
    assert found.load_best_model_at_end
    assert (found.metric_for_best_model, found.greater_is_better) == ("accuracy", True)
    assert found.train_sampling_strategy == "group_by_length"
    assert found.per_device_train_batch_size == 32
    without = arguments(evaluated=False)
    assert (without.eval_strategy, without.save_strategy) == ("no", "epoch")
    assert not without.load_best_model_at_end


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"per_device_train_tokens": 99}, {"train_sampling_strategy": "random"}),
        ({"group_by_length": False}, {"train_sampling_strategy": "random"}),
        ({"per_gpu_train_batch_size": 4}, {"per_device_train_batch_size": 4}),
        ({"warmup_steps": 7}, {"warmup_ratio": 0.0}),
        (
            {"evaluation_strategy": "steps", "eval_steps": 5},
            {"save_strategy": "steps", "save_steps": 5},
        ),
        ({"save_strategy": "no"}, {"load_best_model_at_end": False, "eval_strategy": "epoch"}),
        ({"save_strategy": "best"}, {"load_best_model_at_end": True}),
        ({"eval_strategy": "no"}, {"save_strategy": "epoch", "load_best_model_at_end": False}),
        ({"metric_for_best_model": "f1"}, {"greater_is_better": True}),
    ],
    ids=lambda given: next(iter(given)),
)  # fmt: skip
def test_what_is_asked_for_counts_more(given, wanted):
    found = arguments(**given)
    assert {name: getattr(found, name) for name in wanted} == wanted
