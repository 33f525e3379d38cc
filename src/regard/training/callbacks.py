"""What happens around the loop: events, and who listens to them."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from regard.errors import ConfigError, nearest, notices


@dataclasses.dataclass
class TrainerState:
    """How far a run is; saved with every checkpoint.

    Attributes:
        epoch: Passes over the data that are done, with the part of the current one.
        global_step: Optimiser steps that are done.
        max_steps: Optimiser steps of the whole run.
        num_train_epochs: Passes of the whole run.
        whole_epochs: Passes that are done.
        batches_seen: Batches of the current pass that are done, on each process.
        tokens_seen: Tokens that were trained on, on all processes.
        learning_rate: Of the first parameter group, in the last step.
        loss_since_log: Sum of the losses of the steps since the last log.
        steps_since_log: How many these are.
        grad_norm: Norm of the gradients of the last step, before they were scaled down.
        in_pass: Whether a pass has begun whose end was not yet told to callbacks.
        log_history: Everything that was logged, in order.
        best_metric: The best value of ``metric_for_best_model``.
        best_global_step: The step at which it was found.
        best_model_checkpoint: The checkpoint saved then.
        callbacks: What callbacks keep.
    """

    epoch: float = 0.0
    global_step: int = 0
    max_steps: int = 0
    num_train_epochs: float = 0.0
    whole_epochs: int = 0
    batches_seen: int = 0
    tokens_seen: int = 0
    learning_rate: float = 0.0
    loss_since_log: float = 0.0
    steps_since_log: int = 0
    grad_norm: float | None = None
    in_pass: bool = False
    log_history: list[dict[str, Any]] = dataclasses.field(default_factory=list[dict[str, Any]])
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    callbacks: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    is_world_process_zero: bool = True
    is_local_process_zero: bool = True


@dataclasses.dataclass
class TrainerControl:
    """What the loop is to do next; callbacks set it."""

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False


class TrainerCallback:
    """Listens to a run; override the events you want.

    Every event gets the arguments, the state and the control, and by name ``model``, ``optimizer``,
    ``lr_scheduler``, ``processing_class``, ``train_dataloader`` and ``eval_dataloader``; some get
    more, as said. An event may change the control, or return another.
    """

    def on_init_end(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """The trainer is made."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """Training begins, or goes on."""

    def on_train_end(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """Training ended; the best model is loaded, if that was asked for."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """A pass over the data begins."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """A pass over the data is done."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """An optimiser step begins."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """Gradients are there, and clipped."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """The optimiser made its step; gradients are still there."""

    def on_step_end(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """An optimiser step is done."""

    def on_substep_end(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """One of several forwards of a step is done."""

    def on_evaluate(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """An evaluation is done: ``metrics``."""

    def on_predict(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """Predictions are done: ``metrics``."""

    def on_prediction_step(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """One batch is evaluated."""

    def on_save(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """A checkpoint is written: ``checkpoint`` is its folder."""

    def on_log(self, args: Any, state: Any, control: Any, **run: Any) -> Any:
        """Something is logged: ``logs``."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must keep of this callback, as JSON."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""


class Schedule(TrainerCallback):
    """Decides when to log, to evaluate, to save and to end: as the arguments say."""

    def on_step_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Compare the step with each interval."""
        step, total = state.global_step, state.max_steps

        def due(strategy: str, interval: float) -> bool:
            return strategy == "steps" and step % args.every(interval, total) == 0

        first = step == 1 and args.logging_first_step
        control.should_log |= first or due(args.logging_strategy, args.logging_steps)
        late = args.eval_delay <= step
        control.should_evaluate |= late and due(args.eval_strategy, args.eval_steps)
        control.should_save |= due(args.save_strategy, args.save_steps)
        if step >= total:
            control.should_training_stop = True
            # What the intervals miss: the weights that a run ends with are always there.
            control.should_save |= args.save_strategy == "steps"

    def on_epoch_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Do what is to be done once in a pass."""
        control.should_log |= args.logging_strategy == "epoch"
        late = args.eval_delay <= state.epoch
        control.should_evaluate |= late and args.eval_strategy == "epoch"
        control.should_save |= args.save_strategy == "epoch"


class EarlyStoppingCallback(TrainerCallback):
    """Ends a run that no longer gets better (Prechelt 1998).

    Args:
        early_stopping_patience: Evaluations in a row that may be no better than the best before.
        early_stopping_threshold: By how much a value must be better.
    """

    def __init__(
        self, early_stopping_patience: int = 1, early_stopping_threshold: float = 0.0
    ) -> None:
        self.patience, self.threshold = early_stopping_patience, early_stopping_threshold
        self.worse = 0
        self.best: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Refuse arguments with which nothing can be compared; end a run that had ended."""
        if args.metric_for_best_model is None or args.eval_strategy == "no":
            raise ConfigError(
                "EarlyStoppingCallback compares evaluations: set metric_for_best_model and "
                "eval_strategy"
            )
        if state.global_step == 0:
            self.worse, self.best = 0, None
        control.should_training_stop |= self.worse >= self.patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Count evaluations that are no better."""
        value = metric_of(run["metrics"], args.metric_for_best_model)
        if is_better(value, self.best, greater=args.greater_is_better, by=self.threshold):
            self.best, self.worse = value, 0
        else:
            self.worse += 1
        control.should_training_stop |= self.worse >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return the count and the best value."""
        return {"worse": self.worse, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.worse, self.best = state["worse"], state["best"]


def metric_of(metrics: Mapping[str, float], name: str) -> float:
    """Return a metric by its name, with or without ``eval_`` before it.

    Raises:
        ConfigError: There is no such metric; names the nearest one.
    """
    for key in (name, f"eval_{name}"):
        if key in metrics:
            return metrics[key]
    raise ConfigError(
        f"metric_for_best_model is {name!r}, which no evaluation gave{nearest(name, metrics)}; "
        f"it gave {', '.join(metrics)}"
    )


def is_better(value: float, best: float | None, *, greater: bool, by: float = 0.0) -> bool:
    """Whether a metric beats the best so far by more than `by`; no number (NaN) never does."""
    if math.isnan(value):
        return False
    if best is None or math.isnan(best):
        return True
    return (value - best if greater else best - value) > by


class CallbackList:
    """The callbacks of a run, called in order.

    Args:
        callbacks: Objects or classes.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self.members: list[TrainerCallback] = []
        for each in callbacks:
            self.add(each)

    def add(self, callback: Any) -> None:
        """Add a callback; a class is called for an object. A second one of a kind is a notice."""
        made = callback() if isinstance(callback, type) else callback
        if type(made) in {type(member) for member in self.members}:
            notices.warning("there are two callbacks of kind %s", type(made).__name__)
        self.members.append(made)

    def pop(self, callback: Any) -> TrainerCallback | None:
        """Remove a callback, given itself or its class, and return it."""
        for member in self.members:
            if member is callback or type(member) is callback:
                self.members.remove(member)
                return member
        return None

    def call(
        self, event: str, args: Any, state: TrainerState, control: TrainerControl, **run: Any
    ) -> TrainerControl:
        """Call an event of every callback; return the control that holds from now on."""
        for member in self.members:
            control = getattr(member, event)(args, state, control, **run) or control
        return control

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return what each callback keeps, by the name of its class."""
        states = {type(member).__name__: member.state_dict() for member in self.members}
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, states: Mapping[str, dict[str, Any]]) -> None:
        """Give each callback what it kept."""
        for member in self.members:
            if type(member).__name__ in states:
                member.load_state_dict(states[type(member).__name__])
