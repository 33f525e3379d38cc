"""Examples put together into a batch: rows of different length in, padded tensors out.

The models pack at the top, so padding costs nothing but these tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor

from regard.data.labels import IGNORED
from regard.errors import DataError, nearest
from regard.text.encoding import BatchEncoding
from regard.text.padding import as_tensor, check_tensor_type, pad_lists
from regard.text.tokenizer import Tokenizer

Features = Sequence[Mapping[str, Any]]

#: Under these names data sets have what models take as ``labels``.
LABEL_NAMES = ("label", "label_ids")


class RandomCollator:
    """A collator that draws random numbers, all of them from the generator that it is given.

    So a run that stopped goes on with the same batches, to the bit. Without a generator the numbers
    come from torch's own, which ``torch.manual_seed`` sets and which differs in each worker of a
    `DataLoader`.
    """

    def __call__(self, features: Any, generator: Generator | None = None) -> BatchEncoding:
        """Return the batch of some examples."""
        raise NotImplementedError


def default_data_collator(features: Sequence[Any], return_tensors: str = "pt") -> dict[str, Any]:
    """Put examples together that are equally long, or single numbers, or tensors.

    Args:
        features: Mappings, or objects with attributes. A ``label`` or ``label_ids`` becomes
            ``labels``; strings and None are left out.
        return_tensors: ``"pt"`` or ``"np"``.

    Raises:
        DataError: An example lacks a key that the first has.
        ValueError: The rows have different lengths; pass a collator that pads.
    """
    check_tensor_type(return_tensors)
    if not features:
        raise DataError("there are no examples to put together")
    rows: list[Mapping[str, Any]] = [f if isinstance(f, Mapping) else vars(f) for f in features]
    names = [name for name, value in rows[0].items() if not isinstance(value, str | None)]
    batch: dict[str, Any] = {}
    for name in names:
        values = [_value(row, name, number) for number, row in enumerate(rows)]
        batch["labels" if name in LABEL_NAMES else name] = _stacked(name, values, return_tensors)
    return batch


@dataclass(frozen=True)
class DataCollatorWithPadding:
    """Pads tokenized texts to the longest of the batch.

    Attributes:
        tokenizer: Knows the padding token and the side.
        padding: True or ``"longest"``, ``"max_length"``, or False.
        max_length: For ``"max_length"``.
        pad_to_multiple_of: Round the length up to a multiple of this.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: Tokenizer
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: Features) -> BatchEncoding:
        """Return the batch; a ``label`` or ``label_ids`` becomes ``labels``."""
        batch = _pad(self, features)
        for name in LABEL_NAMES:
            if name in batch:
                batch["labels"] = batch.pop(name)
        return batch


@dataclass(frozen=True)
class DataCollatorForTokenClassification:
    """Pads tokenized texts, and their labels with -100 beside them.

    Attributes:
        tokenizer: Knows the padding token and the side.
        padding: True or ``"longest"``, ``"max_length"``, or False.
        max_length: For ``"max_length"``.
        pad_to_multiple_of: Round the length up to a multiple of this.
        label_pad_token_id: What stands in ``labels`` where there is nothing to learn.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: Tokenizer
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = IGNORED
    return_tensors: str = "pt"

    def __call__(self, features: Features) -> BatchEncoding:
        """Return the batch, with ``labels`` as long as ``input_ids``."""
        labels, inputs = _take_labels(features)
        batch = _pad(self, inputs)
        if labels is None:
            return batch
        width = len(batch["input_ids"][0])
        for number, (row, feature) in enumerate(zip(labels, inputs, strict=True)):
            if len(row) != len(feature["input_ids"]):
                raise DataError(
                    f"example {number} has {len(row)} labels and {len(feature['input_ids'])} "
                    f"tokens; wanted one label per token: see align_labels_to_tokens"
                )
        rows = pad_lists(labels, self.label_pad_token_id, width, self.tokenizer.padding_side)
        batch["labels"] = as_tensor("labels", rows, self.return_tensors)
        return batch


@dataclass(frozen=True)
class DataCollatorForSeq2Seq:
    """Pads sources, and targets with -100; each to the longest of its own.

    Attributes:
        tokenizer: Knows the padding token and the side.
        model: A model that makes its own ``decoder_input_ids`` from labels beforehand, or None: the
            models here make them from ``labels`` when they are called.
        padding: True or ``"longest"``, ``"max_length"``, or False.
        max_length: For ``"max_length"``.
        pad_to_multiple_of: Round the lengths up to a multiple of this.
        label_pad_token_id: What stands in ``labels`` where there is nothing to learn.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: Tokenizer
    model: Any = None
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = IGNORED
    return_tensors: str = "pt"

    def __call__(self, features: Features) -> BatchEncoding:
        """Return the batch, with ``labels`` where the examples have them."""
        labels, inputs = _take_labels(features)
        batch = _pad(self, inputs)
        if labels is None:
            return batch
        if self.padding not in (False, "do_not_pad"):
            fixed = self.max_length if self.padding == "max_length" else None
            width = fixed or max(map(len, labels))
            width += -width % (self.pad_to_multiple_of or 1)
            side = self.tokenizer.padding_side
            labels = pad_lists(labels, self.label_pad_token_id, width, side)
        batch["labels"] = as_tensor("labels", labels, self.return_tensors)
        make = getattr(self.model, "prepare_decoder_input_ids_from_labels", None)
        if make is not None:
            batch["decoder_input_ids"] = make(labels=batch["labels"])
        return batch


@dataclass(frozen=True)
class DataCollatorForMultipleChoice:
    """Pads questions with several choices each: ``(questions, choices, tokens)``.

    Attributes:
        tokenizer: Knows the padding token and the side.
        padding: True or ``"longest"``, ``"max_length"``, or False.
        max_length: For ``"max_length"``.
        pad_to_multiple_of: Round the length up to a multiple of this.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: Tokenizer
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: Features) -> BatchEncoding:
        """Return the batch; every value but the label has one entry per choice."""
        labels, inputs = _take_labels(features)
        choices = len(inputs[0]["input_ids"])
        for number, feature in enumerate(inputs):
            if len(feature["input_ids"]) != choices:
                raise DataError(
                    f"example {number} has {len(feature['input_ids'])} choices, and example 0 has "
                    f"{choices}; give all equally many"
                )
        flat = [{n: v[i] for n, v in feature.items()} for feature in inputs for i in range(choices)]
        batch = _pad(self, flat)
        for name, value in batch.items():
            batch[name] = value.reshape(len(inputs), choices, -1)
        if labels is not None:
            batch["labels"] = as_tensor("labels", labels, self.return_tensors)
        return batch


def pad_features(
    tokenizer: Tokenizer,
    features: Sequence[Any],
    *,
    padding: bool | str = True,
    max_length: int | None = None,
    pad_to_multiple_of: int | None = None,
    return_attention_mask: bool | None = None,
    return_tensors: str = "pt",
) -> BatchEncoding:
    """Return `features` (mappings, or lists of ids) as one padded batch; see `Tokenizer.pad`.

    Blocks of equal length need no padding, and so no padding token.

    Raises:
        DataError: There are no examples, or they hold texts instead of ids.
    """
    rows = as_mappings(features)
    if "input_ids" not in rows[0]:
        raise DataError(
            f"the examples have {', '.join(map(repr, rows[0])) or 'nothing'}, and no 'input_ids'"
            f"{nearest('input_ids', rows[0])}; tokenize them first: "
            f"examples.map(lambda batch: tokenizer(batch['text'], truncation=True), batched=True)"
        )
    if tokenizer.pad_token_id is None and padding is True and not pad_to_multiple_of:
        padding = len({len(row["input_ids"]) for row in rows}) > 1
    return tokenizer.pad(
        rows,
        padding=padding,
        max_length=max_length,
        pad_to_multiple_of=pad_to_multiple_of,
        return_attention_mask=return_attention_mask,
        return_tensors=return_tensors,
    )


def as_mappings(features: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return `features` with lists of ids as mappings that have nothing but ``input_ids``.

    Raises:
        DataError: There are none.
    """
    if not features:
        raise DataError("there are no examples to put together")
    return [f if isinstance(f, Mapping) else {"input_ids": f} for f in features]


def _pad(collator: Any, features: Features) -> BatchEncoding:
    return pad_features(
        collator.tokenizer,
        features,
        padding=collator.padding,
        max_length=collator.max_length,
        pad_to_multiple_of=collator.pad_to_multiple_of,
        return_tensors=collator.return_tensors,
    )


def _take_labels(features: Features) -> tuple[list[Any] | None, list[dict[str, Any]]]:
    """Return the labels as lists or numbers, or None; and the features without them."""
    features = as_mappings(features)
    names = [name for name in ("labels", *LABEL_NAMES) if features[0].get(name) is not None]
    dropped = {"labels", *LABEL_NAMES}
    inputs = [{n: v for n, v in each.items() if n not in dropped} for each in features]
    if not names:
        return None, inputs
    labels = [_value(feature, names[0], i) for i, feature in enumerate(features)]
    return [_plain(value) for value in labels], inputs


def _value(row: Mapping[str, Any], name: str, number: int) -> Any:
    value = row.get(name)
    if value is None:
        raise DataError(f"example {number} has no {name!r}, which example 0 has")
    return value


def _plain(value: Any) -> Any:
    """Return lists for arrays, tensors and tuples, and Python's numbers for theirs."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else value


def _stacked(name: str, values: list[Any], return_tensors: str) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        stacked = torch.stack(values)
        return stacked if return_tensors == "pt" else stacked.numpy()
    if isinstance(first, np.ndarray):
        array = np.stack(values)
        return array if return_tensors == "np" else torch.from_numpy(array)
    return as_tensor(name, [_plain(value) for value in values], return_tensors)
