"""``regard doctor``: whether regard works here, and what this machine is good for."""

import platform
import sys
from typing import Any

import typer

from regard import __version__
from regard.checkpoints.embedded import EMBEDDED, embedded_folder, install_hint
from regard.checkpoints.shipped import shipped_folder, shipped_models
from regard.cli import machine, options
from regard.cli.io import counted, emit, tell, to_json, verb, write_facts
from regard.errors import CheckpointError


@verb
def doctor(as_json: options.JsonObject = False, debug: options.Debug = False) -> None:
    """Check the installation and say what this machine is good for.

    The exit code is 0 when regard is usable, and 1 when something essential is broken; standard
    error then names the fix.
    """
    found = examine()
    if as_json:
        emit(to_json(found, indent=2) + "\n")
    else:
        write_facts(_sections(found))
    for advice in found["advice"]:
        tell(f"advice: {advice}")
    for problem in found["problems"]:
        tell(f"error: {problem}")
    if found["problems"]:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(doctor)


def examine() -> dict[str, Any]:
    """Return everything that the verb tells."""
    packages = machine.requirements()
    essential = [each for each in packages if not each.extra]
    problems = [problem for each in essential if (problem := each.problem())]
    if not essential:
        problems.append("regard itself is not installed; fix: pip install -e . in its folder")
    processor, gpus = machine.processor(), machine.gpus()
    embedded, damaged = _embedded()
    hub = _hub()
    return {
        "usable": not problems + damaged,
        "problems": problems + damaged,
        "advice": [*_advice(processor, embedded, hub)],
        "versions": {
            "python": platform.python_version(),
            "regard": __version__,
            **{each.name: each.version for each in essential},
        },
        "optional": {each.name: each.version for each in packages if each.extra},
        "processor": processor,
        "native_types": machine.native_types(),
        "gpus": gpus,
        "kernels": machine.kernels(),
        "attention": _attention(),
        "embedded": embedded,
        "hub": hub,
        "bytecode_cached": not sys.dont_write_bytecode,
    }


def _attention() -> dict[str, Any] | None:
    try:
        from regard.attention.attention import ScaledDotProduct
        from regard.attention.kernels import KERNELS
    except (ImportError, OSError):  # told already, as a problem of torch or jaxtyping
        return None
    chosen = ScaledDotProduct().kernel
    names = [name for name, kernel in KERNELS.items() if kernel is chosen]
    return {"default": names[0] if names else None, "available": [*KERNELS]}


def _embedded() -> tuple[dict[str, str | None], list[str]]:
    """Return the folders of the embedded models, and what is wrong with these and shipped ones."""
    folders: dict[str, str | None] = {}
    problems: list[str] = []
    for name in (*EMBEDDED, *shipped_models()):
        try:
            folder = embedded_folder(name) or shipped_folder(name)
        except (CheckpointError, OSError) as error:
            problems.append(str(error))
            folder = None
        if name in EMBEDDED:
            folders[name] = str(folder) if folder else None
    return folders, problems


def _hub() -> dict[str, Any] | None:
    try:
        from huggingface_hub import constants
    except ImportError:  # told already
        return None
    return {"cache": str(constants.HF_HUB_CACHE), "offline": bool(constants.HF_HUB_OFFLINE)}


def _advice(
    processor: dict[str, Any], embedded: dict[str, str | None], hub: dict[str, Any] | None
) -> list[str]:
    advice = [f"{name} is not installed. {install_hint(name)}" for name in missing(embedded)]
    threads, cores = processor["threads"], processor["cores"]
    if threads is not None and threads > cores:
        advice.append(
            f"torch uses {threads} threads on {counted(cores, 'core')}, which is slower than "
            f"{cores}; set OMP_NUM_THREADS={cores}"
        )
    if sys.dont_write_bytecode:
        advice.append(
            "Python keeps no compiled modules, so each start takes 2 to 3 times as long; "
            "unset PYTHONDONTWRITEBYTECODE (and do not pass -B)"
        )
    if hub is not None and hub["offline"] and missing(embedded):
        advice.append("the Hub is switched off by HF_HUB_OFFLINE; nothing can be downloaded")
    return advice


def missing(embedded: dict[str, str | None]) -> list[str]:
    """Return the embedded models that are not installed."""
    return [name for name, folder in embedded.items() if folder is None]


def _sections(found: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return what was found as people read it."""
    hub: dict[str, Any] = found["hub"] or {}
    attention: dict[str, Any] = found["attention"] or {}
    state = "off (HF_HUB_OFFLINE)" if hub.get("offline") else "on"
    others = [name for name in attention.get("available", []) if name != attention["default"]]
    return {
        "Versions": {name: version or "missing" for name, version in found["versions"].items()},
        "Optional": {name: version or "not there" for name, version in found["optional"].items()},
        "Machine": _say_processor(found["processor"], found["native_types"])
        | {"gpu": "\n".join(map(_say_gpu, found["gpus"])) or "none that torch can use"},
        "Settings": {
            "embedded": "\n".join(
                f"{name}: {folder or 'not installed'}" for name, folder in found["embedded"].items()
            ),
            "attention": f"{attention['default']} (there is {', '.join(others)} too)"
            if attention
            else "unknown",
            "kernels": found["kernels"] or "PyTorch's alone",
            "hub": f"{state}, cache in {hub['cache']}" if hub else "unknown",
            "bytecode": "cached" if found["bytecode_cached"] else "not cached: slow starts",
        },
        "Verdict": {"regard": "usable" if found["usable"] else "broken: see the errors"},
    }


def _say_processor(processor: dict[str, Any], native: list[str]) -> dict[str, str]:
    features = processor["features"]
    has = [name for name, here in features.items() if here]
    lacks = [name for name, here in features.items() if here is False]
    available = _gigabytes(processor["memory_available"])
    halves = [kind for kind in native if kind != "float32"]
    return {
        "processor": f"{processor['model']} ({processor['architecture']})",
        "features": f"{', '.join(has) or 'none known'}"
        + (f"; without {', '.join(lacks)}" if lacks else ""),
        "cores": f"{processor['cores']}, of which torch uses {processor['threads'] or 'unknown'}",
        "memory": f"{_gigabytes(processor['memory'])}, {available} free",
        "types": f"float32; {', '.join(halves)} natively, with half the memory"
        if halves
        else "float32; 16-bit types save memory but are slow here",
    }


def _say_gpu(gpu: dict[str, Any]) -> str:
    return (
        f"{gpu['device']}: {gpu['name']}, {_gigabytes(gpu['memory'])}, {', '.join(gpu['native'])}"
    )


def _gigabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
