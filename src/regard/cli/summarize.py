"""``regard summarize``: what long texts say, in short."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from regard.cli import options, writing
from regard.cli.io import emit, to_json, verb
from regard.importing import uncollected

Extractive = Annotated[
    bool, typer.Option("--extractive", "-x", help="Pick the text's own sentences.")
]
Sentences = Annotated[int | None, typer.Option(min=1, help="How many to pick.", show_default="3")]
Window = Annotated[
    int | None,
    typer.Option(min=2, help="Tokens to read at once.", show_default="what the model can"),
]


@verb
def summarize(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts; - reads one from standard input."),
    ] = None,
    file: writing.Document = None,
    extractive: Extractive = False,
    sentences: Sentences = None,
    window: Window = None,
    max_new_tokens: writing.MaxNewTokens = None,
    set_: writing.Set = None,
    model: writing.WritingModel = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Summarize texts of any length: each argument, each --file, or all of standard input is one.

    A model writes the summary. With --extractive, or --sentences, or where no such model is
    installed, it consists of the text's own sentences.
    """
    documents = writing.read_documents(texts, file)
    with uncollected():
        from regard.pipelines.extractive import ExtractiveSummarizationPipeline
        from regard.pipelines.summarization import choose_summarizer

    mode = "extractive" if extractive or sentences else None
    kind = choose_summarizer(model, mode, {} if revision is None else {"revision": revision})
    told = {"window": window, "max_new_tokens": max_new_tokens, "--set": set_ or None}
    if kind is ExtractiveSummarizationPipeline:
        _refuse(told)
        asked: dict[str, Any] = {"sentences": sentences}
    else:
        asked = {"window": window, **writing.generate_options(set_, max_new_tokens)}
    asked = {name: value for name, value in asked.items() if value is not None}
    pipeline = options.load(kind, model, revision, device, dtype, precision)
    for number, (name, text) in enumerate(documents):
        (found,) = pipeline(text, **asked)
        if as_json:
            emit(to_json({"text": name, **found}) + "\n")
        else:
            emit("\n" * bool(number) + writing.shown(found["summary_text"]) + "\n")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(summarize)


def _refuse(told: Mapping[str, Any]) -> None:
    """Refuse options that picking sentences has no use for."""
    for name, value in told.items():
        if value is not None:
            raise ValueError(f"{name} is for summaries that a model writes; leave it out")
