"""Models are compared on tiny data whose answers are known, most of them inside this process."""

import functools
import json
import mmap
import re
import subprocess
import sys

import pytest
import torch

import regard
from regard.errors import ConfigError, DataError
from regard.runtime.memory import forget_peak, memory_now, memory_peak
from regard.runtime.precision import multiplies_bf16
from regard.selection import measuring, survey, worker
from regard.selection.candidates import candidates
from regard.selection.folds import fold_numbers
from regard.selection.linear import LOSSES, STRENGTH, cross_validated, fit
from regard.selection.survey import Asked, Recommendation, Survey
from regard.training.tasks.registry import task_class

from ..cli import task_data

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

#: Task -> what writes its data, the checkpoint, the metric and what is done.
LINEAR = {
    "text-classification": (task_data.classification, "bert", "accuracy", "linear"),
    "natural-language-inference": (task_data.pairs, "bert", "accuracy", "linear"),
    "multi-label-classification": (task_data.several, "bert", "f1_micro", "linear"),
    "text-regression": (task_data.regression, "bert", "spearmanr", "linear"),
    "ner": (task_data.names, "bert", "f1", "linear"),
    "predicate-identification": (task_data.roles, "bert", "f1", "linear"),
    "image-classification": (task_data.pictures, "vit", "accuracy", "linear"),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "bert": task_data.save_bert(folder / "bert"),
        "bart": task_data.save_bart(folder / "bart"),
        "gpt2": task_data.save_gpt2(folder / "gpt2"),
        "vit": task_data.save_vit(folder / "vit"),
    }


@pytest.fixture
def here(monkeypatch):
    """Measure inside this process, after the request was written and read as JSON."""
    monkeypatch.setattr(measuring, "TIMES", 3)

    def in_this_process(request):
        told = json.loads(json.dumps(request, default=survey._plain))
        try:
            return worker.measure(told["model"], worker.terms_of(told))
        except worker.EXPECTED as error:
            return {"reason": str(error)}

    monkeypatch.setattr(survey, "_in_a_process", in_this_process)


@pytest.mark.parametrize("task", LINEAR)
def test_a_linear_model_of_vectors_finds_what_the_words_say(task, checkpoints, here, tmp_path):
    write, checkpoint, metric, method = LINEAR[task]
    data = write(tmp_path / "data", 40)
    (found,) = regard.recommend(task, data, [checkpoints[checkpoint]])
    assert (found.reason, found.metric, found.method) == ("", metric, method)
    assert found.score > 0.8, found
    assert 0 <= found.spread < 0.5
    assert not found.ready
    assert found.latency > 0 < found.throughput
    assert found.memory >= 0
    assert found.command.startswith(f"regard train --model {checkpoints[checkpoint]} --task ")
    assert f"--data {data} --output OUT" in found.command


def test_a_model_that_was_trained_for_the_task_is_taken_as_it_is(checkpoints, here, tmp_path):
    data = task_data.classification(tmp_path / "data", 40)
    model = task_data.train(checkpoints["bert"], data, tmp_path / "trained")
    found = regard.recommend("sentiment-analysis", data, [model, checkpoints["bert"]])
    by_method = {each.method: each for each in found}
    assert by_method["as trained"].model == str(model)
    assert by_method["as trained"].score == 1.0
    assert by_method["as trained"].ready
    assert by_method["as trained"].spread is None
    assert by_method["as trained"].command == (
        f"regard run text-classification --model {model} --file FILE"
    )
    assert by_method["linear"].model == str(checkpoints["bert"])


def test_a_trained_model_with_other_labels_is_one_to_train(checkpoints, here, tmp_path):
    model = task_data.train(
        checkpoints["bert"], task_data.classification(tmp_path / "data", 16), tmp_path / "trained"
    )
    rows = [(text, label.upper()) for text, label in task_data.sentiments(16)]
    other = task_data.write_tsv(tmp_path / "other.tsv", ("text", "label"), rows)
    (found,) = regard.recommend("text-classification", other, [model])
    assert (found.method, found.ready, found.reason) == ("linear", False, "")


def test_answers_need_a_trained_model_or_steps_of_training(checkpoints, here, tmp_path):
    data = task_data.questions(tmp_path / "data", 24)
    (found,) = regard.recommend("qa", data, [checkpoints["bert"]])
    assert "it was not trained for question-answering" in found.reason
    assert "--fine-tune" in found.reason
    assert found.score is None
    model = task_data.train(checkpoints["bert"], data, tmp_path / "trained", "qa", epochs=20)
    (found,) = regard.recommend("qa", data, [model])
    assert (found.metric, found.method) == ("f1", "as trained")
    assert found.score > 90
    assert found.longest == 48


def test_fine_tuning_trains_for_the_steps_that_are_said(checkpoints, here, tmp_path):
    data = task_data.choices(tmp_path / "data", 40)
    options = {"learning_rate": 3e-3, "per_device_train_batch_size": 8}
    asked = {"fine_tune": 30, "options": options}
    (found,) = regard.recommend("multiple-choice", data, [checkpoints["bert"]], **asked)
    assert (found.reason, found.method, found.score) == ("", "30 steps", 1.0)
    assert "--set learning_rate=0.003 --set per_device_train_batch_size=8" in found.command
    (again,) = regard.recommend("multiple-choice", data, [checkpoints["bert"]], **asked)
    assert again.score == found.score
    # What was not learned cannot be right about the opposite too.
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    opposite = [{**row, "label": 1 - row["label"]} for row in rows]
    (other,) = regard.recommend("multiple-choice", opposite, [checkpoints["bert"]], **asked)
    assert other.score == 1.0


def test_texts_are_written_while_time_is_taken(checkpoints, here, tmp_path):
    data = task_data.summaries(tmp_path / "data", 12)
    asked = {"fine_tune": 2, "options": {"max_new_tokens": 4}}
    (found,) = regard.recommend("summarization", data, [checkpoints["bart"]], **asked)
    assert (found.reason, found.metric, found.method) == ("", "rougeL", "2 steps")
    assert "--set max_new_tokens=4" in found.command


SIMILAR = {
    "sentence1": ["A man is eating pasta.", "A man is eating pasta.", "The sun shines."],
    "sentence2": ["Someone is having dinner.", "The stock market fell.", "It is a sunny day."],
    "score": [4.0, 0.5, 4.5],
}


def test_similarity_needs_no_training(here):
    (found,) = regard.recommend("sts", SIMILAR)
    cosines = regard.pipeline("sentence-similarity")
    wanted = [
        cosines(a, b) for a, b in zip(SIMILAR["sentence1"], SIMILAR["sentence2"], strict=True)
    ]
    order = sorted(range(3), key=wanted.__getitem__)
    assert order[0] == 1
    assert found.model == MINILM
    assert found.score == pytest.approx(1.0 if order == [1, 0, 2] else 0.5)
    assert (found.metric, found.method, found.longest) == ("spearmanr", "cosine", 256)
    assert found.command.startswith("regard run sentence-similarity")


def test_ranking_counts_the_first_document_that_answers(here, checkpoints):
    rows = [
        {"query": "Who eats?", "document": "The stock market fell.", "relevance": 0},
        {"query": "Who eats?", "document": "A man is eating pasta.", "relevance": 1},
        {"query": "What fell?", "document": "The stock market fell.", "relevance": 1},
        {"query": "Nothing answers this.", "document": "A man is eating pasta.", "relevance": 0},
    ]
    (found,) = regard.recommend("ranking", rows)
    assert (found.metric, found.score, found.method) == ("mrr", 1.0, "cosine")
    swapped = [{**row, "relevance": 1 - row["relevance"]} for row in rows[:2]] + rows[2:]
    (worse,) = regard.recommend("ranking", swapped)
    assert worse.score == pytest.approx(0.75)
    assert "--set documents=@FILE" in worse.command


def test_a_cross_encoder_reads_pairs(here, checkpoints, tmp_path):
    torch.manual_seed(0)
    config = regard.AutoConfig.from_pretrained(checkpoints["bert"]).replace(num_labels=1)
    regard.BertForSequenceClassification(config).save_pretrained(tmp_path / "cross")
    task_data.tokenizer().save_pretrained(tmp_path / "cross")
    rows = {"query": ["ann", "bob"], "document": ["ann is good", "bob is bad"]}
    (found,) = regard.recommend("ranking", rows, [tmp_path / "cross"])
    assert (found.reason, found.method) == ("", "reads pairs")
    assert found.score in (0.5, 0.75, 1.0)


def test_the_best_within_the_limits_comes_first(monkeypatch, here, tmp_path):
    def measured(request):
        return {
            "slow": {"score": 0.9, "latency": 30.0, "memory": 10.0},
            "large": {"score": 0.95, "latency": 3.0, "memory": 1000.0},
            "good": {"score": 0.8, "latency": 5.0, "memory": 20.0},
            "quick": {"score": 0.8, "latency": 2.0, "memory": 20.0},
            "silent": {"score": float("nan"), "latency": 2.0, "memory": 20.0},
            "broken": {"reason": "no weights"},
        }[request["model"]]

    monkeypatch.setattr(survey, "_in_a_process", measured)
    data = task_data.classification(tmp_path, 12)
    models = ["broken", "silent", "slow", "good", "large", "quick"]
    found = regard.recommend("text-classification", data, models, latency=20, memory=500)
    assert [each.model for each in found] == ["quick", "good", "large", "slow", "broken", "silent"]
    assert [each.reason for each in found] == [
        "",
        "",
        "1,000.0 MB, allowed are 500",
        "30.0 ms, allowed are 20",
        "no weights",
        "no score: it says the same of every example",
    ]
    free = regard.recommend("text-classification", data, models)
    assert [each.model for each in free][:4] == ["large", "slow", "quick", "good"]


def test_one_that_is_bad_does_not_stop_the_others(here, checkpoints, tmp_path):
    data = task_data.classification(tmp_path / "data", 12)
    damaged = task_data.save_bert(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"not tensors")
    models = [damaged, checkpoints["bart"], tmp_path / "nothing", checkpoints["bert"]]
    good, *bad = regard.recommend("text-classification", data, models)
    assert (good.model, good.reason) == (str(checkpoints["bert"]), "")
    reasons = {each.model: each.reason for each in bad}
    assert "model.safetensors" in reasons[str(damaged)]
    assert "BartModel" in reasons[str(checkpoints["bart"])]
    assert "no such folder" in reasons[str(tmp_path / "nothing")]


@pytest.mark.slow
def test_each_candidate_has_a_process_of_its_own(checkpoints, tmp_path, monkeypatch):
    """Scores are those of this process, and memory is that of the candidate, not of tests."""
    data = task_data.classification(tmp_path / "data", 40)
    folder = tmp_path / "models"
    task_data.save_bert(folder / "small")
    task_data.save_bert(
        folder / "large", hidden_size=512, intermediate_size=4096, num_hidden_layers=4
    )
    found = regard.recommend("text-classification", data, [folder])
    by_name = {each.model: each for each in found}
    small, large = by_name[str(folder / "small")], by_name[str(folder / "large")]
    assert (small.reason, large.reason) == ("", "")
    weights = 4 * (large.parameters - small.parameters) / 1e6
    # Those of the file, and those that are laid out in what the processor multiplies.
    kept = weights * (1.5 if multiplies_bf16(torch.device("cpu")) else 2)
    assert large.memory - small.memory == pytest.approx(kept, rel=0.4)
    assert small.latency > 0
    assert large.latency > 0
    asked = Asked(task="text-classification", data=data).survey()
    assert worker.measure(str(folder / "small"), asked.terms)["score"] == small.score


def test_a_process_that_dies_is_told_of(tmp_path, monkeypatch):
    data = task_data.classification(tmp_path / "data", 12)
    asked = Asked(task="text-classification", data=data).survey()
    run = subprocess.run
    for code, said in (("1/0", "ZeroDivisionError"), ("import os; os.abort()", "signal 6")):
        quick = functools.partial(_instead, run, [sys.executable, "-c", code])
        monkeypatch.setattr(subprocess, "run", quick)
        assert said in asked.measure("any").reason


def _instead(run, command, _, **options):
    return run(command, **options)


def test_peaks_are_of_what_happens_after_they_are_forgotten():
    forget_peak()
    before = memory_now()
    with mmap.mmap(-1, 80_000_000) as block:  # which goes back to the system when it is closed
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert memory_peak() - before > 70e6
    forget_peak()
    assert memory_peak() - before < 40e6


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification"])
def test_logistic_regression_is_that_of_scikit_learn(kind):
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(80, 5, generator=generator, dtype=torch.float64)
    scores = vectors @ torch.randn(5, 3, generator=generator, dtype=torch.float64)
    noisy = scores + torch.randn(80, 3, generator=generator, dtype=torch.float64)
    several = kind.startswith("multi")
    targets = (noisy > 0).double() if several else noisy.argmax(1)
    weight, bias = fit(vectors, targets, 3, LOSSES[kind])
    said = (vectors @ weight + bias).numpy()
    if several:
        # The mean over labels weighs each a third.
        peer = LogisticRegression(C=STRENGTH / 3, tol=1e-10, max_iter=1000)
        wanted = peer.fit(vectors, targets[:, 0]).decision_function(vectors)
        assert said[:, 0] == pytest.approx(wanted, abs=2e-3)
    else:
        peer = LogisticRegression(C=STRENGTH, tol=1e-10, max_iter=1000).fit(vectors, targets)
        wanted = peer.predict_proba(vectors)
        found = torch.from_numpy(said).softmax(1).numpy()
        assert found == pytest.approx(wanted, abs=2e-3)


def test_what_is_held_out_is_not_learned_from():
    """Labels that are noise are not foreseen, however many numbers a vector has."""
    generator = torch.Generator().manual_seed(1)
    vectors, targets = torch.randn(300, 400, generator=generator), torch.arange(300) % 2
    targets = targets[torch.randperm(300, generator=generator)]
    fold = torch.arange(300) % 5
    said = cross_validated(vectors, targets, fold, 2, "single_label_classification")
    assert 0.4 < (said.argmax(1) == targets).float().mean() < 0.6


def examples_of(labels, **more):
    texts = [f"text {number}" for number in range(len(labels))]
    return regard.Examples({"text": texts, "label": labels, **more})


TEXTS = task_class("text-classification")()


def test_folds_have_the_same_classes_and_depend_on_the_seed():
    labels = ["a"] * 10 + ["b"] * 30
    found = fold_numbers(TEXTS, examples_of(labels), 5, 0)
    for fold in range(5):
        inside = [label for label, number in zip(labels, found, strict=True) if number == fold]
        assert (inside.count("a"), inside.count("b")) == (2, 6)
    assert found == fold_numbers(TEXTS, examples_of(labels), 5, 0)
    assert found != fold_numbers(TEXTS, examples_of(labels), 5, 1)


def test_examples_of_one_unit_are_in_one_fold():
    rows = {
        "question": ["?"] * 9,
        "context": ["a", "b", "c"] * 3,
        "answers": [{"text": ["a"], "answer_start": [0]}] * 9,
    }
    found = fold_numbers(task_class("qa")(), regard.Examples(rows), 5, 0)
    assert found[:3] == found[3:6] == found[6:]
    assert sorted(found[:3]) == [0, 1, 2]


def test_fewer_folds_are_told_of(caplog):
    assert max(fold_numbers(TEXTS, examples_of(["a", "b", "b", "a", "b", "a"]), 5, 0)) == 2
    assert "3 folds, not 5: of 'a' there are 3 examples" in caplog.text
    assert max(fold_numbers(TEXTS, examples_of(["a", "b", "b", "c"]), 5, 0)) == 1
    assert "2 folds, not 5: of a, c there is one example, which nothing" in caplog.text
    rows = {"tokens": [["a"]] * 3, "tags": [["A"], ["B"], ["A"]]}
    assert max(fold_numbers(task_class("ner")(), regard.Examples(rows), 5, 0)) == 2
    assert "3 folds, not 5: there are 3 examples to hold out" in caplog.text


def test_more_examples_than_wanted_are_drawn(caplog, tmp_path):
    data = task_data.classification(tmp_path, 60)
    asked = Asked(task="text-classification", data=data, max_examples=20)
    first, second = asked.survey().terms.examples, asked.survey().terms.examples
    assert [*first] == [*second]
    assert len(first) == 20
    assert "measured on 20 of 60 examples" in caplog.text
    assert str(first.where(0)).startswith(str(data))


WRONG = {
    "no such task": ({"task": "text-clasification"}, "did you mean 'text-classification'"),
    "nothing to compare by": ({"task": "masked-lm"}, "there are no answers to compare models by"),
    "one label": ({"data": {"text": ["a", "b"], "label": ["x", "x"]}}, "the only label is x"),
    "one example": ({"data": {"text": ["a"], "label": ["x"]}}, "the only label is x"),
    "no label": ({"data": {"text": ["a", "b"], "label": ["x", None]}}, "example 1: the label in"),
    "no column": ({"data": {"txt": ["a"], "label": ["x"]}}, "no column 'text'"),
    "no examples": ({"data": {"text": [], "label": []}}, "the data holds no example"),
    "no text": ({"data": {"text": ["a", " "], "label": ["x", "y"]}}, "example 1: 'text' is empty"),
    "too few labels": (
        {"task": "ner", "data": {"tokens": [["a", "b"], ["c"]], "tags": [["A"], ["B"]]}},
        "example 0: 2 words and 1 labels in 'tags'",
    ),
    "no number": (
        {"task": "sts", "data": {**SIMILAR, "score": [1, 2, "much"]}}, "'label' is 'much'",
    ),
    "one number": (
        {"task": "sts", "data": {**SIMILAR, "score": [1, 1, 1]}}, "every 'label' is 1",
    ),
    "no pair": ({"task": "sts", "data": {"text": ["a"], "label": [1]}}, "no column 'text_pair'"),
    "nothing relevant": (
        {"task": "ranking", "data": {"query": ["a"], "document": ["b"], "label": [0]}},
        "no 'label' is above 0",
    ),
    "one sentence": (
        {"task": "ner", "data": {"tokens": [["a", "b"]], "tags": [["A", "B"]]}},
        "there is only one example",
    ),
    "one fold": ({"folds": 1}, "folds=1; wanted at least 2"),
    "no time": ({"latency": 0}, "latency is 0; it must be more than 0"),
    "no steps": ({"fine_tune": -3}, "fine_tune is -3; it must be more than 0"),
    "no such option": ({"options": {"learning_rate": 1}}, "no option 'learning_rate'"),
    "no such argument": (
        {"options": {"learning_rat": 1}, "fine_tune": 1}, "learning_rate",
    ),
    "trained ranking": (
        {"task": "ranking", "data": {"query": ["a"], "document": ["b"]}, "fine_tune": 3},
        "ranking is measured without training",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_told_before_a_model_is_loaded(what, monkeypatch):
    monkeypatch.setattr(Survey, "measure", None)
    changes, message = WRONG[what]
    given = {"task": "text-classification", "data": {"text": ["a", "b"], "label": ["x", "y"]}}
    with pytest.raises((ConfigError, DataError), match=re.escape(message)):
        regard.recommend(**given | changes)


def test_files_are_named_with_their_lines(tmp_path):
    data = task_data.write_tsv(tmp_path / "d.tsv", ("text", "score"), [("a", 1), ("b", "x")])
    with pytest.raises(DataError, match=r"d\.tsv, line 3: 'label' is 'x'"):
        regard.recommend("text-regression", data)


def terms_of(task, **more):
    data = {"text": ["a", "b"], "label": ["x", "y"]} | more
    return Asked(task=task, data=data).survey().terms


def test_candidates_are_what_is_at_hand(checkpoints):
    assert MINILM in candidates(terms_of("text-classification"))
    terms = terms_of("text-classification")
    folder = checkpoints["bert"].parent
    assert candidates(terms, [folder, "a/b"]) == [
        *(str(folder / name) for name in ("bart", "bert", "gpt2", "vit")), "a/b",
    ]  # fmt: skip
    assert candidates(terms, [folder / "bert", str(folder / "bert")]) == [str(folder / "bert")]
    with pytest.raises(ConfigError, match="no candidate is named"):
        candidates(terms, [])
    texts = {"text": ["a", "b"], "target": ["c", "d"]}
    terms = Asked(task="translation", data=texts).survey().terms
    with pytest.raises(ConfigError, match=r"no embedded model .* translation: name candidates"):
        candidates(terms)


def test_a_recommendation_is_frozen():
    with pytest.raises(AttributeError):
        Recommendation(model="a").model = "b"
