"""What a trained model is for, as its config.json says: training writes it, pipelines read it."""

from typing import Any

from regard.config import Config

#: The key under which config.json holds the task that a model was trained for, with its options.
SAVED_AS = "regard_task"

#: A word without a role.
NOTHING = "_"
#: What stands in the roles at the predicate itself; it is given, and counts for nothing.
PREDICATE = "V"
#: The heads of a model of several tasks that together label semantic roles.
FINDER, ROLES = "predicates", "roles"


def saved_task(config: Config) -> dict[str, Any]:
    """Return the ``name`` and the options of the task that a model was trained for, if it says."""
    return dict(config.extra.get(SAVED_AS) or {})


def has_segments(config: Config) -> bool:
    """Whether a model tells two segments apart."""
    return (vars(config).get("type_vocab_size") or 0) > 1
