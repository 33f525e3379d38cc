"""``regard vocabulary``: train a tokenizer, or extend one and the model that has it."""

import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.cli import options
from regard.cli.io import Column, Record, emit, tell, to_json, verb, write_table
from regard.errors import CheckpointError, DataError, listing, nearest

if typing.TYPE_CHECKING:
    from regard.text.extend import Fertility

COLUMNS = (
    Column("Tokenizer"),
    Column("Tokens", 10, right=True),
    Column("Per word", 10, right=True),
    Column("Unknown", 10, right=True),
)

Data = Annotated[
    list[Path],
    typer.Option(
        "--data",
        metavar="PATH",
        help="A file or folder of text, or a table; may be given several times.",
        show_default=False,
    ),
]
TextColumn = Annotated[
    str, typer.Option("--column", metavar="NAME", help="The column of a table that has the text.")
]
Output = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="The folder to make.", show_default=False)
]
Frequency = Annotated[
    int, typer.Option("--min-frequency", min=1, help="How often a piece must occur.")
]
Kind = Annotated[
    str,
    typer.Option(
        "--kind", help="wordpiece, bpe, unigram, or the model type it is for: bert, gpt2, t5, ..."
    ),
]

vocabulary = typer.Typer(no_args_is_help=True, help="Train a tokenizer, or extend one.")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.add_typer(vocabulary, name="vocabulary")


@vocabulary.command()
@verb
def train(
    data: Data,
    output: Output,
    kind: Kind = "wordpiece",
    size: Annotated[int, typer.Option("--size", min=1, help="Tokens, special ones too.")] = 8000,
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="Make no difference of case (WordPiece).")
    ] = False,
    min_frequency: Frequency = 2,
    column: TextColumn = "text",
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Train a tokenizer on texts, which may be larger than memory.

    WordPiece is BERT's, bpe GPT-2's byte-level one, unigram XLM-RoBERTa's; a model type gives the
    special tokens and the frame that its models expect.
    """
    _check_new(output)
    from regard.text.families import BertTokenizer
    from regard.text.learn import RECIPES, train_tokenizer

    settings: dict[str, Any] = {}
    if kind in RECIPES and issubclass(RECIPES[kind].family, BertTokenizer):
        settings["do_lower_case"] = lowercase
    elif lowercase:
        raise typer.BadParameter(
            "only WordPiece has a place for it in its files; give texts in lower case",
            param_hint="--lowercase",
        )
    learned = train_tokenizer(
        _texts(data, column), kind, size, min_frequency=min_frequency, **settings
    )
    learned.save_pretrained(output)
    facts = {"output": str(output), "class": type(learned).__name__, "tokens": len(learned)}
    if as_json:
        emit(to_json(facts) + "\n")
    else:
        emit(f"{output}: {facts['class']}, {facts['tokens']:,} tokens\n")


@vocabulary.command()
@verb
def extend(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A folder with a tokenizer, and maybe its model.",
            show_default=False,
        ),
    ],
    data: Data,
    output: Output,
    add: Annotated[int, typer.Option("--add", min=1, help="New pieces, at most.")] = 2000,
    min_frequency: Frequency = 2,
    column: TextColumn = "text",
    as_json: options.JsonObject = False,
    debug: options.Debug = False,
) -> None:
    """Add pieces for a language or domain that a vocabulary splits too much.

    Old pieces keep their numbers. Where the folder has weights, the model is written too: a new
    piece begins as the mean of the pieces that it was before. Then train on such text.
    """
    _check_new(output)
    facts = _extended(model, _texts(data, column), output, add, min_frequency)
    if as_json:
        emit(to_json(facts) + "\n")
        return
    rows = [_row(name, facts[name]) for name in ("before", "after")]
    write_table(f"{facts['added']:,} new pieces, in {output}", COLUMNS, rows)
    if not facts["model"]:
        tell(f"{model} has no config.json: only the tokenizer is written")


def _extended(
    source: str, texts: Iterable[str], output: Path, add: int, min_frequency: int
) -> dict[str, Any]:
    """Extend what is in a folder, write it into another, and return what there is to say."""
    from regard.checkpoints.files import find_checkpoint
    from regard.text.extend import extend_tokenizer
    from regard.text.families import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    found = extend_tokenizer(tokenizer, texts, add, min_frequency=min_frequency)
    if not found.pieces:
        raise DataError(
            f"the vocabulary splits nothing that occurs {min_frequency} times in the text: it needs"
            f" no extension"
        )
    has_model = find_checkpoint(source).find("config.json") is not None
    if has_model:
        _extend_model(source, found.pieces, output)
    found.tokenizer.save_pretrained(output)
    return {
        "output": str(output),
        "added": len(found.pieces),
        "model": has_model,
        "before": {"size": len(tokenizer), **_facts(found.before)},
        "after": {"size": len(found.tokenizer), **_facts(found.after)},
    }


def _extend_model(source: str, pieces: Mapping[int, list[int]], output: Path) -> None:
    from regard.models.auto import AutoConfig, model_class
    from regard.models.extension import extend_embeddings

    model = model_class(AutoConfig.from_pretrained(source)).from_pretrained(source)
    extend_embeddings(model, pieces)
    model.save_pretrained(output)


def _facts(found: "Fertility") -> dict[str, Any]:
    return {
        "words": found.words,
        "tokens": found.tokens,
        "tokens_per_word": found.per_word,
        "unknown": found.unknown,
    }


def _row(name: str, facts: Record) -> tuple[str, ...]:
    unknown = f"{100 * facts['unknown'] / max(facts['tokens'], 1):.2f} %"
    size = f"{name}: {facts['size']:,} pieces"
    return (size, f"{facts['tokens']:,}", f"{facts['tokens_per_word']:.3f}", unknown)


def _texts(paths: list[Path], column: str) -> Iterator[str]:
    """Yield the texts of files, one after the other, without holding them."""
    from regard.data.loading import load_dataset

    for row in load_dataset(paths, streaming=True):
        if column not in row:
            raise DataError(
                f"the data has no column {column!r}{nearest(column, row)}; it has {listing(row)}: "
                f"name the one with the text by --column"
            )
        yield str(row[column])


def _check_new(output: Path) -> None:
    if output.exists() and any(output.iterdir()):
        raise CheckpointError(f"{output}: there is something in it; name a new folder")
