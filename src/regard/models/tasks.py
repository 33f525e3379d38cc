"""What a trained model is for, as its config.json says: training writes it, pipelines read it."""

from collections.abc import Mapping
from typing import Any

from regard.config import Config

#: The key under which config.json holds the task that a model was trained for, with its options.
SAVED_AS = "regard_task"

#: A word without a role.
NOTHING = "_"
#: What stands in the roles at the predicate itself; it is given, and counts for nothing.
PREDICATE = "V"


def saved_task(config: Config) -> dict[str, Any]:
    """Return the ``name`` and the options of the task that a model was trained for, if it says."""
    return dict(config.extra.get(SAVED_AS) or {})


def trained_for(configs: Mapping[str, Config], task: str, usual: str) -> str | None:
    """Return the head among several that a task is for, or None.

    Args:
        configs: Name to configuration of each head.
        task: The name of the task.
        usual: What a head is called that does not say its task.
    """
    names = {name: saved_task(config).get("name") for name, config in configs.items()}
    found = (name for name, said in names.items() if said == task)
    return next(found, usual if names.get(usual, task) is None else None)


def has_segments(config: Config) -> bool:
    """Whether a model tells two segments apart."""
    return (vars(config).get("type_vocab_size") or 0) > 1
