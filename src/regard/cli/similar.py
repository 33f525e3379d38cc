"""``regard similar``: how close texts are to one text."""

import heapq
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from regard.cli import options
from regard.cli.io import PORTION, Column, portions, read_texts, shorten, verb, write_records
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.pipelines.sentence_similarity import SentenceSimilarityPipeline

COLUMNS = (Column("Score", 9, right=True), Column("Text"))


@verb
def similar(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to compare with.")],
    others: Annotated[
        list[str] | None,
        typer.Argument(metavar="OTHER", help="Texts to rank; - reads standard input."),
    ] = None,
    file: options.File = None,
    top: Annotated[
        int | None,
        typer.Option("--top", "-n", min=1, help="Only the N closest.", show_default=False),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Rank texts by how close their meaning is to TEXT, the closest first.

    The score is the cosine of the vectors: 1 is the same meaning, 0 has nothing in common. The
    other texts come from the arguments, from --file, or from standard input, one per line.
    """
    source = read_texts(others, file)
    with uncollected():
        from regard.pipelines.sentence_similarity import SentenceSimilarityPipeline

    pipeline = options.load(SentenceSimilarityPipeline, model, revision, device, dtype, precision)
    scored = _score(pipeline, text, source)
    best = _best(scored, top)
    records = [{"text": other, "score": round(score, 6)} for score, other in best]
    write_records([records], COLUMNS, _cells, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(similar)


def _score(
    pipeline: "SentenceSimilarityPipeline", text: str, others: Iterable[str]
) -> Iterator[tuple[float, str]]:
    # Nothing is shown before all is read, so the portions need not start small.
    for portion in portions(others, first=PORTION):
        yield from zip(pipeline(text, portion), portion, strict=True)


def _best(scored: Iterator[tuple[float, str]], top: int | None) -> list[tuple[float, str]]:
    """Sort, equal scores in the order given; with `top`, keep no more than that in memory."""
    if top is None:
        return sorted(scored, key=lambda pair: pair[0], reverse=True)
    return heapq.nlargest(top, scored, key=lambda pair: pair[0])


def _cells(record: Any) -> tuple[str, ...]:
    return f"{record['score']:.6f}", shorten(record["text"])
