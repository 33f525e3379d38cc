"""The options that several verbs take, and how they become a loaded model."""

import inspect
import json
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from regard.cli.io import read_texts, tell
from regard.errors import nearest
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.pipelines.generating import GenerationPipeline
    from regard.pipelines.running import Runner

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; - reads them from standard input."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="A folder, or a name on the Hub.", show_default="embedded MiniLM"
    ),
]
AnyModel = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="A folder, or a name on the Hub.", show_default="the task's"
    ),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit on the Hub.", show_default=False)
]
Device = Annotated[
    str | None, typer.Option(help="Such as cpu, cuda, cuda:1 or mps.", show_default="cpu")
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="Type of the weights: float32, bfloat16, float16.", show_default="the checkpoint's"
    ),
]
Precision = Annotated[
    str,
    typer.Option(help="What it multiplies in: auto (the fastest that is safe), fp32, bf16, int8."),
]
File = Annotated[
    str | None,
    typer.Option(
        "--file", "-f", help="One text per line, UTF-8; - is standard input.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Csv = Annotated[bool, typer.Option("--csv", help="Comma-separated values, with a header.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other option of the pipeline; a VALUE may be JSON, or @FILE for its lines.",
        show_default=False,
    ),
]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        envvar="REGARD_DEBUG",
        help="Show what the work took, and the traceback of an error.",
    ),
]

_Task = TypeVar("_Task", bound="Runner | GenerationPipeline")


def load(
    task: type[_Task],
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    precision: str,
    **more: Any,
) -> _Task:
    """Load the pipeline `task` as the common options ask for; `more` are its own.

    A terminal is told what it multiplies in.

    Raises:
        ValueError: The device is unknown or not on this machine, or an option is wrong.
    """
    if device is not None:
        _check_device(device)
    more = {"dtype": dtype, "precision": precision} | more
    pipeline = task.from_pretrained(model, revision=revision, device=device, **more)
    if sys.stderr.isatty() and pipeline.precision is not None:
        tell(f"multiplies in {pipeline.precision}; --precision sets it")
    return pipeline


def task_class(name: str, model: str | None, asked: Mapping[str, Any]) -> Any:
    """Return the pipeline called `name`, once it is sure that its calls take what is `asked`.

    Raises:
        ValueError: There is no such task or option; names the nearest one.
    """
    with uncollected():
        from regard.pipelines.generating import OPTIONS, GenerationPipeline
        from regard.pipelines.tasks import find_task

    kind = find_task(name).fitting(model, {})
    known = {*OPTIONS} if issubclass(kind, GenerationPipeline) else set[str]()
    known.update([*inspect.signature(kind.__call__).parameters][2:])
    for option in asked:
        if option not in known:
            raise ValueError(
                f"{name} has no option {option!r}{nearest(option, known)}; there are "
                f"{', '.join(sorted(known - {'options'}))}"
            )
    return kind


def load_task(
    kind: Any,
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    precision: str,
) -> Any:
    """Load what `task_class` gave; an input that it cannot answer is said to be one."""
    from regard.pipelines.running import Runner

    told = {"on_error": "return"} if issubclass(kind, Runner) else {}
    return load(kind, model, revision, device, dtype, precision, **told)


def call_options(set_: Sequence[str] | None, **named: Any) -> dict[str, Any]:
    """Return the options of a call: those `named` that are not None, and those of --set.

    Raises:
        ValueError: One is no NAME=VALUE.
        OSError: A file cannot be read.
    """
    told = {name: value for name, value in named.items() if value is not None}
    for pair in set_ or []:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--set {pair!r}: wanted NAME=VALUE")
        told[name.strip().replace("-", "_")] = _value(text)
    return told


def _value(text: str) -> Any:
    if text.startswith("@"):
        return [*read_texts(None, text[1:])]
    try:
        return json.loads(text)
    except ValueError:
        return {"none": None, "true": True, "false": False}.get(text.lower(), text)


def _check_device(name: str) -> None:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {name!r}; wanted cpu, or one such as cuda, cuda:1, mps"
        ) from error
    here = torch.accelerator.current_accelerator()
    kind, count = ("none", 0) if here is None else (here.type, torch.accelerator.device_count())
    if device.type != "cpu" and (device.type != kind or (device.index or 0) >= count):
        has = "only the processor: cpu" if here is None else f"cpu and {count} {kind}"
        raise ValueError(f"device {name!r} is not there; this machine has {has}")
