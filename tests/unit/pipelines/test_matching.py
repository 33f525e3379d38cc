"""Ranking, search, groups and images: forms of input, long documents, errors."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regard
from regard.pipelines import nearest
from regard.pipelines.clustering import close_pairs, communities
from regard.pipelines.passages import best_places

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = ["I flew to Rome", "boil the pasta", "the parliament voted"]
LONG = "travel " * 300 + "boil the pasta in water. " + "and sleep " * 300


@pytest.fixture(scope="module")
def ranker() -> Any:
    return regard.pipeline("ranking")


@pytest.fixture(scope="module")
def encoder() -> Any:
    return regard.SentenceEncoder.from_pretrained()


def _classifier(labels: list[str]) -> Any:
    torch.manual_seed(0)
    tokenizer = regard.AutoTokenizer.from_pretrained(MINILM)
    config = regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
    )
    return {"model": regard.BertForSequenceClassification(config), "tokenizer": tokenizer}


def test_ranking_is_best_first(ranker: Any) -> None:
    found = ranker("cooking", TEXTS)
    assert [*found[0]] == ["index", "score", "text"]
    assert (found[0]["index"], found[0]["text"]) == (1, TEXTS[1])
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    vectors = ranker.encode(["cooking", TEXTS[1]])
    assert found[0]["score"] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    assert ranker("cooking", TEXTS, top_k=1) == found[:1]
    both = ranker(["cooking", "a trip"], TEXTS, top_k=1)
    assert [each[0]["index"] for each in both] == [1, 0]
    assert [*ranker(iter(["cooking"]), iter(TEXTS), top_k=1)] == [found[:1]]
    assert ranker("cooking", []) == []


def test_long_documents_match_by_a_part(ranker: Any) -> None:
    best = next(each for each in ranker("cooking pasta", [*TEXTS, LONG]) if each["index"] == 3)
    assert "boil the pasta" in LONG[best["start"] : best["end"]]
    assert best["end"] - best["start"] < len(LONG)
    whole = ranker.encode([LONG, "cooking pasta"])
    assert best["score"] > float(whole[0] @ whole[1])


def test_errors_of_ranking(ranker: Any) -> None:
    with pytest.raises(TypeError, match="wanted document 1; found NoneType"):
        ranker("a", ["b", None])
    with pytest.raises(ValueError, match="top_k is 0"):
        ranker("a", ["b"], top_k=0)
    kind = regard.pipeline("ranking", on_error="return")
    found = kind(["cooking", 5], TEXTS)
    assert found[0][0]["index"] == 1
    assert isinstance(found[1], regard.Failure)


@pytest.mark.parametrize("labels", [["score"], ["no", "yes"]], ids=len)
def test_a_cross_encoder_reads_both(labels: list[str]) -> None:
    """Packed pairs give what single ones do; the best window of a long document counts."""
    ranker = regard.pipeline("ranking", **_classifier(labels))
    documents = [*TEXTS, LONG]
    found = ranker(["cooking", "a trip to Italy"], documents)
    for query, hits in zip(["cooking", "a trip to Italy"], found, strict=True):
        for each in hits[:4]:
            part = each["text"][each["start"] : each["end"]] if "start" in each else each["text"]
            batch = ranker.tokenizer(query, part, return_tensors="pt")
            logits = ranker.model(**batch).logits[0].detach()
            chances = logits.softmax(0)[1] if len(labels) == 2 else logits.sigmoid()[0]
            assert each["score"] == pytest.approx(float(chances), abs=1e-5)
    with pytest.raises(TypeError, match="makes no vectors"):
        ranker.encode("a")
    with pytest.raises(ValueError, match=r"input 0: .* tokens, which leaves room for 0 "):
        ranker("word " * 100, documents)


def test_a_classifier_of_three_does_not_rank() -> None:
    with pytest.raises(TypeError, match="one label, or with two"):
        regard.pipeline("ranking", **_classifier(["a", "b", "c"]))


def test_entailment_of_long_texts_and_its_labels() -> None:
    given = _classifier(["contradiction", "neutral", "entailment"])
    kind = regard.pipeline("zero-shot-classification", **given, candidate_labels=["a", "b b"])
    long = kind(LONG)
    assert sum(long["scores"]) == pytest.approx(1)
    changed = kind(LONG.replace("sleep", "wake"))
    assert changed["scores"] != long["scores"], "the end of a long text is not read"
    assert kind(iter(["x", "y"])).__next__() == kind("x")
    with pytest.raises(TypeError, match="a, b, which tells nothing"):
        regard.pipeline("zero-shot-classification", **_classifier(["a", "b"]))
    with pytest.raises(TypeError, match="needs candidate_labels"):
        regard.pipeline("zero-shot-classification", **given)("a")


def test_text_classification_with_labels_is_zero_shot() -> None:
    kind = regard.pipeline("text-classification", candidate_labels=["travel", "cooking"])
    assert isinstance(kind, regard.ZeroShotClassificationPipeline)
    assert kind(TEXTS[1])["labels"][0] == "cooking"


@pytest.mark.parametrize("approximate", [False, True])
def test_search_finds_what_ranking_finds(
    encoder: Any, ranker: Any, tmp_path: Path, approximate: bool
) -> None:
    """From a stream, saved, loaded, with more texts."""
    if approximate:
        pytest.importorskip("faiss")
    texts = [*TEXTS, LONG]
    index = regard.SearchIndex.build(iter(texts), encoder, approximate=approximate)
    queries = ["cooking pasta", "a trip"]
    expected = ranker(queries, texts)
    for found, known in zip(index.search(queries, 4), expected, strict=True):
        assert [each["index"] for each in found] == [each["index"] for each in known]
        assert [each.get("start") for each in found] == [each.get("start") for each in known]
        assert [each["score"] for each in found] == pytest.approx(
            [each["score"] for each in known], abs=1e-5
        )
    index.save(tmp_path / "index")
    again = regard.SearchIndex.load(tmp_path / "index", encoder)
    assert again.search(queries, 2) == index.search(queries, 2)
    assert not isinstance(again.texts, list), "texts are to stay in their file"
    again.add(["pasta recipes"])
    assert again.search("pasta recipes", 1)[0]["index"] == 4
    again.save(tmp_path / "index")
    pipe = regard.SearchPipeline(encoder.model, encoder.tokenizer, encoder.pooling)
    assert pipe("pasta recipes", tmp_path / "index", top_k=1)[0]["index"] == 4
    assert not [*(tmp_path / "index").glob("*.pkl")]


def test_an_empty_index_and_bad_texts(encoder: Any) -> None:
    index = regard.SearchIndex(encoder)
    assert index.search("a") == []
    with pytest.raises(TypeError, match="wanted text 1; found int 3"):
        index.add(["fine", 3])
    assert len(index) == 0
    index.add([])
    index.add(["one"])
    assert [each["text"] for each in index.search("a", None)] == ["one"]


def test_damaged_indexes_are_refused(encoder: Any, tmp_path: Path) -> None:
    with pytest.raises(regard.CheckpointNotFoundError, match="no search index"):
        regard.SearchIndex.load(tmp_path, encoder)
    regard.SearchIndex.build(TEXTS, encoder).save(tmp_path)
    vectors, texts, about = (
        tmp_path / name for name in ("vectors.safetensors", "texts.jsonl", "index.json")
    )
    whole = {path: path.read_bytes() for path in (vectors, texts, about)}
    vectors.write_bytes(whole[vectors][:-8])
    with pytest.raises(regard.CheckpointError, match=r"wanted .* bytes, found"):
        regard.SearchIndex.load(tmp_path, encoder)
    vectors.write_bytes(b"\xff" * len(whole[vectors]))
    with pytest.raises(regard.CheckpointError, match="damaged"):
        regard.SearchIndex.load(tmp_path, encoder)
    vectors.write_bytes(whole[vectors])
    texts.write_bytes(b"{" * len(whole[texts]))
    with pytest.raises(regard.CheckpointError, match="line 2: damaged"):
        regard.SearchIndex.load(tmp_path, encoder).search("cooking", 1)
    texts.write_bytes(whole[texts])
    about.write_text(json.dumps({**json.loads(whole[about]), "documents": 2}))
    with pytest.raises(regard.CheckpointError, match=r"holds .* wanted"):
        regard.SearchIndex.load(tmp_path, encoder)


def test_another_model_is_refused(encoder: Any, tmp_path: Path) -> None:
    regard.SearchIndex.build(TEXTS, encoder).save(tmp_path)
    other = _classifier(["a", "b"])
    small = regard.SentenceEncoder(other["model"].bert, other["tokenizer"])
    with pytest.raises(regard.CheckpointError, match=r"were made with .*MiniLM.*of 16"):
        regard.SearchIndex.load(tmp_path, small)
    cls = regard.SentenceEncoder(
        encoder.model, encoder.tokenizer, regard.pipelines.pooling.SentencePooling(("cls",))
    )
    with pytest.raises(regard.CheckpointError, match="Load the index with the encoder"):
        regard.SearchIndex.load(tmp_path, cls)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of several windows, equal scores, blocks smaller than a document."""

    class Index:
        vectors = np.round(np.random.default_rng(0).normal(size=(50, 3)), 1).astype(np.float32)
        starts = np.array([0, 1, 5, 6, 7, 20, 21, 22, 30, 50])

    queries = Index.vectors[:4]
    expected = nearest.nearest_exact(Index(), queries, 5)
    for query, found in zip(queries, expected, strict=True):
        scores = Index.vectors @ query
        best = [scores[a:b].max() for a, b in zip(Index.starts, Index.starts[1:], strict=False)]
        order = np.argsort(-np.array(best), kind="stable")[:5]
        assert [document for document, _ in found] == order.tolist()
    monkeypatch.setattr(nearest, "BLOCK", 4)
    found = nearest.nearest_exact(Index(), queries, 5)
    assert [[d for d, _ in each] for each in found] == [[d for d, _ in each] for each in expected]


def test_equals_keep_their_order() -> None:
    scores = np.array([1, 3, 3, 2, 3, 1], np.float32)
    assert best_places(scores, 2).tolist() == [1, 2]
    assert best_places(scores, None).tolist() == [1, 2, 4, 3, 0, 5]


def test_paraphrases(encoder: Any) -> None:
    texts = ["How old are you?", "boil the pasta", "What is your age?", "cook the pasta"]
    mine = regard.ParaphraseMiningPipeline(encoder.model, encoder.tokenizer, encoder.pooling)
    found = mine(iter(texts), threshold=0.5)
    assert {(each["first"], each["second"]) for each in found} == {(0, 2), (1, 3)}
    assert found[0]["score"] >= found[1]["score"]
    assert (found[0]["first_text"], found[0]["second_text"]) == (
        texts[found[0]["first"]],
        texts[found[0]["second"]],
    )
    assert mine(texts, threshold=0.5, top_k=1) == found[:1]
    assert mine([]) == []
    with pytest.raises(TypeError, match="give several"):
        mine("a text")


def test_pairs_of_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    whole = close_pairs(vectors, 0.5, 30)
    monkeypatch.setattr("regard.pipelines.clustering.BLOCK", 7)
    for one, other in zip(close_pairs(vectors, 0.5, 30), whole, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert len(whole[0]) == 30


def test_clusters(encoder: Any) -> None:
    texts = ["fly to Rome", "boil pasta", "a flight to Rome", "cook pasta", "cooking pasta", "zzz"]
    group = regard.ClusteringPipeline(encoder.model, encoder.tokenizer, encoder.pooling)
    found = group(texts, threshold=0.6)
    assert [sorted(each["indices"]) for each in found] == [[1, 3, 4], [0, 2]]
    for each in found:
        assert each["text"] == texts[each["center"]] == each["texts"][0]
        assert each["texts"] == [texts[i] for i in each["indices"]]
    pytest.importorskip("sklearn")
    split = group(texts, clusters=3)
    assert sorted(i for each in split for i in each["indices"]) == [*range(6)]
    assert group(texts, clusters=3) == split
    with pytest.raises(ValueError, match="clusters is 9; wanted 1 to 6"):
        group(texts, clusters=9)


def test_communities_of_nothing_and_of_copies() -> None:
    assert [*communities(np.empty((0, 3), np.float32), 0.5, 2)] == []
    (every,) = communities(np.ones((50, 1), np.float32), 0.5, 2)
    assert every.tolist() == [*range(50)]


@pytest.fixture(scope="module")
def images() -> Any:
    torch.manual_seed(0)
    config = regard.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        initializer_range=0.5,
        num_labels=3,
    )
    model = regard.ViTForImageClassification(config)
    processor = regard.ImageProcessor(size=16)
    return regard.pipeline(
        "image-classification", model, image_processor=processor, on_error="return"
    )


def test_images_in_any_form(images: Any, tmp_path: Path) -> None:
    from PIL import Image

    drawn = np.random.default_rng(0).integers(0, 256, (4, 20, 24, 3), dtype=np.uint8)
    expected = images([*drawn])
    assert [*expected[0][0]] == ["label", "score"]
    assert len(expected[0]) == 3
    assert images(drawn) == expected
    assert images(drawn[0]) == images(Image.fromarray(drawn[0])) == images([drawn[0]])[0]
    assert images(torch.from_numpy(drawn[1])) == images([drawn[1]])[0]
    Image.fromarray(drawn[2]).save(tmp_path / "a.png")
    assert images(tmp_path / "a.png") == images(str(tmp_path / "a.png")) == images([drawn[2]])[0]
    assert [*images(iter(drawn))] == expected
    (tmp_path / "b.png").write_text("no picture")
    found = images([drawn[0], tmp_path / "b.png", "missing.png", 7], top_k=1)
    assert found[0] == images(drawn[0], top_k=1)
    assert [each.index for each in found[1:]] == [1, 2, 3]
    assert "no picture of a format" in found[1].error
    assert "missing.png" in found[2].error
    with pytest.raises(TypeError, match="pass image_processor"):
        regard.pipeline("image-classification", images.model)


def test_options_of_calls_may_be_said_once() -> None:
    given = _classifier(["a", "b", "c"])
    every = regard.pipeline("sentiment-analysis", **given, return_all_scores=True)
    assert len(every("x")) == 3
    assert every("x", return_all_scores=False) == every("x", top_k=-1, return_all_scores=None)
    two = regard.pipeline("text-classification", **given, top_k=2)
    assert (len(two("x")), len(two("x", 1))) == (2, 1)
    with pytest.raises(TypeError, match=r"no option 'top_n'; did you mean 'top_k'"):
        regard.pipeline("text-classification", **given, top_n=2)


def test_options_of_older_versions(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = regard.AutoTokenizer.from_pretrained(MINILM)
    config = regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    model = regard.BertForTokenClassification(config)
    old = {"framework": "pt", "device": -1, "batch_size": 2, "num_workers": 4, "use_fast": True}
    ner = regard.pipeline("ner", model, tokenizer=tokenizer, grouped_entities=True, **old)
    assert (ner.aggregation_strategy, ner.batch_size) == ("simple", 2)
    assert 'grouped_entities is now aggregation_strategy="simple"' in caplog.text
    assert regard.pipeline("feature-extraction", MINILM, tokenizer=MINILM, **old)("a").ndim == 3
    with pytest.raises(ValueError, match="framework='tf' is not possible"):
        regard.pipeline("feature-extraction", framework="tf")
    with pytest.raises(TypeError, match="another kind of model"):
        regard.pipeline("image-classification", model, tokenizer=tokenizer)


@pytest.mark.parametrize("many", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_stream_of_inputs_in_flat_memory(many: int) -> None:
    """What is resident after some thousands is about what is resident at the end."""
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        pytest.skip("resident memory is read from /proc")
    kind = regard.pipeline("text-classification", **_classifier(["a", "b"]), batch_tokens=8192)

    def resident() -> float:
        return int(statistics.read_text().split()[1]) * 4096 / 2**20

    count, after = 0, 0.0
    for _ in kind(f"word {number % 97}" for number in range(many)):
        count += 1
        if count in (5_000, many):
            after, before = resident(), after
    assert count == many
    assert after - before < 8, f"{before:.0f} MiB grew to {after:.0f} MiB"


def test_a_stream_shows_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """From some chunks on, with how many are done; elsewhere nothing is written."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setattr("regard.pipelines.running.CHUNK", 2)
    kind = regard.pipeline("text-classification", **_classifier(["a", "b"]))
    assert len([*kind(iter(["x"] * 40))]) == 40
    assert written.getvalue() == ""
    monkeypatch.setattr(written, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert len([*kind(iter(["x"] * 40))]) == 40
    assert "text-classification" in written.getvalue()
