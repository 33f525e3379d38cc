"""Images of any kind as arrays of (channels, height, width), and what is done to them.

Every function checks what it gets: an image in the wrong order of axes or the wrong range of values
gives no error later, only a wrong label.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

#: (channels, height, width)
Pixels = NDArray[Any]

CHANNELS = (1, 3, 4)
FIRST, LAST = "channels_first", "channels_last"
WHITE = (255, 255, 255, 255)


def pillow() -> Any:
    """Return ``PIL.Image``, or raise `ImportError` that says how to get it."""
    try:
        return importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise ImportError(
            "resizing and converting images needs Pillow: pip install 'regard[images]'"
        ) from error


def is_picture(image: object) -> bool:
    """Whether `image` is a Pillow image; when Pillow was never imported it cannot be one."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def as_list(images: Any) -> list[Any]:
    """Return one image, several, or an array with an axis of images, as a list of images."""
    if isinstance(images, Sequence) and not isinstance(images, str | bytes):
        nested = [as_list(image) for image in cast("Sequence[Any]", images)]
        return [image for each in nested for image in each]
    array = as_array(images)
    if array is None or array.ndim < 4:
        return [images]
    return [image for part in array for image in as_list(part)]


def as_array(image: Any) -> NDArray[Any] | None:
    """Return a NumPy array or a tensor as a NumPy array, anything else as None."""
    if isinstance(image, np.ndarray):
        return cast("NDArray[Any]", image)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        plain = image.detach().cpu()
        return (plain.float() if plain.is_floating_point() else plain).numpy()
    return None


def as_pixels(image: Any, order: str | None, to_rgb: bool) -> Pixels:
    """Return one image as (channels, height, width).

    Args:
        image: A Pillow image, or an array or tensor of two or three axes.
        order: ``"channels_first"`` or ``"channels_last"``; None finds out.
        to_rgb: Whether to make it three channels, transparency on white.
    """
    if is_picture(image):
        array = np.array(picture_as_rgb(image) if to_rgb else image)
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    array = as_array(image)
    if array is None:
        hint = "; open the file first: PIL.Image.open(path)" if isinstance(image, str) else ""
        raise TypeError(
            "an image is a Pillow image, a NumPy array or a tensor; found "
            f"{type(image).__name__}{hint}"
        )
    pixels = _channels_first(array, order)
    if not pixels.size:
        raise ValueError(f"an image of shape {array.shape} has no pixels")
    if to_rgb and len(pixels) == 1:
        return pixels.repeat(3, axis=0)
    if to_rgb and len(pixels) == 4:
        picture = pillow().fromarray(as_bytes(pixels).transpose(1, 2, 0))
        return np.array(picture_as_rgb(picture)).transpose(2, 0, 1)
    return pixels


def picture_as_rgb(picture: Any) -> Any:
    """Return a Pillow image in three channels; what is transparent becomes white."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = pillow().new("RGBA", picture.size, WHITE)
        picture = pillow().alpha_composite(white, picture)
    return picture.convert("RGB")


def as_bytes(pixels: Pixels) -> NDArray[np.uint8]:
    """Return values of 0 to 255 as bytes; others raise, as they would wrap around."""
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 255):
        raise ValueError(
            f"an image has values from {low:g} to {high:g}; wanted 0 to 255, or floats of 0 to 1. "
            "If it is normalised already, give it to the model as it is"
        )
    return pixels.round().astype(np.uint8)


def resized(pixels: Pixels, size: Mapping[str, int], resample: int) -> Pixels:
    """Return an image of another size, by Pillow; floats of 0 to 1 stay so, in steps of 1/255.

    Args:
        pixels: (channels, height, width).
        size: ``{"height", "width"}``, or ``{"shortest_edge"}``, which keeps the proportions.
        resample: Number of Pillow's filter; 2 is bilinear, 3 bicubic.
    """
    height, width = target_size(pixels.shape[1], pixels.shape[2], size)
    scaled = np.issubdtype(pixels.dtype, np.floating) and float(pixels.max()) <= 1
    values = as_bytes(pixels * 255 if scaled else pixels).transpose(1, 2, 0)
    picture = pillow().fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    array = np.array(picture.resize((width, height), resample=resample))
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return scaled_by(array, 1 / 255) if scaled else array


def target_size(height: int, width: int, size: Mapping[str, int]) -> tuple[int, int]:
    """Return height and width that an image of `height` and `width` gets."""
    if "shortest_edge" not in size:
        return size["height"], size["width"]
    short, long = sorted((height, width))
    edges = size["shortest_edge"], int(size["shortest_edge"] * long / short)
    return edges if height <= width else (edges[1], edges[0])


def cropped(pixels: Pixels, size: Mapping[str, int]) -> Pixels:
    """Return the middle of an image, with black where it is smaller than `size`."""
    middle = pixels
    for axis, wanted in ((1, size["height"]), (2, size["width"])):
        missing = wanted - middle.shape[axis]
        if missing > 0:
            around = [(0, 0)] * 3
            around[axis] = ((missing + 1) // 2, missing // 2)
            middle = np.pad(middle, around)
        start = (middle.shape[axis] - wanted) // 2
        middle = middle.take(range(start, start + wanted), axis=axis)
    return middle


def scaled_by(pixels: Pixels, factor: float) -> Pixels:
    """Return `pixels` times `factor` in float32, rounded once."""
    return (pixels.astype(np.float64) * factor).astype(np.float32)


def normalised(pixels: Pixels, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """Return ``(pixels - mean) / std``, one mean and one deviation per channel."""
    if len(pixels) != len(mean):
        fix = "pass do_convert_rgb=True" if len(mean) == 3 else f"give {len(mean)} channels"
        raise ValueError(
            f"an image has {len(pixels)} channels, and image_mean has {len(mean)} values; {fix}"
        )
    shape = (-1, 1, 1)
    centre, spread = (np.array(each, np.float32).reshape(shape) for each in (mean, std))
    return (pixels.astype(np.float32) - centre) / spread


def _channels_first(array: NDArray[Any], order: str | None) -> Pixels:
    if array.dtype.kind not in "uif":
        raise TypeError(f"an image of {array.dtype} has no brightness; give uint8 or floats")
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise ValueError(
            "an image has shape (height, width, channels) or (channels, height, width); found "
            f"{array.shape}"
        )
    found = [FIRST] * (array.shape[0] in CHANNELS) + [LAST] * (array.shape[2] in CHANNELS)
    if order is None and len(found) == 1:
        order = found[0]
    if order not in (FIRST, LAST):
        why = "could be either" if found else "is neither"
        raise ValueError(
            f"an image of shape {array.shape} {why} of (channels, height, width) and (height, "
            f'width, channels); give input_data_format="{FIRST}" or "{LAST}"'
            + (f"; found {order!r}" if order else "")
        )
    return array if order == FIRST else array.transpose(2, 0, 1)
