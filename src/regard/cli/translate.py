"""``regard translate``: texts in another language."""

from typing import Annotated

import typer

from regard.cli import options, writing
from regard.cli.io import emit, portions, read_texts, to_json, verb
from regard.importing import uncollected

Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A translator: a folder, or a name on the Hub.", show_default=False
    ),
]
Source = Annotated[
    str | None, typer.Option("--from", help="Language of the texts.", show_default="the model's")
]
Target = Annotated[
    str | None,
    typer.Option("--to", help="Language to translate into.", show_default="the model's"),
]


@verb
def translate(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts; - reads them from standard input."),
    ] = None,
    file: options.File = None,
    model: Model = "",
    source: Source = None,
    target: Target = None,
    max_new_tokens: writing.MaxNewTokens = None,
    set_: writing.Set = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Translate texts with a model of your own, such as Helsinki-NLP/opus-mt-en-de.

    Texts come from the arguments, from --file, or from standard input, one per line. A model of
    several languages wants --to, and some want --from, as the model names them or in two letters.
    """
    if not model:
        raise typer.BadParameter("name a translator; there is none here", param_hint="--model")
    lines = read_texts(texts, file)
    asked = writing.generate_options(set_, max_new_tokens)
    with uncollected():
        from regard.pipelines.text2text import TranslationPipeline

    pair = {"src_lang": source, "tgt_lang": target}
    pipeline = options.load(TranslationPipeline, model, revision, device, dtype, precision, **pair)
    for record in writing.records(pipeline, portions(lines), **asked):
        plain = writing.shown(record["translation_text"])
        emit((to_json(record) if as_json else plain) + "\n")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(translate)
