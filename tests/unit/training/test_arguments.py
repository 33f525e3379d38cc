"""Names of every version of the field, values that cannot be, and files of arguments."""

import dataclasses
import json

import pytest
import transformers

from regard import ConfigError, TrainingArguments
from regard.training.names import ALIASES, NO_EFFECT, TRANSLATED

THEIRS = {
    field.name: field.default_factory() if callable(field.default_factory) else field.default
    for field in dataclasses.fields(transformers.TrainingArguments)
}
OURS = [field.name for field in dataclasses.fields(TrainingArguments)]

#: Arguments that version 5 no longer has, as people gave them, and what is meant.
OLDER = {
    "evaluation_strategy": ("epoch", "eval_strategy", "epoch"),
    "evaluate_during_training": (True, "eval_strategy", "steps"),
    "per_gpu_train_batch_size": (3, "per_device_train_batch_size", 3),
    "per_gpu_eval_batch_size": (5, "per_device_eval_batch_size", 5),
    "no_cuda": (True, "use_cpu", True),
    "group_by_length": (True, "train_sampling_strategy", "group_by_length"),
    "adafactor": (True, "optim", "adafactor"),
    "logging_dir": ("./logs", "logging_dir", "./logs"),
    "overwrite_output_dir": (True, "overwrite_output_dir", True),
    "warmup_ratio": (0.1, "warmup_ratio", 0.1),
    "include_inputs_for_metrics": (True, "include_for_metrics", ["inputs"]),
}


@pytest.mark.parametrize("name", THEIRS)
def test_every_name_of_the_reference_at_its_default(name):
    found = TrainingArguments(**{name: THEIRS[name]})
    if name in OURS and name != "report_to":
        assert getattr(found, name) == getattr(TrainingArguments(), name)


def test_defaults_are_the_references():
    ours = TrainingArguments()
    for name in (name for name in OURS if THEIRS.get(name) is not None):
        if name != "report_to":
            assert getattr(ours, name) == pytest.approx(THEIRS[name]), name


@pytest.mark.parametrize("name", OLDER)
def test_names_of_older_versions(name):
    value, field, wanted = OLDER[name]
    assert getattr(TrainingArguments(**{name: value}), field) == wanted


@pytest.mark.parametrize("name", [*ALIASES, *TRANSLATED])
def test_none_and_false_of_an_older_name_change_nothing(name):
    for nothing in (None, False):
        if (nothing is False and name in ("evaluation_strategy",)) or "per_gpu" in name:
            continue
        found = TrainingArguments("out", **{name: nothing})
        assert found.to_dict() == TrainingArguments("out").to_dict()


def test_no_name_means_two_things():
    names = [*OURS, *ALIASES, *TRANSLATED, *NO_EFFECT]
    assert len(names) == len({*names})
    assert {*ALIASES.values()} <= {*OURS}


def test_enumerations_are_their_values():
    found = TrainingArguments(
        eval_strategy=transformers.IntervalStrategy.EPOCH,
        lr_scheduler_type=transformers.SchedulerType.COSINE,
    )
    assert (found.eval_strategy, found.lr_scheduler_type) == ("epoch", "cosine")


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(TypeError, match="'num_train_epoch'; did you mean 'num_train_epochs'"):
        TrainingArguments(num_train_epoch=3)
    with pytest.raises(TypeError, match=r"has no 'tint'$"):
        TrainingArguments(tint="red")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fp16": True, "bf16": True}, "fp16 and bf16 are both on"),
        ({"load_best_model_at_end": True}, "set eval_strategy to 'steps' or 'epoch'"),
        ({"save_strategy": "best"}, "set eval_strategy"),
        (
            {"load_best_model_at_end": True, "eval_strategy": "epoch"},
            "save_strategy is 'steps' and eval_strategy 'epoch'",
        ),
        (
            {
                "load_best_model_at_end": True,
                "eval_strategy": "steps",
                "eval_steps": 200,
                "save_steps": 500,
            },
            r"save_steps \(500\) to be a multiple of eval_steps \(200\)",
        ),
        ({"eval_strategy": "epochs"}, "did you mean 'epoch'.*; it must be one of no, steps, epoch"),
        ({"optim": "adamw_tourch"}, "did you mean 'adamw_torch'"),
        ({"lr_scheduler_type": "triangle"}, "it must be one of linear, cosine"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; it must be from 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"seed": "x"}, "seed is 'x'; it must be a number"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; it must be a number"),
        ({"per_device_train_batch_size": 0}, "it must be from 1"),
        ({"per_device_train_batch_size": 2.5}, "it must be a whole number"),
        ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5"),
        ({"bf16": "false"}, "bf16 is 'false'; it must be True or False"),
        ({"class_weights": "equal"}, "it must be 'balanced' or a list of numbers"),
        ({"class_weights": [1.0, -1.0]}, "none can be below zero"),
        ({"push_to_hub": True}, "push_to_hub=True is not implemented; train, then"),
        ({"deepspeed": "ds.json"}, "several processes are `torchrun`"),
        ({"evaluation_strategy": "no", "eval_strategy": "epoch"}, "eval_strategy is given twice"),
        (
            {"per_device_train_tokens": 100, "group_by_length": True},
            "per_device_train_tokens makes batches of its own",
        ),
    ],
)
def test_what_cannot_be(given, message):
    with pytest.raises(ConfigError, match=message):
        TrainingArguments(**given)


def test_what_follows_from_the_rest():
    found = TrainingArguments(
        load_best_model_at_end=True, eval_strategy="epoch", save_strategy="epoch"
    )
    assert (found.metric_for_best_model, found.greater_is_better) == ("loss", False)
    assert TrainingArguments(metric_for_best_model="eval_f1").greater_is_better is True
    assert TrainingArguments(metric_for_best_model="eval_a_loss").greater_is_better is False
    assert TrainingArguments(logging_steps=7).eval_steps == 7


def test_steps_of_warmup():
    assert TrainingArguments(warmup_ratio=0.1).warmup(95) == 10
    assert TrainingArguments(warmup_steps=0.1).warmup(95) == 10
    assert TrainingArguments(warmup_steps=7, warmup_ratio=0.1).warmup(95) == 7
    assert TrainingArguments().warmup(95) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps({"learning_rate": 2e-5, "evaluation_strategy": "epoch"})),
        ("a.yaml", "learning_rate: 2e-5\nevaluation_strategy: epoch\n"),
    ],
)
def test_files(name, text, tmp_path):
    (tmp_path / name).write_text(text, "utf-8")
    found = TrainingArguments.from_file(tmp_path / name, num_train_epochs=2)
    assert (found.learning_rate, found.eval_strategy, found.num_train_epochs) == (2e-5, "epoch", 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "must hold names and values; found list"),
        ("{", "cannot be read"),
        ('{"seeed": 1}', "has no 'seeed'; did you mean 'seed'"),
        ('{"seed": 1, "bf16": true, "fp16": true}', "both on"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_wrong_files_are_named(suffix, text, message, tmp_path):
    path = tmp_path / f"run.{suffix}"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        TrainingArguments.from_file(path)
    assert str(path) in str(error.value)


def test_saved_arguments_are_read_back(tmp_path):
    made = TrainingArguments(tmp_path, class_weights=[1.0, 2.0], report_to=["none"], seed=3)
    made.save(tmp_path)
    assert TrainingArguments.from_file(tmp_path / "training_args.json") == made
