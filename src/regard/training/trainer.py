"""`Trainer`: the loop, top to bottom. What is around it (when to log, save, show) are callbacks."""

import math
import signal
import time
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, IterableDataset

from regard.errors import CheckpointError, ConfigError, notices
from regard.training import checkpoint as files
from regard.training import loaders, precision, resume
from regard.training.callbacks import TrainerControl, TrainerState, is_better, metric_of
from regard.training.compiling import compiled_layers, compiles_layers, settings
from regard.training.distributed import Share
from regard.training.evaluation import Evaluator
from regard.training.optimizers import clip
from regard.training.recomputing import recompute
from regard.training.rows import RowGradients
from regard.training.setup import takes
from regard.training.signals import Ending, ending


class TrainOutput(NamedTuple):
    """What `Trainer.train` returns: steps done, mean loss of this call's steps, and speed."""

    global_step: int
    training_loss: float
    metrics: dict[str, float]


class Trainer(Evaluator):
    """Trains a model, as `TrainingArguments` say.

    Override a method to change what it does: `compute_loss`, `training_step`,
    `get_train_dataloader`, `create_optimizer`, `create_scheduler`, `prediction_step`, `log`.

    Args:
        model: Any module whose ``forward`` returns a loss when it is given labels; it need not be
            one of ours.
        args: Settings; by default all defaults.
        data_collator: Maps a list of examples to a batch of tensors; by default it pads with
            `processing_class`.
        train_dataset: Examples: anything with ``len`` and numbers for keys, or an iterable (then
            give ``max_steps``).
        eval_dataset: The same to evaluate on, or a dict of several.
        processing_class: Tokenizer or image processor, saved with every checkpoint.
        model_init: Makes the model anew for each call of `train`, in place of `model`.
        compute_loss_func: Maps (outputs, labels, number of labelled items) to a loss.
        compute_metrics: Maps an `EvalPrediction` to a dict of numbers.
        callbacks: More `TrainerCallback` objects or classes.
        optimizers: An optimiser and a schedule, in place of those that the arguments name.
        preprocess_logits_for_metrics: Maps (logits, labels) to what is kept of the logits.
        tokenizer: Older name of `processing_class`.

    Attributes:
        state: How far the run is.
        control: What the loop does next.
    """

    scaler: torch.amp.GradScaler | None = None
    model_wrapped: nn.Module
    rows: RowGradients
    _batches_in_epoch: float = math.inf
    _sampler: object = None
    _summed: float = 0.0
    _examples: int = 0
    _step_items: Any = None
    _told_of_nan: bool = False

    def train(self, resume_from_checkpoint: str | bool | None = None) -> TrainOutput:
        """Train from the start, or go on from a checkpoint.

        Args:
            resume_from_checkpoint: A checkpoint's folder, or True for the newest whole one in
                ``output_dir``. The run goes on to the same weights, bit for bit, as if it had
                never stopped.

        Raises:
            CheckpointError: The checkpoint is damaged, or cannot be written.
            FloatingPointError: A loss is not finite; names the examples.
        """
        args = self.args
        resume.seed_everything(args)
        if self.model_init is not None:
            self.model = self.prepare_model(self.model_init())
        if self.processes.rank > 0:
            # Each process has a dropout of its own; weights are the first one's.
            resume.seed_everything(args, self.processes.rank)
        with self.asked_loss(), compiled_layers(self.model, args):
            return self._run(resume_from_checkpoint)

    def _run(self, resume_from_checkpoint: str | bool | None) -> TrainOutput:
        """Do the steps that are left, from the first or from those of a checkpoint."""
        folder = resume.find_start(self, resume_from_checkpoint)
        loader = self.get_train_dataloader()
        self._begin(loader)
        if folder is not None:
            resume.load_run(self, folder)
        self._event("on_train_begin")
        first_step, started = self.state.global_step, time.perf_counter()
        self._summed, self._examples = 0.0, 0
        with ending() as told, self.rows.coming():
            while not self._done or self.state.in_pass:
                self._epoch(loader, told, resumed=folder)
                folder = None
            self._act(told)
        return self._finish(first_step, time.perf_counter() - started)

    def _begin(self, loader: DataLoader[Any]) -> None:
        """Plan the steps, make optimiser and schedule, and wrap the model."""
        args = self.args
        self.state, self.control = TrainerState(), TrainerControl()
        self._told_of_nan = False
        self.state.is_world_process_zero = self.processes.first
        self.state.is_local_process_zero = self.processes.local_rank == 0
        length = None if isinstance(loader.dataset, IterableDataset) else len(loader)
        self.state.max_steps = args.max_steps
        if length == 0:
            raise ConfigError(
                "the training data makes no full batch, and dataloader_drop_last leaves out others"
            )
        if length is not None:
            in_epoch = math.ceil(length / args.gradient_accumulation_steps)
            if args.max_steps < 0:
                self.state.max_steps = math.ceil(args.num_train_epochs * in_epoch)
            self.state.num_train_epochs = self.state.max_steps / in_epoch
        elif args.max_steps < 0:
            raise ConfigError("a stream of training data has no end to count to: give max_steps")
        self._batches_in_epoch = math.inf if length is None else length
        if args.gradient_checkpointing:
            recompute(self.model, self.autocast)
        self.replicas.split(self.model)
        self.create_optimizer_and_scheduler(self.state.max_steps)
        self.scaler = precision.scaler(self.processes.device, args)
        model = self.model
        if args.torch_compile and not compiles_layers(model):
            model = cast("nn.Module", torch.compile(model, **settings(args)))
        self.model_wrapped = self.replicas.wrapped(model)
        self.rows = RowGradients(self.model, alone=self.processes.world_size == 1)

    def _epoch(self, loader: DataLoader[Any], told: Ending, resumed: Path | None) -> None:
        """Go once over the data, or over what is left of it in a resumed run."""
        state = self.state
        batches = self._batches(loader)
        if resumed is not None:
            files.load_random(resumed, self.processes.rank)
        if not state.in_pass:
            state.in_pass = True
            self._event("on_epoch_begin")
        self.model.train()
        exhausted = False
        while not (self._done or exhausted or self.control.should_epoch_stop):
            group = [*islice(batches, self.args.gradient_accumulation_steps)]
            exhausted = not group
            if group:
                self._step(group)
                state.batches_seen += len(group)
                state.epoch = state.whole_epochs + state.batches_seen / self._batches_in_epoch
                self._event("on_step_end")
                self._act(told)
        if exhausted and state.batches_seen == 0:
            raise ConfigError(
                f"the training data gave nothing in pass {state.whole_epochs + 1}; an iterator "
                "that can be read only once needs a max_steps that it suffices for"
            )
        skipped, self.control.should_epoch_stop = self.control.should_epoch_stop, False
        if skipped or exhausted or state.batches_seen == self._batches_in_epoch:
            state.whole_epochs, state.batches_seen = state.whole_epochs + 1, 0
            state.epoch = float(state.whole_epochs)
        state.in_pass = False
        self._event("on_epoch_end")
        self._act(told)

    def _batches(self, loader: DataLoader[Any]) -> Iterator[Any]:
        """Return the rest of the batches of the current pass."""
        epoch, seen = self.state.whole_epochs, self.state.batches_seen
        if isinstance(loader.collate_fn, loaders.BatchMaker):
            loader.collate_fn.epoch = epoch
        if isinstance(loader.dataset, loaders.ShareOfStream):
            loader.dataset.set_epoch(epoch)
        self._sampler = loader.batch_sampler
        if isinstance(self._sampler, loaders.EpochBatches):
            self._sampler.set_epoch(epoch, start=seen)
            return iter(loader)
        # A loader of the caller's may draw its order from the generators at large: from here on
        # they depend on the pass alone, so that a resumed run skips what was seen.
        processes = self.processes
        resume.seed_everything(self.args, epoch * processes.world_size + processes.rank)
        batches = iter(loader)
        for _ in islice(batches, seen):
            pass
        return batches

    def _step(self, group: list[Any]) -> None:
        """One optimiser step from the batches of `group`, as if they were one batch."""
        self._event("on_step_begin")
        group = [self.on_device(inputs) for inputs in group]
        self._examples += sum(map(loaders.batch_size, group)) * self.processes.world_size
        # Read before the schedule moves on: what is logged is the rate that made this step.
        self.state.learning_rate = float(self.lr_scheduler.get_last_lr()[0])
        self._step_items = items = self._all_items(group)
        loss = torch.zeros((), device=self.processes.device)
        for number, inputs in enumerate(group, start=1):
            with self.replicas.without_sync(self.model_wrapped, number < len(group)):
                # An override may have the two arguments that there were before version 4.46.
                counted = takes(self.training_step, self.model_wrapped, inputs, items)
                given = (items,) if counted else ()
                loss = loss + self.training_step(self.model_wrapped, inputs, *given)
            if number < len(group):
                self._event("on_substep_end")
        self.model_wrapped = self.replicas.averaged(self.model_wrapped)
        value = float(self.processes.total(loss))
        if not math.isfinite(value):
            raise FloatingPointError(self._blame("loss", value))
        self.rows.spread()
        self._clip()
        self.rows.seal()
        self._event("on_pre_optimizer_step")
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self._event("on_optimizer_step")
        if not isinstance(self.lr_scheduler, ReduceLROnPlateau):
            self.lr_scheduler.step()
        self.optimizer.zero_grad()
        self.rows.clear()
        self.state.loss_since_log += value
        self.state.steps_since_log += 1
        self._summed += value
        self.state.global_step += 1

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Add the gradients of one batch; return its part of the step's loss, detached.

        Args:
            model: The model, wrapped for several processes.
            inputs: The batch, on the device.
            num_items_in_batch: For each part of the loss, how many labelled items the whole step
                has, over all its batches and processes; by default those of the current step.
        """
        items = self._step_items if num_items_in_batch is None else num_items_in_batch
        with self.autocast():
            if items is not None and self.loss_takes_items():
                loss = self.compute_loss(model, inputs, num_items_in_batch=items)
            else:
                loss = self.compute_loss(model, inputs)
                if items is not None:
                    # A mean over this batch counts as much as the batch has of the step's items.
                    loss = loss * (self.count_items(inputs)[0] / (items[0] or 1))
        # Processes average their gradients, and the sum is wanted.
        scaled = loss * self.processes.world_size
        if self.scaler is not None:
            scaled = cast("Tensor", self.scaler.scale(scaled))
        scaled.backward()
        return loss.detach().to(torch.promote_types(loss.dtype, torch.float32))

    def _all_items(self, group: list[Any]) -> tuple[float, ...]:
        """Return how many items each part of the step's loss has, on all processes.

        Their tokens are counted on the way.
        """
        counts = [[*self.count_items(inputs), loaders.token_count(inputs)] for inputs in group]
        totals = self.processes.total(torch.tensor(counts, dtype=torch.float64).sum(0))
        *items, tokens = cast("list[float]", totals.tolist())
        self.state.tokens_seen += int(tokens)
        return tuple(items)

    def _clip(self) -> None:
        """Scale gradients down to ``max_grad_norm``, and note their norm."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.args.max_grad_norm <= 0:
            return
        parameters = [*self.model_wrapped.parameters()]
        self.state.grad_norm = clip(parameters, self.args.max_grad_norm, self.replicas.value)
        if self.scaler is None and not math.isfinite(self.state.grad_norm):
            raise FloatingPointError(self._blame("norm of the gradients", self.state.grad_norm))

    def _blame(self, what: str, value: float) -> str:
        """Return what to say of a loss or of gradients that are not finite."""
        where, seen = "a batch of the stream", self.state.batches_seen
        if isinstance(self._sampler, loaders.EpochBatches):
            batches = self._sampler.current[seen : seen + self.args.gradient_accumulation_steps]
            where = self.example_names(sorted(chain.from_iterable(batches)))
        return (
            f"the {what} of step {self.state.global_step + 1} is {value}, from {where} of the "
            "training data; the weights are those of the step before. Look at these examples, or "
            "lower the learning rate"
        )

    @property
    def _done(self) -> bool:
        """Whether no more step is to be done."""
        return self.control.should_training_stop or self.state.global_step >= self.state.max_steps

    def _act(self, told: Ending) -> None:
        """Log, evaluate and save, as the callbacks asked; end if the process was told to."""
        ended = self.processes.any(told.signal is not None)
        if self.control.should_log:
            self._log_loss()
        if self.control.should_evaluate:
            self._judge(self.evaluate())
        if self.control.should_save or ended:
            self._save_checkpoint()
        control = self.control
        control.should_log = control.should_evaluate = control.should_save = False
        if ended:
            notices.warning("told to end by SIGTERM: saved and leaving")
            raise SystemExit(128 + signal.SIGTERM)

    def _log_loss(self) -> None:
        """Log the mean loss since the last time, the rate, and the gradients' norm."""
        state = self.state
        if state.steps_since_log == 0:
            return
        logs: dict[str, float] = {
            "loss": state.loss_since_log / state.steps_since_log,
            "learning_rate": state.learning_rate,
        }
        if state.grad_norm is not None:
            logs["grad_norm"] = state.grad_norm
        state.loss_since_log, state.steps_since_log = 0.0, 0
        self.log(logs)

    def _judge(self, metrics: Mapping[str, float]) -> None:
        """Note an evaluation that is the best so far, and let a schedule look at it."""
        args, state = self.args, self.state
        if args.metric_for_best_model is None:
            return
        value = metric_of(metrics, args.metric_for_best_model)
        if isinstance(self.lr_scheduler, ReduceLROnPlateau):
            self.lr_scheduler.step(value)
        if math.isnan(value) and not self._told_of_nan:
            self._told_of_nan = True
            name = args.metric_for_best_model
            notices.warning(
                "%s is not a number at step %d; it is never best", name, state.global_step
            )
        if is_better(value, state.best_metric, greater=bool(args.greater_is_better)):
            state.best_metric, state.best_global_step = value, state.global_step
            self.control.should_save |= args.save_strategy == "best"

    def _save_checkpoint(self) -> None:
        """Write a checkpoint, and remove old ones beyond ``save_total_limit``."""
        args, state = self.args, self.state
        output = Path(args.output_dir)
        folder = output / f"checkpoint-{state.global_step}"
        if state.best_global_step == state.global_step:
            state.best_model_checkpoint = str(folder)
        randoms, failed = self.processes.gather(files.random_state()), None
        weights = self.replicas.full_weights(self.model)

        def write(share: Share) -> None:
            def fill(partial: Path) -> None:
                if not args.save_only_model:
                    share(partial)
                resume.save_run(self, partial, randoms, weights)

            files.write_checkpoint(output, state.global_step, fill)
            files.prune(output, args.save_total_limit, state.best_model_checkpoint)

        try:
            self.replicas.write(write, self.optimizer)
        except CheckpointError as error:
            failed = error
        if self.processes.any(failed is not None):
            raise failed or CheckpointError(f"{folder} cannot be written by the first process")
        self._event("on_save", checkpoint=folder)

    def _finish(self, first_step: int, seconds: float) -> TrainOutput:
        """Log what is left, load the best model if asked to, and sum up."""
        args, state = self.args, self.state
        if self.average is not None:
            self.average.settle(self.model)
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            resume.load_weights(self.model, Path(state.best_model_checkpoint), self.replicas)
        steps = state.global_step - first_step
        loss = self._summed / steps if steps else 0.0
        metrics: dict[str, float] = {
            "train_runtime": round(seconds, 4),
            "train_steps_per_second": round(steps / seconds, 3),
            "train_samples_per_second": round(self._examples / seconds, 3),
            "train_loss": loss,
        }
        self.log(metrics)
        with self.replicas.whole(self.model):  # callbacks of one process may run it
            self._event("on_train_end")
        self.model.eval()
        return TrainOutput(state.global_step, loss, metrics)
