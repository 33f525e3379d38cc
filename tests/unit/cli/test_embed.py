import json

import numpy as np
import pytest

from regard.pipelines.sentence_encoder import SentenceEncoder

from .conftest import LOAD_ONCE


@pytest.fixture(scope="module")
def encode():
    return LOAD_ONCE(SentenceEncoder, None, None, None, None, "auto").encode


def parsed(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_has_every_bit_of_the_vectors(run, encode):
    texts = ["a house", "Дом"]
    found = parsed(run("embed", *texts, "--json"))
    assert [each["text"] for each in found] == texts
    vectors = np.array([each["embedding"] for each in found], np.float32)
    assert vectors.shape == (2, 384)
    np.testing.assert_array_equal(vectors, encode(texts))


def test_json_numbers_are_short_and_text_is_readable(run):
    done = run("embed", "Дом", "--json")
    assert '"Дом"' in done.stdout
    numbers = done.stdout.split("[")[1].split("]")[0].split(", ")
    assert max(len(n.lstrip("-0.").split("e")[0]) for n in numbers) <= 9


def test_table(run, encode):
    done = run("embed", "a house", "word " * 100, "[red]x[/red] \x1b[31m")
    assert done.exit_code == 0
    head, _, row, *rest = done.stdout.splitlines()
    assert head.split() == ["Text", "First", "numbers", "Size"]
    first = [f"{number:.4f}" for number in encode("a house")[:3]]
    assert row.split() == ["a", "house", *first, "...", "384"]
    assert "[red]x[/red]" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, [head, row, *rest])) <= 80
    assert done.stdout.count("word") == 31
    assert "wo..." in done.stdout


def test_file_skips_blank_lines_and_says_so(run, lines_file, lines):
    done = run("embed", "--file", lines_file, "--json")
    assert [each["text"] for each in parsed(done)] == lines
    assert done.stderr == f"{lines_file}: skipped 2 blank lines\n"


@pytest.mark.parametrize("arguments", [(), ("-",), ("--file", "-")])
def test_stdin(run, lines_file, lines, arguments):
    done = run("embed", *arguments, "--json", input=lines_file.read_bytes())
    assert [each["text"] for each in parsed(done)] == lines
    assert done.stderr == "stdin: skipped 2 blank lines\n"


def test_arguments_come_before_the_file(run, lines_file, lines):
    done = run("embed", "first", "-f", lines_file, "--json")
    assert [each["text"] for each in parsed(done)] == ["first", *lines]


def test_portions_of_a_stream_make_one_table(run):
    done = run("embed", input="\n".join(f"text {number}" for number in range(9)))
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + 9
    assert done.stdout.count("First numbers") == 1
    assert len({line.rindex("384") for line in lines[2:]}) == 1


def test_table_on_a_terminal_that_knows_only_ascii(run):
    rows = run("embed", "plain", "Żółw 日本", charset="ascii").stdout.splitlines()
    assert "\\u65e5" in rows[-1]
    assert rows[-1].rindex("384") == rows[-2].rindex("384")


def test_an_empty_argument_is_a_text(run):
    assert [each["text"] for each in parsed(run("embed", "", "--json"))] == [""]


def test_output_is_a_numpy_array(run, tmp_path, lines_file, lines, encode):
    path = tmp_path / "new" / "vectors"  # NumPy would add .npy; what was asked for counts
    done = run("embed", "-f", lines_file, "--output", path)
    assert done.exit_code == 0
    assert done.stdout == f"{path}: 3 vectors of 384 numbers, float32\n"
    assert [each.name for each in path.parent.iterdir()] == ["vectors"]
    np.testing.assert_allclose(np.load(path), encode(lines), atol=1e-6)


def test_output_as_json_tells_what_was_written(run, tmp_path):
    path = tmp_path / "vectors.npy"
    done = run("embed", "a", "-o", path, "--json")
    assert parsed(done) == [{"output": str(path), "texts": 1, "size": 384}]


def test_output_that_fails_leaves_the_old_file(fails, tmp_path):
    path = tmp_path / "vectors.npy"
    path.write_text("old")
    assert "line 2: not UTF-8" in fails("embed", "-o", path, input=b"good\n\xff\n")
    assert path.read_text() == "old"


def test_output_into_a_folder(fails, tmp_path):
    assert f"{tmp_path} is a folder" in fails("embed", "a", "-o", tmp_path)


def test_numbers_that_are_none_are_an_error(fails, monkeypatch):
    monkeypatch.setattr(SentenceEncoder, "encode", lambda *_: np.full((1, 4), np.nan, np.float32))
    assert "--dtype float32" in fails("embed", "a", "--json")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dtype(run, encode, dtype):
    (found,) = parsed(run("embed", "a house", "--json", "--dtype", dtype))
    np.testing.assert_allclose(found["embedding"], encode("a house"), atol=5e-3)
    assert not np.array_equal(np.float32(found["embedding"]), encode("a house"))


def test_missing_file(fails, tmp_path):
    path = tmp_path / "none.txt"
    assert fails("embed", "-f", path) == f"error: {path}: No such file or directory\n"


def test_folder_as_file(fails, tmp_path):
    assert f"{tmp_path}: Is a directory" in fails("embed", "-f", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_file_without_text(run, tmp_path, content):
    path = tmp_path / "empty.txt"
    path.write_bytes(content)
    done = run("embed", "-f", path)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.endswith(f"error: {path}: there is no text in it; wanted one per line\n")


def test_results_before_a_bad_line_are_kept(run):
    done = run("embed", "--json", input=b"good\nb\xe9d\n")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["text"] == "good"
    assert done.stderr.startswith("error: stdin, line 2: not UTF-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "no/such/folder"), "no/such/folder: no such folder"),
        (("--device", "cuda:99"), "device 'cuda:99' is not there; this machine has "),
        (("--device", "gpu"), "unknown device 'gpu'; wanted cpu"),
        (("--dtype", "int8"), "dtype 'int8' is not a floating type"),
    ],
)
def test_bad_options(fails, options, message):
    assert message in fails("embed", "a", *options)


def test_device(run):
    assert run("embed", "a", "--device", "cpu").exit_code == 0


def test_unknown_model_that_is_not_cached(fails):
    assert "nobody/nothing: " in fails("embed", "a", "--model", "nobody/nothing")


def test_damaged_checkpoint(fails, tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert "config.json: not valid JSON" in fails("embed", "a", "-m", tmp_path)


def test_debug_lets_the_traceback_through(run, monkeypatch):
    done = run("embed", "a", "--device", "gpu", "--debug")
    assert isinstance(done.exception, ValueError)
    monkeypatch.setenv("REGARD_DEBUG", "1")
    assert isinstance(run("embed", "a", "--device", "gpu").exception, ValueError)


def test_a_long_text_is_read_to_its_end(run):
    long = "The stock market fell. " * 100
    done = run("embed", long, f"{long} Someone is having dinner.", "--json")
    assert done.stderr == ""
    one, other = (np.array(each["embedding"]) for each in parsed(done))
    assert 0.9 < one @ other < 0.9999
