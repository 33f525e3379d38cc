"""`MultiTaskTrainer`: one model, a data set for each task, every batch of one task."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from regard.data.sampling import mixed_batches
from regard.errors import ConfigError, listing, nearest
from regard.models.multitask import MultiTaskModel
from regard.training import loaders
from regard.training.arguments import TrainingArguments
from regard.training.evaluation import PredictionOutput
from regard.training.metrics.metric import Metric
from regard.training.trainer import Trainer

#: What an evaluation gives beside the metrics that somebody asked for.
_ALWAYS = ("loss", "runtime", "samples_per_second", "steps_per_second")


class TaskExamples(Dataset[Any]):
    """A data set that knows its task.

    Args:
        task: Name of the task.
        dataset: Anything with ``len`` and numbers for keys.

    Raises:
        ConfigError: It is a stream, of which nobody knows how much to draw.
    """

    def __init__(self, task: str, dataset: Any) -> None:
        if loaders.is_stream(dataset):
            raise ConfigError(f"task {task!r}: several tasks need data sets with a length")
        self.task, self.dataset = task, dataset

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)


class TaskCollate(loaders.BatchMaker):
    """Makes batches of one of several tasks, which say their task.

    Args:
        makers: Task to what makes its batches.
        sizes: How many examples each task has, in the same order; they are numbered on end.
    """

    def __init__(self, makers: Mapping[str, loaders.Collate], sizes: Sequence[int]) -> None:
        self.makers, self.tasks = makers, [*makers]
        self.starts = [0, *accumulate(sizes)]

    def task_of(self, number: int) -> str:
        """Return the task of an example by its number."""
        return self.tasks[bisect_right(self.starts, number) - 1]

    def __call__(self, numbered: list[tuple[int, Any]]) -> Any:
        """Make one batch."""
        task = self.task_of(numbered[0][0])
        self.makers[task].epoch = self.epoch
        return {**self.makers[task](numbered), "task": task}


class MultiTaskTrainer(Trainer):
    """Trains a `MultiTaskModel` on several data sets at once.

    Tasks are drawn with the temperature ``args.task_temperature``. Every batch is of one task, and
    a step of several batches mixes tasks; its loss is the mean over its examples of each task's own
    loss, times ``args.task_weights``.

    Args:
        model: The model; its tasks are the keys of all that follows.
        args: Settings.
        data_collator: For each task what makes its batches; where a task has none, padding does.
        train_dataset: Task to examples, with a length.
        eval_dataset: Task to examples; not every task needs them.
        compute_metrics: For each task what maps an `EvalPrediction` to a dict of numbers.
        main_metrics: For each task the metric that counts in ``eval_mean``; by default the first.
        options: The other arguments of `Trainer`.

    Raises:
        ConfigError: The model is of one task, or something is given for a task that it lacks.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        args: TrainingArguments | None = None,
        data_collator: Mapping[str, Callable[..., Any]] | None = None,
        train_dataset: Mapping[str, Any] | None = None,
        eval_dataset: Mapping[str, Any] | None = None,
        compute_metrics: Mapping[str, Callable[[Any], dict[str, float]]] | None = None,
        main_metrics: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(cast("object", model), MultiTaskModel):
            raise ConfigError(
                f"MultiTaskTrainer trains a MultiTaskModel; found {type(model).__name__}"
            )
        super().__init__(model, args, **options)
        self.collators = self._for_tasks("data_collator", data_collator)
        self.measures = self._for_tasks("compute_metrics", compute_metrics)
        self.main_metrics = self._for_tasks("main_metrics", main_metrics)
        self.train_dataset = self._sets("train_dataset", train_dataset)
        self.eval_dataset = self._sets("eval_dataset", eval_dataset)

    @property
    def multitask(self) -> MultiTaskModel:
        """The model."""
        return cast("MultiTaskModel", self.model)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches to train on, of all tasks."""
        sets: dict[str, TaskExamples] = self.train_dataset
        if not sets:
            raise ConfigError(
                "there is nothing to train on: give train_dataset a data set per task"
            )
        weights = self._for_tasks("task_weights", self.args.task_weights)
        self.multitask.weights = {task: float(weight) for task, weight in weights.items()}
        starts = [0, *accumulate(map(len, sets.values()))]
        plans = [
            _numbered_from(start, task, loaders.batch_plan(each, self.args))
            for start, (task, each) in zip(starts, sets.items(), strict=False)
        ]
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed

        def plan(epoch: int) -> list[list[int]]:
            return mixed_batches(plans, self.args.task_temperature, seed=seed, epoch=epoch)

        joined: ConcatDataset[Any] = ConcatDataset(sets.values())
        collate = self._task_collate(sets)
        return loaders.planned_loader(joined, plan, collate, self.args, self.processes)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Return the batches of one task's data to evaluate on, `TaskExamples` or its name."""
        if isinstance(eval_dataset, str):
            eval_dataset = self._sets("eval_dataset", self.eval_dataset)[eval_dataset]
        collate = self._task_collate({_task_of(eval_dataset): eval_dataset})
        return loaders.eval_loader(eval_dataset, collate, self.args, self.processes)

    def evaluate(
        self,
        eval_dataset: Mapping[str, Any] | str | None = None,
        ignore_keys: Sequence[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure every task on its data.

        Returns:
            For each task its loss, metrics and speed as ``eval_TASK_loss`` and so on. Then
            ``eval_loss``, the mean of the losses by the tasks' weights, and ``eval_mean``, the mean
            of the tasks' main metrics, percentages as shares; each if every task has one.
        """
        if isinstance(eval_dataset, str):
            eval_dataset = {eval_dataset: self.eval_dataset[eval_dataset]}
        given = self.eval_dataset if eval_dataset is None else eval_dataset
        sets = self._sets("eval_dataset", given)
        if not sets:
            raise ConfigError(
                "there is nothing to evaluate on: give eval_dataset a data set per task"
            )
        metrics: dict[str, float] = {}
        for task, each in sets.items():
            metrics |= self.evaluation_loop(
                self.get_eval_dataloader(each),
                prediction_loss_only=None if task in self.measures else True,
                ignore_keys=ignore_keys,
                metric_key_prefix=f"{metric_key_prefix}_{task}",
            ).metrics
        metrics |= self._means(metrics, [*sets], metric_key_prefix)
        self.evaluated("on_evaluate", metrics)
        return metrics

    def predict(
        self,
        test_dataset: Any,
        ignore_keys: Sequence[str] | None = None,
        metric_key_prefix: str = "test",
        task: str | None = None,
    ) -> PredictionOutput:
        """Return predictions, labels and metrics of one task's data, in its order."""
        if not isinstance(test_dataset, TaskExamples):
            self.multitask.head(task)
            test_dataset = TaskExamples(task or self.multitask.tasks[0], test_dataset)
        return super().predict(test_dataset, ignore_keys, metric_key_prefix)

    def measure_of(self, dataloader: DataLoader[Any]) -> Callable[[Any], Any] | None:
        """Return the metrics of the task that these batches are of."""
        (task,) = cast("TaskCollate", dataloader.collate_fn).tasks
        return self.measures.get(task)

    def batch_items(self, inputs: Mapping[str, Any]) -> float:
        """Return how many labelled items of its own task a batch has."""
        counts = self.multitask.head(inputs["task"]).label_counts(inputs)
        return counts[0] if counts else float(loaders.batch_size(inputs))

    def example_names(self, numbers: Sequence[int]) -> str:
        """Return the examples by task, as each data set numbers them."""
        collate = self._task_collate(self.train_dataset)
        found: dict[str, list[int]] = {}
        for number in numbers:
            task = collate.task_of(number)
            found.setdefault(task, []).append(number - collate.starts[collate.tasks.index(task)])
        return " and ".join(f"examples {rows} of {task!r}" for task, rows in found.items())

    def config_of(self, dataset: Any) -> Any:
        """Return the configuration of the head of the data's task."""
        return self.multitask.head(_task_of(dataset)).config

    def _task_collate(self, sets: Mapping[str, Any]) -> TaskCollate:
        """Return what makes batches of some tasks."""
        args, makers = self.args, dict[str, loaders.Collate]()
        seed = args.seed if args.data_seed is None else args.data_seed
        for task in sets:
            head = self.multitask.head(task)
            names = loaders.label_names_of(head)
            columns = loaders.columns_of(head, names) if args.remove_unused_columns else None
            collator = self.collators.get(task, self.data_collator)
            makers[task] = loaders.Collate(collator, columns, seed)
        return TaskCollate(makers, [len(each) for each in sets.values()])

    def _means(
        self, metrics: Mapping[str, float], tasks: Sequence[str], prefix: str
    ) -> dict[str, float]:
        """Return the mean loss of all tasks, and the mean of their main metrics."""
        given = self.args.task_weights or {}
        weights = [given.get(task, 1.0) for task in tasks]
        losses = [metrics.get(f"{prefix}_{task}_loss") for task in tasks]
        main = [self._main(metrics, task, f"{prefix}_{task}_") for task in tasks]
        found = {
            f"{prefix}_loss": _mean(losses, weights),
            f"{prefix}_mean": _mean(main, [1.0] * len(tasks)),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _main(self, metrics: Mapping[str, float], task: str, start: str) -> float | None:
        own = [n.removeprefix(start) for n in metrics if n.startswith(start)]
        own = [name for name in own if name not in _ALWAYS]
        name = self.main_metrics.get(task, own[0] if own else None)
        if name is None:
            return None
        if name not in own:
            raise ConfigError(
                f"main_metrics of {task!r} is {name!r}{nearest(name, own)}; its metrics are "
                f"{listing(own)}"
            )
        measure = self.measures.get(task)
        percent = isinstance(measure, Metric) and measure.percent
        return metrics[start + name] / (100 if percent else 1)

    def _sets(self, name: str, given: Mapping[str, Any] | None) -> dict[str, TaskExamples]:
        """Return data sets that know their tasks."""
        return {
            task: each if isinstance(each, TaskExamples) else TaskExamples(task, each)
            for task, each in self._for_tasks(name, given).items()
        }

    def _for_tasks(self, name: str, given: Any) -> dict[str, Any]:
        """Return what is given for tasks, or raise for a task that the model lacks."""
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(
                f"{name} must map tasks to what they get; found {type(given).__name__}"
            )
        found = dict(cast("Mapping[str, Any]", given or {}))
        for task in found:
            if task not in self.multitask.heads:
                raise ConfigError(
                    f"{name} names {task!r}{nearest(task, self.multitask.tasks)}, which is no task "
                    f"of this model; it has {listing(self.multitask.tasks)}"
                )
        return found


def _numbered_from(
    start: int, task: str, plan: Callable[[int], list[list[int]]]
) -> Callable[[int], list[list[int]]]:
    """Return a plan whose examples are numbered from `start` on."""
    if not plan(0):
        raise ConfigError(
            f"the training data of {task!r} makes no full batch, and dataloader_drop_last leaves "
            "out others"
        )
    return lambda number: [[start + each for each in batch] for batch in plan(number)]


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """Return the mean of values by their weights; None if one is not there, or nothing weighs."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not sum(weights):
        return None
    return sum(v * w for v, w in zip(known, weights, strict=True)) / sum(weights)


def _task_of(dataset: Any) -> str:
    """Return the task of data, or of a part of it."""
    while isinstance(dataset, Subset):
        dataset = cast("Subset[Any]", dataset).dataset
    if not isinstance(dataset, TaskExamples):
        raise ConfigError("this data does not say its task: give a dict from task to data")
    return dataset.task
