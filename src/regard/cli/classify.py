"""``regard classify``: which of some labels a text is about, without training."""

import typing
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from regard.cli import options
from regard.cli.io import Column, Record, portions, read_texts, shorten, verb, write_records

if typing.TYPE_CHECKING:
    from regard.pipelines.zero_shot_classification import ZeroShotClassificationPipeline

#: Labels of a text that the table shows; JSON has them all.
SHOWN_LABELS = 5
#: Columns that the labels take at most.
WIDEST_LABEL = 24


@verb
def classify(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts; - reads them from standard input."),
    ] = None,
    *,
    labels: Annotated[
        list[str],
        typer.Option(
            "--labels", "-l", metavar="A,B,C", help="The labels, separated by commas; repeatable."
        ),
    ],
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Score each label on its own; several may fit.")
    ] = False,
    template: Annotated[
        str | None,
        typer.Option(
            help="A sentence about a label, which {} stands for.",
            show_default="{}",
        ),
    ] = None,
    file: options.File = None,
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Say which of the LABELS each text is about, best first, with no training.

    Scores add up to 1, or with --multi-label each is the closeness, 0 to 1, of text and label.
    Texts come from the arguments, from --file, or from standard input, one per line.
    """
    choices: dict[str, Any] = {"multi_label": multi_label, **_read_choices(labels, template)}
    source = portions(read_texts(texts, file))
    from regard.pipelines.zero_shot_classification import ZeroShotClassificationPipeline

    pipeline = options.load(ZeroShotClassificationPipeline, model, revision, device, dtype)
    width = min(WIDEST_LABEL, max(5, *map(len, choices["candidate_labels"])))
    columns = (Column("Text"), Column("Label", width), Column("Score", 8, right=True))
    write_records(_answer(pipeline, source, choices), columns, _cells, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(classify)


def _read_choices(labels: list[str], template: str | None) -> dict[str, Any]:
    """Return the labels and the template, if one was given, as the pipeline takes them."""
    names = [name.strip() for given in labels for name in given.split(",") if name.strip()]
    if not names:
        raise ValueError("--labels names no label; wanted some such as --labels travel,cooking")
    if template is None:
        return {"candidate_labels": names}
    if "{}" not in template:
        raise ValueError(f"--template needs {{}} where the label goes; found {template!r}")
    return {"candidate_labels": names, "hypothesis_template": template}


def _answer(
    pipeline: "ZeroShotClassificationPipeline",
    texts: Iterator[list[str]],
    choices: dict[str, Any],
) -> Iterator[list[Record]]:
    for portion in texts:
        yield [
            {
                "text": answer["sequence"],
                "labels": answer["labels"],
                "scores": [round(score, 6) for score in answer["scores"]],
            }
            for answer in pipeline(portion, **choices)
        ]


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
