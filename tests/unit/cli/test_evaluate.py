"""`regard evaluate` for every task, with the metrics that it is known by."""

import json
import math

import pytest
import torch

import regard
from regard.training.tasks.registry import TASKS, task_class

from .. import writers
from . import task_data

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CLASSES = {"loss", "accuracy", "f1", "precision", "recall", "matthews_correlation"}
SPANS = {"loss", "accuracy", "f1", "precision", "recall"}
WORDS = {"loss", "perplexity", "accuracy"}


def plain(path, count):
    path.mkdir(parents=True, exist_ok=True)
    texts = [text for text, _ in task_data.sentiments(count)]
    (path / "data.txt").write_text("\n".join(texts) + "\n")
    return path / "data.txt"


def documents(path, count):
    path.mkdir(parents=True, exist_ok=True)
    pairs = [f"{text} .\nann sees the film ." for text, _ in task_data.sentiments(count)]
    (path / "data.txt").write_text("\n\n".join(pairs) + "\n")
    return path / "data.txt"


#: Task -> what writes its data, the family of the model, and metrics that must be there.
CASES = {
    "text-classification": (task_data.classification, "bert", CLASSES),
    "text-regression": (task_data.regression, "bert", {"pearsonr", "spearmanr", "mse", "mae"}),
    "token-classification": (task_data.names, "bert", {*SPANS, "f1_PER", "f1_LOC"}),
    "predicate-identification": (task_data.roles, "bert", {*SPANS, "f1_V"}),
    "semantic-role-labeling": (task_data.roles, "bert", {*SPANS, "f1_ARG0", "f1_ARG1"}),
    "question-answering": (task_data.questions, "bert", {"loss", "exact_match", "f1"}),
    "multiple-choice": (task_data.choices, "bert", {"loss", "accuracy"}),
    "translation": (task_data.summaries, "bart", {"loss", "perplexity", "bleu", "chrf"}),
    "summarization": (task_data.summaries, "bart", {"loss", "perplexity", "rouge1", "rougeL"}),
    "image-classification": (task_data.pictures, "vit", CLASSES),
    "masked-lm": (plain, "bert", WORDS),
    "masked-lm-nsp": (documents, "bert", {*WORDS, "next_sentence_accuracy"}),
    "causal-lm": (plain, "gpt2", {*WORDS, "bits_per_character"}),
    "denoising": (plain, "bart", WORDS),
    "span-corruption": (plain, "t5", WORDS),
    "replaced-token-detection": (plain, "electra", {"accuracy", "recall", "generator_accuracy"}),
}
#: What the data calls a column, where a task does not know the name.
COLUMNS = {"translation": ("--columns", "text=document,target=summary")}


def save(task, family, examples, folder):
    """Save a random model of a family for a task; return its folder."""
    kind = task_class(task)()
    torch.manual_seed(0)
    if family == "t5":
        model, tokenizer = writers.seq2seq()
        model.float().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder
    if family == "electra":
        task_data.save_bert(folder)
        sizes = {"vocab_size": len(task_data.tokenizer()), "embedding_size": 16, **task_data.SIZES}
        config = regard.ElectraConfig(max_position_embeddings=48, **sizes)
    else:
        getattr(task_data, f"save_{family}")(folder)
        config = regard.AutoConfig.from_pretrained(folder)
    config = config.replace(**kind.config_for(examples, config))
    kind.auto.from_config(config).save_pretrained(folder)
    return folder


def test_every_task_is_here():
    assert [*CASES] == [*TASKS]


@pytest.mark.parametrize("task", CASES)
def test_a_model_of_another_is_measured_by_its_data(task, run, tmp_path):
    """One that does not say its task, of a checkpoint that nobody here has trained."""
    write, family, wanted = CASES[task]
    data = write(tmp_path / "data", 12)
    kind, columns = task_class(task)(), COLUMNS.get(task, ())
    given = dict(pair.split("=") for pair in columns[1].split(",")) if columns else None
    examples = kind.named(kind.read(data), given)
    model = save(task, family, examples, tmp_path / "model")
    asked = ("evaluate", "--task", task, "--model", model, "--data", data, *columns, "--cpu")
    short = ("--set", "max_new_tokens=4") if task in ("translation", "summarization") else ()
    done = run(*asked, *short, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["task"], found["examples"]) == (task, len(examples))
    assert wanted <= {*found["metrics"]}, found
    assert all(math.isfinite(found["metrics"][name]) for name in wanted if name != "pearsonr")
    # Not even what is masked or cut out differs from one time to the next.
    assert json.loads(run(*asked, *short, "--json").stdout) == found
    shown = run(*asked, *short).stdout
    assert all(name in shown for name in wanted if not name.startswith("f1_"))
