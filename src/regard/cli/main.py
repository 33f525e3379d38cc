"""The command ``regard``: one verb per file, heavy modules imported only inside them."""

import atexit
import gc
from typing import Annotated

import typer

from regard import __version__
from regard.cli import (
    ask,
    benchmark,
    chat,
    classify,
    convert,
    doctor,
    embed,
    evaluate,
    fill,
    generate,
    info,
    models,
    predict,
    rank,
    recommend,
    roles,
    run,
    search,
    similar,
    summarize,
    tag,
    train,
    translate,
    vocabulary,
)

app = typer.Typer(
    name="regard",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    # A traceback is for us; it is plain, and only there for bugs and with --debug.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_ASKING = (run, embed, similar, rank, search, classify, tag, roles, fill, ask)
_TRAINING = (train, evaluate, predict)
_CHOOSING = (recommend, benchmark, models, info)
_WRITING = (generate, chat, summarize, translate)
for module in (*_ASKING, *_WRITING, *_TRAINING, *_CHOOSING, convert, vocabulary, doctor):
    module.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"regard {__version__}")
        raise typer.Exit


@app.callback()
def regard(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Transformers for text, from the command line.

    Results go to standard output, everything else to standard error; --json gives one JSON object
    per line. The default model is embedded and needs no network.
    """


def main() -> None:
    """Run the command line; this is the console script."""
    atexit.register(gc.freeze)  # with the process all memory goes: to sort it takes 0.4 seconds
    app(prog_name="regard")
