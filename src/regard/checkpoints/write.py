"""Files that are either whole or not there: written beside their place, then renamed."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

Write = Callable[[Path], object]


def write_together(folder: Path, files: Mapping[str, Write], stale: Iterable[str] = ()) -> None:
    """Call each ``write(temporary)``, then rename all to their names in `folder`, in that order.

    Folders are made. A reader, or a process that has an old file mapped into memory, keeps seeing
    the old content; a crash while writing leaves all old files as they were. Those called `stale`
    are removed when everything is written, just before the first new file takes its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as beside:
        for name, write in files.items():
            write(Path(beside) / name)
            (Path(beside) / name).chmod(_usual_mode(Path(beside)))
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        for name in files:
            (Path(beside) / name).replace(folder / name)


def write_atomically(path: Path, write: Write) -> None:
    """Call ``write(temporary)`` for one file, then rename it to `path`; see `write_together`."""
    write_together(path.parent, {path.name: write})


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _usual_mode(folder: Path) -> int:
    """Return the permissions that a new file gets here; the format's writer gives the owner's."""
    probe = folder / ".mode"
    probe.touch()
    return probe.stat().st_mode & 0o777
