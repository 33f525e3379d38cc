"""``regard roles``: who did what to whom."""

import typer

from regard.cli import options
from regard.cli.answers import Inputs, Output, answer_texts
from regard.cli.io import verb


@verb
def roles(
    texts: options.Texts = None,
    file: options.File = None,
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
    """Find who did what to whom: predicates, and the roles of the words around them.

    Texts come from the arguments, from --file, or from standard input, one per line.
    """
    inputs, output = Inputs(texts, file), Output(as_json, as_csv)
    asked = options.call_options(set_)
    where = (model, revision, device, dtype, precision)
    answer_texts("semantic-role-labeling", inputs, asked, where, output, "roles")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(roles)
