"""Options of pipelines that older versions of the field had, and what they are today."""

from collections.abc import Mapping
from typing import Any

from regard.errors import notices

#: What an option may be that changes nothing here: a value other than these is refused, with why.
#: None is any value.
NO_EFFECT: Mapping[str, tuple[tuple[Any, ...] | None, str]] = {
    "framework": ((None, "pt"), "models are PyTorch's"),
    "num_workers": (None, ""),  # the tokenizer has threads of its own
    "use_fast": ((None, True), "every tokenizer is a fast one"),
    "trust_remote_code": ((None, False), "code that comes with a checkpoint is never run"),
}


def modern_options(task: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a pipeline as they are called today.

    Args:
        task: The pipeline.
        options: As they were given.

    Raises:
        ValueError: One asks for what is not there.
    """
    found = {**options}
    for name, (values, why) in NO_EFFECT.items():
        given = found.pop(name, None)
        if values is not None and given not in values:
            raise ValueError(f"{name}={given!r} is not possible: {why}; leave it out")
    if "grouped_entities" in found and "aggregation_strategy" in task.own_options():
        _group(found)
    return found


def _group(options: dict[str, Any]) -> None:
    """Put aggregation_strategy in the place of the two options that it came from."""
    grouped, whole = options.pop("grouped_entities"), options.pop("ignore_subwords", False)
    strategy = ("first" if whole else "simple") if grouped else "none"
    options.setdefault("aggregation_strategy", strategy)
    notices.warning(
        'grouped_entities is now aggregation_strategy="%s"', options["aggregation_strategy"]
    )
