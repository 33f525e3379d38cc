"""The usual padded tensors: what is wrong with them, said before they are packed."""

import torch
from torch import Tensor


def check_inputs(
    input_ids: Tensor | None, inputs_embeds: Tensor | None
) -> tuple[tuple[int, int], torch.device]:
    """Return the shape (batch, length) and the device of ids or vectors, one of which is given.

    Raises:
        TypeError: Ids that are not integers.
        ValueError: Neither or both are given, or of another shape.
    """
    if input_ids is None and inputs_embeds is not None:
        if inputs_embeds.dim() != 3 or not inputs_embeds.is_floating_point():
            raise ValueError(
                "inputs_embeds must be floats of shape (batch, length, width); found "
                f"{_describe(inputs_embeds)}"
            )
        return (inputs_embeds.shape[0], inputs_embeds.shape[1]), inputs_embeds.device
    if input_ids is None or inputs_embeds is not None:
        raise ValueError("give either input_ids or inputs_embeds, and not both")
    if input_ids.is_floating_point() or input_ids.is_complex() or input_ids.dtype == torch.bool:
        raise TypeError(
            f"input_ids must be integer token ids of shape (batch, length); found "
            f"{_describe(input_ids)}. Text goes through a tokenizer first, ready vectors of shape "
            "(batch, length, width) go in inputs_embeds, and images go to an image model as "
            "pixel_values"
        )
    if input_ids.dim() != 2:
        raise ValueError(
            f"input_ids must have shape (batch, length); found {_describe(input_ids)}"
            + (". For one sequence use input_ids[None]" if input_ids.dim() == 1 else "")
        )
    return (input_ids.shape[0], input_ids.shape[1]), input_ids.device


def as_mask(attention_mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a mask of ones and zeros as booleans; `ValueError` for any other."""
    if tuple(attention_mask.shape) != shape:
        raise ValueError(
            f"attention_mask must have the shape of the inputs, {shape}; found "
            f"{_describe(attention_mask)}"
        )
    mask = attention_mask.bool()
    if attention_mask.dtype != torch.bool and not torch.equal(
        mask.to(attention_mask.dtype), attention_mask
    ):
        raise ValueError("attention_mask must hold 1 for tokens and 0 for padding, nothing else")
    return mask


def broadcast_rows(name: str, padded: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return what has one value per token, or one row of them for all rows, in `shape`."""
    if padded.dim() == 2 and padded.shape[1] == shape[1] and padded.shape[0] in (1, shape[0]):
        return padded.expand(shape)
    raise ValueError(
        f"{name} must have the shape of the inputs, {shape}; found {_describe(padded)}"
    )


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
