"""The options that several verbs take, and how they become a loaded model."""

import typing
from typing import Annotated, Any, TypeVar

import typer

if typing.TYPE_CHECKING:
    from regard.pipelines.generating import GenerationPipeline
    from regard.pipelines.pipeline import Pipeline

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="A folder, or a name on the Hub.", show_default="embedded MiniLM"
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
File = Annotated[
    str | None,
    typer.Option(
        "--file", "-f", help="One text per line, UTF-8; - is standard input.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", envvar="REGARD_DEBUG", help="Show the traceback of an error."),
]

_Task = TypeVar("_Task", bound="Pipeline | GenerationPipeline")


def load(
    task: type[_Task],
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    **more: Any,
) -> _Task:
    """Load the pipeline `task` as the common options ask for; `more` are its own.

    Raises:
        ValueError: The device is unknown or not on this machine, or an option is wrong.
    """
    if device is not None:
        _check_device(device)
    return task.from_pretrained(model, revision=revision, device=device, dtype=dtype, **more)


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
