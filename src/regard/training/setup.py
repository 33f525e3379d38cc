"""What a trainer is made of: model, data, loss, optimiser, saving. Its loop is in trainer.py."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from regard.adapters.adapter import add_adapter, attached
from regard.adapters.base import Base, base_of
from regard.adapters.config import LoraConfig
from regard.adapters.files import save_adapters
from regard.checkpoints.save import save_weights
from regard.data.labels import IGNORED
from regard.errors import ConfigError
from regard.models.losses import CrossEntropy, Labelled, counted_by, labelled_only
from regard.models.model import PreTrainedModel
from regard.outputs import Loss, ModelOutput
from regard.training import loaders, precision, resume
from regard.training.arguments import TrainingArguments
from regard.training.averaging import WeightAverage
from regard.training.callbacks import CallbackList, Schedule, TrainerControl, TrainerState
from regard.training.criterion import criterion_of
from regard.training.distributed import join, replicas
from regard.training.freezing import freeze
from regard.training.loaders import batch_size, label_names_of
from regard.training.optimizers import build_optimizer, parameter_groups
from regard.training.reporting import usual_callbacks
from regard.training.schedules import PLATEAU, get_scheduler
from regard.training.tidying import Tidying


class TrainerSetup:
    """What a trainer is made of: its parts, and how it makes them; see `Trainer`."""

    optimizer: Optimizer
    lr_scheduler: LRScheduler
    #: The loss that the arguments ask for, or None: the model has it while the trainer works.
    criterion: CrossEntropy | None
    #: What the adapters that train stand on, or None without adapters.
    base: Base | None

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[..., Any] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[[], nn.Module] | None = None,
        compute_loss_func: Callable[[Any, Any, Any], Tensor] | None = None,
        compute_metrics: Callable[[Any], dict[str, float]] | None = None,
        callbacks: Iterable[Any] | None = None,
        optimizers: tuple[Optimizer | None, LRScheduler | None] = (None, None),
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        tokenizer: Any = None,
    ) -> None:
        made = model if model_init is None else model_init()
        if made is None or (model is not None and model_init is not None):
            raise TypeError("Trainer needs a model or a model_init, and not both")
        self.args = args or TrainingArguments()
        self.processes = join(self.args)
        self.replicas = replicas(self.args, self.processes, optimizers[0])
        precision.check(self.processes.device, self.args)
        resume.seed_everything(self.args)
        self.model_init = model_init
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.model = self.prepare_model(made)
        self.processing_class = tokenizer if processing_class is None else processing_class
        self.data_collator = data_collator or loaders.default_collator(self.processing_class)
        self.compute_loss_func, self.compute_metrics = compute_loss_func, compute_metrics
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self._given_optimizers = optimizers
        self.optimizer, self.lr_scheduler = optimizers  # pyright: ignore[reportAttributeAccessIssue] - None until made
        self.label_names = self.args.label_names or label_names_of(self.model)
        self.state, self.control = TrainerState(), TrainerControl()
        shown = usual_callbacks(self.args, self.processes.first)
        self.average = WeightAverage(self.args.ema_decay) if self.args.ema_decay else None
        own = [Schedule, Tidying] if self.average is None else [Schedule, Tidying, self.average]
        self.callbacks = CallbackList([*own, *shown, *(callbacks or ())])
        self._event("on_init_end")

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """Return a model ready to train: frozen and adapted, its loss checked."""
        args = self.args
        if args.freeze is not None:
            freeze(model, args.freeze)
        if args.lora is not None and attached(model) is None:
            add_adapter(model, LoraConfig(**args.lora))
        adapters = attached(model)
        if adapters is not None and adapters.merged:
            raise ConfigError("the adapter is merged, so it cannot train: unmerge_adapter first")
        self.base = None if adapters is None else base_of(model)
        self.criterion = criterion_of(model, args, self.train_dataset)
        return model.to(self.processes.device)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches to train on."""
        if self.train_dataset is None:
            raise ConfigError("there is nothing to train on: give Trainer a train_dataset")
        collate = self._collate()
        return loaders.train_loader(self.train_dataset, collate, self.args, self.processes)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Return the batches to evaluate on."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):
            dataset = self.eval_dataset[dataset]
        if dataset is None:
            raise ConfigError("there is nothing to evaluate on: give Trainer an eval_dataset")
        return loaders.eval_loader(dataset, self._collate(), self.args, self.processes)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Return the batches to predict."""
        return self.get_eval_dataloader(test_dataset)

    def _collate(self) -> loaders.Collate:
        keep = self.args.remove_unused_columns
        columns = loaders.columns_of(self.model, self.label_names) if keep else None
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return loaders.Collate(self.data_collator, columns, seed)

    def on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch whose tensors are where the model is."""
        device = self.processes.device
        return {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in inputs.items()
        }

    def autocast(self, *, evaluating: bool = False) -> AbstractContextManager[Any]:
        """Return the context of half precision that the arguments ask for."""
        args = self.args
        bf16 = args.bf16 or (evaluating and args.bf16_full_eval)
        fp16 = args.fp16 or (evaluating and args.fp16_full_eval)
        device, compiled = self.processes.device, args.torch_compile
        return precision.autocast(device, bf16=bf16, fp16=fp16, compiled=compiled)

    def averaged(self) -> AbstractContextManager[None]:
        """Return the context in which the model has the weights to evaluate and to save."""
        return nullcontext() if self.average is None else self.average.shown(self.model)

    def asked_loss(self) -> AbstractContextManager[None]:
        """Return the context in which the model has the loss that the arguments ask for."""
        return counted_by(self.model, self.criterion)

    def call_model(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """Return what a model says of a batch."""
        return model(**inputs)

    def loss_parts(self, outputs: Any, inputs: dict[str, Any]) -> Loss | None:
        """Return the sums and counts that the loss is made of, if the model says them.

        An override returns as many counts as its `count_items`.
        """
        return getattr(outputs, "loss_parts", None)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the loss of a batch, or (loss, outputs).

        An override returns the mean over the labelled items of its batch, and may do without the
        last two arguments, as in older versions: the trainer weighs the batches of a step by their
        items, of the first part where a loss has several.
        """
        if self.compute_loss_func is not None:
            labels = [inputs[name] for name in self.label_names if name in inputs]
            outputs = self.call_model(model, inputs)
            given = labels[0] if len(labels) == 1 else tuple(labels)
            items = num_items_in_batch or self.count_items(inputs)
            loss = self.compute_loss_func(outputs, given, items[0])
        else:
            with labelled_only(self.model, not return_outputs and self._reads_only_loss()):
                outputs = self.call_model(model, inputs)
            parts = self.loss_parts(outputs, inputs)
            if parts is None:
                loss = _loss_of(outputs)
            else:
                items = num_items_in_batch
                loss = parts.mean() if items is None else parts.over(items)
        return (loss, outputs) if return_outputs else loss

    def _reads_only_loss(self) -> bool:
        """Whether nothing that was overridden may read logits in training."""
        own, theirs = TrainerSetup, type(self)
        return theirs.call_model is own.call_model and theirs.loss_parts is own.loss_parts

    def count_items(self, inputs: Mapping[str, Any]) -> tuple[float, ...]:
        """Return how many labelled items each part of a batch's loss is the mean of.

        For a model that is none of ours: its integer labels that are not -100, else its examples.
        Override this where that is not what its loss divides by.
        """
        if isinstance(self.model, Labelled):
            counts = self.model.label_counts(inputs)
        else:
            labels = (inputs.get(name) for name in self.label_names)
            whole = (v for v in labels if isinstance(v, Tensor) and not v.is_floating_point())
            counts = tuple(float((each != IGNORED).sum()) for each in whole)[:1]
        return counts or (float(batch_size(inputs)),)

    def batch_items(self, inputs: Mapping[str, Any]) -> float:
        """Return how many items the mean loss of this batch is the mean of."""
        return self.count_items(inputs)[0]

    def example_names(self, numbers: Sequence[int]) -> str:
        """Return how messages call training examples."""
        return f"examples {[*numbers]}"

    def config_of(self, dataset: Any) -> Any:
        """Return the configuration that says what the labels of `dataset` mean, or None."""
        return getattr(self.model, "config", None)

    def loss_takes_items(self) -> bool:
        """Whether `compute_loss` divides by the items of the whole step itself.

        An override does not: people write a mean over the batch, whatever arguments they list.
        """
        if type(self).compute_loss is not TrainerSetup.compute_loss:
            return False
        return self.compute_loss_func is not None or isinstance(self.model, Labelled)

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Make both; override this, or either of the two below."""
        optimizer, scheduler = self._given_optimizers
        self.optimizer = optimizer or self.create_optimizer()
        self.lr_scheduler = scheduler or self.create_scheduler(num_training_steps, self.optimizer)

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Make the optimiser that the arguments name."""
        args = self.args
        groups = parameter_groups(
            model or self.model, args.learning_rate, args.weight_decay, args.layer_lr_decay
        )
        adam = {"betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
        self.optimizer = build_optimizer(
            groups, args.optim, args.learning_rate, adam, args.optim_args
        )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer) -> LRScheduler:
        """Make the schedule that the arguments name."""
        args = self.args
        given, warmup = dict(args.lr_scheduler_kwargs or {}), args.warmup(num_training_steps)
        if args.lr_scheduler_type == PLATEAU:
            given = {"mode": "max" if args.greater_is_better else "min"} | given
        self.lr_scheduler = get_scheduler(
            args.lr_scheduler_type, optimizer, warmup, num_training_steps, given
        )
        return self.lr_scheduler

    def save_model(self, output_dir: str | Path | None = None) -> None:
        """Write the model and its tokenizer to a folder, by default ``output_dir``."""
        weights = self.replicas.full_weights(self.model)
        if self.processes.first:
            self.write_model(Path(output_dir or self.args.output_dir), weights)

    def write_model(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the model, its tokenizer and the settings, on this process.

        `weights` are the model's, where it does not have all of them itself.
        """
        with self.averaged():
            if isinstance(self.model, PreTrainedModel):
                self.model.save_pretrained(folder, state_dict=weights)
            elif attached(self.model) is not None:
                save_adapters(self.model, folder)
            else:
                save_weights(self.model, folder, state_dict=weights)
        if hasattr(self.processing_class, "save_pretrained"):
            self.processing_class.save_pretrained(folder)
        self.args.save(folder)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add to the history, and tell callbacks."""
        logs = {**logs, "epoch": round(self.state.epoch, 4)}
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self._event("on_log", logs=logs)

    def add_callback(self, callback: Any) -> None:
        """Add a callback, an object or a class."""
        self.callbacks.add(callback)

    def remove_callback(self, callback: Any) -> None:
        """Remove a callback, given itself or its class."""
        self.callbacks.pop(callback)

    def pop_callback(self, callback: Any) -> Any:
        """Remove a callback and return it."""
        return self.callbacks.pop(callback)

    def is_world_process_zero(self) -> bool:
        """Whether this is the process that writes."""
        return self.processes.first

    def _event(self, name: str, **more: Any) -> None:
        self.control = self.callbacks.call(
            name,
            self.args,
            self.state,
            self.control,
            model=self.model,
            processing_class=self.processing_class,
            optimizer=self.optimizer,
            lr_scheduler=self.lr_scheduler,
            trainer=self,
            **more,
        )


def takes(function: Callable[..., Any], *given: Any, **named: Any) -> bool:
    """Whether a function can be called so: overrides may have the arguments of older versions."""
    try:
        inspect.signature(function).bind(*given, **named)
    except TypeError:
        return False
    return True


def _loss_of(outputs: Any) -> Tensor:
    if isinstance(outputs, ModelOutput | Mapping):
        loss = cast("Mapping[str, Any]", outputs).get("loss")
    else:
        loss = outputs[0]
    if not isinstance(loss, Tensor):
        raise ConfigError(
            "the model gave no loss: the batch has no labels (columns are "
            "label, labels or what label_names says), or forward returns none"
        )
    return loss
