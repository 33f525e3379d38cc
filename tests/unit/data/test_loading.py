import json

import pytest

import regard
from regard.data.loading import FORMATS, load_dataset
from regard.errors import DataError

TAGGED = "a\tO\nb\tB-X\n"


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", "text,label\na,b\n", ["text", "label"]),
        ("a.CSV.GZ".lower(), "text,label\na,b\n", ["text", "label"]),
        ("a.tsv", "text\tlabel\na\tb\n", ["text", "label"]),
        ("a.tab", "text\tlabel\na\tb\n", ["text", "label"]),
        ("a.jsonl", '{"text": "a"}\n', ["text"]),
        ("a.json", '[{"text": "a"}]', ["text"]),
        ("b.json", '{"text": "a"}\n{"text": "b"}\n', ["text"]),
        ("c.json", '{\n"text": ["a"],\n"label": [1]}', ["text", "label"]),
        ("d.json", '{"version": "1", "data": [{"paragraphs": []}]}', ["id", "title"]),
        ("a.conll", TAGGED, ["tokens", "tags"]),
        ("a.bio.gz", TAGGED, ["tokens", "tags"]),
        ("a.conllu", "1\ta\ta\tX\tX\t_\t0\troot\t_\t_\n", ["tokens", "lemmas"]),
        ("a.txt", "a\nb\n", ["text"]),
    ],
)
def test_format_goes_by_the_name(write, name, content, columns):
    found = load_dataset(write(name, content))
    assert found.column_names[: len(columns)] == columns


def test_folders(write, tmp_path):
    write("classes/pos/1.txt", "a")
    write("texts/1.txt", "a")
    assert load_dataset(tmp_path / "classes").column_names == ["text", "label"]
    assert load_dataset(str(tmp_path / "texts")).column_names == ["text"]


def test_format_and_options_can_be_said(write):
    file = write("data.bak", "a;b\n1;2\n")
    assert load_dataset(file, "csv", delimiter=";")[0] == {"a": "1", "b": "2"}
    with pytest.raises(DataError, match="the name does not tell the format"):
        load_dataset(file)
    with pytest.raises(DataError, match=r"file_format='jsnl'.*did you mean 'jsonl'"):
        load_dataset(file, "jsnl")
    with pytest.raises(TypeError, match="no option 'delimit'; did you mean 'delimiter'"):
        load_dataset(file, "csv", delimit=";")


def test_files_of_one_format_follow_each_other(write):
    files = [write("a.csv", "text\na\n"), write("b.csv", "text\nb\n")]
    found = load_dataset(files)
    assert found.column("text") == ["a", "b"]
    assert str(found.where(1)) == f"{files[1]}, line 2"
    assert [row["text"] for row in load_dataset(files, streaming=True)] == ["a", "b"]


def test_files_with_other_columns_do_not(write):
    files = [write("a.csv", "text\na\n"), write("b.csv", "txt\nb\n")]
    with pytest.raises(DataError, match="file 2 has the columns txt, and the first file has text"):
        load_dataset(files)
    with pytest.raises(DataError, match="no file to read"):
        load_dataset([])


def test_a_mapping_is_parallel_text(write):
    files = {"en": write("a.en", "a\n"), "de": write("a.de", "b\n")}
    assert load_dataset(files)[0] == {"en": "a", "de": "b"}


def test_missing_file_and_names_of_the_hub(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.csv: no such file$"):
        load_dataset(tmp_path / "missing.csv")
    with pytest.raises(FileNotFoundError, match=r"datasets\.load_dataset\('imdb'\)"):
        load_dataset("imdb")


def test_empty_files(write):
    assert load_dataset(write("a.conll", "")).column_names == ["tokens", "tags"]
    assert len(load_dataset(write("a.txt", ""))) == 0


def test_every_format_has_its_function():
    for name in FORMATS:
        assert callable(getattr(regard, f"read_{name}"))


def test_json_lines_after_a_long_first_line(write):
    rows = [{"text": "x" * 70_000}, {"text": "y"}]
    file = write("a.json", "\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="file_format='jsonl'"):
        load_dataset(file)
    assert len(load_dataset(file, "jsonl")) == 2
