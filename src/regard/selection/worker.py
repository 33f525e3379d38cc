"""One candidate in a process of its own, so that its peak of memory is its own.

``python -m regard.selection.worker REQUEST RESULT`` reads and writes JSON: nothing that is passed
between the processes can run.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.examples import Examples
from regard.data.origin import Origin
from regard.runtime.memory import forget_peak, memory_now, memory_peak
from regard.selection.measuring import speed_of
from regard.selection.opening import open_subject
from regard.selection.subject import Subject, Terms
from regard.selection.tasks import task_class

#: What may be wrong with a candidate; anything else is a bug, and ends the process.
EXPECTED = (ImportError, OSError, TypeError, ValueError, FloatingPointError, MemoryError)


def measure(name: str, terms: Terms) -> dict[str, Any]:
    """Return what a candidate is good for and costs, by the names of `Recommendation`.

    Memory is taken before the candidate is scored, for what scoring needs is not the candidate's.
    """
    forget_peak()
    before = memory_now()
    subject = open_subject(name, terms)
    speed = speed_of(subject, terms.examples, terms.seed)
    peak = memory_peak()
    found = _facts(subject) | vars(speed)
    if peak is not None and before is not None:
        found["memory"] = max(peak - before, 0) / 1e6
    score = subject.score(terms)
    return found | {"metric": score.metric, "score": score.value, "spread": score.spread}


def request_of(name: str, terms: Terms) -> dict[str, Any]:
    """Return what a worker is told, as JSON has it."""
    examples, origin = terms.examples, terms.examples.origin
    options = {key: value for key, value in terms.task.saved().items() if key != "name"}
    return {
        "model": name,
        "task": terms.task.name,
        "options": options,
        "columns": {column: examples.column(column) for column in examples.column_names},
        "class_names": {column: [*names] for column, names in examples.class_names.items()},
        "files": origin.files,
        "file": origin.file.tolist(),
        "number": origin.number.tolist(),
        "unit": origin.unit,
        "folds": terms.folds,
        "seed": terms.seed,
        "steps": terms.steps,
        "arguments": dict(terms.arguments),
    }


def terms_of(request: Mapping[str, Any]) -> Terms:
    """Return the terms that a request tells."""
    origin = Origin(
        tuple(request["files"]),
        np.array(request["file"], np.int32),
        np.array(request["number"], np.int64),
        request["unit"],
    )
    return Terms(
        task=task_class(request["task"]).with_options(request["options"]),
        examples=Examples(request["columns"], origin, request["class_names"]),
        folds=request["folds"],
        seed=request["seed"],
        steps=request["steps"],
        arguments=request["arguments"],
    )


def main(request: Path, result: Path) -> None:
    """Measure what a file asks for, and write what was found, or what is wrong."""
    told = json.loads(request.read_text("utf-8"))
    try:
        found = measure(told["model"], terms_of(told))
    except EXPECTED as error:
        found = {"reason": str(error) or type(error).__name__}
    result.write_text(json.dumps(found), "utf-8")


def _facts(subject: Subject) -> dict[str, Any]:
    parameters = {id(each): each.numel() for each in subject.model.parameters()}
    return {
        "method": subject.method,
        "ready": subject.ready,
        "parameters": sum(parameters.values()),
        "longest": subject.longest,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
