"""Where a trained model errs: which classes it confuses, and which examples cost it most."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Subset

from regard.training.distributed import Processes
from regard.training.loaders import BatchMaker, EpochBatches, batch_size, eval_loader
from regard.training.metrics.classification import Classification
from regard.training.metrics.metric import IGNORED


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        examples: How many examples were looked at.
        confusion: (classes, classes) counts, rows are labels and columns predictions; or None.
        worst: The examples with the highest loss, the worst first.
        names: Names of the classes.
    """

    examples: int
    confusion: NDArray[Any] | None
    worst: list[dict[str, Any]]
    names: list[str]


def inspect(trainer: Any, examples: int, worst: int) -> dict[str, Inspection]:
    """Look at the first examples of the evaluation data, of each task, on this process alone.

    Returns:
        What was found by the names of the data sets, ``""`` where there is one without a name;
        those are left out that have no examples, or of which neither classes nor numbers are
        predicted.
    """
    found: dict[str, Inspection] = {}
    for name, dataset in _datasets(trainer.eval_dataset).items():
        each = _inspected(trainer, dataset, examples, worst)
        if each is not None:
            found[name] = each
    return found


def _inspected(trainer: Any, dataset: Any, examples: int, worst: int) -> Inspection | None:
    if examples < 1 or not hasattr(dataset, "__len__") or len(dataset) == 0:
        return None
    part: Subset[Any] = Subset(dataset, range(min(examples, len(dataset))))
    config = trainer.config_of(dataset)
    known = cast("Mapping[int, str]", getattr(config, "id2label", None) or {})
    counts, found, classes = Classification(), cast("list[dict[str, Any]]", []), 1
    for numbers, logits, labels in _predictions(trainer, part):
        if not _is_classes_or_numbers(logits, labels, config):
            return None
        classes = logits.shape[-1] if logits.ndim > 1 else 1
        names = [known.get(number, str(number)) for number in range(classes)]
        if logits.ndim == labels.ndim + 1 and classes > 1:
            counts.add_batch(logits, labels)
        losses = cast("list[float]", _losses(logits, labels).tolist())
        for number, loss, row, label in zip(numbers, losses, logits, labels, strict=True):
            answers = _answers(row.numpy(), label.numpy(), names)
            found.append({"example": number, "loss": loss, **answers})
    found.sort(key=lambda each: (-each["loss"], each["example"]))
    for each in found[:worst]:
        each["text"] = example_text(part[each["example"]], trainer.processing_class)
    confusion = counts.confusion if counts.count else None
    names = [known.get(number, str(number)) for number in range(classes)]
    return Inspection(len(found), confusion, found[:worst], names)


def _datasets(given: Any) -> Mapping[str, Any]:
    """Return data sets by name; one alone has none."""
    if isinstance(given, Mapping) and "input_ids" not in given:
        return cast("Mapping[str, Any]", given)
    return {"": given}


def example_text(example: Any, tokenizer: Any) -> str:
    """Return the text of an example: its columns of text, or else its decoded tokens."""
    if not isinstance(example, Mapping):
        return ""
    texts: list[str] = []
    for value in cast("Mapping[str, Any]", example).values():
        words = cast("list[Any]", value if isinstance(value, list) else [value])
        if words and all(isinstance(word, str) for word in words):
            texts.append(" ".join(words))
    if not texts and "input_ids" in example and hasattr(tokenizer, "decode"):
        texts = [str(tokenizer.decode(example["input_ids"], skip_special_tokens=True))]
    return " | ".join(texts)


def _predictions(trainer: Any, part: Subset[Any]) -> Iterator[tuple[Sequence[int], Any, Any]]:
    """Yield the numbers of the examples of each batch, with logits and labels."""
    loader = trainer.get_eval_dataloader(part)
    if isinstance(loader.collate_fn, BatchMaker):
        # Every example here, and not this process's share.
        alone = Processes(0, 0, 1, trainer.processes.device)
        loader = eval_loader(part, loader.collate_fn, trainer.args, alone)
    sampler, seen = cast("object", loader.batch_sampler), 0
    numbered = iter(sampler.current) if isinstance(sampler, EpochBatches) else None
    was_training = trainer.model.training
    trainer.model.eval()
    try:
        for inputs in loader:
            _, logits, labels = trainer.prediction_step(trainer.model, inputs, False)
            size = batch_size(inputs)
            numbers = range(seen, seen + size) if numbered is None else next(numbered)
            yield numbers, _on_host(logits), _on_host(labels)
            seen += size
    finally:
        trainer.model.train(was_training)


def _on_host(values: Any) -> Any:
    if not isinstance(values, Tensor):
        return values
    return values.detach().cpu().float() if values.is_floating_point() else values.cpu()


def _is_classes_or_numbers(logits: Any, labels: Any, config: Any) -> bool:
    if not isinstance(logits, Tensor) or not isinstance(labels, Tensor):
        return False
    if labels.ndim == 1:
        return logits.ndim <= 2
    if labels.shape == logits.shape:
        return labels.is_floating_point() and labels.ndim == 2
    # Words of a language model are no classes to confuse, and may lie one place further.
    known = (getattr(config, "num_labels", None), getattr(config, "vocab_size", None))
    fits = labels.ndim == 2 and logits.shape[:-1] == labels.shape
    return fits and logits.shape[-1] == known[0] and logits.shape[-1] != known[1]


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of each example, plain: without smoothing or weights."""
    if labels.is_floating_point() and labels.shape == logits.shape and labels.ndim == 2:
        losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return losses.mean(1)
    if logits.ndim == 1 or logits.shape[-1] == 1 or labels.is_floating_point():
        return (logits.reshape(labels.shape) - labels).pow(2).float()
    rows, known = logits.flatten(0, -2), labels != IGNORED
    each = functional.cross_entropy(
        rows, labels.flatten().long(), ignore_index=IGNORED, reduction="none"
    )
    each, known = each.reshape(len(labels), -1), known.reshape(len(labels), -1)
    return each.sum(1) / known.sum(1).clamp(min=1)


def _answers(logits: Any, label: Any, names: list[str]) -> dict[str, str]:
    """Return label and prediction of an example as people read them."""
    if label.dtype.kind == "f" and label.ndim == 1:  # several labels
        chosen, true = np.flatnonzero(logits > 0), np.flatnonzero(label == 1)
    elif len(names) == 1:
        return {"label": f"{float(label):.4g}", "predicted": f"{float(logits.reshape(-1)[0]):.4g}"}
    else:
        known = np.reshape(label != IGNORED, -1)
        chosen = logits.argmax(-1).reshape(-1)[known]
        true = np.reshape(label, -1)[known].astype(int)
    return {
        "label": " ".join(names[int(n)] for n in true),
        "predicted": " ".join(names[int(n)] for n in chosen),
    }
