"""Verbs that compare many texts: ``regard rank`` and ``regard cluster``."""

from typing import Annotated

import typer

from regard.cli import options
from regard.cli.answers import Inputs, Output
from regard.cli.io import Record, verb

FIELDS = ("score", "index", "text", "start", "end")


@verb
def rank(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is asked for.")],
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="DOCUMENT", help="Texts to rank; - reads standard input."),
    ] = None,
    file: options.File = None,
    top: Annotated[
        int | None, typer.Option("--top", "-n", min=1, help="Only the N best.", show_default=False)
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    debug: options.Debug = False,
) -> None:
    """Rank documents by how well they answer QUERY, best first, with a part of the long ones.

    A model that reads two texts at once (a cross-encoder) is taken as such. Documents come from the
    arguments, from --file, or from standard input, one per line.
    """
    output, inputs = Output(as_json, as_csv), Inputs(documents, file)
    pipeline = options.load_task(
        options.task_class("ranking", model, {}), model, revision, device, dtype, precision
    )
    texts = [text for _, text in inputs]
    found: list[Record] = pipeline([query], texts, top_k=top)[0]
    output.write([found], FIELDS if any("start" in each for each in found) else FIELDS[:3])
    inputs.end()


@verb
def cluster(
    texts: options.Texts = None,
    file: options.File = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="The least cosine with a group's centre.", show_default="0.75"),
    ] = None,
    min_size: Annotated[
        int | None, typer.Option(min=1, help="Texts of a group at least.", show_default="2")
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option("--clusters", "-k", min=1, help="Make this many groups.", show_default=False),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    debug: options.Debug = False,
) -> None:
    """Find groups of texts of one meaning, the largest first; each text but a few is in one.

    Texts come from the arguments, from --file, or from standard input, one per line.
    """
    output, inputs = Output(as_json, as_csv), Inputs(texts, file)
    asked = options.call_options(None, threshold=threshold, min_size=min_size, clusters=clusters)
    kind = options.task_class("clustering", model, asked)
    pipeline = options.load_task(kind, model, revision, device, dtype, precision)
    found: list[Record] = pipeline([text for _, text in inputs], **asked)
    rows = [
        {"cluster": number, "index": index, "text": text}
        for number, each in enumerate(found)
        for index, text in zip(each["indices"], each["texts"], strict=True)
    ]
    output.write([found if as_json else rows])
    inputs.end()


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for each in (rank, cluster):
        app.command()(each)
