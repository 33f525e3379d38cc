"""``regard tag``: names and other things in texts."""

from typing import Annotated

import typer

from regard.cli import options
from regard.cli.answers import Inputs, Output, answer_texts
from regard.cli.io import verb

Strategy = Annotated[
    str,
    typer.Option(
        "--groups", help="How words become groups: simple, first, max, average; none for tokens."
    ),
]


@verb
def tag(
    texts: options.Texts = None,
    file: options.File = None,
    groups: Strategy = "simple",
    set_: options.Set = None,
    model: options.AnyModel = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    debug: options.Debug = False,
) -> None:
    """Find names and other things in texts, with their places.

    Texts come from the arguments, from --file, or from standard input, one per line.
    """
    inputs, output = Inputs(texts, file), Output(as_json, as_csv)
    asked = options.call_options(set_, aggregation_strategy=groups)
    where = (model, revision, device, dtype, precision)
    answer_texts("token-classification", inputs, asked, where, output, "entities")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(tag)
