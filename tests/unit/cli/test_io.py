import io
import itertools
import re
import sys

import pytest
import typer
from typer.testing import CliRunner

from regard.cli.io import (
    PORTION,
    SHOWN,
    portions,
    printable,
    read_texts,
    scaled,
    shorten,
    to_json,
    verb,
)
from regard.errors import ConfigError, notices


def run_verb(body, *arguments):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @verb
    def do(debug: bool = False):
        body()

    return CliRunner().invoke(app, arguments)


def raising(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("bad size"), "error: bad size\n"),
        (TypeError("wrong type"), "error: wrong type\n"),
        (PermissionError(13, "Permission denied", "a.txt"), "error: a.txt: Permission denied\n"),
        (ValueError(), "error: ValueError\n"),
        (ImportError("no torch"), "error: no torch; `regard doctor` tells"),
    ],
)
def test_wrong_input_is_one_line(error, line):
    done = run_verb(raising(error))
    assert done.exit_code == 1
    assert done.stderr.startswith(line)
    assert "Traceback" not in done.output
    assert run_verb(raising(error), "--debug").exception is error


def test_a_defect_is_not_hidden():
    done = run_verb(raising(KeyError("ours")))
    assert isinstance(done.exception, KeyError)


def test_debug_tells_what_the_work_took():
    done = run_verb(lambda: None, "--debug")
    assert done.exit_code == 0
    assert re.fullmatch(r"took \d+\.\d s, peak memory [\d.]+ [MG]B\n", done.stderr)
    assert run_verb(lambda: None).stderr == ""


def test_interrupt_exits_with_130():
    assert run_verb(raising(KeyboardInterrupt())).exit_code == 130


def test_notices_are_plain_lines_on_stderr():
    done = run_verb(lambda: notices.warning("a new head of %d labels", 3))
    assert done.exit_code == 0
    assert done.stderr == "a new head of 3 labels\n"
    assert done.stdout == ""


def test_notices_are_no_longer_shown_afterwards():
    before = [*notices.handlers]
    run_verb(lambda: None)
    assert notices.handlers == before


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(typer.BadParameter, match="--file PATH"):
        read_texts([], None)
    assert read_texts(["a"], None) == ["a"]


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ValueError, match="not UTF-8"):
        read_texts(["good", "\udcff"], None)


def test_a_bad_line_is_named_by_its_number(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"one\n\nthr\xe9e\n")
    texts = iter(read_texts([], str(path)))
    assert next(texts) == "one"
    with pytest.raises(ValueError, match=r"texts\.txt, line 3: not UTF-8 .*at byte 4"):
        next(texts)


def test_only_newlines_end_a_line(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("a\u2028b\x0cc\rd\r\ne".encode())
    assert [*read_texts([], str(path))] == ["a\u2028b\x0cc\rd", "e"]


def test_portions_grow():
    sizes = [len(portion) for portion in portions(iter(["a"] * 5000))]
    assert sizes[:4] == [1, 2, 4, 8]
    assert max(sizes) == PORTION
    assert sum(sizes) == 5000


def test_portions_take_no_more_than_they_give():
    stream = itertools.count()
    cut = portions(map(str, stream))
    assert [next(cut), next(cut)] == [["0"], ["1", "2"]]
    assert next(stream) == 3


def test_portions_keep_a_list_whole():
    texts = ["a"] * 5000
    assert [*portions(texts)] == [texts]


def test_shorten():
    assert shorten("  a \n\t b ") == "a b"
    assert shorten("x" * SHOWN) == "x" * SHOWN
    cut = shorten("word " * SHOWN)
    assert len(cut) <= SHOWN
    assert cut.endswith("wo...")


def test_printable_disarms_the_terminal():
    assert printable("a\x1b[31mb\nc") == "a?[31mb\nc"


def test_json_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="JSON"):
        to_json({"score": float("nan")})


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.00 kB"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (90_865_664, "90.9 MB"),
        (5e9, "5.00 GB"),
        (7e18, "7.00 EB"),
    ],
)
def test_three_digits_and_a_prefix(number, text):
    assert scaled(number, "B") == text
    assert scaled(number) == text.removesuffix("B").rstrip()
