"""``regard run``: any task, on any inputs."""

from typing import Annotated

import typer

from regard.cli import options
from regard.cli.answers import Inputs, Output
from regard.cli.io import verb


@verb
def run(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="Such as ner, ranking, image-classification.")
    ],
    texts: options.Texts = None,
    file: options.File = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Each input is JSON, as in a file called .jsonl.")
    ] = False,
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
    """Do any TASK: a pipeline's answers to texts, or to other inputs that it takes.

    Inputs come from the arguments, from --file, or from standard input, one per line. What else a
    call of the pipeline is told is --set; for many documents to rank: --set documents=@docs.txt.
    """
    output, asked = Output(as_json, as_csv), options.call_options(set_)
    inputs = Inputs(texts, file, as_json=jsonl)
    kind = options.task_class(task, model, asked)
    pipeline = options.load_task(kind, model, revision, device, dtype, precision)
    if getattr(kind, "together", False):
        every = [item for _, item in inputs]
        output.write([pipeline(every, **asked)])
    else:
        output.write_answers(inputs.answers(lambda items: pipeline(items, **asked)))
    inputs.end()


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(run)
