"""Errors that name what was found, what was wanted and the fix; and the one voice for notices."""

import difflib
import logging
from collections.abc import Iterable

#: Every one-line notice (a new head, a truncated text) goes through this logger. Without
#: any logging set-up Python prints warnings as plain lines on stderr, as a user would want.
notices = logging.getLogger("regard")


class ConfigError(ValueError):
    """A configuration has a value that cannot be built or is not implemented."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used as asked; the message names the file and the tensor."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No checkpoint, or no file in it, at the given name or folder."""


class DataError(ValueError):
    """Examples cannot be used as asked; the message names the file, the line and the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to `name`, or ``""``."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def listing(names: Iterable[str], limit: int = 8) -> str:
    """Return `names` as ``a, b, c and 4 more``, so that an error stays readable."""
    names = list(names)
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
