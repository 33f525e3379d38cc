"""`MultiTaskModel`: one encoder under several heads (Liu et al. 2019, https://arxiv.org/abs/1901.11504).

The heads are those of the families' single-task classes, each built over the one base that all of
them read. On disk it is the base as always, each head's tensors under ``heads.TASK.``, and in
config.json the base's fields and ``tasks``.
"""

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from torch import Tensor, nn

from regard.adapters.adapter import merged_adapter
from regard.checkpoints.anatomy import Anatomy
from regard.checkpoints.files import source_options
from regard.config import Config
from regard.errors import ConfigError, listing, nearest
from regard.models.auto import AutoConfig, family
from regard.models.encoder import TextBase
from regard.models.heads import EncoderHead, LabelledHead, MultipleChoice, QuestionAnswering
from regard.models.lent import EncodedBatch, lending
from regard.models.losses import Labelled
from regard.models.model import PreTrainedModel
from regard.outputs import Loss, ModelOutput

#: What is no field of a configuration among the arguments of `MultiTaskModel.from_pretrained`.
_LOADING = ("dtype", "torch_dtype", "strict", "ignore_mismatched_sizes", "attn_implementation")

#: Arguments of `MultiTaskModel.forward` that are labels.
_LABELS = {"labels", "start_positions", "end_positions"}

#: Fields of a base's configuration that are another head's, so that no task inherits them.
_OF_A_HEAD = {"id2label": None, "label2id": None, "problem_type": None}


@dataclass(frozen=True, eq=False)
class TaskLoss(Loss):
    """The loss of one task among several.

    A step may have batches of several tasks. Its loss is the mean over its examples: each task's
    own mean over its labelled items counts as much as the task has of the step's examples, and
    its weight. So a step depends on its examples and not on how they were cut into batches.

    Attributes:
        start: Where this task begins in the counts of `MultiTaskModel.label_counts`.
        weight: How much this task counts.
    """

    start: int = 0
    weight: float = 1.0

    def over(self, counts: Sequence[float]) -> Tensor:
        """Return this batch's part of the loss of a step that has `counts` of all tasks."""
        examples, *items = counts[self.start : self.start + 1 + len(self.totals)]
        return super().over(items) * (self.weight * examples / (counts[0] or 1))


class MultiTaskModel(Labelled, PreTrainedModel):
    """One encoder of any family under several heads; each call is of one task.

    ``model(task="sentiment", input_ids=..., labels=...)`` returns what the single-task class does;
    `answer_all` encodes once for many heads.

    Args:
        config: The base's configuration, with `tasks`; see `from_config`.
        required: Tasks whose heads a file must have.

    Attributes:
        heads: Task to head.
        weights: Task to how much it counts in training; 1 where nothing is said.

    Raises:
        ConfigError: There are no tasks, or one has a head that the family lacks.
    """

    def __init__(self, config: Config, required: Sequence[str] = ()) -> None:
        super().__init__(config)
        tasks = _checked(config.extra.get("tasks"))
        kinds = {task: head_class(config, told, task) for task, told in tasks.items()}
        # A head that reads the pooler has a base with one, which suits the others too.
        base = max(kinds.values(), key=lambda kind: kind.pooled)(config).base_model
        self.prefix, self.required = base.base_model_prefix, tuple(required)
        self.add_module(self.prefix, base)
        with lending(base):
            made = {task: kinds[task](_head_config(config, tasks[task], task)) for task in tasks}
        self.heads = nn.ModuleDict(made)
        self.weights: dict[str, float] = {}
        self.post_init()

    @classmethod
    def from_config(cls, config: Config, tasks: Mapping[str, Mapping[str, Any]]) -> Self:
        """Build a random model; `tasks` as in `from_pretrained`."""
        return cls(_with_tasks(config, tasks))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
        config: Config | None = None,
        **options: Any,
    ) -> Self:
        """Load a model that was saved with its tasks, or put heads over a base.

        Args:
            name: As in `PreTrainedModel.from_pretrained`.
            tasks: Task to what its head is: ``head``, the name of a task as in the Auto classes
                (``"sequence-classification"``), and fields of the configuration that are this
                head's own (``num_labels``, ``id2label``, ``problem_type``, ``classifier_dropout``);
                under ``extra`` whatever else its configuration is to keep.
                None takes the tasks of the file, whose heads must all be there; given tasks that
                the file lacks are new.
            config: Replaces the checkpoint's own configuration.
            options: As in `PreTrainedModel.from_pretrained`.
        """
        loading = {key: value for key, value in options.items() if key in _LOADING}
        where = source_options(options)
        fields = {key: value for key, value in options.items() if key not in loading}
        if config is None:
            config = AutoConfig.from_pretrained(name, **fields)
        elif fields.keys() - where.keys():
            config = config.replace(**{k: v for k, v in fields.items() if k not in where})
        if tasks is None and not config.extra.get("tasks"):
            raise ConfigError(
                f"{name}: config.json names no tasks; give them, as in "
                'tasks={"topic": {"head": "sequence-classification", "num_labels": 3}}'
            )
        if tasks is not None:
            config = _with_tasks(config, tasks)
        required = () if tasks is not None else (*config.extra["tasks"],)
        return super().from_pretrained(name, config=config, required=required, **loading, **where)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in order."""
        return [*self.heads]

    @property
    def base_model(self) -> TextBase:
        """The encoder."""
        return cast("TextBase", self.get_submodule(self.prefix))

    def head(self, task: str | None) -> EncoderHead:
        """Return the head of a task; None is the only one."""
        if task is None and len(self.heads) == 1:
            task = self.tasks[0]
        if task is None or task not in self.heads:
            asked = (
                "which task?" if task is None else f"no task {task!r}{nearest(task, self.heads)}"
            )
            raise ValueError(f"{asked}: this model has {', '.join(self.heads)}")
        return cast("EncoderHead", self.heads[task])

    def forward(
        self,
        task: str | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ModelOutput:
        """Answer padded inputs by the head of `task`; arguments as that head takes them."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
            "labels": labels,
            "start_positions": start_positions,
            "end_positions": end_positions,
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        output = self.head(task)(**{k: v for k, v in given.items() if v is not None})
        parts = cast("Loss | None", output.loss_parts)
        if parts is not None:
            name = self.tasks[0] if task is None else task
            placed = (self._starts()[name], self.weights.get(name, 1.0))
            output.loss_parts = TaskLoss(parts.totals, parts.counts, *placed)
        return output

    def answer_all(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        tasks: Iterable[str] | None = None,
    ) -> dict[str, ModelOutput]:
        """Encode padded texts, (batch, length), once, and answer by the heads of many tasks.

        Args:
            input_ids: Token ids.
            attention_mask: 1 for tokens and 0 for padding.
            token_type_ids: 0 for the first text and 1 for the second.
            tasks: Which; all by default.
        """
        asked = {task: self.head(task) for task in (self.heads if tasks is None else tasks)}
        choosing = [task for task, head in asked.items() if isinstance(head, MultipleChoice)]
        if choosing:
            raise ValueError(
                f"task {choosing[0]!r} reads several texts at once; call the model with it alone"
            )
        base = self.base_model
        batch = base.pack(input_ids, attention_mask, token_type_ids, None, None)
        encoded = EncodedBatch(**vars(batch), hidden=base.encode(batch))
        return {
            task: head.output(head.logits(encoded), None, batch.layout)
            for task, head in asked.items()
        }

    def extract(self, task: str) -> PreTrainedModel:
        """Return the single-task model of a task, with copies of this one's weights.

        The changes of an adapter are in these.
        """
        head = self.head(task)
        made = type(head)(copy.deepcopy(head.config))
        with merged_adapter(self):
            base = self.base_model.state_dict().items()
            state = {f"{head.base_model_prefix}.{name}": value for name, value in base}
            state |= head.state_dict()
            made.load_state_dict({name: state[name] for name in made.state_dict()})
        return made.to(self.device, self.dtype).train(self.training)

    def label_counts(self, inputs: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the examples of a batch, and for each task its examples and labelled items.

        All but those of the batch's own task are zero, so that counts of several batches add up.
        """
        task = cast("str | None", inputs.get("task"))
        head = self.head(task)
        rows = float(len(next(value for value in inputs.values() if isinstance(value, Tensor))))
        counts = [0.0] * self._length
        start = self._starts()[self.tasks[0] if task is None else task]
        items = head.label_counts(inputs)
        counts[0] = counts[start] = rows
        counts[start + 1 : start + 1 + len(items)] = items
        return tuple(counts)

    def anatomy(self) -> Anatomy:
        """Return where base and heads lie; a file with these tasks must have all of `required`."""
        found, paths = super().anatomy(), {task: f"heads.{task}" for task in self.heads}
        required = tuple(paths[task] for task in self.required)
        return replace(
            found,
            prefix=self.prefix,
            base_paths=(self.prefix, *required),
            heads=tuple(paths.values()),
        )

    def get_output_embeddings(self) -> nn.Linear | None:
        """Return the map to the vocabulary of the head that has one, or None."""
        found = (self.head(task).get_output_embeddings() for task in self.heads)
        return next((each for each in found if each is not None), None)

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return the ids of one text of `length` tokens."""
        return self.base_model.example_inputs(length)

    def example_calls(self, length: int) -> list[dict[str, Any]]:
        """Return one for each task."""
        return [{"task": task, **self.example_inputs(length)} for task in self.tasks]

    @property
    def _length(self) -> int:
        return 1 + sum(1 + len(self.head(task).label_arguments) for task in self.heads)

    def _starts(self) -> dict[str, int]:
        """Return where the counts of each task begin; see `label_counts`."""
        starts, place = dict[str, int](), 1
        for task in self.heads:
            starts[task] = place
            place += 1 + len(self.head(task).label_arguments)
        return starts


def task_configs(config: Config) -> dict[str, Config]:
    """Return the configuration of each head of a saved model of several tasks; none of another."""
    tasks, own = config.extra.get("tasks"), family(config.model_type)
    names = {each.__name__ for each in (own.base, *own.heads.values())}
    # A model of one task that was loaded from one of several keeps what else config.json said.
    if tasks is None or names & {*(config.architectures or [])}:
        return {}
    return {name: _head_config(config, told, name) for name, told in _checked(tasks).items()}


def head_class(config: Config, told: Mapping[str, Any], task: str) -> type[EncoderHead]:
    """Return the single-task class of a task.

    Args:
        config: Of the base.
        told: What the task's head is; see `MultiTaskModel.from_pretrained`.
        task: Its name, for messages.

    Raises:
        ConfigError: The family has no such head, or it is none over an encoder.
    """
    heads = family(config.model_type).heads
    known = {
        _dashed(name): kind
        for name, kind in heads.items()
        if issubclass(kind, LabelledHead | QuestionAnswering) and {*kind.label_arguments} <= _LABELS
    }
    asked = _dashed(str(told.get("head", "")))
    if asked not in known:
        raise ConfigError(
            f"task {task!r} has head {told.get('head')!r}{nearest(asked, known)}; for "
            f"{config.model_type} it must be one of {', '.join(known)}"
        )
    return known[asked]


def _dashed(name: str) -> str:
    """Return ``sequence-classification`` for that, or for ``SequenceClassification``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name)
    return re.sub(r"[\s_]+", "-", spaced).lower()


def _head_config(config: Config, told: Mapping[str, Any], task: str) -> Config:
    own = {key: value for key, value in told.items() if key not in ("head", "extra")}
    try:
        made = config.replace(**_OF_A_HEAD | own)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"task {task!r}: {error}") from error
    made.architectures = [head_class(config, told, task).__name__]
    made.extra.pop("tasks")
    made.extra |= told.get("extra", {})
    return made


def _with_tasks(config: Config, tasks: Mapping[str, Mapping[str, Any]]) -> Config:
    """Return a copy of a configuration that has tasks, as config.json holds them: by name."""
    try:
        stored = json.loads(json.dumps(tasks, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"tasks must be what JSON can hold: {error}") from error
    made = config.replace()
    made.extra["tasks"] = _checked(stored)
    return made


def _checked(tasks: object) -> dict[str, dict[str, Any]]:
    """Return tasks, or raise `ConfigError` for what are none or have a name that cannot be."""
    if not isinstance(tasks, dict) or not tasks:
        raise ConfigError(f"tasks must map names to heads, at least one; found {tasks!r}")
    named = cast("dict[str, dict[str, Any]]", tasks)
    bad = [n for n in named if not re.fullmatch(r"[\w-]+", n) or hasattr(nn.ModuleDict, n)]
    if bad:
        raise ConfigError(
            f"no task can be called {listing(map(repr, bad))}: a name is letters, digits, - and _, "
            "and no method of torch.nn.ModuleDict"
        )
    wrong = [
        name for name, told in cast("dict[str, object]", tasks).items() if type(told) is not dict
    ]
    if wrong:
        raise ConfigError(
            f'task {wrong[0]!r} must say its head, as in {{"head": "token-classification"}}; '
            f"found {named[wrong[0]]!r}"
        )
    return named
