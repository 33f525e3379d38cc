"""``regard generate``: texts that go on."""

import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from regard.cli import options, writing
from regard.cli.io import emit, portions, read_texts, to_json, verb
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.pipelines.text_generation import TextGenerationPipeline


@verb
def generate(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts to continue; - reads standard input."),
    ] = None,
    file: options.File = None,
    max_new_tokens: writing.MaxNewTokens = writing.LONGEST,
    temperature: writing.Temperature = None,
    top_p: writing.TopP = None,
    seed: writing.Seed = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="A string that ends the text; several are allowed.", show_default=False),
    ] = None,
    set_: writing.Set = None,
    model: writing.WritingModel = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Continue texts; what is written is shown as it comes.

    Texts come from the arguments, from --file, or from standard input, one per line. To be
    answered rather than continued, see `regard chat`.
    """
    source = read_texts(texts, file)
    asked = writing.generate_options(set_, max_new_tokens, temperature, top_p, seed)
    asked |= {"stop_strings": stop} if stop else {}
    with uncollected():
        from regard.pipelines.text_generation import TextGenerationPipeline

    pipeline = options.load(TextGenerationPipeline, model, revision, device, dtype, precision)
    if not as_json and writing.can_stream(asked):
        _stream(pipeline, source, asked)
        return
    records = writing.records(pipeline, portions(source), return_full_text=False, **asked)
    for number, record in enumerate(records):
        if as_json:
            emit(to_json(record) + "\n")
        else:
            whole = record["text"] + record["generated_text"]
            emit("\n" * bool(number) + writing.shown(whole) + "\n")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(generate)


def _stream(
    pipeline: "TextGenerationPipeline", texts: Iterable[str], asked: Mapping[str, Any]
) -> None:
    """Write each text as it comes."""
    for number, text in enumerate(texts):
        with pipeline.stream(text, **asked) as stream:
            emit("\n" * bool(number) + writing.shown(text))
            writing.write_stream(stream)
        writing.tell_end(stream)
