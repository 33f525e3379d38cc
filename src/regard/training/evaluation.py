"""Evaluation and prediction: every example once, results in the order of the data."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from regard.errors import ConfigError
from regard.outputs import Loss, ModelOutput
from regard.training.distributed import Processes
from regard.training.loaders import EpochBatches
from regard.training.setup import TrainerSetup, takes

#: What stands where predictions of different length are joined, as for labels.
PADDING = -100


@dataclass
class EvalPrediction:
    """What `compute_metrics` is given; it unpacks as ``predictions, label_ids``.

    Attributes:
        predictions: (examples, ...) array of logits, or a tuple of them.
        label_ids: (examples, ...) array, or a tuple of them.
        inputs: (examples, length) token ids, if asked for by ``include_for_metrics``.
        losses: (examples,) mean loss of the example's batch, if asked for.
    """

    predictions: Any
    label_ids: Any
    inputs: Any = None
    losses: Any = None

    def __iter__(self) -> Iterator[Any]:
        rest = (each for each in (self.inputs, self.losses) if each is not None)
        return iter((self.predictions, self.label_ids, *rest))


class PredictionOutput(NamedTuple):
    """What `Trainer.predict` returns."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, float]


@dataclass
class Collected:
    """Rows of predictions as they come, with the numbers of their examples."""

    numbers: list[int] = field(default_factory=list[int])
    columns: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    def add(self, numbers: Sequence[int], **parts: Any) -> None:
        """Take a batch: for each name a tensor of one row per example, a tuple of them, or None."""
        self.numbers.extend(numbers)
        for name, part in parts.items():
            if part is not None:
                self.columns.setdefault(name, []).append(_numpy(part))

    def joined(self, name: str) -> Any:
        """Return one array (or a tuple), rows in the order of the data; None if there is none."""
        batches = self.columns.get(name)
        if not batches:
            return None
        place = np.argsort(np.argsort(np.array(self.numbers), kind="stable"), kind="stable")
        if isinstance(batches[0], tuple):
            parts = zip(*cast("list[tuple[Any, ...]]", batches), strict=True)
            return tuple(_join([*part], place) for part in parts)
        return _join(batches, place)


def model_logits(outputs: Any, ignore: Sequence[str]) -> Any:
    """Return what a model answers beside its loss: one tensor, or a tuple of several."""
    found: list[Any] = [outputs]
    if isinstance(outputs, ModelOutput | Mapping):
        skipped = {"loss", *ignore}
        items = cast("Mapping[str, Any]", outputs).items()
        found = [v for k, v in items if k not in skipped and isinstance(v, Tensor)]
    elif isinstance(outputs, tuple):
        found = [*cast("tuple[Any, ...]", outputs)[1:]]
    return found[0] if len(found) == 1 else tuple(found)


def run_evaluation(
    loader: DataLoader[Any], step: Any, processes: Processes, keep_inputs: Sequence[str]
) -> tuple[Collected, dict[str, float]]:
    """Call ``step(inputs)`` for every batch; return the rows, and loss and speed.

    `step` returns (loss or None, logits, labels, number of examples).
    """
    rows, started = Collected(), time.perf_counter()
    sampler = cast("object", loader.batch_sampler)
    numbered = iter(sampler.current) if isinstance(sampler, EpochBatches) else None
    sums, count, batches = list[list[float]](), 0, 0
    for inputs in loader:
        loss, logits, labels, size = step(inputs)
        numbers = next(numbered) if numbered is not None else range(count, count + size)
        losses = None
        if loss is not None:
            sums.append([float(each) for each in (*loss.totals, *loss.counts)])
            losses = loss.mean().detach().expand(size) if "loss" in keep_inputs else None
        ids = inputs.get("input_ids") if "inputs" in keep_inputs else None
        rows.add([*numbers], logits=logits, labels=labels, inputs=ids, losses=losses)
        count, batches = count + size, batches + 1
    return _over_processes(rows, (sums, count, batches), started, processes)


def _over_processes(
    rows: Collected,
    sums: tuple[list[list[float]], int, int],
    started: float,
    processes: Processes,
) -> tuple[Collected, dict[str, float]]:
    gathered = processes.gather((rows, sums))
    whole = Collected()
    for part, _ in gathered:
        whole.numbers.extend(part.numbers)
        for name, batches in part.columns.items():
            whole.columns.setdefault(name, []).extend(batches)
    count, batches = (sum(each) for each in zip(*(s[1:] for _, s in gathered), strict=True))
    seconds = time.perf_counter() - started
    metrics = _mean_loss([row for _, (found, *_) in gathered for row in found])
    metrics |= {
        "runtime": round(seconds, 4),
        "samples_per_second": round(count / seconds, 3),
        "steps_per_second": round(batches / seconds, 3),
    }
    return whole, metrics


def _mean_loss(sums: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the loss of all batches, of which each gave totals and then counts; none of none."""
    together = [math.fsum(column) for column in zip(*sums, strict=True)]
    parts = len(together) // 2
    pairs = [*zip(together[:parts], together[parts:], strict=True)]
    if not any(count for _, count in pairs):
        return {}
    return {"loss": math.fsum(total / count for total, count in pairs if count)}


def checked_metrics(metrics: Any) -> dict[str, float]:
    """Return what `compute_metrics` gave as plain numbers, or raise for what is none."""
    if not isinstance(metrics, Mapping):
        raise ConfigError(
            f"compute_metrics must return a dict of numbers; found {type(metrics).__name__}"
        )
    given = cast("Mapping[str, Any]", metrics)
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in given.items()
    }


def prefixed(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return metrics with ``prefix_`` before each name that lacks it."""
    return {n if n.startswith(f"{prefix}_") else f"{prefix}_{n}": v for n, v in metrics.items()}


def _numpy(part: Any) -> Any:
    if isinstance(part, tuple | list):
        return tuple(_numpy(each) for each in cast("Sequence[Any]", part))
    tensor = cast("Tensor", part).detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()


def _join(batches: list[Any], place: Any) -> Any:
    """Return rows of different shapes in one array, the rest filled with `PADDING`."""
    inner = np.array([batch.shape[1:] for batch in batches])
    shape = tuple(inner.max(0)) if inner.size else ()
    whole = np.full((len(place), *shape), PADDING, dtype=np.result_type(*batches))
    row = 0
    for batch in batches:
        target = (place[row : row + len(batch)], *(slice(0, size) for size in batch.shape[1:]))
        whole[target] = batch
        row += len(batch)
    return whole


class Evaluator(TrainerSetup):
    """The part of a trainer that measures: `evaluate`, `predict` and what they are made of."""

    #: What the loss of the batch that `prediction_step` saw last is made of, if the model says it.
    _parts: Loss | None = None

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: Sequence[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure the model on a dataset, or on each of a dict of datasets.

        Returns:
            The loss, what `compute_metrics` gives, and speed, each with the prefix; for a dict of
            datasets with its name too (``eval_NAME_loss``).
        """
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, Mapping) and "input_ids" not in dataset:
            given = cast("Mapping[str, Any]", dataset)
            named = {f"{metric_key_prefix}_{name}": each for name, each in given.items()}
        else:
            named = {metric_key_prefix: cast("Any", dataset)}
        metrics: dict[str, float] = {}
        for prefix, each in named.items():
            _, _, found = self.evaluation_loop(
                self.get_eval_dataloader(each),
                prediction_loss_only=True if self.compute_metrics is None else None,
                ignore_keys=ignore_keys,
                metric_key_prefix=prefix,
            )
            metrics |= found
        self.evaluated("on_evaluate", metrics)
        return metrics

    def predict(
        self,
        test_dataset: Any,
        ignore_keys: Sequence[str] | None = None,
        metric_key_prefix: str = "test",
    ) -> PredictionOutput:
        """Return predictions, labels and metrics of a dataset, in its order."""
        output = self.evaluation_loop(
            self.get_test_dataloader(test_dataset),
            prediction_loss_only=False,
            ignore_keys=ignore_keys,
            metric_key_prefix=metric_key_prefix,
        )
        self.evaluated("on_predict", output.metrics)
        return output

    def evaluated(self, event: str, metrics: dict[str, float]) -> None:
        """Log the metrics of an evaluation, and tell callbacks of all metrics."""
        if event == "on_evaluate":
            self.log(metrics)
        self._event(event, metrics=metrics)

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        prediction_loss_only: bool | None = None,
        ignore_keys: Sequence[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> PredictionOutput:
        """Run a model over batches in evaluation mode, without gradients."""
        args = self.args
        loss_only = (
            args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        )
        was_training = self.model.training
        self.model.eval()

        def step(inputs: dict[str, Any]) -> Any:
            self._parts = None
            mean, logits, labels = self.prediction_step(self.model, inputs, loss_only, ignore_keys)
            loss = self._parts
            if loss is None and mean is not None:
                items = mean.new_tensor(self.batch_items(inputs))
                loss = Loss((mean * items,), (items,))
            if logits is not None and self.preprocess_logits_for_metrics is not None:
                logits = self.preprocess_logits_for_metrics(logits, labels)
            size = len(next(value for value in inputs.values() if isinstance(value, Tensor)))
            return loss, logits, labels, size

        keep = args.include_for_metrics
        try:
            with self.replicas.whole(self.model), self.averaged(), self.asked_loss():
                rows, metrics = run_evaluation(dataloader, step, self.processes, keep)
        finally:
            self.model.train(was_training)
        found = EvalPrediction(*(rows.joined(n) for n in ("logits", "labels", "inputs", "losses")))
        labelled = found.predictions is not None and found.label_ids is not None
        measure = self.measure_of(dataloader)
        if measure is not None and labelled:
            metrics |= checked_metrics(measure(found))
        metrics = prefixed(metrics, metric_key_prefix)
        return PredictionOutput(found.predictions, found.label_ids, metrics)

    def measure_of(self, dataloader: DataLoader[Any]) -> Callable[[Any], Any] | None:
        """Return what maps an `EvalPrediction` of these batches to a dict of numbers, or None."""
        return self.compute_metrics

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: Sequence[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """Return (mean loss, logits, labels) of one batch; None for what there is not."""
        inputs = self.on_device(inputs)
        found = [inputs[name] for name in self.label_names if inputs.get(name) is not None]
        labels = None if not found else found[0] if len(found) == 1 else tuple(found)
        with torch.no_grad(), self.autocast(evaluating=True):
            if labels is None:
                loss, outputs = None, self.call_model(model, inputs)
            else:
                loss, outputs = self._loss_and_outputs(model, inputs)
                own = type(self).compute_loss is TrainerSetup.compute_loss
                if own and self.compute_loss_func is None:
                    self._parts = self.loss_parts(outputs, inputs)
        if prediction_loss_only:
            return loss, None, None
        return loss, model_logits(outputs, ignore_keys or ()), labels

    def _loss_and_outputs(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return both; an override that cannot return outputs costs a forward more."""
        if takes(self.compute_loss, model, inputs, return_outputs=True):
            return self.compute_loss(model, inputs, return_outputs=True)
        return self.compute_loss(model, inputs), self.call_model(model, inputs)
