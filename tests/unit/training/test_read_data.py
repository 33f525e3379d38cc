"""Where a run's examples come from: one corpus or several, with their own validation or without."""

import pytest

from regard.errors import ConfigError, DataError
from regard.training.job import read_data
from regard.training.settings import read_settings


def corpus(folder, train, validation=None):
    folder.mkdir()
    for name, tags in (("train", train), ("validation", validation)):
        if tags is not None:
            text = "".join(f"{name}{i}\t{tag}\n\n" for i, tag in enumerate(tags))
            (folder / f"{name}.conll").write_text(text)
    return str(folder)


def read(**given):
    settings = read_settings({"task": "ner", "output_dir": "-", **given})
    (told,) = settings.tasks.values()
    return read_data(told.task.with_options(told.options), told, 3)


def tags(examples):
    return sorted(tag for (tag,) in examples["tags"])


LABELS = {"person": "PER", "loc": "LOC"}


def test_corpora_are_read_together_under_one_set_of_labels(tmp_path):
    first = corpus(tmp_path / "a", ["B-person", "O"], ["B-person"])
    second = corpus(tmp_path / "b", ["B-PER"] * 8 + ["B-loc"] * 2)
    data = read(data=[first, second], labels=LABELS, validation_split=0.2)
    assert tags(data.known) == ["B-LOC"] * 2 + ["B-PER"] * 9 + ["O"]
    assert len(data.training) == 2 + 8
    assert len(data.validation) == 1 + 2
    assert {str(data.known.where(i)) for i in (0, 2)} == {
        *(f"{folder}/train.conll, line 1" for folder in (first, second))
    }
    # A share is held out of each corpus by itself.
    alone = read(data=second, labels={"loc": "LOC"}, validation_split=0.2)
    assert [*alone.validation] == [*data.validation][1:]


def test_given_validation_is_for_all_corpora(tmp_path):
    first = corpus(tmp_path / "a", ["B-PER"], ["O"])
    second = corpus(tmp_path / "b", ["B-PER"])
    data = read(data=[first, second], validation=corpus(tmp_path / "c", ["B-PER", "O", "O"]))
    assert (len(data.training), tags(data.validation)) == (2, ["B-PER", "O", "O"])
    assert read(data=second, validation_split=0).validation is None
    none = read(data=[first, second], validation_split=0)
    assert (len(none.training), len(none.validation)) == (2, 1)


def test_what_cannot_be(tmp_path, caplog):
    first = corpus(tmp_path / "a", ["B-person"], ["O"])
    with pytest.raises(ConfigError, match=r"validation_split=0\.5 would .*validation data: .*/a"):
        read(data=[first], validation_split=0.5)
    with pytest.raises(DataError, match=r"no example has 'persn'; did you mean 'person'"):
        read(data=first, labels={"persn": "PER"})
    with pytest.raises(ConfigError, match=r"data is \[1\]; wanted a file or folder, or a list"):
        read(data=[1])
    with pytest.raises(ConfigError, match="labels is 'a'; it must be dict or none"):
        read(data=first, labels="a")
    read(data=[corpus(tmp_path / "b", ["O", "B-X"]), first])
    assert "/b: no validation data: 10 % of the examples are held out" in caplog.text
