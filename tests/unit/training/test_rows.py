"""Gradients of word vectors that come as rows change no result."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.training import rows
from regard.training.rows import RowGradients

Batch = dict[str, Tensor]


def _batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 60, (count, 7), generator=generator)
    ids[:, -1] = 0  # padding, whose row has no gradient
    labels = torch.randint(0, 2, (count,), generator=generator)
    return [
        {"input_ids": row, "attention_mask": (row != 0).long(), "labels": label}
        for row, label in zip(ids, labels, strict=True)
    ]


def _model(kind: Any) -> Any:
    torch.manual_seed(0)
    model = kind(
        regard.BertConfig(
            vocab_size=64,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    # Adds the same to all scores of a query, so its gradient is zero but for rounding, which
    # Adam divides by its own size: two runs of the very same kind need not agree in it.
    model.base_model.encoder.layers[0].attention.key.bias.requires_grad_(False)
    return model


def _train(folder: Path, kind: Any, *callbacks: Any, **more: Any) -> tuple[Any, regard.Trainer]:
    model = _model(kind)
    data: list[Any] = _batches(24)
    if kind is regard.BertForMaskedLM:
        data = [{**each, "labels": each["input_ids"]} for each in data]
    args = regard.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        num_train_epochs=2,
        learning_rate=1e-2,
        weight_decay=0.1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        **more,
    )
    trainer = regard.Trainer(model=model, args=args, train_dataset=data, callbacks=[*callbacks])
    trainer.train()
    return model, trainer


class _Watch(regard.TrainerCallback):
    """Notes whether gradients are dense, and disturbs them if asked to."""

    def __init__(self, disturb: bool = False) -> None:
        self.disturb, self.dense, self.zeros = disturb, True, 0

    def on_pre_optimizer_step(self, *_: Any, model: nn.Module, **__: Any) -> None:
        """Look at the gradient of the words, as the optimiser is about to."""
        gradient = model.get_input_embeddings().weight.grad  # pyright: ignore
        self.dense &= not gradient.is_sparse
        self.zeros = int((gradient == 0).all(1).sum())
        if self.disturb:
            gradient.add_(0.01)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"gradient_accumulation_steps": 3},
        {"max_grad_norm": 0.1},
        {"max_grad_norm": 0.0},
        {"bf16": True},
        {"optim": "adafactor"},
    ],
    ids=["plain", "accumulated", "clipped", "unclipped", "bf16", "adafactor"],
)
@pytest.mark.parametrize(
    "kind",
    [regard.BertForSequenceClassification, regard.BertForMaskedLM],
    ids=["classifier", "tied"],
)
def test_training_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, more: dict[str, Any]
) -> None:
    """With rows and without, over many steps, for words alone and words tied to a head."""
    dense, _ = _train(tmp_path / "dense", kind, **more)
    monkeypatch.setattr(rows, "_SMALL", 1)
    watch = _Watch()
    sparse, trainer = _train(tmp_path / "rows", kind, watch, **more)
    assert trainer.rows._embeddings, "no embedding was taken: the test shows nothing"
    assert watch.dense
    for (name, found), expected in zip(sparse.named_parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5, msg=name)


def test_a_callback_may_write_into_any_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a callback adds to rows without words is gone in the next step."""
    kind = regard.BertForSequenceClassification
    dense, _ = _train(tmp_path / "dense", kind, _Watch(disturb=True))
    monkeypatch.setattr(rows, "_SMALL", 1)
    watch = _Watch(disturb=True)
    sparse, _ = _train(tmp_path / "rows", kind, watch)
    assert watch.zeros > 0, "every row had words in the last step: the test shows nothing"
    found, expected = (each.get_input_embeddings().weight for each in (sparse, dense))
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


def test_embeddings_are_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the block fails."""
    monkeypatch.setattr(rows, "_SMALL", 1)
    words = nn.Embedding(8, 4)
    gradients = RowGradients(words)

    def fail() -> None:
        with gradients.coming():
            assert words.sparse
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert not words.sparse
    words(torch.tensor([1, 1])).sum().backward()
    assert words.weight.grad is not None
    assert not words.weight.grad.is_sparse


@pytest.mark.parametrize("why", ["frozen", "hooked", "small"])
def test_embeddings_that_gain_nothing_stay_dense(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """A frozen one, one whose hook expects a dense gradient, a small one."""
    monkeypatch.setattr(rows, "_SMALL", 33 if why == "small" else 1)
    words = nn.Embedding(8, 4)
    if why == "frozen":
        words.weight.requires_grad_(False)
    if why == "hooked":
        words.weight.register_hook(lambda gradient: gradient)
    with RowGradients(words).coming():
        assert not words.sparse
