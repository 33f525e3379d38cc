"""Pipelines: any form of input, results in order, the numbers of the model."""

import json
import tracemalloc

import numpy as np
import pytest
import torch

import regard
from regard.checkpoints.files import find_checkpoint
from regard.data.sampling import token_batches
from regard.pipelines import running as module
from regard.pipelines.pipeline import usual_tokens

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = ["A man eats pasta.", "x", "Someone is having a long dinner with friends tonight.", ""]


@pytest.fixture(scope="module")
def encoder():
    return regard.SentenceEncoder.from_pretrained()


@pytest.fixture(scope="module")
def features():
    return regard.pipeline("feature-extraction")


@pytest.fixture(scope="module")
def similarity():
    return regard.pipeline("sentence-similarity")


@pytest.fixture(scope="module")
def zero_shot():
    return regard.pipeline("zero-shot-classification", model=MINILM)


def test_features_are_the_models_last_hidden_vectors(features):
    found = features(TEXTS)
    assert len(found) == len(TEXTS)
    for text, array in zip(TEXTS, found, strict=True):
        batch = features.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            expected = features.model(**batch).last_hidden_state
        assert array.shape == expected.shape
        assert np.allclose(array, expected, atol=1e-5)


def test_one_text_a_list_and_a_stream(features):
    one = features(TEXTS[0])
    assert isinstance(one, np.ndarray)
    assert isinstance(features(TEXTS), list)
    assert features([]) == []
    stream = features(text for text in TEXTS)
    assert not isinstance(stream, list)
    assert np.allclose(next(stream), one, atol=1e-5)


def test_a_stream_is_read_in_pieces(features, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    read = []

    def texts():
        for text in TEXTS:
            read.append(text)
            yield text

    stream = features(texts())
    next(stream)
    assert len(read) == 2
    assert len([*stream]) == 3
    assert read == TEXTS


def test_embeddings_are_means_of_length_one_over_256_tokens(encoder):
    assert (encoder.pooling.modes, encoder.pooling.normalize) == (("mean",), True)
    assert encoder.max_length == 256
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    batch = encoder.tokenizer(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        mean = encoder.model(**batch).last_hidden_state[0].mean(0)
    assert np.allclose(vectors[0], mean / mean.norm(), atol=1e-6)


def test_embeddings_of_one_text_and_of_none(encoder):
    assert encoder.encode("x").shape == (384,)
    assert encoder.encode([]).shape == (0, 384)
    assert encoder(TEXTS).shape == (4, 384)


@pytest.mark.parametrize("wrong", [None, 3, float("nan"), b"bytes"])
def test_what_is_not_text_is_named(encoder, wrong):
    with pytest.raises(TypeError, match=r"1.*(NoneType|int|float|bytes)"):
        encoder.encode(["fine", wrong])


def test_similarity_forms(similarity):
    source, others = TEXTS[0], [TEXTS[2], "Stock prices fell."]
    scores = similarity(source, others)
    assert scores[0] > scores[1]
    assert similarity(source, others[0]) == pytest.approx(scores[0], abs=1e-6)
    asked = {"source_sentence": source, "sentences": others}
    assert similarity(asked) == pytest.approx(scores, abs=1e-6)
    assert similarity(source, source) == pytest.approx(1.0, abs=1e-6)
    assert similarity(source, []) == []
    with pytest.raises(TypeError, match="compare"):
        similarity(source)


def test_zero_shot_ranks_labels(zero_shot):
    text = "The central bank raised interest rates again."
    result = zero_shot(text, "economy, sports,cooking")
    assert result["sequence"] == text
    assert result["labels"][0] == "economy"
    assert sorted(result["labels"]) == ["cooking", "economy", "sports"]
    assert sum(result["scores"]) == pytest.approx(1.0)
    assert result["scores"] == sorted(result["scores"], reverse=True)


def test_zero_shot_many_texts_and_many_labels(zero_shot):
    texts = ["Add salt and boil the pasta.", "The striker scored twice."]
    labels = ["sports", "cooking"]
    found = zero_shot(texts, labels)
    assert [each["labels"][0] for each in found] == ["cooking", "sports"]
    assert [each["sequence"] for each in zero_shot(iter(texts), labels)] == texts
    both = zero_shot(texts[0], labels, multi_label=True)
    assert all(0 <= score <= 1 for score in both["scores"])
    assert sum(both["scores"]) != pytest.approx(1.0)


def test_zero_shot_template(zero_shot):
    text = "Add salt and boil the pasta."
    one = zero_shot(text, ["cooking", "sports"], hypothesis_template="A recipe for {}")
    other = zero_shot(text, ["cooking", "sports"])
    assert one["scores"] != other["scores"]
    with pytest.raises(ValueError, match="hypothesis_template"):
        zero_shot(text, ["a"], hypothesis_template="no place")
    with pytest.raises(ValueError, match="candidate_labels"):
        zero_shot(text, [])


def test_pooling_modes_of_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    regard.BertModel(regard.BertConfig(**sizes, intermediate_size=8)).save_pretrained(tmp_path)
    regard.AutoTokenizer.from_pretrained(MINILM).save_pretrained(tmp_path)
    modules = [{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "b.Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    config = tmp_path / "1_Pooling" / "config.json"
    config.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}))
    encoder = regard.SentenceEncoder.from_pretrained(tmp_path)
    batch = encoder.tokenizer("some words", return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.model(**batch).last_hidden_state[0]
    expected = torch.cat([hidden[0], hidden.amax(0)])
    assert np.allclose(encoder.encode("some words"), expected, atol=1e-6)
    config.write_text(json.dumps({"pooling_mode": "middle"}))
    with pytest.raises(regard.CheckpointError, match="no known pooling"):
        regard.SentenceEncoder.from_pretrained(tmp_path)
    modules.append({"path": "2_Dense", "type": "c.Dense"})
    config.write_text(json.dumps({"pooling_mode": "mean"}))
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(regard.CheckpointError, match="Dense"):
        regard.SentenceEncoder.from_pretrained(tmp_path)


def test_without_modules_json_the_mean_is_taken_and_said(tmp_path, caplog):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    regard.BertModel(regard.BertConfig(**sizes, intermediate_size=8)).save_pretrained(tmp_path)
    regard.AutoTokenizer.from_pretrained(MINILM).save_pretrained(tmp_path)
    encoder = regard.SentenceEncoder.from_pretrained(tmp_path)
    assert "no modules.json" in caplog.text
    assert (encoder.pooling.modes, encoder.pooling.normalize) == (("mean",), False)


def test_loaded_models_and_options():
    folder = find_checkpoint(MINILM).path("config.json").parent
    model = regard.BertModel.from_pretrained(folder, dtype="bfloat16")
    tokenizer = regard.AutoTokenizer.from_pretrained(folder)
    pipe = regard.pipeline("feature-extraction", model, tokenizer, max_length=4)
    assert pipe("many more words than that").shape == (1, 7, 384)
    assert pipe("a").dtype == np.float32


def test_budgets_are_the_devices_unless_somebody_says_otherwise(encoder, monkeypatch):
    assert usual_tokens(torch.device("cpu")) < usual_tokens(torch.device("cuda", 0))
    asked = []
    monkeypatch.setattr(
        "regard.pipelines.pipeline.token_batches",
        lambda lengths, budget: asked.append(budget) or token_batches(lengths, budget),
    )
    encoder.encode(TEXTS)
    regard.SentenceEncoder(encoder.model, encoder.tokenizer, batch_tokens=7).encode(TEXTS)
    assert asked == [usual_tokens(torch.device("cpu")), 7]
    with pytest.raises(ValueError, match="batch_tokens is 0"):
        regard.SentenceEncoder(encoder.model, encoder.tokenizer, batch_tokens=0)


def test_embeddings_fill_one_array(encoder, monkeypatch):
    texts = ["x"] * 20_000
    vectors = np.random.default_rng(0).random((len(texts), 384), np.float32)
    monkeypatch.setattr(
        encoder, "stream", lambda given: (vectors[0] + i for i, _ in enumerate(given))
    )
    tracemalloc.start()
    try:
        found = encoder.encode(texts)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * found.nbytes
    finally:
        tracemalloc.stop()
    assert found.shape == vectors.shape
    assert found.dtype == np.float32
    assert np.array_equal(found[19_999], vectors[0] + 19_999)
    assert np.array_equal(encoder.encode(iter(texts)), found)


@pytest.mark.parametrize("budget", [1, 5, 100])
def test_batches_hold_every_index_once_within_the_budget(budget):
    lengths = [3, 9, 0, 4, 4, 1]
    batches = [*token_batches(lengths, budget)]
    assert sorted(i for batch in batches for i in batch) == [*range(6)]
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= budget
    with pytest.raises(ValueError, match="at least one token"):
        [*token_batches(lengths, 0)]
