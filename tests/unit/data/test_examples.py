from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from regard.data.examples import Examples
from regard.data.memory import as_examples
from regard.data.splitting import held_out_units
from regard.data.tables import read_tsv
from regard.errors import DataError


@pytest.fixture
def reviews(write) -> Examples:
    return read_tsv(write("a.tsv", "text\tlabel\ngood film\tpos\nbad\tneg\nfine\tpos\n"))


def test_is_a_sequence_of_dicts(reviews):
    assert len(reviews) == 3
    assert reviews[0] == {"text": "good film", "label": "pos"}
    assert reviews[-1]["text"] == "fine"
    assert reviews["label"] == ["pos", "neg", "pos"]
    assert [*reviews[1:]] == [*reviews][1:]
    assert [row["text"] for row in reviews] == reviews.column("text")
    assert "3 of text, label from" in repr(reviews)
    with pytest.raises(IndexError):
        reviews[3]
    with pytest.raises(IndexError):
        reviews.where(3)


def test_unknown_column_names_file_and_nearest(reviews):
    with pytest.raises(DataError, match=r"a\.tsv: no column 'labels'; did you mean 'label'\?"):
        reviews.column("labels")


def test_place_follows_the_example(reviews):
    assert [reviews.where(i).number for i in range(3)] == [2, 3, 4]
    assert [reviews.select([2, 0]).where(i).number for i in range(2)] == [4, 2]
    assert reviews.filter(lambda row: row["label"] == "neg").where(0).number == 3
    assert str(Examples({"a": [1, 2]}).where(1)) == "example 1"


def test_pytorch_data_loader_takes_it():
    examples = Examples({"input_ids": [[1, 2], [3, 4], [5, 6]], "labels": [0, 1, 0]})
    batches = [*DataLoader(examples, batch_size=2)]
    assert batches[0]["labels"].tolist() == [0, 1]
    assert len(batches) == 2


def test_columns_must_be_equally_long():
    with pytest.raises(DataError, match="'a' has 1, 'b' has 2"):
        Examples({"a": [1], "b": [1, 2]})


def test_map_one_by_one_keeps_places(reviews):
    found = reviews.map(lambda row: {"length": len(row["text"])})
    assert found.column_names == ["text", "label", "length"]
    assert found.column("length") == [9, 3, 4]
    assert found.where(2).number == 4
    assert reviews.map(lambda row: {}).column("text") == reviews.column("text")


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_map_in_batches(reviews, batch_size):
    found = reviews.map(
        lambda batch: {"text": [t.upper() for t in batch["text"]]}, True, batch_size, ["label"]
    )
    assert found.column_names == ["text"]
    assert found.column("text") == ["GOOD FILM", "BAD", "FINE"]


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_map_to_other_rows_knows_whose_they_are(reviews, batch_size):
    def words(batch):
        pairs = [(i, w) for i, text in enumerate(batch["text"]) for w in text.split()]
        return {"word": [w for _, w in pairs], "overflow_to_sample_mapping": [i for i, _ in pairs]}

    found = reviews.map(words, True, batch_size, ["text", "label"])
    assert found.column("word") == ["good", "film", "bad", "fine"]
    assert [found.where(i).number for i in range(4)] == [2, 2, 3, 4]


def test_map_refuses_old_columns_beside_other_rows(reviews):
    with pytest.raises(DataError, match=r"remove_columns=\['label'\]"):
        reviews.map(lambda batch: {"text": ["x"]}, batched=True)


def test_map_refuses_what_is_no_mapping(reviews):
    with pytest.raises(DataError, match="returned str; wanted a dict"):
        reviews.map(lambda row: row["text"])
    with pytest.raises(DataError, match="different numbers of rows: 1 of 'a', 2 of 'b'"):
        reviews.map(lambda batch: {"a": [1], "b": [1, 2]}, batched=True)
    with pytest.raises(DataError, match="line 3: the function returned b, and a for"):
        reviews.map(lambda row: {"b" if row["label"] == "neg" else "a": 1})


def test_map_notes_the_line_of_an_error(reviews):
    with pytest.raises(ValueError, match="invalid literal") as caught:
        reviews.map(lambda row: {"label": int(row["label"])})
    assert "a.tsv, line 2" in caught.value.__notes__[0]


def test_rename_keep_and_add(reviews):
    assert reviews.rename({"label": "y"}).column_names == ["text", "y"]
    assert reviews.keep(["label"]).column_names == ["label"]
    assert reviews.with_column("n", [1, 2, 3]).column("n") == [1, 2, 3]
    with pytest.raises(DataError, match="two columns would be called 'text'"):
        reviews.rename({"label": "text"})
    with pytest.raises(DataError, match="no column 'tex'"):
        reviews.rename({"tex": "a"})


def test_cast_names_line_and_value(write):
    examples = read_tsv(write("a.tsv", "score\n4.5\nhigh\n"))
    assert examples[:1].cast("score", float).column("score") == [4.5]
    with pytest.raises(DataError, match="line 3: 'score' is 'high', which makes no float"):
        examples.cast("score", float)


def test_labels_are_sorted():
    assert Examples({"y": ["b", "a", "b"]}).labels("y") == ["a", "b"]
    assert Examples({"y": ["10", "9", "2"]}).labels("y") == ["2", "9", "10"]
    assert Examples({"y": [1, 0]}).labels("y") == ["0", "1"]
    assert Examples({"y": [["O", "B-X"], ["O"]]}).labels("y") == ["B-X", "O"]
    assert Examples({"y": [0]}, class_names={"y": ["z", "a"]}).labels("y") == ["z", "a"]


@pytest.mark.parametrize("bad", ["", None])
def test_empty_label_names_its_line(write, bad):
    examples = read_tsv(write("a.tsv", "text\tlabel\na\tx\nb\t\n"))
    with pytest.raises(DataError, match="line 3: the label in 'label' is empty"):
        examples.labels("label")
    with pytest.raises(DataError, match="example 1: the label"):
        Examples({"y": [["a"], [bad]]}).labels("y")


@given(
    labels=st.lists(st.sampled_from("abc"), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
    stratify=st.booleans(),
)
def test_split_divides_evenly(labels, fraction, seed, stratify):
    examples = Examples({"n": range(len(labels)), "label": labels})
    first, second = examples.split(fraction, seed, "label" if stratify else None)
    assert sorted(first["n"] + second["n"]) == [*range(len(labels))]
    assert first["n"] == sorted(first["n"])
    share = min(max(round(len(labels) * fraction), 1), len(labels) - 1)
    assert len(second) == share
    again = examples.split(fraction, seed, "label" if stratify else None)[1]
    assert again["n"] == second["n"]
    if stratify:
        for label, count in Counter(labels).items():
            exact = count * share / len(labels)
            assert abs(second["label"].count(label) - exact) < 1


def test_split_depends_on_the_seed_and_checks_its_share():
    examples = Examples({"n": range(100)})
    assert examples.split(0.1, 0)[1]["n"] != examples.split(0.1, 1)[1]["n"]
    with pytest.raises(DataError, match=r"fraction=10 is no share"):
        examples.split(10)
    with pytest.raises(DataError, match="1 examples cannot be divided"):
        examples[:1].split(0.5)


def test_shuffle_is_a_permutation_of_the_seed():
    examples = Examples({"n": range(50)})
    assert sorted(examples.shuffle(1)["n"]) == [*range(50)]
    assert examples.shuffle(1)["n"] == examples.shuffle(1)["n"] != examples.shuffle(2)["n"]


def test_as_examples_of_lists_and_dicts():
    rows = [{"a": 1}, {"a": 2}]
    assert [*as_examples(rows)] == rows
    assert [*as_examples({"a": [1, 2]})] == rows
    examples = Examples({"a": [1]})
    assert as_examples(examples) is examples
    assert as_examples(rows, columns=["a"]).column_names == ["a"]


def test_as_examples_of_pytorch_datasets():
    dataset = torch.utils.data.TensorDataset(torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1]))
    found = as_examples(dataset, columns=["input_ids", "labels"])
    assert found[1]["input_ids"].tolist() == [3, 4]
    with pytest.raises(DataError, match="2 parts without names"):
        as_examples(dataset)
    with pytest.raises(DataError, match="has no length"):
        as_examples(iter([1]))


def test_as_examples_names_the_example_that_differs():
    with pytest.raises(DataError, match="example 1 has b, and example 0 has a"):
        as_examples([{"a": 1}, {"b": 1}])
    with pytest.raises(DataError, match="example 0 is int"):
        as_examples([1])


def test_as_examples_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", None], "n": np.array([1, 2])})
    assert [*as_examples(frame)] == [{"text": "a", "n": 1}, {"text": None, "n": 2}]


def test_as_examples_of_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": ["a", "b"], "n": [1, 2]})
    assert [*as_examples(frame)] == [{"text": "a", "n": 1}, {"text": "b", "n": 2}]
    assert [*as_examples(frame.lazy())] == [*as_examples(frame)]


def test_as_examples_of_datasets():
    datasets = pytest.importorskip("datasets")
    classes = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features({"text": datasets.Value("string"), "label": classes})
    data = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    found = as_examples(data.with_format("torch"))
    assert [*found] == [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    assert found.labels("label") == ["neg", "pos"]
    with pytest.raises(DataError, match=r"a DatasetDict has train; take one"):
        as_examples(datasets.DatasetDict({"train": data}))
    with pytest.raises(DataError, match="IterableDataset of `datasets` cannot be held"):
        as_examples(data.to_iterable_dataset())


def test_as_examples_of_pyarrow():
    pyarrow = pytest.importorskip("pyarrow")
    assert [*as_examples(pyarrow.table({"a": [1, 2]}))] == [{"a": 1}, {"a": 2}]


def test_examples_in_memory_are_counted_from_0():
    examples = as_examples([{"a": "1"}, {"a": "x"}])
    assert [str(examples.where(n)) for n in range(2)] == ["example 0", "example 1"]
    with pytest.raises(DataError, match=r"^example 0: 'a' is 'x'"):
        as_examples([{"a": "x"}]).cast("a", float)


def test_joined_examples_know_their_places(write, reviews):
    other = read_tsv(write("b.tsv", "label\ttext\nneg\tdull\n"))
    both = reviews.joined(other, reviews[:1])
    assert [*both] == [*reviews, {"text": "dull", "label": "neg"}, reviews[0]]
    assert [str(both.where(i)).rpartition("/")[2] for i in (2, 3, 4)] == [
        "a.tsv, line 4",
        "b.tsv, line 2",
        "a.tsv, line 2",
    ]
    assert [*reviews.joined()] == [*reviews]
    lists = Examples({"label": [0], "text": [""]}, class_names={"label": ["x"]})
    for wrong in (Examples({"text": ["a"]}), lists):
        with pytest.raises(DataError, match=r"columns are .*text, and those before are text, lab"):
            reviews.joined(wrong)
    mixed = reviews.joined(Examples({"label": ["pos"], "text": ["a"]}))
    assert str(mixed.where(3)) == "example 0"


@given(st.sets(st.text(max_size=4), min_size=2), st.floats(0.01, 0.99), st.integers(0, 9))
def test_a_unit_is_held_out_whatever_else_there_is(units, fraction, seed):
    held = held_out_units(sorted(units), fraction, seed)
    assert 0 < len(held) < len(units)
    assert held_out_units(sorted(units, reverse=True) * 2, fraction, seed) == held
    # What only one of them holds out is what had to be, for there to be any.
    more = held_out_units([*units, *map(str, range(1000, 1200))], fraction, seed)
    assert len(more & units ^ held) <= 1
    assert len(more) > 0


def test_how_many_units_are_held_out():
    counts = [len(held_out_units(map(str, range(1000)), 0.1, seed)) for seed in range(20)]
    assert 70 < min(counts) < max(counts) < 130
    assert len({*counts}) > 5
    with pytest.raises(DataError, match="examples of 1 text cannot be divided"):
        held_out_units(["a", "a"], 0.1, 0)
    with pytest.raises(DataError, match="no share"):
        held_out_units("ab", 1, 0)
