"""A step is what its examples are, not how they were cut into batches: for every head we have."""

import inspect

import pytest
import torch

import regard
from regard.models.losses import CrossEntropy, Labelled

from .families import (
    BASE,
    LENGTH,
    but_kin,
    each_once,
    every_task,
    inputs,
    model_class,
    one_of_each_kind,
    tiny,
)

ROWS, CHOICES = 16, 3
TOLERANCE = 1e-10
CUTS = [(4, 4), *(pytest.param(cut, marks=pytest.mark.slow) for cut in ((16, 1), (1, 16)))]


def has_loss(model_type, task):
    head = model_class(model_type, task)
    takes = inspect.signature(head.forward).parameters
    return issubclass(head, Labelled) and {*head.label_arguments} <= {*takes}


HEADS = [each for each in every_task() if each[1] != BASE and has_loss(*each)]
CLASSIFYING = [each for each in HEADS if model_class(*each).classifies]
SEQUENCES = [each for each in HEADS if each[1] in ("SequenceClassification", "ImageClassification")]


def examples(model, seed=3, labels=True):
    """Return ragged, partly labelled rows of whatever a head reads, in doubles."""
    draw = torch.Generator().manual_seed(seed)
    batch = inputs(model, ROWS, seed=seed)
    target = batch.pop("decoder_input_ids", None)
    lengths = torch.randint(2, LENGTH + 1, (ROWS,), generator=draw)
    if "input_ids" in batch:
        mask = (torch.arange(LENGTH) < lengths[:, None]).long()
        batch["attention_mask"] = mask
        if target is not None:  # some heads read the vector of the end token
            batch["input_ids"][torch.arange(ROWS), lengths - 1] = model.config.eos_token_id
    else:
        batch["pixel_values"] = batch["pixel_values"].double()
    if by_choice(model):
        others = range(CHOICES)
        batch = {n: torch.stack([v.roll(k, 0) for k in others], 1) for n, v in batch.items()}
    if not labels:
        return batch
    with torch.no_grad():
        answers = model(**batch, **{} if target is None else {"decoder_input_ids": target})
    return batch | labels_for(model, answers, lengths, draw)


def by_choice(model):
    return type(model).__name__.endswith(("MultipleChoice", "DoubleHeadsModel"))


def labels_for(model, answers, lengths, draw):
    """Return labels of every kind a head has; a third of the items have none, and whole rows."""

    def drawn(shape, classes):
        labels = torch.randint(classes, shape, generator=draw)
        labels[torch.rand(shape, generator=draw) < 0.33] = -100
        return labels

    kinds = model.label_arguments
    if kinds == ("bool_masked_pos",):
        patches = (model.config.image_size // model.config.patch_size) ** 2
        return {"bool_masked_pos": torch.rand(ROWS, patches, generator=draw) < 0.5}
    if "start_positions" in kinds:
        places = {n: (torch.rand(ROWS, generator=draw) * lengths).long() for n in kinds}
        for row, name in enumerate(kinds):
            places[name][row] = -100
            places[name][5 + 2 * row] = LENGTH + 3  # an answer that was cut off
        return places
    if "next_sentence_label" in kinds:
        words = answers.prediction_logits.shape[-1]
        both = drawn((ROWS, LENGTH), words), drawn((ROWS,), 2)
        return dict(zip(kinds, both, strict=True))
    logits = answers.logits
    if logits.shape == (ROWS, LENGTH):  # a yes or no for each token
        return {"labels": drawn((ROWS, LENGTH), 2)}
    labels = drawn(logits.shape[:-1], logits.shape[-1])
    if labels.dim() > 1:
        labels[2] = -100
    return {"labels": labels}


def rows_of(batch):
    return [{name: value[row] for name, value in batch.items()} for row in range(ROWS)]


class Recorder(regard.TrainerCallback):
    """Keeps the gradients of a step; nothing is dropped, so that steps can be compared."""

    def on_step_begin(self, args, state, control, **run):
        run["model"].eval()

    def on_pre_optimizer_step(self, args, state, control, **run):
        named = run["model"].named_parameters()
        self.gradients = {n: p.grad.clone() for n, p in named if p.grad is not None}


def one_step(folder, model, batch, cut, kind=regard.Trainer, **options):
    """Return loss and gradients of one step over all rows, `cut` into (size, batches)."""
    size, batches = cut
    of_trainer = {n: options.pop(n) for n in ("compute_loss_func",) if n in options}
    args = regard.TrainingArguments(
        folder,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=batches,
        max_steps=1,
        max_grad_norm=0,
        learning_rate=0,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        remove_unused_columns=False,
        **options,
    )
    recorder = Recorder()
    trainer = kind(model, args, train_dataset=rows_of(batch), callbacks=[recorder], **of_trainer)
    return trainer.train().training_loss, recorder.gradients


def at_once(model, batch):
    """Return loss and gradients of all rows in one forward, without a trainer."""
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.item(), gradients


def assert_same_step(found, expected):
    assert abs(found[0] - expected[0]) <= TOLERANCE
    assert expected[1]
    assert any(gradient.abs().max() > 1e-6 for gradient in expected[1].values())
    for name, gradient in expected[1].items():
        difference = (found[1][name] - gradient).abs().max().item()
        assert difference <= TOLERANCE, f"gradient of {name} differs by {difference:.1e}"


class PlainMean(regard.Trainer):
    """What people write: the mean over the batch."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def counts_of(model, batch):
    return tuple(float(count) for count in model(**batch).loss_parts.counts)


@pytest.mark.parametrize(("model_type", "task"), but_kin(HEADS))
def test_counts_are_known_before_the_forward(model_type, task):
    model = tiny(model_type, task).double()
    batch = examples(model)
    found = model.label_counts(batch)
    assert found == pytest.approx(counts_of(model, batch), abs=TOLERANCE)
    assert min(found) > 0
    for name in model.label_arguments:
        assert model.label_counts({n: v for n, v in batch.items() if n != name}) == ()


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "x".join(map(str, cut)))
@pytest.mark.parametrize(("model_type", "task"), each_once(HEADS))
def test_a_step_does_not_depend_on_how_it_is_cut(model_type, task, cut, tmp_path):
    model = tiny(model_type, task).double()
    batch = examples(model)
    assert_same_step(one_step(tmp_path, model, batch, cut), at_once(model, batch))


@pytest.mark.parametrize(("model_type", "task"), each_once(HEADS))
def test_a_plain_mean_of_ones_own_is_weighed(model_type, task, tmp_path):
    model = tiny(model_type, task).double()
    batch = examples(model)
    if len(model.label_arguments) > 1:  # one mean cannot be weighed by two counts
        batch = {n: v[6:7].repeat(ROWS, *[1] * (v.dim() - 1)) for n, v in batch.items()}
    expected = at_once(model, batch)
    assert_same_step(one_step(tmp_path, model, batch, (4, 4), PlainMean), expected)


@pytest.mark.parametrize(("model_type", "task"), each_once(CLASSIFYING))
def test_weighed_smoothed_and_focal_steps_too(model_type, task, tmp_path):
    model = tiny(model_type, task).double()
    batch = examples(model)
    classes = model(**batch).logits.shape[-1]
    weights = (torch.rand(classes) + 0.01) / 50  # sums far below 1
    model.criterion = CrossEntropy(0.1, 2.0, weights.float())
    assert model.label_counts(batch) == pytest.approx(counts_of(model, batch), rel=1e-6)
    expected = at_once(model, batch)
    model.criterion = Labelled.criterion
    asked = {
        "label_smoothing_factor": 0.1,
        "focal_gamma": 2.0,
        "class_weights": weights.float().tolist(),
    }
    found = one_step(tmp_path, model, batch, (4, 4), **asked)
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    for name, gradient in expected[1].items():
        assert torch.allclose(found[1][name], gradient, rtol=1e-6, atol=1e-9), name


@pytest.mark.parametrize(
    ("model_type", "task"), [each for each in HEADS if each not in CLASSIFYING]
)
def test_other_losses_refuse_to_be_weighed(model_type, task, tmp_path):
    model = tiny(model_type, task).double()
    with pytest.raises(regard.ConfigError, match=r"label_smoothing_factor .* cross-entropy"):
        one_step(tmp_path, model, examples(model), (4, 4), label_smoothing_factor=0.1)


@pytest.mark.parametrize("whole", [False, True], ids=["floats", "integers"])
@pytest.mark.parametrize(
    "labels",
    [{"num_labels": 1}, {"num_labels": 3, "problem_type": "multi_label_classification"}],
    ids=["regression", "several labels"],
)
@pytest.mark.parametrize("model_type", one_of_each_kind(dict(SEQUENCES)))
def test_numbers_and_several_labels(model_type, labels, whole, tmp_path):
    model = tiny(model_type, dict(SEQUENCES)[model_type], **labels).double()
    batch = examples(model, labels=False)
    several = torch.randint(2, (ROWS, model.config.num_labels)).squeeze(1)
    batch["labels"] = several if whole else several.double()
    assert model.label_counts(batch) == counts_of(model, batch) == (several.numel(),)
    assert_same_step(one_step(tmp_path, model, batch, (4, 4)), at_once(model, batch))
    with pytest.raises(regard.ConfigError, match="are for one label of several; this is"):
        one_step(tmp_path, model, batch, (4, 4), focal_gamma=1.0)


def test_a_loss_function_is_given_the_number_of_items(tmp_path):
    model = tiny("bert", "TokenClassification").double()
    batch = examples(model)
    seen = []

    def summed(outputs, labels, items):
        seen.append(items)
        return outputs.loss_parts.totals[0] / items

    found = one_step(tmp_path, model, batch, (4, 4), compute_loss_func=summed)
    counted = batch["labels"].masked_fill(batch["attention_mask"] == 0, -100) != -100
    assert seen == [counted.sum()] * 4
    assert_same_step(found, at_once(model, batch))


def test_a_model_of_others_is_weighed_by_its_labels(tmp_path):
    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = torch.nn.Embedding(60, 4, dtype=torch.float64)

        def forward(self, input_ids, labels=None):
            logits = self.scores(input_ids)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
            return {"loss": loss, "logits": logits}

    torch.manual_seed(0)
    model, ids = Other(), torch.randint(60, (ROWS, LENGTH))
    labels = torch.where(torch.rand(ROWS, LENGTH) < 0.4, -100, torch.randint(4, (ROWS, LENGTH)))
    labels[:, 0] = 1
    model(ids, labels)["loss"].backward()
    expected = model(ids, labels)["loss"].item(), {"scores.weight": model.scores.weight.grad}
    model.zero_grad()
    batch = {"input_ids": ids, "labels": labels}
    assert_same_step(one_step(tmp_path, model, batch, (4, 4)), expected)
    with pytest.raises(regard.ConfigError, match=r"focal_gamma and class_weights .* Other is none"):
        one_step(tmp_path, model, batch, (4, 4), focal_gamma=1.0, class_weights="balanced")
