"""A student's step is what its examples are, not how they were cut; and what the papers say."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

import regard
from regard.models.losses import CrossEntropy

from .families import each_once, model_class, tiny
from .test_training_loss import CLASSIFYING, CUTS, ROWS, assert_same_step, examples, one_step

TEMPERATURE, ALPHA = 3.0, 0.7


def pair(model_type, task, **options):
    """Return a student and a teacher with the same classes, in doubles."""
    student = tiny(model_type, task, **options).double()
    teacher = copy.deepcopy(student)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in teacher.parameters():
            noise = torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
            parameter.add_(noise * 0.2)
    return student, teacher


def kind(teacher, **how):
    given = regard.Distillation(**{"temperature": TEMPERATURE, "alpha": ALPHA, **how})
    return partial(regard.DistillationTrainer, teacher=teacher, distillation=given)


HEADS = [each for each in CLASSIFYING if len(model_class(*each).label_arguments) == 1]


def by_hand(student, teacher, batch, hidden=None):
    """Return loss and gradients as the papers write them, over all rows at once."""
    student.zero_grad()
    told = {} if hidden is None else {"output_hidden_states": True}
    ours = student(**batch, **told)
    with torch.no_grad():
        theirs = teacher(**batch, **told)
    (labels,) = student.labels_that_count(batch)
    at = labels != -100
    student_log = (ours.logits[at] / TEMPERATURE).log_softmax(-1)
    probabilities = (theirs.logits[at] / TEMPERATURE).softmax(-1)
    each = (probabilities * (probabilities.log() - student_log)).sum(-1)
    loss = (1 - ALPHA) * ours.loss + ALPHA * TEMPERATURE**2 * each.mean()
    if hidden is not None:
        mask = batch["attention_mask"].bool()
        layers = zip(ours.hidden_states[1:], theirs.hidden_states[1:], strict=True)
        each = [hidden(a[mask], b[mask]) for a, b in layers]
        loss = loss + 0.3 * sum(each) / len(each)
    loss.backward()
    named = student.named_parameters()
    gradients = {n: p.grad.clone() for n, p in named if p.grad is not None}
    student.zero_grad()
    return loss.item(), gradients


@pytest.mark.parametrize(("model_type", "task"), each_once(HEADS))
def test_a_step_is_hintons_however_it_is_cut(model_type, task, tmp_path):
    student, teacher = pair(model_type, task)
    batch = examples(student)
    found = one_step(tmp_path, student, batch, (4, 4), kind(teacher))
    assert_same_step(found, by_hand(student, teacher, batch))


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "x".join(map(str, cut)))
@pytest.mark.parametrize("hidden", ["cosine", "mse"])
@pytest.mark.parametrize("task", ["TokenClassification", "SequenceClassification"])
def test_hidden_vectors_too(task, hidden, cut, tmp_path):
    student, teacher = pair("bert", task)
    batch = examples(student)
    far = {
        "cosine": lambda a, b: (1 - F.cosine_similarity(a, b, dim=-1)).mean(),
        "mse": F.mse_loss,
    }[hidden]
    how = kind(teacher, hidden=hidden, hidden_weight=0.3)
    found = one_step(tmp_path, student, batch, cut, how)
    assert_same_step(found, by_hand(student, teacher, batch, far))


def test_class_weights_change_the_labels_part_alone(tmp_path):
    student, teacher = pair("bert", "TokenClassification")
    batch = examples(student)
    classes = student.config.num_labels
    student.criterion = CrossEntropy(weights=torch.arange(1.0, classes + 1))
    expected = by_hand(student, teacher, batch)
    assert_same_step(one_step(tmp_path, student, batch, (4, 4), kind(teacher)), expected)


def test_the_teacher_does_not_change_and_gets_no_gradients(tmp_path):
    student, teacher = pair("bert", "SequenceClassification")
    teacher.train()
    before = copy.deepcopy(teacher.state_dict())
    one_step(tmp_path, student, examples(student), (4, 4), kind(teacher))
    assert not teacher.training
    assert all(torch.equal(each, before[name]) for name, each in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


class Hinted(torch.nn.Module):
    """A teacher of your own, which reads more than the student."""

    def __init__(self, model):
        super().__init__()
        self.model, self.hints = model, []

    def forward(self, input_ids, attention_mask=None, hint=None, output_hidden_states=None):
        self.hints.append(hint)
        told = {"output_hidden_states": output_hidden_states}
        return self.model(input_ids, attention_mask=attention_mask, **told)


def test_a_student_of_another_family_with_fewer_layers_comes_near_its_teacher(tmp_path):
    teacher = Hinted(tiny("bert", "SequenceClassification", num_labels=3))
    student = tiny("distilbert", "SequenceClassification", num_labels=3, num_hidden_layers=1)
    draw = torch.Generator().manual_seed(3)
    rows = [
        {
            "input_ids": torch.randint(5, 60, (7,), generator=draw),
            "attention_mask": torch.ones(7, dtype=torch.long),
            "hint": torch.randint(2, (), generator=draw),
            "labels": torch.randint(3, (), generator=draw),
        }
        for _ in range(ROWS)
    ]
    args = regard.TrainingArguments(
        tmp_path,
        max_steps=60,
        per_device_train_batch_size=8,
        learning_rate=0.01,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    how = regard.Distillation(alpha=1.0, temperature=1.0, hidden="mse", hidden_weight=0.01)
    trainer = regard.DistillationTrainer(
        student, args, teacher=teacher, distillation=how, train_dataset=rows, eval_dataset=rows
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert teacher.hints
    assert all(hint.shape == (8,) for hint in teacher.hints)
    assert trainer.evaluate()["eval_loss"] < before / 4
    assert trainer.predict([{n: v for n, v in r.items() if n != "labels"} for r in rows]).metrics


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"temperature": 0}, "must be above 0"),
        ({"alpha": 1.5}, "from 0 to 1"),
        ({"hidden": "cos"}, "hidden is 'cos'; 'cosine', 'mse' or None"),
    ],
)
def test_settings_that_cannot_be(how, message):
    with pytest.raises(regard.ConfigError, match=message):
        regard.Distillation(**how)


def test_what_cannot_be_taught(tmp_path):
    step = partial(one_step, tmp_path)
    student, teacher = pair("bert", "SequenceClassification", num_labels=3)
    batch = examples(student)
    other = tiny("bert", "SequenceClassification", num_labels=4).double()
    with pytest.raises(regard.ConfigError, match="gives 3 scores and the teacher 4"):
        step(student, batch, (4, 4), kind(other))
    wide = tiny("bert", "SequenceClassification", num_labels=3, hidden_size=32).double()
    with pytest.raises(regard.ConfigError, match="hidden vectors of 16 and 32"):
        step(student, batch, (4, 4), kind(wide, hidden="mse"))
    with pytest.raises(regard.ConfigError, match="the student has 2 layers and the teacher 2"):
        step(student, batch, (4, 4), kind(teacher, hidden="mse", layers={3: 1}))
    number, teacher = pair("bert", "SequenceClassification", num_labels=1)
    numbers = batch | {"labels": torch.randn(ROWS, dtype=torch.float64)}
    with pytest.raises(regard.ConfigError, match="this is regression"):
        step(number, numbers, (4, 4), kind(teacher))
    spans, teacher = pair("bert", "QuestionAnswering")
    with pytest.raises(regard.ConfigError, match="BertForQuestionAnswering is none"):
        step(spans, examples(spans), (4, 4), kind(teacher))
