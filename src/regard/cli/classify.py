"""``regard classify``: the labels of texts, those of a model or any, without training."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, cast

import typer

from regard.cli import options
from regard.cli.answers import Inputs, Output
from regard.cli.io import Column, Record, shorten, verb, write_records

#: Labels of a text that the table shows; JSON has them all.
SHOWN_LABELS = 5
#: Columns that the labels take at most.
WIDEST_LABEL = 24

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        "-l",
        metavar="A,B,C",
        help="The labels, separated by commas; repeatable.",
        show_default="those of the model",
    ),
]
MultiLabel = Annotated[
    bool, typer.Option("--multi-label", help="Score each label on its own; several may fit.")
]
Template = Annotated[
    str | None,
    typer.Option(help="A sentence about a label, which {} stands for.", show_default="{}"),
]


@verb
def classify(
    texts: options.Texts = None,
    *,
    labels: Labels = None,
    multi_label: MultiLabel = False,
    template: Template = None,
    file: options.File = None,
    model: options.AnyModel = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    debug: options.Debug = False,
) -> None:
    """Say which of the LABELS each text is about, best first, with no training.

    Scores add up to 1, or with --multi-label each is the closeness, 0 to 1, of text and label; of a
    model of entailment, how probable it is. Without LABELS, a model that was trained for labels
    gives those: by default whether a text speaks well or badly of something. Texts come from the
    arguments, from --file, or from standard input, one per line.
    """
    output = Output(as_json, as_csv)
    task, asked = _read_choices(labels, template, multi_label)
    inputs = Inputs(texts, file)
    kind = options.task_class(task, model, asked)
    pipeline = options.load_task(kind, model, revision, device, dtype, precision)
    found = map(_records, inputs.answers(lambda portion: pipeline(portion, **asked)))
    if as_csv:
        output.write(map(_flat, found))
    else:
        columns = (Column("Text"), Column("Label", _width(pipeline, asked)))
        score = Column("Score", 8, right=True)
        write_records(found, (*columns, score), _cells, as_json=as_json)
    inputs.end()


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(classify)


def _read_choices(
    labels: list[str] | None, template: str | None, multi_label: bool
) -> tuple[str, dict[str, Any]]:
    """Return the task, and what its pipeline is told."""
    if labels is None:
        if template is not None:
            raise typer.BadParameter("name labels, a template is about them", param_hint="--labels")
        function = {"function_to_apply": "sigmoid"} if multi_label else {}
        return "text-classification", {"top_k": None, **function}
    names = [name.strip() for given in labels for name in given.split(",") if name.strip()]
    if not names:
        raise ValueError("--labels names no label; wanted some such as --labels travel,cooking")
    asked: dict[str, Any] = {"candidate_labels": names, "multi_label": multi_label}
    if template is not None:
        if "{}" not in template:
            raise ValueError(f"--template needs {{}} where the label goes; found {template!r}")
        asked["hypothesis_template"] = template
    return "zero-shot-classification", asked


def _records(answers: list[tuple[Any, Any]]) -> list[Record]:
    """Return texts with labels and scores, whichever pipeline gave them."""
    found: list[Record] = []
    for text, answer in answers:
        named: dict[str, Any] = answer
        if isinstance(answer, list):
            ranked = cast("list[dict[str, Any]]", answer)
            named = {f"{name}s": [each[name] for each in ranked] for name in ("label", "score")}
        scores = [round(score, 6) for score in named["scores"]]
        found.append({"text": text, "labels": named["labels"], "scores": scores})
    return found


def _flat(portion: Iterable[Record]) -> Iterator[Record]:
    for each in portion:
        for label, score in zip(each["labels"], each["scores"], strict=True):
            yield {"text": each["text"], "label": label, "score": score}


def _width(pipeline: Any, asked: dict[str, Any]) -> int:
    own: dict[int, str] = getattr(pipeline.model.config, "id2label", None) or {}
    names: Iterable[str] = asked.get("candidate_labels") or own.values()
    return min(WIDEST_LABEL, max(5, *map(len, names)))


def _cells(record: Any) -> tuple[str, ...]:
    labels = [_cut(label) for label in record["labels"][:SHOWN_LABELS]]
    scores = [f"{score:.6f}" for score in record["scores"][:SHOWN_LABELS]]
    more = len(record["labels"]) - SHOWN_LABELS
    if more > 0:
        labels.append(f"({more} more)")
    return shorten(record["text"]), "\n".join(labels), "\n".join(scores)


def _cut(label: str) -> str:
    # One line each, so that labels and scores stay side by side.
    label = shorten(label)
    return label if len(label) <= WIDEST_LABEL else f"{label[: WIDEST_LABEL - 3]}..."
