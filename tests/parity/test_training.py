"""One accumulated step of ours is one step of the reference's model over the whole batch, fp32."""

import copy

import pytest
import torch
import transformers

import regard

from .reference import assert_same_gradients, disturb

ROWS, LENGTH, TOLERANCE = 8, 9, 1e-6
LENGTHS = torch.tensor([9, 2, 5, 7, 3, 9, 4, 6])
SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
CASES = {
    "BertForSequenceClassification": {**SMALL, "num_labels": 3},
    "BertForTokenClassification": {**SMALL, "num_labels": 3},
    "GPT2LMHeadModel": {
        "vocab_size": 40,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "bos_token_id": 1,
        "eos_token_id": 1,
    },
    "T5ForConditionalGeneration": {
        "vocab_size": 40,
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 24,
        "num_layers": 2,
        "num_heads": 2,
        "decoder_start_token_id": 0,
    },
}


def labels_of(name, ids, mask, draw):
    if "Sequence" in name:
        return torch.randint(3, (ROWS,), generator=draw)
    labels = ids.roll(1, 0) if "T5" in name else ids.clone()
    if "Token" in name:
        labels = torch.randint(3, ids.shape, generator=draw)
    labels[torch.rand(ids.shape, generator=draw) < 0.3] = -100
    return labels.masked_fill(mask == 0, -100)


class Recorder(regard.TrainerCallback):
    """Keeps the gradients of a step in the parameters; drops nothing."""

    def on_step_begin(self, args, state, control, **run):
        run["model"].eval()

    def on_pre_optimizer_step(self, args, state, control, **run):
        self.gradients = {n: p.grad.clone() for n, p in run["model"].named_parameters()}


@pytest.mark.parametrize(("size", "batches"), [(8, 1), (2, 4), (1, 8)])
@pytest.mark.parametrize("name", CASES)
def test_one_step(name, size, batches, tmp_path):
    torch.manual_seed(0)
    reference = getattr(transformers, name)
    theirs = reference(reference.config_class(**CASES[name])).eval()
    disturb(theirs)
    theirs.save_pretrained(tmp_path / "model")
    ours = getattr(regard, name).from_pretrained(tmp_path / "model")
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 40, (ROWS, LENGTH), generator=draw)
    mask = (torch.arange(LENGTH) < LENGTHS[:, None]).long()
    batch = {"input_ids": ids, "attention_mask": mask}
    batch["labels"] = labels_of(name, ids, mask, draw)
    theirs(**batch).loss.backward()
    # Its loss in single precision is off by more than ours.
    expected = copy.deepcopy(theirs).double()(**batch).loss
    args = regard.TrainingArguments(
        tmp_path / "out",
        per_device_train_batch_size=size,
        gradient_accumulation_steps=batches,
        max_steps=1,
        max_grad_norm=0,
        learning_rate=0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    recorder = Recorder()
    rows = [{column: value[row] for column, value in batch.items()} for row in range(ROWS)]
    trainer = regard.Trainer(ours, args, train_dataset=rows, callbacks=[recorder])
    assert trainer.train().training_loss == pytest.approx(expected.item(), abs=TOLERANCE)
    for parameter, gradient in zip(ours.parameters(), recorder.gradients.values(), strict=True):
        parameter.grad = gradient
    assert_same_gradients(ours, theirs, idle=0)


@pytest.mark.parametrize("name", ["BertForTokenClassification", "GPT2LMHeadModel"])
def test_smoothing_is_the_references(name, tmp_path):
    """`LabelSmoother` of the reference's trainer, for labels that are shifted and that are not."""
    from transformers.trainer_pt_utils import LabelSmoother

    torch.manual_seed(0)
    model = getattr(regard, name)(getattr(regard, name).config_class(**CASES[name])).eval()
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 40, (ROWS, LENGTH), generator=draw)
    mask = (torch.arange(LENGTH) < LENGTHS[:, None]).long()
    labels = labels_of(name, ids, mask, draw)
    model.criterion = regard.CrossEntropy(smoothing=0.1)
    output = model(ids, attention_mask=mask, labels=labels)
    smoother = LabelSmoother(epsilon=0.1)
    shifted = name.startswith("GPT2")
    expected = smoother({"logits": output.logits}, labels, shift_labels=shifted)
    torch.testing.assert_close(output.loss, expected)


def test_a_model_of_the_reference_trains_here_too(tmp_path):
    """Its loss is a mean over the batch; the trainer weighs it by its labels."""
    torch.manual_seed(0)
    name = "BertForTokenClassification"
    config = transformers.BertConfig(**CASES[name])
    model = transformers.BertForTokenClassification(config).eval()
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 40, (ROWS, LENGTH), generator=draw)
    mask = (torch.arange(LENGTH) < LENGTHS[:, None]).long()
    batch = {"input_ids": ids, "attention_mask": mask}
    batch["labels"] = labels_of(name, ids, mask, draw)
    expected = model(**batch).loss
    rows = [
        {"text": "left out", **{column: value[row] for column, value in batch.items()}}
        for row in range(ROWS)
    ]
    args = regard.TrainingArguments(
        tmp_path,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
        max_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = regard.Trainer(model, args, train_dataset=rows, callbacks=[Recorder()])
    assert trainer.train().training_loss == pytest.approx(expected.item(), abs=TOLERANCE)
    assert {"model.safetensors"} <= {path.name for path in (tmp_path / "checkpoint-1").iterdir()}
