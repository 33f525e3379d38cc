import tracemalloc
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from regard.data.loading import load_dataset
from regard.data.origin import Place
from regard.data.stream import ExampleStream
from regard.errors import DataError


def count_up(size, epoch):
    return ((Place("f", n), {"n": n}) for n in range(size))


def stream_of(size) -> ExampleStream:
    return ExampleStream(lambda epoch: count_up(size, epoch))


def numbers(stream) -> list[int]:
    return [row["n"] for row in stream]


def test_stream_has_the_examples_of_the_files(write):
    file = write("a.tsv", "text\tlabel\na\tx\nb\ty\n")
    stream = load_dataset(file, streaming=True)
    assert [*stream] == [*load_dataset(file)]
    assert [*stream] == [*stream], "a second epoch"


def test_errors_name_the_line(write):
    stream = load_dataset(write("a.tsv", "text\tlabel\na\tx\nb\n"), streaming=True)
    with pytest.raises(DataError, match="line 3: 1 columns"):
        list(stream)
    good = load_dataset(write("b.tsv", "n\n1\nx\n"), streaming=True)
    with pytest.raises(ValueError, match="invalid literal") as caught:
        list(good.map(lambda row: {"n": int(row["n"])}))
    assert "b.tsv, line 3" in caught.value.__notes__[0]


@given(size=st.integers(0, 60), buffer=st.integers(1, 70), used=st.integers(0, 60))
def test_shuffled_stream_is_whole_and_resumes_by_count(size, buffer, used):
    stream = stream_of(size).shuffle(seed=3, buffer_size=buffer)
    order = numbers(stream)
    assert sorted(order) == [*range(size)]
    assert numbers(stream.skip(used)) == order[used:]
    assert numbers(stream.take(used)) == order[:used]


def test_shuffling_differs_by_seed_and_epoch():
    stream = stream_of(200).shuffle(1, 50)
    first = numbers(stream)
    assert first != [*range(200)]
    assert first != numbers(stream_of(200).shuffle(2, 50))
    stream.set_epoch(1)
    assert numbers(stream) != first
    stream.set_epoch(0)
    assert numbers(stream) == first


def test_an_example_is_drawn_from_the_next_ones():
    for place, number in enumerate(numbers(stream_of(500).shuffle(0, 10))):
        assert number < place + 10


@given(size=st.integers(0, 30), world=st.integers(1, 4))
def test_shards_divide_the_stream(size, world):
    shards = [numbers(stream_of(size).shard(rank, world)) for rank in range(world)]
    assert sorted(chain(*shards)) == [*range(size)]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loader_sees_each_example_once(write, workers):
    file = write("a.tsv", "n\n" + "\n".join(map(str, range(20))))
    loader = DataLoader(load_dataset(file, streaming=True), batch_size=3, num_workers=workers)
    seen = [number for batch in loader for number in batch["n"]]
    assert sorted(map(int, seen)) == [*range(20)]


def test_map_in_batches_to_other_rows():
    def twice(batch):
        return {"m": [n for n in batch["n"] for _ in range(2)]}

    stream = stream_of(5).map(twice, batched=True, batch_size=2, remove_columns=["n"])
    assert [row["m"] for row in stream] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    with pytest.raises(DataError, match=r"remove_columns=\['n'\]"):
        list(stream_of(5).map(twice, batched=True))


def test_map_keeps_columns():
    stream = stream_of(3).map(lambda row: {"m": row["n"] * 2})
    assert [*stream] == [{"n": n, "m": 2 * n} for n in range(3)]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DataError, match="buffer_size=0"):
        stream_of(3).shuffle(0, 0)
    with pytest.raises(DataError, match="rank=2 of world=2"):
        stream_of(3).shard(2, 2)
    with pytest.raises(DataError, match="batch_size=0"):
        stream_of(3).map(dict, batched=True, batch_size=0)


def test_memory_is_bounded(write):
    file = write("a.txt", "x" * 1000 + "\n")
    stream = load_dataset([file] * 5000, streaming=True).shuffle(0, 100)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        count = sum(1 for _ in stream)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert count == 5000
    assert peak < 2_500_000, "half of the 5 MB that are read"
