"""Every pre-training task end to end on a small made-up language: the loss falls, runs resume."""

import json
import random

import pytest
import torch

from regard.data.pretraining import pack_documents
from regard.errors import ConfigError
from regard.text.learn import train_tokenizer
from regard.training.job import open_run
from regard.training.plan import plan_of
from regard.training.settings import ALONE, read_settings

NAMES = ["anna", "bert", "carl", "dora"]
THINGS = {"anna": "apples", "bert": "books", "carl": "carpets", "dora": "drums"}
KINDS = {
    "masked-lm": "bert",
    "masked-lm-nsp": "bert",
    "replaced-token-detection": "electra",
    "causal-lm": "gpt2",
    "denoising": "bart",
    "span-corruption": "t5",
}
SHAPE = {
    "hidden_size": 32,
    "embedding_size": 32,
    "num_hidden_layers": 1,
    "num_decoder_layers": 1,
    "num_attention_heads": 4,
    "decoder_attention_heads": 4,
    "intermediate_size": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
    "head_dim": 8,
}


def documents(count):
    """Documents of three sentences about one person, who always has the same thing."""
    choose = random.Random(11)
    found = []
    for _ in range(count):
        name = choose.choice(NAMES)
        number = choose.choice(["two", "six", "ten"])
        found.append(f"{name} has {number} {THINGS[name]} .\nthe {THINGS[name]} are for {name} .\n")
    return found


@pytest.fixture
def folder(tmp_path, tiny_config):
    """A folder with text, and one with a configuration and a tokenizer for a task."""
    (tmp_path / "train.txt").write_text("\n".join(documents(120)), encoding="utf-8")
    (tmp_path / "dev.txt").write_text("\n".join(documents(30)), encoding="utf-8")

    def make(task):
        kind = KINDS[task]
        if (tmp_path / kind).exists():
            return tmp_path / kind
        texts = [line for text in documents(120) for line in text.splitlines()]
        tokenizer = train_tokenizer(texts, kind, 380)
        config = tiny_config(
            kind,
            **SHAPE,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id or 0,
        )
        tokenizer.save_pretrained(tmp_path / kind)
        config.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    make.root = tmp_path
    return make


def settings(folder, task, **more):
    return read_settings(
        {
            "task": task,
            "data": str(folder.root / "train.txt"),
            "validation": str(folder.root / "dev.txt"),
            "from_config": str(folder(task) / "config.json"),
            "output_dir": str(folder.root / "out"),
            "num_train_epochs": 20 if task == "replaced-token-detection" else 8,
            "per_device_train_batch_size": 16,
            "learning_rate": 5e-3,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            **more,
        }
    )


@pytest.mark.parametrize(
    "task",
    [kind if kind == "masked-lm" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_the_loss_falls_and_the_model_says_what_it_is(folder, task):
    run = open_run(settings(folder, task))
    before = run.trainer.evaluate()
    after = run.train()
    assert after["eval_loss"] < 0.7 * before["eval_loss"], (before, after)
    if task == "replaced-token-detection":
        assert after["eval_generator_accuracy"] > before["eval_generator_accuracy"] + 0.2
    else:
        assert after["eval_perplexity"] < before["eval_perplexity"] / 3
        assert after["eval_accuracy"] > before["eval_accuracy"] + 0.2
    saved = json.loads((folder.root / "out" / "config.json").read_text())
    assert saved["regard_task"]["name"] == task
    loaded = run.parts[ALONE].task.auto.from_pretrained(folder.root / "out")
    for name, tensor in run.trainer.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def halved(folder, task, tmp_path, **more):
    """Return the weights of a run of 12 steps, and of one that stopped after 5 and went on."""
    found = []
    for name, steps in (("whole", [12]), ("parts", [5, 12])):
        for number, last in enumerate(steps):
            output = str(tmp_path / name)
            wanted = settings(
                folder, task, output_dir=output, max_steps=last, save_strategy="steps",
                save_steps=5, eval_strategy="no", lr_scheduler_type="constant", warmup_steps=0,
                save_total_limit=9, **more,
            )  # fmt: skip
            run = open_run(wanted)
            run.train(True if number else None)
        found.append(run.trainer.model.state_dict())
    return found


@pytest.mark.parametrize("task", KINDS)
def test_a_stream_goes_on_to_the_same_bits(folder, task, tmp_path):
    more = {"streaming": True, "shuffle_buffer": 30, "per_device_train_batch_size": 40}
    whole, parts = halved(folder, task, tmp_path, **more)
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


def test_a_stream_is_mixed_otherwise_in_every_pass(folder):
    run = open_run(settings(folder, "causal-lm", streaming=True, max_steps=3))
    stream, loader = run.parts[ALONE].training.dataset, run.trainer.get_train_dataloader()
    passes = []
    for epoch in (0, 1, 0):
        loader.dataset.set_epoch(epoch)
        passes.append([row["input_ids"] for _, row in loader.dataset])
    assert passes[0] == passes[2] != passes[1]
    assert sorted(passes[0]) == sorted(passes[1])
    assert len(passes[0]) == 240
    assert stream.epoch == 0


def test_a_stream_needs_steps_and_no_split(folder):
    wanted = settings(folder, "causal-lm", streaming=True, validation=None)
    with pytest.raises(ConfigError, match="nothing can be held out of a stream"):
        open_run(wanted)
    run = open_run(settings(folder, "causal-lm", streaming=True, eval_strategy="no"))
    with pytest.raises(ConfigError, match="give max_steps"):
        run.train()


def test_going_on_from_a_checkpoint(folder):
    first = open_run(settings(folder, "masked-lm"))
    first.train()
    lower = first.trainer.evaluate()["eval_loss"]
    more = settings(
        folder, "masked-lm", from_config=None, model=str(folder.root / "out"),
        output_dir=str(folder.root / "more"), num_train_epochs=1,
    )  # fmt: skip
    run = open_run(more)
    assert run.trainer.evaluate()["eval_loss"] == pytest.approx(lower, abs=1e-6)


def test_rows_are_whole_texts_in_pieces(folder):
    run = open_run(settings(folder, "causal-lm", by="document", max_length=17))
    rows = run.parts[ALONE].training.dataset.column("input_ids")
    tokenizer = run.trainer.processing_class
    assert [len(row) for row in rows[:-1]] == [17] * (len(rows) - 1)
    text = tokenizer.decode([number for row in rows for number in row])
    assert text == (folder.root / "train.txt").read_text() + tokenizer.eos_token
    masked = open_run(settings(folder, "masked-lm", by="paragraph", max_length=9))
    for row in masked.parts[ALONE].training.dataset.column("input_ids"):
        assert (row[0], row[-1]) == (2, 3)
        assert len(row) <= 9


def test_the_cost_of_a_character(folder):
    run = open_run(settings(folder, "causal-lm"))
    found = run.trainer.evaluate()
    lines = [line for line in (folder.root / "dev.txt").read_text().splitlines() if line]
    characters = sum(len(line) + 1 for line in lines)
    tokenizer = run.trainer.processing_class
    tokens = sum(len(tokenizer(line)["input_ids"]) + 1 for line in lines)
    cost = found["eval_loss"] * tokens / characters
    assert found["eval_nats_per_character"] == pytest.approx(cost, rel=1e-5)
    assert found["eval_bits_per_character"] == pytest.approx(cost / 0.6931471805599453, rel=1e-5)


def test_documents_packed_into_blocks_cost_what_they_cost_alone(folder):
    run = open_run(settings(folder, "causal-lm"))
    model = run.trainer.model.double().eval()
    collate = run.parts[ALONE].task.collator(run.trainer.processing_class)
    texts = run.parts[ALONE].training.dataset.column("input_ids")[:12]
    for block in pack_documents(texts, 40):
        packed = collate(block)
        batch = model.pack(packed["input_ids"], packed["attention_mask"], None, None, None)
        assert len(batch.ids) == sum(map(len, block)) <= 40 < packed["input_ids"].numel()
        together = model(**packed).loss_parts
        alone = [model(**collate([row])).loss_parts for row in block]
        total = sum(each.totals[0] for each in alone)
        torch.testing.assert_close(together.totals[0], total, rtol=0, atol=1e-10)
        assert int(together.counts[0]) == sum(int(each.counts[0]) for each in alone)


def test_a_vocabulary_that_the_model_lacks(folder):
    wanted = settings(folder, "masked-lm")
    file = folder.root / "bert" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"vocab_size": 20}))
    with pytest.raises(ConfigError, match="vocab_size is 20; set it to"):
        open_run(wanted)


def test_only_an_electra_detects(folder):
    wanted = settings(folder, "replaced-token-detection")
    bert = settings(folder, "masked-lm").from_config
    with pytest.raises(ConfigError, match="only an ELECTRA"):
        open_run(settings(folder, "replaced-token-detection", from_config=bert))
    assert open_run(wanted)


def test_a_stream_is_not_planned(folder):
    wanted = settings(folder, "causal-lm", streaming=True, max_steps=3)
    with pytest.raises(ConfigError, match="plan without streaming"):
        plan_of(open_run(wanted))
    assert plan_of(open_run(settings(folder, "causal-lm"))).examples["training"] == 240
