"""Files of names and values, JSON or YAML."""

import json
from pathlib import Path
from typing import Any, cast

from regard.errors import ConfigError


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file that holds names and values."""
    text = path.read_text("utf-8")
    try:
        if path.suffix == ".json":
            values = json.loads(text)
        else:
            values = _yaml(text)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold names and values; found {type(values).__name__}")
    return cast("dict[str, Any]", values)


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
