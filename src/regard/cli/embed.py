"""``regard embed``: vectors of texts."""

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.checkpoints.write import write_atomically
from regard.cli import options
from regard.cli.io import (
    Column,
    Record,
    counted,
    emit,
    portions,
    read_texts,
    shorten,
    to_json,
    verb,
    write_records,
)
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.pipelines.sentence_encoder import SentenceEncoder

#: Numbers of a vector that the table shows.
FIRST = 3
COLUMNS = (Column("Text"), Column("First numbers", 8 * FIRST + 3), Column("Size", 5, right=True))


@verb
def embed(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts; - reads them from standard input."),
    ] = None,
    file: options.File = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write a NumPy array (texts, size) to this file instead.",
            show_default=False,
        ),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Turn texts into vectors whose cosine tells how close their meanings are.

    Texts come from the arguments, from --file, or from standard input, one per line; results are
    written while more texts are read. A text that starts with a dash goes after --.
    """
    source = read_texts(texts, file)
    if output is not None and output.is_dir():
        raise IsADirectoryError(f"{output} is a folder; --output needs the name of a file")
    with uncollected():
        from regard.pipelines.sentence_encoder import SentenceEncoder

    encoder = options.load(SentenceEncoder, model, revision, device, dtype, precision)
    vectors = _encode(encoder, portions(source))
    if output is not None:
        _save(output, vectors, as_json=as_json)
        return
    records = ([*map(_record, texts, array)] for texts, array in vectors)
    write_records(records, COLUMNS, _cells, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(embed)


def _encode(
    encoder: "SentenceEncoder", texts: Iterator[list[str]]
) -> Iterator[tuple[list[str], Any]]:
    """Yield each portion of texts with its vectors, a float32 array."""
    import numpy as np

    for portion in texts:
        vectors = encoder.encode(portion).astype(np.float32, copy=False)
        if not np.isfinite(vectors).all():
            raise ValueError(
                "the model gave numbers that are infinite or not numbers; try --dtype float32, "
                "and if that does not help its weights are damaged"
            )
        yield portion, vectors


def _save(output: Path, vectors: Iterator[tuple[list[str], Any]], *, as_json: bool) -> None:
    import numpy as np

    array = np.concatenate([part for _, part in vectors])

    def write(path: Path) -> None:
        with path.open("wb") as file:  # given a name, NumPy would append .npy to it
            np.save(file, array)

    write_atomically(output, write)
    count, size = array.shape
    if as_json:
        emit(to_json({"output": str(output), "texts": count, "size": size}) + "\n")
    else:
        emit(f"{output}: {counted(count, 'vector')} of {size} numbers, {array.dtype}\n")


def _record(text: str, vector: Any) -> Record:
    # By way of str, which is the shortest text that gives the same float32 again.
    return {"text": text, "embedding": [float(str(number)) for number in vector]}


def _cells(record: Any) -> tuple[str, ...]:
    first = " ".join(f"{number:7.4f}" for number in record["embedding"][:FIRST])
    return shorten(record["text"]), f"{first} ...", str(len(record["embedding"]))
