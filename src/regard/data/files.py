"""Files of text as numbered lines: gzip seen through, errors that name the line and the byte."""

import codecs
import gzip
import io
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from regard.errors import DataError

CHUNK = 1 << 20


@contextmanager
def opened(path: Path, encoding: str = "utf-8") -> Generator[IO[str]]:
    r"""Open a file of text; a name that ends in ``.gz`` is unpacked on the way.

    Lines end at ``\n`` only, as ``wc -l`` and line-aligned corpora count them: the other separators
    that Unicode knows belong to a text. A byte order mark at the start is dropped.

    Raises:
        DataError: The encoding is unknown, or does not fit; or the archive is damaged.
        OSError: The file cannot be opened.
    """
    encoding = known_encoding(encoding)
    try:
        with _binary(path) as binary:
            yield io.TextIOWrapper(binary, encoding=encoding, newline="\n")
    except UnicodeDecodeError as error:
        raise DataError(_undecodable(path, encoding)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: a damaged gzip archive ({error}); get the file again") from error


def numbered_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield each line's number, from 1, and its text without the line end."""
    with opened(path, encoding) as file:
        for number, line in enumerate(file, 1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def read_all(path: Path, encoding: str = "utf-8") -> str:
    """Return the whole text of a file."""
    with opened(path, encoding) as file:
        return file.read()


def plain_suffix(path: Path) -> str:
    """Return the suffix in lower case, looking past ``.gz``: ``.tsv`` for ``train.TSV.gz``."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def known_encoding(encoding: str) -> str:
    """Return the name under which Python opens files of this encoding.

    Raises:
        DataError: Python knows no such encoding.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise DataError(
            f"encoding={encoding!r} is unknown; wanted one such as 'utf-8', 'latin-1' or 'gb18030'"
        ) from error
    return "utf-8-sig" if name == "utf-8" else name


def _binary(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _undecodable(path: Path, encoding: str) -> str:
    """Read the file again, slowly, to say where it stops being what it should be."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, read = 1, 0
    with _binary(path) as file:
        while True:
            chunk = file.read(CHUNK)
            read += len(chunk)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                # The decoder kept the bytes of an unfinished character from the chunk before.
                byte = read - len(error.object) + error.start
                line += error.object[: error.start].decode(encoding).count("\n")
                shown = error.object[error.start : error.end].hex(" ")
                name = encoding.removesuffix("-sig").upper()
                return (
                    f"{path}, line {line}: not {name} ({error.reason}: {shown} at byte {byte} of "
                    f"the file); pass the encoding that it has, such as encoding='latin-1'"
                )
            if not chunk:
                return f"{path}: not {encoding}; it changed while it was read"
