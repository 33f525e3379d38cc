"""Where the parts of a model come from: an adapter's folder names the base that it belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.adapters.files import stored_config
from regard.checkpoints.files import CheckpointFolder, find_checkpoint
from regard.config import CONFIG_FILE
from regard.errors import CheckpointError, CheckpointNotFoundError


@dataclass(frozen=True)
class Origin:
    """Where the parts of a model come from.

    Attributes:
        base: What the model without adapter is called.
        described: What the checkpoint is called that has its config.json.
        weights: The checkpoint with its weights.
        adapter: The one with an adapter for it, if that was asked for.
        comes_later: Whether the tensor of that name on disk comes with the adapter.
    """

    base: str | Path
    described: str | Path
    weights: CheckpointFolder
    adapter: CheckpointFolder | None = None
    comes_later: Callable[[str], bool] = lambda _: False


def find_origin(name: str | Path, where: Mapping[str, Any]) -> Origin:
    """Return where a model comes from; arguments as of `find_checkpoint`.

    Raises:
        CheckpointNotFoundError: There is no such checkpoint, or no such base of an adapter.
        CheckpointError: An adapter names no base, or another adapter.
    """
    folder = find_checkpoint(name, **where)
    # First, so that an error names the file that everyone knows.
    has_config = folder.find(CONFIG_FILE) is not None
    adapter = stored_config(folder)
    if adapter is None:
        return Origin(name, name, folder)
    base = adapter.base_model_name_or_path
    if not base:
        raise CheckpointError(
            f"{name}: the adapter names no base_model_name_or_path; load its base, then the "
            "adapter with load_adapter(model, folder)"
        )
    try:
        there: dict[str, Any] = {**where, "revision": adapter.revision}
        weights = find_checkpoint(base, **there)
        weights.find(CONFIG_FILE)  # a name on the Hub is known to be none when it is asked
    except CheckpointNotFoundError as error:
        raise CheckpointNotFoundError(
            f"{name}: its base model is not there: {error}. Load the base from where it is, then "
            "the adapter with load_adapter(model, folder)"
        ) from error
    if stored_config(weights) is not None:
        raise CheckpointError(f"{name}: its base {base} is an adapter too; merge that first")
    described = name if has_config else base
    return Origin(base, described, weights, folder, adapter.is_saved)
