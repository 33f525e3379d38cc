"""Evaluation and prediction: every example once, in order; and what happens around a run."""

import numpy as np
import pytest
import torch

import regard


def example(number, length, label):
    return {"input_ids": [3 + (number * 7 + i) % 25 for i in range(length)], "labels": label}


LENGTHS = [2, 9, 4, 4, 7, 1, 9, 3, 5, 6, 2]
TOKENS = [
    example(i, n, [(i + j) % 3 if (i * j) % 4 != 1 else -100 for j in range(n)])
    for i, n in enumerate(LENGTHS)
]
TEXTS = [example(i, n, i % 2) for i, n in enumerate(LENGTHS)]


def pad(features):
    """Put ragged examples together, as a collator does."""
    width = max(len(each["input_ids"]) for each in features)
    batch = {"input_ids": [], "attention_mask": [], "labels": []}
    for each in features:
        rest = width - len(each["input_ids"])
        batch["input_ids"].append(each["input_ids"] + [1] * rest)
        batch["attention_mask"].append([1] * len(each["input_ids"]) + [0] * rest)
        label = each["labels"]
        batch["labels"].append(label + [-100] * rest if isinstance(label, list) else label)
    return {name: torch.tensor(rows) for name, rows in batch.items()}


@pytest.fixture
def trainer(tiny_config, tmp_path):
    def make(task="TokenClassification", data=TOKENS, kind=regard.Trainer, **options):
        given = {
            name: options.pop(name)
            for name in ("compute_metrics", "callbacks", "preprocess_logits_for_metrics")
            if name in options
        }
        torch.manual_seed(0)
        model = getattr(regard, f"BertFor{task}")(tiny_config("bert", num_labels=3)).eval()
        args = regard.TrainingArguments(
            tmp_path / "out",
            **{
                "per_device_eval_batch_size": 4,
                "per_device_train_batch_size": 4,
                "use_cpu": True,
                "report_to": "none",
                "disable_tqdm": True,
                "save_strategy": "no",
                **options,
            },
        )
        return kind(model, args, pad, data, data, **given)

    return make


@pytest.mark.parametrize("size", [1, 4, 11])
def test_predictions_are_in_the_order_of_the_data(trainer, size):
    made = trainer(per_device_eval_batch_size=size)
    found = made.predict(TOKENS)
    assert found.predictions.shape == (11, 9, 3)
    assert found.label_ids.shape == (11, 9)
    for row, each in enumerate(TOKENS):
        count = len(each["labels"])
        assert found.label_ids[row, :count].tolist() == each["labels"]
        assert (found.label_ids[row, count:] == -100).all()
        alone = made.model(torch.tensor([each["input_ids"]])).logits[0].detach().numpy()
        np.testing.assert_allclose(found.predictions[row, :count], alone, atol=1e-6)
    padding = found.predictions[5, 1:]
    assert np.isin(padding, (0, -100)).all()
    assert (padding == -100).any() or size == 11
    assert {"test_loss", "test_runtime"} <= {*found.metrics}


@pytest.mark.parametrize(
    ("task", "data"), [("TokenClassification", TOKENS), ("SequenceClassification", TEXTS)]
)
@pytest.mark.parametrize("size", [1, 4])
def test_the_loss_is_that_of_all_at_once(trainer, task, data, size):
    made = trainer(task, data, per_device_eval_batch_size=size)
    expected = made.model(**pad(data)).loss.item()
    assert made.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-6)


def test_metrics_get_what_they_asked_for(trainer):
    seen = {}

    def metrics(prediction):
        seen["all"] = prediction
        predictions, labels, inputs, _ = prediction
        assert predictions.shape == labels.shape == inputs.shape == (11, 9)
        return {"accuracy": np.float32((predictions == labels)[labels != -100].mean()), "n": 3}

    made = trainer(
        compute_metrics=metrics,
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
        include_for_metrics=["inputs", "loss"],
    )
    found = made.evaluate(metric_key_prefix="dev")
    assert found["dev_n"] == 3
    assert isinstance(found["dev_accuracy"], float)
    assert seen["all"].losses.shape == (11,)
    assert [*seen["all"].inputs[2][:4]] == TOKENS[2]["input_ids"]
    made.compute_metrics = lambda prediction: 0.5
    with pytest.raises(regard.ConfigError, match="must return a dict of numbers; found float"):
        made.evaluate()


def test_several_evaluation_sets_are_one_evaluation(trainer):
    seen = []

    class Listener(regard.TrainerCallback):
        def on_evaluate(self, args, state, control, **run):
            seen.append(run["metrics"])

    made = trainer(callbacks=[Listener])
    found = made.evaluate({"a": TOKENS[:3], "b": TOKENS[3:]})
    assert {"eval_a_loss", "eval_b_loss"} <= {*found}
    assert seen == [found]
    assert made.evaluate(TOKENS[:3])["eval_loss"] == pytest.approx(found["eval_a_loss"])


def test_the_best_of_several_sets_is_watched(trainer):
    made = trainer(
        eval_strategy="epoch",
        metric_for_best_model="a_loss",
        num_train_epochs=6,
        learning_rate=0.0,
        callbacks=[regard.EarlyStoppingCallback(early_stopping_patience=2)],
    )
    made.eval_dataset = {"a": TOKENS[:3], "b": TOKENS[3:]}
    made.train()
    assert made.state.epoch == 3  # the first is the best, and two are no better
    made.train()
    assert made.state.epoch == 3  # a new run counts anew


def test_early_stopping_needs_something_to_compare(trainer):
    made = trainer(callbacks=[regard.EarlyStoppingCallback])
    with pytest.raises(regard.ConfigError, match="set metric_for_best_model and eval_strategy"):
        made.train()
    made = trainer(
        callbacks=[regard.EarlyStoppingCallback],
        eval_strategy="epoch",
        metric_for_best_model="f1",
        compute_metrics=lambda prediction: {"accuracy": 1.0},
    )
    with pytest.raises(regard.ConfigError, match="'f1', which no evaluation gave"):
        made.train()


def test_evaluation_leaves_the_model_in_its_mode(trainer):
    made = trainer()
    made.model.train()
    made.evaluate()
    assert made.model.training


def test_events_come_in_order(trainer):
    names = []

    class Listener(regard.TrainerCallback):
        def __getattribute__(self, name):
            if name.startswith("on_"):
                names.append(name)
            return super().__getattribute__(name)

    made = trainer(
        callbacks=[Listener()],
        max_steps=2,
        gradient_accumulation_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        logging_steps=1,
        save_strategy="steps",
    )
    made.train()
    step = ["on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_optimizer_step"]
    last = ["on_step_begin", "on_pre_optimizer_step", "on_optimizer_step"]
    assert names == [
        "on_init_end",
        "on_train_begin",
        "on_epoch_begin",
        *step,
        "on_step_end",
        "on_log",
        *last,  # eleven examples by four: the third batch is a step by itself
        "on_step_end",
        "on_log",
        "on_log",
        "on_evaluate",
        "on_save",
        "on_epoch_end",
        "on_log",
        "on_train_end",
    ]


def test_a_callback_may_end_an_epoch_and_replace_the_control(trainer):
    class Ending(regard.TrainerCallback):
        def on_step_end(self, args, state, control, **run):
            return regard.TrainerControl(should_epoch_stop=True)

    made = trainer(callbacks=[Ending], num_train_epochs=2, max_steps=4)
    made.train()
    assert (made.state.global_step, made.state.whole_epochs) == (4, 4)


def test_what_is_trained_on_is_counted(trainer):
    made = trainer(num_train_epochs=2)
    made.train()
    assert made.state.tokens_seen == 2 * sum(LENGTHS)
    assert made.state.epoch == 2


@pytest.mark.parametrize("kind", ["loss", "gradients"])
def test_what_is_not_finite_names_the_examples(trainer, kind):
    class Bad(regard.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = model(**inputs).loss
            if inputs["input_ids"].shape[1] < 9:
                return loss
            if kind == "loss":
                return loss * float("nan")
            return (
                loss
                + (model.classifier.weight[0, 0].detach() - model.classifier.weight[0, 0]).sqrt()
            )

    made = trainer(kind=Bad, train_sampling_strategy="sequential", data=TOKENS[2:])
    before = {n: p.detach().clone() for n, p in made.model.named_parameters()}
    with pytest.raises(FloatingPointError, match=r"step 2 .*examples \[4, 5, 6, 7\]") as error:
        made.train()
    assert ("is nan" if kind == "loss" else "norm of the gradients of step 2") in str(error.value)
    changed = [n for n, p in made.model.named_parameters() if not torch.equal(p, before[n])]
    assert changed  # by the first step
    assert all(p.isfinite().all() for p in made.model.parameters())


def batches_of(made):
    return [batch["input_ids"] for batch in made.get_train_dataloader()]


def test_group_by_length_and_budgets_of_tokens(trainer):
    data = [example(i, 1 + i % 9, [0] * (1 + i % 9)) for i in range(90)]
    grouped = batches_of(trainer(data=data, group_by_length=True))
    random = batches_of(trainer(data=data))
    assert sum(map(len, grouped)) == sum(map(len, random)) == 90
    assert sum(b.numel() for b in grouped) < 0.9 * sum(b.numel() for b in random)
    assert grouped[0].shape[1] == 9  # the longest first
    masks = [
        b["attention_mask"]
        for b in trainer(data=data, per_device_train_tokens=20).get_train_dataloader()
    ]
    assert sum(map(len, masks)) == 90
    assert max(int(mask.sum()) for mask in masks) <= 20
    assert len({len(mask) for mask in masks}) > 1


def test_a_loss_over_batches_of_tokens_is_that_of_all(trainer):
    made = trainer(
        per_device_train_tokens=12, gradient_accumulation_steps=100, max_steps=1, learning_rate=0
    )
    for module in made.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    made.add_callback(Quiet())
    expected = made.model(**pad(TOKENS)).loss.item()
    assert made.train().training_loss == pytest.approx(expected, rel=1e-6)


class Quiet(regard.TrainerCallback):
    """Drops nothing."""

    def on_step_begin(self, args, state, control, **run):
        run["model"].eval()


def test_streams_end(trainer):
    made = trainer(max_steps=3)
    made.train_dataset = Stream()
    made.train()
    assert made.state.global_step == 3
    made.args.max_steps = -1
    with pytest.raises(regard.ConfigError, match="a stream of training data has no end"):
        made.train()


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(TOKENS[:5])


def test_a_stream_that_is_used_up_is_an_error(trainer):
    made = trainer(max_steps=3)
    made.train_dataset = iter(TOKENS[:5])
    with pytest.raises(regard.ConfigError, match=r"nothing in pass 2; .* read only once"):
        made.train()


def test_no_full_batch_is_an_error(trainer):
    made = trainer(data=TOKENS[:3], dataloader_drop_last=True)
    with pytest.raises(regard.ConfigError, match="makes no full batch"):
        made.train()
    for given, message in {(): "nothing to train on", ("x",): "nothing to evaluate on"}.items():
        made.train_dataset = made.eval_dataset = None
        with pytest.raises(regard.ConfigError, match=message):
            made.evaluate() if given else made.train()


def test_columns_that_the_model_takes(trainer):
    made = trainer()
    batch = made._collate()([(0, {**TOKENS[0], "text": "a"})])
    assert {*batch} == {"input_ids", "attention_mask", "labels"}
    with pytest.raises(regard.ConfigError, match="no column of the data is an argument"):
        made._collate()([(0, {"text": "a"})])


def test_a_loss_of_two_parts_is_the_mean_of_each_over_all_data(tmp_path):
    torch.manual_seed(0)
    config = regard.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    model = regard.BertForPreTraining(config).eval()
    ids = torch.randint(5, 40, (5, 8))
    labels = torch.where(torch.arange(40).view(5, 8) % 7 < 2, ids, -100)
    labels[0, 1:] = -100  # the parts have other shares of the batches
    rows = [
        {"input_ids": ids[i], "labels": labels[i], "next_sentence_label": torch.tensor(i % 2)}
        for i in range(5)
    ]
    run = regard.Trainer(
        model,
        regard.TrainingArguments(
            tmp_path, per_device_eval_batch_size=2, report_to="none", disable_tqdm=True
        ),
        eval_dataset=rows,
    )
    with torch.no_grad():
        expected = model(
            ids, labels=labels, next_sentence_label=torch.tensor([0, 1, 0, 1, 0])
        ).loss.item()
    assert run.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-6)
