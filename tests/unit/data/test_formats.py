import json

import pytest

from regard.data.conll import read_conll
from regard.data.conllu import read_conllu
from regard.data.parquet import read_parquet
from regard.data.plain_text import read_folder, read_parallel, read_text
from regard.data.squad import read_squad
from regard.errors import DataError

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

-DOCSTART- -X- -X- O

# NN B-NP O
Peter NNP B-NP B-PER
"""

ROLES = """# newdoc id = d
# sent_id = s1
# text = He wants to go
1\tHe\the\tPRON\tPRP\t_\t2\tnsubj\t_\t_\t_\tA0\tA0
2\twants\twant\tVERB\tVBZ\t_\t0\troot\t_\t_\twant.01\tV\t_
3-4\tto go\t_\t_\t_\t_\t_\t_\t_\t_\t_\t_\t_
3\tto\tto\tPART\tTO\t_\t4\tmark\t_\t_\t_\t_\t_
4\tgo\tgo\tVERB\tVB\t_\t2\txcomp\t_\t_\tgo.02\tA1\tV
4.1\tgone\tgo\tVERB\tVB\t_\t_\t_\t2:x\tCopyOf=4\t\t\t

# sent_id = s2
1\tHm\thm\tINTJ\tUH\t_\t0\troot\t_\t_\t_\t
"""


def test_conll_columns(write):
    found = read_conll(write("a.conll", CONLL_2003))
    assert found.column("tokens") == [["EU", "rejects"], ["#", "Peter"]]
    assert found.column("tags") == [["B-ORG", "O"], ["O", "B-PER"]]
    assert [found.where(i).number for i in range(2)] == [3, 8]
    both = read_conll(write("a.conll", CONLL_2003), columns={"words": 0, "pos": 1})
    assert both[0] == {"words": ["EU", "rejects"], "pos": ["NNP", "VBZ"]}


def test_conll_with_tabs_comments_and_blank_lines_with_white_space(write):
    text = "# sent_id = 1\n# text = a b\na b\tO\n\t\n#tag\tB-X\r\n#\tO\n \n\n"
    assert read_conll(write("a.conll", text)).column("tokens") == [["a b"], ["#tag", "#"]]


def test_conll_whose_first_column_counts(write):
    text = "# text = x y\n1\tx\tB-LOC\t-\tme\n2\ty\tO\t-\tme\n\n1\tz\tO\t-\tme\n"
    found = read_conll(write("a.iob2", text))
    assert found[0] == {"tokens": ["x", "y"], "tags": ["B-LOC", "O"]}


@pytest.mark.parametrize("line", ["word", "word\t"])
def test_conll_line_without_a_tag(write, line):
    with pytest.raises(DataError, match=r"line 2: . columns .*one is empty or missing"):
        read_conll(write("a.conll", f"a\tO\n{line}\n"))


def test_conll_line_with_too_few_columns(write):
    with pytest.raises(DataError, match="line 2: 2 columns"):
        read_conll(write("a.conll", "a\tO\tB\nb\tO\n"), columns={"tokens": 0, "tags": 2})


def test_conllu_with_roles(write):
    found = read_conllu(write("a.conllu", ROLES))
    first = found[0]
    assert first["tokens"] == ["He", "wants", "to", "go"]
    assert (first["heads"], first["upos"][1]) == ([2, 0, 4, 2], "VERB")
    assert (first["predicates"], first["senses"]) == ([1, 3], ["want.01", "go.02"])
    assert first["roles"] == [["A0", "V", "_", "A1"], ["A0", "_", "_", "V"]]
    assert (first["sent_id"], found[1]["predicates"], found[1]["roles"]) == ("s1", [], [])
    assert [found.where(i).number for i in range(2)] == [4, 12]


def test_conllu_by_predicate(write):
    found = read_conllu(write("a.conllu", ROLES), by="predicate")
    assert [(e["predicate"], e["sense"]) for e in found] == [(1, "want.01"), (3, "go.02")]
    assert found[1]["roles"] == ["A0", "_", "_", "V"]
    with pytest.raises(DataError, match="by='word'"):
        read_conllu(write("a.conllu", ROLES), by="word")


def test_conllu_without_roles(write):
    plain = "1\tHm\thm\tINTJ\tUH\t_\t0\troot\t_\t_\n"
    assert read_conllu(write("a.conllu", plain))[0]["roles"] == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tA0\tA0\n", "\tA0\n", "line 4: 1 columns of roles, and the sentence has 2 pred"),
        ("\tA0\tA0\n", "\tA0\tA0\tA0\n", "line 4: 3 columns of roles"),
        ("2\twants", "3\twants", "line 5: word 3; wanted word 2"),
        ("\tPART\tTO\t_\t4\tmark\t_\t_\t_\t_\t_", "\tPART", "line 7: 4 columns"),
    ],
)
def test_what_is_wrong_with_conllu_is_told_with_its_line(write, old, new, message):
    assert old in ROLES
    with pytest.raises(DataError, match=message):
        read_conllu(write("a.conllu", ROLES.replace(old, new, 1)))


def squad(context="Ann met Bob.", text="Bob", start=8, **more):
    question = {"id": "q1", "question": "Whom?", "answers": [{"text": text, "answer_start": start}]}
    paragraphs = [{"context": context, "qas": [{**question, **more}]}]
    return {"version": "1.1", "data": [{"title": "T", "paragraphs": paragraphs}]}


def test_squad(write):
    found = read_squad(write("a.json", json.dumps(squad("é🙂 Bob", start=3))))
    assert found[0] == {
        "id": "q1",
        "title": "T",
        "context": "é🙂 Bob",
        "question": "Whom?",
        "answers": {"text": ["Bob"], "answer_start": [3]},
    }
    assert str(found.where(0)).endswith("a.json, question 1")


def test_squad_2_has_questions_without_answer(write):
    file = write("a.json", json.dumps(squad(is_impossible=True)))
    assert read_squad(file)[0]["answers"] == {"text": [], "answer_start": []}
    assert read_squad(write("b.json", json.dumps(squad(answers=[]))))[0]["answers"]["text"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (squad(start=7), r"article 1 'T', question 'q1': the answer 'Bob' is not at character 7.*"
         r"' Bo' is; it is at 8"),
        (squad(start=-4), "not at character -4"),
        (squad(text="Carl"), "it is nowhere in it"),
        (squad(text=""), "the answer '' is not"),
        (squad(id=None), "question 1: no 'id' as SQuAD has it"),
        ({"data": [{"title": "T"}]}, "article 1 'T': no 'paragraphs'"),
        ([1], "no 'data'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_squad_is_told(write, content, message):
    with pytest.raises(DataError, match=message):
        read_squad(write("a.json", json.dumps(content)))


def test_squad_id_twice(write):
    content = squad()
    content["data"] *= 2
    with pytest.raises(DataError, match="article 2 'T', question 'q1': the id stands twice"):
        read_squad(write("a.json", json.dumps(content)))


def test_text_by_line_paragraph_and_document(write):
    file = write("a.txt", "one\ntwo\r\n\n \nthree\n")
    lines = read_text(file)
    assert lines.column("text") == ["one", "two", "three"]
    assert lines.where(2).number == 5
    paragraphs = read_text(file, by="paragraph")
    assert paragraphs.column("text") == ["one\ntwo", "three"]
    assert [paragraphs.where(i).number for i in range(2)] == [1, 5]
    assert read_text(file, by="document").column("text") == ["one\ntwo\r\n\n \nthree\n"]
    with pytest.raises(DataError, match="by='word'"):
        read_text(file, by="word")


def test_text_of_a_folder(write, tmp_path):
    write("t/b.txt", "b\n")
    write("t/a.txt.gz", "a\n")
    assert read_text(tmp_path / "t", by="document").column("text") == ["a\n", "b\n"]
    with pytest.raises(DataError, match=r"no .* file in it"):
        read_text(write("empty/x.md", "").parent)


def test_folder_of_classes(write, tmp_path):
    write("t/pos/1.txt", "good")
    write("t/neg/deep/2.txt", "bad\n")
    write("t/readme.txt", "x")
    found = read_folder(tmp_path / "t")
    assert [*found] == [{"text": "bad\n", "label": "neg"}, {"text": "good", "label": "pos"}]
    assert str(found.where(1)) == str(tmp_path / "t/pos/1.txt")


def test_folder_refuses_links_that_lead_out(write, tmp_path):
    secret = write("secret.txt", "x")
    write("t/pos/1.txt", "good")
    (tmp_path / "t/pos/2.txt").symlink_to(secret)
    with pytest.raises(DataError, match=r"2\.txt: a link out of"):
        read_folder(tmp_path / "t")


def test_folder_without_classes_or_with_an_empty_text(write, tmp_path):
    write("t/a.md", "x")
    with pytest.raises(DataError, match="one folder per class"):
        read_folder(tmp_path / "t")
    write("u/pos/1.txt", " \n")
    with pytest.raises(DataError, match=r"1\.txt: the file is empty"):
        read_folder(tmp_path / "u")


def test_parallel_files(write):
    files = {"en": write("a.en.gz", "a\nb\x85c\n"), "de": write("a.de", "ä\nb\n")}
    found = read_parallel(files)
    assert [*found] == [{"en": "a", "de": "ä"}, {"en": "b\x85c", "de": "b"}]
    assert found.where(1).number == 2


def test_parallel_columns(write):
    file = write("a.tsv", 'a\t"ä\nb\tb\n')
    assert read_parallel(file, languages=("en", "de"))[0] == {"en": "a", "de": '"ä'}
    with pytest.raises(DataError, match=r"languages=\('en', 'de'\)"):
        read_parallel(file)


def test_parallel_files_with_other_numbers_of_lines(write):
    files = {"en": write("a.en", "a\nb\n"), "de": write("a.de", "a\nb\nc\n")}
    with pytest.raises(DataError, match=r"a\.en has 2 lines and .*a\.de has 3 lines"):
        read_parallel(files)
    with pytest.raises(DataError, match="wanted two languages"):
        read_parallel({"en": files["en"]})


def test_parallel_line_that_is_empty_in_one_language(write):
    files = {"en": write("a.en", "a\n \nc\n"), "de": write("a.de", "a\nb\nc\n")}
    with pytest.raises(DataError, match=r"a\.en, line 2: the row is empty"):
        read_parallel(files)
    assert read_parallel(files, empty_rows="skip").column("de") == ["a", "c"]
    table = write("a.tsv", "a\tb\nc\t\nd\te\n")
    with pytest.raises(DataError, match=r"a\.tsv, line 2: the row is empty"):
        read_parallel(table, languages=("en", "de"))


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    feature = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    noted = json.dumps({"info": {"features": {"label": feature, "text": {"dtype": "string"}}}})
    table = pyarrow.table({"text": ["a", "b"], "label": [1, 0]})
    file = tmp_path / "a.parquet"
    parquet.write_table(table.replace_schema_metadata({"huggingface": noted}), file)
    found = read_parquet(file)
    assert [*found] == [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    assert found.labels("label") == ["neg", "pos"]
    assert str(found.where(1)).endswith("a.parquet, row 2")
    assert read_parquet(file, columns={"y": "label"}).labels("y") == ["neg", "pos"]
    with pytest.raises(DataError, match="no column 'labl'; did you mean 'label'"):
        read_parquet(file, columns=["labl"])


def test_parquet_with_polars(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("polars")
    file = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1, 0]}), file)
    monkeypatch.setattr("regard.data.parquet._library", lambda: "polars")
    assert [*read_parquet(file, columns=["label"])] == [{"label": 1}, {"label": 0}]


def test_parquet_without_a_library(write, monkeypatch):
    monkeypatch.setattr("regard.data.parquet.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'regard\[data\]'"):
        read_parquet(write("a.parquet", b"PAR1"))


def test_parquet_that_is_none(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_parquet(write("a.parquet", b"nothing of the kind"))
    with pytest.raises(DataError, match="no such file"):
        read_parquet("missing.parquet")
