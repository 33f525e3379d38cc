"""``regard fill``: words for the place of a mask."""

from typing import Annotated

import typer

from regard.cli import options
from regard.cli.answers import Inputs, Output, answer_texts
from regard.cli.io import verb

Top = Annotated[int | None, typer.Option("--top", "-n", min=1, help="Words for each mask.")]
Targets = Annotated[list[str] | None, typer.Option("--target", help="Only this word; repeatable.")]


@verb
def fill(
    texts: options.Texts = None,
    file: options.File = None,
    top: Top = None,
    targets: Targets = None,
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
    """Say which words fit in the place of the mask, such as [MASK].

    Texts come from the arguments, from --file, or from standard input, one per line.
    """
    inputs, output = Inputs(texts, file), Output(as_json, as_csv)
    asked = options.call_options(set_, top_k=top, targets=targets)
    where = (model, revision, device, dtype, precision)
    answer_texts("fill-mask", inputs, asked, where, output, "words")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(fill)
