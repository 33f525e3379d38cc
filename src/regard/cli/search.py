"""``regard search``: an index of texts in a folder, and searching it by meaning."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli import options
from regard.cli.answers import Inputs, Output
from regard.cli.io import counted, emit, to_json, verb
from regard.importing import uncollected

search = typer.Typer(no_args_is_help=True, help="Search texts by meaning: build, then query.")
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the index is.")]


@search.command()
@verb
def build(
    folder: Folder,
    texts: options.Texts = None,
    file: options.File = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Faster for very many texts; may miss some.")
    ] = False,
    add: Annotated[bool, typer.Option("--add", help="Add to the index that is there.")] = False,
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Read texts and write an index of them into FOLDER.

    Texts come from the arguments, from --file, or from standard input, one per line.
    """
    if folder.exists() and any(folder.iterdir()) and not add:
        raise FileExistsError(f"{folder} is there already; --add adds to the index in it")
    inputs = Inputs(texts, file)
    with uncollected():
        from regard.pipelines.search import SearchIndex, SearchPipeline

    encoder = options.load(SearchPipeline, model, revision, device, dtype, precision)
    if add:
        index = SearchIndex.load(folder, encoder)
    else:
        index = SearchIndex(encoder, approximate=approximate)
    index.add(text for _, text in inputs)
    index.save(folder)
    record = {"folder": str(folder), "texts": len(index), "vectors": len(index.vectors)}
    emit(f"{to_json(record)}\n" if as_json else f"{folder}: {counted(len(index), 'text')}\n")
    inputs.end()


@search.command()
@verb
def query(
    folder: Folder,
    queries: options.Texts = None,
    file: options.File = None,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="Texts for each query.")] = 10,
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    debug: options.Debug = False,
) -> None:
    """Find the texts of the index in FOLDER that are nearest to each query, best first.

    Queries come from the arguments, from --file, or from standard input, one per line.
    """
    output, inputs = Output(as_json, as_csv), Inputs(queries, file)
    with uncollected():
        from regard.pipelines.search import SearchIndex, SearchPipeline

    encoder = options.load(SearchPipeline, model, revision, device, dtype, precision)
    index = SearchIndex.load(folder, encoder)
    output.write_answers(inputs.answers(lambda texts: index.search(texts, top)), "query", "found")
    inputs.end()


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.add_typer(search, name="search")
