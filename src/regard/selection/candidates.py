"""Which models are at hand for a task."""

from collections.abc import Iterable
from pathlib import Path

from regard.checkpoints.embedded import EMBEDDED, is_installed
from regard.checkpoints.files import ADAPTER_CONFIG
from regard.checkpoints.shipped import shipped_models
from regard.config import CONFIG_FILE
from regard.errors import CheckpointError, ConfigError
from regard.models.auto import AutoConfig, family_of
from regard.models.encoder import EncoderModel
from regard.models.vision import ImageEncoder
from regard.selection.opening import PROBES
from regard.selection.subject import Terms
from regard.training.tasks.image_classification import ImageClassification
from regard.training.tasks.registry import has_head


def candidates(terms: Terms, models: Iterable[str | Path] | None = None) -> list[str]:
    """Return names and folders of what is to be measured.

    Args:
        terms: The task.
        models: Names and folders, where a folder of checkpoints stands for all in it; None is every
            embedded model that is installed and can do the task.

    Raises:
        ConfigError: There is none.
    """
    if models is None:
        found = [name for name in _installed(terms) if _able(name, terms)]
        if not found:
            raise ConfigError(
                f"no embedded model that is installed can be measured for {terms.task.name}: name "
                "candidates by --model (models=[...])"
            )
        return found
    given = [models] if isinstance(models, str | Path) else models
    found = [*dict.fromkeys(each for name in given for each in _inside(str(name)))]
    if not found:
        raise ConfigError("no candidate is named: leave models out for the embedded ones")
    return found


def _installed(terms: Terms) -> list[str]:
    """Return the models that need no network: those made for the task, and those for any."""
    shipped = {name: each for name, each in shipped_models().items() if is_installed(each.base)}
    made = [name for name, each in shipped.items() if each.task == terms.task.name]
    return [*made, *(name for name in EMBEDDED if is_installed(name))]


def _inside(name: str) -> list[str]:
    """Return the checkpoints in a folder that is none itself; else the name."""
    if not name or not Path(name).is_dir() or _is_checkpoint(Path(name)):
        return [name]
    return [str(each) for each in sorted(Path(name).iterdir()) if _is_checkpoint(each)] or [name]


def _is_checkpoint(folder: Path) -> bool:
    files = (CONFIG_FILE, ADAPTER_CONFIG)
    return any((folder / file).is_file() for file in files) or any(folder.glob("*.gguf"))


def _able(name: str, terms: Terms) -> bool:
    """Whether an embedded model is of a family that can do the task."""
    task = terms.task
    try:
        config, family = AutoConfig.from_pretrained(name), family_of(name)
    except CheckpointError:  # its row will tell what is wrong with it
        return True
    if terms.steps is not None:
        return task.auto.head in family.heads
    if type(task) not in PROBES:
        return has_head(config, type(task))
    base = ImageEncoder if isinstance(task, ImageClassification) else EncoderModel
    return issubclass(family.base, base)
