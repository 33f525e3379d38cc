"""The command line inside this process, with each model loaded once for all tests."""

import functools

import pytest
from typer.testing import CliRunner

from regard.cli import options
from regard.cli.main import app

LOAD_ONCE = functools.cache(options.load)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(options, "load", LOAD_ONCE)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("REGARD_DEBUG", raising=False)
    for name in ("FORCE_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run():
    """Run `regard` with arguments; `input` is stdin, as text or bytes."""

    def invoke(*arguments, input=None, charset="utf-8"):  # noqa: A002 - the runner's own name
        runner = CliRunner(charset=charset)
        return runner.invoke(app, [str(each) for each in arguments], input=input)

    return invoke


@pytest.fixture
def fails(run):
    """Run what must fail with one line on stderr, and return that line."""

    def invoke(*arguments, **options):
        done = run(*arguments, **options)
        assert done.exit_code == 1, done.output
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    return invoke


@pytest.fixture
def lines_file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffAn old film\r\n\n  \nŻółw nad rzeką 日本語\nlast, unended".encode())
    return path


LINES = ["An old film", "Żółw nad rzeką 日本語", "last, unended"]


@pytest.fixture
def lines():
    """What `lines_file` holds."""
    return LINES


@pytest.fixture(scope="session")
def tagger(tmp_path_factory):
    """A folder with tiny random models: of words in ``tokens``, of texts in ``sequences``."""
    import torch

    import regard

    folder = tmp_path_factory.mktemp("tagger")
    tokenizer = regard.AutoTokenizer.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
    config = regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,
        id2label={0: "O", 1: "B-PER", 2: "I-PER"},
    )
    torch.manual_seed(0)
    for name, kind in (("tokens", "Token"), ("sequences", "Sequence")):
        getattr(regard, f"BertFor{kind}Classification")(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder
