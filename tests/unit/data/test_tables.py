import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.json_files import read_json, read_jsonl
from regard.data.tables import read_csv, read_tsv
from regard.errors import DataError, notices

FIELD = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x00"), min_size=1
)


def test_csv_has_columns_and_lines(write):
    file = write("a.csv", 'label,text\npos,"a, ""b""\nc"\nneg,d\n')
    found = read_csv(file)
    assert found.column_names == ["label", "text"]
    assert [*found] == [{"label": "pos", "text": 'a, "b"\nc'}, {"label": "neg", "text": "d"}]
    assert [found.where(i).number for i in range(2)] == [2, 4]
    assert str(found.where(1)) == f"{file}, line 4"


@given(rows=st.lists(st.tuples(FIELD, FIELD), max_size=8))
def test_csv_reads_what_python_writes(rows, tmp_path_factory):
    file = tmp_path_factory.mktemp("csv") / "a.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("a", "b"), *rows])
    assert [tuple(row.values()) for row in read_csv(file)] == rows


def test_quotes_are_letters_in_tsv(write):
    file = write("a.tsv", 'label\ttext\nneg\t" so far\npos\tgood "\n')
    assert read_tsv(file).column("text") == ['" so far', 'good "']
    quoted = write("b.tsv", 'label\ttext\nneg\t"a\tb"\n')
    assert read_tsv(quoted, quoted=True).column("text") == ["a\tb"]


def test_gzip_byte_order_mark_and_windows_line_ends(write):
    file = write("a.tsv.gz", "\ufeffa\tb\r\n1\tx\u2028y\r\n")
    assert [*read_tsv(file)] == [{"a": "1", "b": "x\u2028y"}]


def test_encoding(write):
    file = write("a.csv", "text\nécole\n".encode("latin-1"))
    assert read_csv(file, encoding="latin-1").column("text") == ["école"]
    wide = write("b.csv", "text\nécole\n".encode("utf-16"))
    assert read_csv(wide, encoding="utf-16").column("text") == ["école"]


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_bad_encoding_names_line_and_byte(write, size):
    start = b"text\n" + b"x" * size + b"\n" * bool(size) + b"ab"
    file = write("a.csv", start + b"\xe9cole\n")
    line = 3 if size else 2
    with pytest.raises(DataError, match=rf"a\.csv, line {line}: not UTF-8 .*byte {len(start)} of"):
        read_csv(file)


def test_bad_encoding_across_two_chunks(write):
    # The first byte of a character of three ends one chunk of the search, and the next is wrong.
    start = b"t\n" + b"x" * ((1 << 20) - 3)
    file = write("a.csv", start + b"\xe2\x28\xa1\n")
    with pytest.raises(DataError, match=rf"line 2: .*byte {len(start)} of"):
        read_csv(file)


def test_unknown_encoding(write):
    with pytest.raises(DataError, match="encoding='utf-9' is unknown"):
        read_csv(write("a.csv", "a\n1\n"), encoding="utf-9")


def test_damaged_gzip(write, tmp_path):
    whole = write("a.csv.gz", "text\n" + "\n".join(map(str, range(5000)))).read_bytes()
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.csv\.gz: a damaged gzip archive"):
        read_csv(cut)
    false = tmp_path / "false.csv.gz"
    false.write_text("text\na\n")
    with pytest.raises(DataError, match=r"false\.csv\.gz: a damaged gzip archive"):
        read_csv(false)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", r"line 3: 3 columns \('1', '2', '3'\); the first row has 2"),
        ("a,b\n1\n", "line 2: 1 columns"),
        ("a,b\n1,2\n\n3,4\n", "line 3: the row is empty"),
        ("a,b\n1,2\n,\n3,4\n", "line 3: the row is empty"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: unexpected end of data"),
        ('a,b\n1,"2"x\n', "line 2: ',' expected after '\"'"),
        ("a,a\n1,2\n", "line 1: the header has 'a' twice"),
        ("", "the file is empty"),
    ],
)
def test_what_is_wrong_with_a_csv_is_told_with_its_line(write, content, message):
    with pytest.raises(DataError, match=message):
        read_csv(write("a.csv", content))


def test_empty_rows_can_be_skipped_with_one_notice(write, caplog):
    file = write("a.csv", "a,b\n\n1,2\n\n3,4\n\n\n")
    with caplog.at_level("WARNING", notices.name):
        assert read_csv(file, empty_rows="skip").column("a") == ["1", "3"]
    assert [r.getMessage() for r in caplog.records] == [
        f"{file}: skipped 2 empty rows, the first in line 2"
    ]
    with pytest.raises(DataError, match="empty_rows='drop'"):
        read_csv(file, empty_rows="drop")


def test_empty_lines_at_the_end_mean_nothing(write):
    assert len(read_csv(write("a.csv", "a,b\n1,2\n\n\n"))) == 1


def test_columns_are_chosen_and_renamed(write):
    file = write("a.csv", "id,review,stars\n7,good,5\n")
    assert [*read_csv(file, columns=["review"])] == [{"review": "good"}]
    found = read_csv(file, columns={"label": "stars", "text": 1})
    assert [*found] == [{"label": "5", "text": "good"}]
    with pytest.raises(DataError, match=r"no column 'revie'; did you mean 'review'\?"):
        read_csv(file, columns=["revie"])
    with pytest.raises(DataError, match="no column number 3; there are 3"):
        read_csv(file, columns={"text": 3})


def test_without_header(write):
    file = write("a.tsv", "good\t5\nbad\t1\n")
    assert read_tsv(file, header=False).column_names == ["0", "1"]
    found = read_tsv(file, header=False, columns=["text", "stars"])
    assert [*found][1] == {"text": "bad", "stars": "1"}
    assert found.where(1).number == 2
    assert read_tsv(file, header=False, columns={"text": 0}).column("text") == ["good", "bad"]
    with pytest.raises(DataError, match="2 columns and 1 names"):
        read_tsv(file, header=False, columns=["text"])


def test_column_without_a_name_gets_one(write):
    assert read_csv(write("a.csv", ",text\n0,a\n")).column_names == ["column_0", "text"]


def test_long_fields(write):
    text = "x" * 200_000
    assert read_csv(write("a.csv", f"text\n{text}\n")).column("text") == [text]


def test_json_lines(write):
    rows = [{"text": "a\u2028b", "label": 1}, {"text": "c", "label": 0}]
    file = write("a.jsonl", "\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    found = read_jsonl(file)
    assert [*found] == rows
    assert str(found.where(1)).endswith("line 2")
    assert read_jsonl(file, columns={"y": "label"}).column("y") == [1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"b": 1}\n', "line 2: no 'a'; the first has a"),
        ('{"a": 1}\n{"a": 1, "b": 1}\n', "line 2: 'b', which the first has not"),
        ('{"a": 1}\n[1]\n', "line 2: found list"),
        ('{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ('{"a": 1}\n\n{"a": 2}\n', "line 2: the row is empty"),
        ("\n", "the file is empty"),
    ],
)
def test_what_is_wrong_with_json_lines_is_told_with_its_line(write, content, message):
    with pytest.raises(DataError, match=message):
        read_jsonl(write("a.jsonl", content))


def test_columns_pass_over_other_keys(write):
    file = write("a.jsonl", '{"a": 1}\n{"a": 2, "b": 1}\n')
    assert read_jsonl(file, columns=["a"]).column("a") == [1, 2]


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": 2}]', '{"a": [1, 2]}'])
def test_json_list_and_json_of_columns(write, content):
    found = read_json(write("a.json", content))
    assert [*found] == [{"a": 1}, {"a": 2}]
    assert str(found.where(1)).endswith("a.json, entry 2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, 2]', "entry 2: found int '2'; wanted an object"),
        ('[{"a": 1}, {"b": 2}]', "entry 2: no 'a'"),
        ('{"a": 1}', "one object with a; wanted a list of objects"),
        ("[]", "wanted a list of objects"),
        ('[{"a": 1},\n{"a" 1}]', "line 2: not JSON"),
    ],
)
def test_what_is_wrong_with_json_is_told(write, content, message):
    with pytest.raises(DataError, match=message):
        read_json(write("a.json", content))
