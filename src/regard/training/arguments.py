"""`TrainingArguments`: what a training run is told, under the names that people know."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from regard.checkpoints.write import write_text
from regard.errors import ConfigError, nearest
from regard.training.mappings import read_mapping
from regard.training.names import ALIASES, NO_EFFECT, TRANSLATED, sharding
from regard.training.optimizers import OPTIMIZERS
from regard.training.schedules import PLATEAU, SCHEDULES

ARGUMENTS_FILE = "training_args.json"
_STRATEGIES = ("no", "steps", "epoch")
_INTEGERS = (int, int | None)


@dataclasses.dataclass(init=False)
class TrainingArguments:
    """The settings of one run; `output_dir` may be given by place, all others by name.

    Names of older versions of the field work too (``evaluation_strategy``, ``no_cuda``,
    ``per_gpu_train_batch_size``, ``group_by_length``, ...). None always means the default.

    Attributes:
        output_dir: Folder for checkpoints, logs and the report.
        overwrite_output_dir: Train into a folder that holds checkpoints already, from the start.
        do_train, do_eval, do_predict: For your own scripts; the trainer does not read them.
        num_train_epochs: Passes over the training data; parts of a pass count.
        max_steps: Optimiser steps, in place of epochs; -1 for epochs.
        per_device_train_batch_size: Examples in one forward, on each process.
        per_device_eval_batch_size: The same in evaluation.
        per_device_train_tokens: Tokens in one forward, in place of a number of examples.
        gradient_accumulation_steps: Forwards for one optimiser step; the loss is normalised over
            all of them, so 16 examples once and 4 examples four times give the same step.
        train_sampling_strategy: ``"random"``, ``"sequential"`` or ``"group_by_length"``.
        length_column_name: Column with lengths, for the last one; else examples are measured.
        learning_rate: Of the first parameter group, at its highest.
        lr_scheduler_type: One of `regard.training.schedules.SCHEDULES`;
            ``"reduce_lr_on_plateau"`` watches `metric_for_best_model`.
        lr_scheduler_kwargs: More arguments of the schedule.
        warmup_steps: Steps in which the rate rises from zero; below 1, a part of all steps.
        warmup_ratio: The same as a part of all steps.
        optim: One of `regard.training.optimizers.OPTIMIZERS`.
        optim_args: More of the optimiser's arguments, ``"momentum=0.9,nesterov=True"``.
        weight_decay: Of everything but biases and normalisations.
        adam_beta1, adam_beta2, adam_epsilon: Of Adam.
        max_grad_norm: Gradients are scaled down to this norm; 0 leaves them.
        layer_lr_decay: Factor of the rate from each layer to the one below it (Howard and Ruder
            2018, section 3.2); 1 is off.
        freeze: What does not train, see `regard.freeze`: ``"base"`` or patterns of names.
        lora: Fields of a `LoraConfig`: only an adapter trains, and it alone is saved.
        ema_decay: How much of the weights' average stays at each step; evaluated and saved is the
            average then. 0 is off.
        label_smoothing_factor: Probability that is taken from the label and spread over all.
        focal_gamma: Exponent of the focal loss (Lin et al. 2017, section 3.2); 0 is off.
        class_weights: Weight of each class in the loss; ``"balanced"`` counts the training labels.
        task_temperature: How evenly several tasks are drawn: 1 by their size, infinity all alike.
        task_weights: Weight of the loss of each of several tasks, 1 where nothing is said.
        bf16, fp16: Compute in half precision where it is safe (autocast); weights stay fp32.
        bf16_full_eval, fp16_full_eval: Evaluate in half precision.
        tf32: Allow TensorFloat-32 matrix products on CUDA.
        gradient_checkpointing: Compute layers again in the backward pass, to save memory.
        torch_compile: Compile the layers but for their attention, whose lengths differ from batch
            to batch; a model of your own, whole. See `torch_compile_backend`, `torch_compile_mode`.
        logging_strategy, logging_steps: When to log: ``"no"``, ``"steps"`` or ``"epoch"``; steps
            below 1 are a part of all steps.
        logging_first_step: Log the first step too.
        logging_dir: Folder for TensorBoard; by default ``runs`` in `output_dir`.
        report_to: ``"report"`` (``report.md`` in `output_dir`), ``"tensorboard"``, ``"wandb"``,
            ``"mlflow"``, ``"trackio"``, several of them, ``"all"`` or ``"none"``; by default the
            report, and TensorBoard where it is installed.
        run_name: Name of the run for those.
        disable_tqdm: Show no progress.
        eval_strategy, eval_steps, eval_delay, eval_on_start: When to evaluate.
        save_strategy, save_steps: When to save; ``"best"`` saves after a better evaluation.
        save_total_limit: How many checkpoints to keep; the best one is always kept.
        save_only_model: Leave optimiser and state out; such a checkpoint cannot be resumed.
        load_best_model_at_end: Load the best checkpoint when training ends.
        metric_for_best_model: Which metric decides; by default the loss.
        greater_is_better: Whether more of it is better; by default unless it is a loss.
        resume_from_checkpoint: A checkpoint, or True for the newest whole one in `output_dir`.
        seed, data_seed: Of the weights and dropout, and of the order of the data.
        full_determinism: Only algorithms that give the same bits every time.
        use_cpu: Train on the processor even where there is a GPU.
        dataloader_drop_last: Leave out the last batch if it is not full.
        dataloader_num_workers: Processes that prepare batches; 0 prepares them in this one. What
            a dataset draws there from the generators of Python, NumPy and PyTorch depends on seed,
            pass and example; of one of its own, a run that resumes within a pass knows nothing.
        dataloader_pin_memory: Copy batches to memory that a GPU reads faster.
        remove_unused_columns: Leave out columns that the model's ``forward`` does not take.
        label_names: Columns that are labels; by default those that the model's ``forward`` knows.
        prediction_loss_only: Evaluate the loss alone.
        include_for_metrics: ``"inputs"`` or ``"loss"``: what `compute_metrics` is given beside.
        ddp_backend: ``"gloo"`` or ``"nccl"``; by default what fits the device.
        fsdp: ``"full_shard"`` or True leaves each process a part of every tensor; with
            ``"shard_grad_op"`` the weights stay whole from forward to backward.
        ddp_find_unused_parameters: Look in every step for parameters that a forward did not use; by
            default only if the first step shows some, or the model has several heads.
        ddp_timeout: Seconds after which a silent process ends the run.

    Raises:
        TypeError: An unknown name; the message names the nearest one.
        ConfigError: A value that cannot be.
    """

    output_dir: str = "trainer_output"
    overwrite_output_dir: bool = False
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    num_train_epochs: float = 3.0
    max_steps: int = -1
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    per_device_train_tokens: int | None = None
    gradient_accumulation_steps: int = 1
    train_sampling_strategy: str = "random"
    length_column_name: str = "length"
    learning_rate: float = 5e-5
    lr_scheduler_type: str = "linear"
    lr_scheduler_kwargs: dict[str, Any] | None = None
    warmup_steps: float = 0
    warmup_ratio: float = 0.0
    optim: str = "adamw_torch_fused"
    optim_args: str | None = None
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    layer_lr_decay: float = 1.0
    freeze: str | list[str] | None = None
    lora: dict[str, Any] | None = None
    ema_decay: float = 0.0
    label_smoothing_factor: float = 0.0
    focal_gamma: float = 0.0
    class_weights: list[float] | str | None = None
    task_temperature: float = 1.0
    task_weights: dict[str, float] | None = None
    bf16: bool = False
    fp16: bool = False
    bf16_full_eval: bool = False
    fp16_full_eval: bool = False
    tf32: bool | None = None
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    torch_compile_backend: str | None = None
    torch_compile_mode: str | None = None
    logging_strategy: str = "steps"
    logging_steps: float = 500
    logging_first_step: bool = False
    logging_dir: str | None = None
    report_to: str | list[str] | None = None
    run_name: str | None = None
    disable_tqdm: bool = False
    eval_strategy: str = "no"
    eval_steps: float | None = None
    eval_delay: float = 0
    eval_on_start: bool = False
    save_strategy: str = "steps"
    save_steps: float = 500
    save_total_limit: int | None = None
    save_only_model: bool = False
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    greater_is_better: bool | None = None
    resume_from_checkpoint: str | bool | None = None
    seed: int = 42
    data_seed: int | None = None
    full_determinism: bool = False
    use_cpu: bool = False
    dataloader_drop_last: bool = False
    dataloader_num_workers: int = 0
    dataloader_pin_memory: bool = True
    remove_unused_columns: bool = True
    label_names: list[str] | None = None
    prediction_loss_only: bool = False
    include_for_metrics: list[str] = dataclasses.field(default_factory=list[str])
    ddp_backend: str | None = None
    fsdp: str = ""
    ddp_find_unused_parameters: bool | None = None
    ddp_timeout: int = 1800

    def __init__(self, output_dir: str | Path | None = None, **values: Any) -> None:
        if output_dir is not None:
            values["output_dir"] = str(output_dir)
        given = _todays_names(values)
        for field in dataclasses.fields(self):
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            # Enumerations of the field's own libraries are strings, or hold one.
            value = given.get(field.name)
            setattr(self, field.name, default if value is None else getattr(value, "value", value))
        self._check()
        self._settle()

    @classmethod
    def from_file(cls, path: str | Path, **changes: Any) -> Self:
        """Read a JSON or YAML file of the same names; `changes` replace what it says.

        Raises:
            ConfigError: The file is no mapping, or names what is unknown; says which file.
        """
        values = read_mapping(Path(path)) | changes
        # YAML takes 5e-5, which has no point, for a text.
        numbers = {n: _number(v) for n, v in values.items() if ALIASES.get(n, n) in _LIMITS}
        try:
            return cls(**values | numbers)
        except (TypeError, ConfigError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return every setting by its name of today."""
        return dataclasses.asdict(self)

    def to_json_string(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save(self, folder: str | Path) -> None:
        """Write the settings into `folder`, as JSON."""
        write_text(Path(folder) / ARGUMENTS_FILE, self.to_json_string())

    def warmup(self, steps: int) -> int:
        """Return how many of `steps` the learning rate rises in."""
        if self.warmup_steps >= 1:
            return int(self.warmup_steps)
        return math.ceil(steps * (self.warmup_steps or self.warmup_ratio))

    def every(self, interval: float, steps: int) -> int:
        """Return an interval in steps; below 1 it is a part of all `steps`."""
        return int(interval) if interval >= 1 else max(1, math.ceil(interval * steps))

    def _check(self) -> None:
        self.fsdp = sharding(self.fsdp)
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed():
                raise ConfigError(
                    f"{name} is {value!r}{nearest(str(value), allowed())}; "
                    f"it must be one of {', '.join(allowed())}"
                )
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{name} is {value!r}; it must be a number")
            if name in _WHOLE and value % 1 != 0:
                raise ConfigError(f"{name} is {value}; it must be a whole number")
            setattr(self, name, int(value) if name in _WHOLE else value)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}; it must be from {low:g} to {high:g}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be True or False")
        weights = self.class_weights
        if isinstance(weights, str) and weights != "balanced":
            raise ConfigError(
                f"class_weights is {weights!r}; it must be 'balanced' or a list of numbers"
            )
        if not isinstance(weights, str | None) and not all(0 <= w < math.inf for w in weights):
            raise ConfigError(f"class_weights is {weights}; none can be below zero")
        if self.fp16 and self.bf16:
            raise ConfigError(
                "fp16 and bf16 are both on; choose one (bf16 where there is a choice)"
            )
        if self.per_device_train_tokens is not None and self.train_sampling_strategy != "random":
            raise ConfigError(
                "per_device_train_tokens makes batches of its own; leave "
                f"train_sampling_strategy={self.train_sampling_strategy!r} out"
            )

    def _settle(self) -> None:
        """Fill in what follows from other settings."""
        if self.eval_steps is None:
            self.eval_steps = self.logging_steps
        judged = self.load_best_model_at_end or self.save_strategy == "best"
        judged = judged or self.lr_scheduler_type == PLATEAU
        if judged:
            self.metric_for_best_model = self.metric_for_best_model or "loss"
        if self.metric_for_best_model is not None and self.greater_is_better is None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")
        if judged and self.eval_strategy == "no":
            raise ConfigError(
                "the best model, and a plateau, are found by evaluation: set eval_strategy to "
                "'steps' or 'epoch'"
            )
        if self.load_best_model_at_end and self.save_strategy != "best":
            self._check_saves_meet_evaluations()

    def _check_saves_meet_evaluations(self) -> None:
        if self.save_strategy != self.eval_strategy:
            raise ConfigError(
                f"load_best_model_at_end needs a checkpoint for each evaluation: save_strategy is "
                f"{self.save_strategy!r} and eval_strategy {self.eval_strategy!r}; make them the "
                "same, or save_strategy='best'"
            )
        interval = self.eval_steps or 0
        if self.save_strategy == "steps" and not math.isclose(
            self.save_steps / interval, round(self.save_steps / interval)
        ):
            raise ConfigError(
                f"load_best_model_at_end needs save_steps ({self.save_steps:g}) to be a multiple "
                f"of eval_steps ({interval:g})"
            )


_CHOICES: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "eval_strategy": lambda: _STRATEGIES,
    "logging_strategy": lambda: _STRATEGIES,
    "save_strategy": lambda: (*_STRATEGIES, "best"),
    "train_sampling_strategy": lambda: ("random", "sequential", "group_by_length"),
    "lr_scheduler_type": lambda: SCHEDULES,
    "optim": lambda: (*OPTIMIZERS,),
}

_LIMITS: Mapping[str, tuple[float, float]] = {
    "num_train_epochs": (0, math.inf),
    "max_steps": (-1, math.inf),
    "per_device_train_batch_size": (1, math.inf),
    "per_device_eval_batch_size": (1, math.inf),
    "per_device_train_tokens": (1, math.inf),
    "gradient_accumulation_steps": (1, math.inf),
    "learning_rate": (0, math.inf),
    "warmup_steps": (0, math.inf),
    "warmup_ratio": (0, 1),
    "weight_decay": (0, math.inf),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, 1),
    "max_grad_norm": (0, math.inf),
    "layer_lr_decay": (0, 1),
    "ema_decay": (0, 1),
    "label_smoothing_factor": (0, 1),
    "focal_gamma": (0, math.inf),
    "task_temperature": (1e-3, math.inf),
    "logging_steps": (1e-9, math.inf),
    "eval_steps": (1e-9, math.inf),
    "save_steps": (1e-9, math.inf),
    "save_total_limit": (1, math.inf),
    "dataloader_num_workers": (0, math.inf),
    "seed": (0, 2**63 - 1),
    "data_seed": (0, 2**63 - 1),
    "ddp_timeout": (1, math.inf),
}

_FIELDS = dataclasses.fields(TrainingArguments)
_WHOLE = {field.name for field in _FIELDS if field.name in _LIMITS and field.type in _INTEGERS}
_SWITCHES = [field.name for field in _FIELDS if field.type is bool]


def _number(value: Any) -> Any:
    """Return the number that a text says, or what it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _todays_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments under the names of today; raise for what is unknown or not done."""
    fields = {field.name for field in _FIELDS}
    known = [*fields, *ALIASES, *TRANSLATED, *NO_EFFECT]
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name in fields or name in ALIASES:
            added = {ALIASES.get(name, name): value}
        elif name in TRANSLATED:
            added = TRANSLATED[name](value)
        elif name in NO_EFFECT:
            NO_EFFECT[name].check(name, value)
            continue
        else:
            raise TypeError(f"TrainingArguments has no {name!r}{nearest(name, known)}")
        for field, new in added.items():
            if new is None:
                continue
            if field in given and given[field] != new:
                raise ConfigError(f"{field} is given twice: {given[field]!r} and {new!r}")
            given[field] = new
    return given
