"""`ImageProcessor`: images of any kind to the ``pixel_values`` of a model."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np

from regard.checkpoints.files import find_checkpoint, source_options
from regard.checkpoints.write import write_text
from regard.errors import ConfigError, nearest
from regard.images import pixels as px

PROCESSOR_FILE = "preprocessor_config.json"

#: One number for a square, (height, width), or a mapping with the keys of `SIZES`.
Size = int | Sequence[int] | Mapping[str, int]
SIZES = ({"height", "width"}, {"shortest_edge"})
#: Steps of other processors that change the picture; a file that asks for one is refused.
NOT_OURS = ("do_pad", "do_flip_channel_order", "do_thumbnail", "do_align_long_axis", "crop_pct")
#: Where a file says what kind of processor it describes; the second is the older name.
TYPE_KEYS = ("image_processor_type", "feature_extractor_type")
SWITCHES = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
FILTERS = range(6)


class BatchFeature(dict[str, Any]):
    """``pixel_values``, by key and as attribute."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"no {name!r}; there are {', '.join(self)}")
        return self[name]

    def to(self, *place: Any) -> Self:
        """Move every tensor, as `torch.Tensor.to` does; returns itself."""
        self.update({name: value.to(*place) for name, value in self.items()})
        return self


@dataclasses.dataclass(kw_only=True)
class ImageProcessor:
    """Resizes, crops, rescales and normalises images; the defaults are those of ViT.

    Attributes:
        do_resize: Whether to resize.
        size: Of the resized image; ``{"shortest_edge": n}`` keeps its proportions.
        resample: Number of Pillow's filter; 2 is bilinear, 3 bicubic.
        do_center_crop: Whether to cut out the middle, after resizing.
        crop_size: Of what is cut out.
        do_rescale: Whether to multiply by `rescale_factor`.
        rescale_factor: Usually 1/255, from bytes to 0 to 1.
        do_normalize: Whether to subtract `image_mean` and divide by `image_std`.
        image_mean: Of each channel.
        image_std: Of each channel.
        do_convert_rgb: Whether to make all images three channels, transparency on white.
        extra: What else the file holds; kept and written back.
    """

    processor_type: ClassVar[str] = "ViTImageProcessor"

    do_resize: bool = True
    size: Size = 224
    resample: int = 2
    do_center_crop: bool = False
    crop_size: Size = 224
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: Sequence[float] = (0.5, 0.5, 0.5)
    image_std: Sequence[float] = (0.5, 0.5, 0.5)
    do_convert_rgb: bool | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name in SWITCHES:
            _check(name, getattr(self, name), type(getattr(self, name)) is bool, "true or false")
        rgb = self.do_convert_rgb
        _check("do_convert_rgb", rgb, rgb is None or type(rgb) is bool, "true or false")
        self.size = _as_size("size", self.size)
        self.crop_size = _as_size("crop_size", self.crop_size)
        square = not self.do_center_crop or "shortest_edge" not in self.crop_size
        _check("crop_size", self.crop_size, square, "height and width")
        _check("resample", self.resample, self.resample in FILTERS, "0 to 5, as in Pillow")
        factor = self.rescale_factor
        _check("rescale_factor", factor, _is_number(factor) and factor > 0, "a number above 0")
        for name in ("image_mean", "image_std"):
            value: Any = getattr(self, name)
            numbers = isinstance(value, list | tuple) and all(map(_is_number, cast("Any", value)))
            _check(name, cast("object", value), numbers, "a list of numbers, one per channel")
            setattr(self, name, [*value])
        fits = len(self.image_std) == len(self.image_mean) and all(self.image_std)
        _check("image_std", self.image_std, fits, "as long as image_mean, and nowhere 0")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the content of a preprocessor_config.json; unknown keys go to `extra`."""
        for name in NOT_OURS:
            _check(name, values.get(name), not values.get(name), "off: we have no such step")
        names = _settings()
        known = {name: v for name, v in values.items() if name in names and v is not None}
        if values.get("default_to_square") is False and isinstance(known.get("size"), int):
            known["size"] = {"shortest_edge": known["size"]}
        extra = {k: v for k, v in values.items() if k not in names and k not in TYPE_KEYS}
        return cls(**known, extra=extra)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Self:
        """Read preprocessor_config.json of a folder, an embedded package or the Hub.

        `options` are those of `regard.checkpoints.files.find_checkpoint`; any other is a setting
        that replaces the file's.
        """
        source = source_options(options)
        changes = {key: value for key, value in options.items() if key not in source}
        _check_names(changes)
        folder = find_checkpoint(name, **source)
        values = folder.read_json(PROCESSOR_FILE)
        try:
            found = processor_class(values).processor_type
            if found != cls.processor_type:
                raise ConfigError(f"describes a {found}; use that class, or AutoImageProcessor")
            return cls.from_dict(values | changes)
        except ConfigError as error:
            raise ConfigError(f"{folder.path(PROCESSOR_FILE)}: {error}") from error

    def save_pretrained(self, folder: str | Path) -> None:
        """Write preprocessor_config.json into `folder`, which is made if missing."""
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        write_text(Path(folder) / PROCESSOR_FILE, text + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Return what preprocessor_config.json holds."""
        settings = {name: getattr(self, name) for name in _settings()}
        there = {name: value for name, value in settings.items() if value is not None}
        return {"image_processor_type": self.processor_type, **self.extra, **there}

    def __call__(
        self,
        images: Any,
        return_tensors: Literal["pt", "np"] | None = None,
        input_data_format: str | None = None,
        **settings: Any,
    ) -> BatchFeature:
        """Return ``{"pixel_values": (batch, channels, height, width)}`` in float32.

        Args:
            images: Pillow images, NumPy arrays or tensors: one, a list, or an array with an axis of
                images. Arrays are (height, width), (height, width, channels) or (channels, height,
                width), in bytes or in floats of 0 to 255, or of 0 to 1 with ``do_rescale=False``.
            return_tensors: ``"pt"`` for a tensor, ``"np"`` for an array; None is a list of arrays.
            input_data_format: ``"channels_first"`` or ``"channels_last"``, where an array could be
                either.
            settings: Replace those of the processor for this call, such as ``do_rescale=False``.
        """
        if settings:
            _check_names(settings)
            changed = dataclasses.replace(self, **settings)
            return changed(images, return_tensors, input_data_format)
        each = [self._process(image, input_data_format) for image in px.as_list(images)]
        return BatchFeature(pixel_values=_batched(each, return_tensors))

    def _process(self, image: Any, order: str | None) -> px.Pixels:
        pixels = px.as_pixels(image, order, bool(self.do_convert_rgb))
        self._check_range(pixels)
        if self.do_resize:
            pixels = px.resized(pixels, cast("Mapping[str, int]", self.size), self.resample)
        if self.do_center_crop:
            pixels = px.cropped(pixels, cast("Mapping[str, int]", self.crop_size))
        if self.do_rescale:
            pixels = px.scaled_by(pixels, self.rescale_factor)
        if self.do_normalize:
            pixels = px.normalised(pixels, self.image_mean, self.image_std)
        return pixels.astype(np.float32)

    def _check_range(self, pixels: px.Pixels) -> None:
        """Raise where rescaling would come twice, or be left out."""
        low, high = float(pixels.min()), float(pixels.max())
        found = f"an image of {pixels.dtype} has values from {low:g} to {high:g}"
        if self.do_rescale and pixels.dtype.kind == "f" and low >= 0 and 0 < high <= 1:
            raise ValueError(
                f"{found}, so it is rescaled already; pass do_rescale=False, or bytes of 0 to 255"
            )
        if self.do_rescale and not (low >= 0 and high <= 255):
            raise ValueError(
                f"{found}; wanted 0 to 255, or 0 to 1 with do_rescale=False. What is normalised "
                "already goes to the model as it is"
            )
        # Some mean and deviation are meant for values of 0 to 255; then nothing is to be rescaled.
        small = max(self.image_mean, default=0) <= 1
        if not self.do_rescale and self.do_normalize and small and not (low >= 0 and high <= 1):
            raise ValueError(
                f"{found}; image_mean {[*self.image_mean]} is for 0 to 1. Leave do_rescale on for "
                "0 to 255; what is normalised already needs do_normalize=False"
            )


@dataclasses.dataclass(kw_only=True)
class DeiTImageProcessor(ImageProcessor):
    """`ImageProcessor` with the defaults of DeiT: bicubic, and the middle of a larger picture."""

    processor_type: ClassVar[str] = "DeiTImageProcessor"

    size: Size = 256
    resample: int = 3
    do_center_crop: bool = True


class AutoImageProcessor:
    """Reads the image processor of any checkpoint."""

    @staticmethod
    def from_pretrained(name: str | Path, **options: Any) -> ImageProcessor:
        """Read preprocessor_config.json as the class that it names."""
        folder = find_checkpoint(name, **source_options(options))
        found = processor_class(folder.read_json(PROCESSOR_FILE))
        return found.from_pretrained(name, **options)


def processor_class(values: Mapping[str, Any]) -> type[ImageProcessor]:
    """Return the class that the content of a preprocessor_config.json asks for."""
    names = [str(values[key]) for key in TYPE_KEYS if values.get(key)]
    name = names[0] if names else ImageProcessor.processor_type
    family = re.sub(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", name)
    classes = {each.processor_type: each for each in (ImageProcessor, DeiTImageProcessor)}
    if f"{family}ImageProcessor" not in classes:
        raise ConfigError(
            f"image processor {name!r} is not implemented; there are {', '.join(classes)}. If it "
            "only resizes, crops, rescales and normalises, build ImageProcessor(...) yourself"
        )
    return classes[f"{family}ImageProcessor"]


def _batched(images: list[px.Pixels], return_tensors: str | None) -> Any:
    if return_tensors not in (None, "np", "pt"):
        raise ValueError(f"return_tensors is {return_tensors!r}; it is 'pt', 'np' or None")
    if return_tensors is None:
        return images
    if not images:
        raise ValueError("there is no image to make a batch of; give at least one")
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise ValueError(
            f"images come out with shapes {sorted(shapes)}, which make no batch; use do_resize "
            "with height and width or do_center_crop, or return_tensors=None for a list"
        )
    batch = np.ascontiguousarray(np.stack(images))
    if return_tensors == "np":
        return batch
    import torch  # here, so that images alone need no torch

    return torch.from_numpy(batch)


def _settings() -> list[str]:
    return [field.name for field in dataclasses.fields(ImageProcessor) if field.name != "extra"]


def _check_names(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in _settings():
            raise TypeError(f"an image processor has no {name!r}{nearest(name, _settings())}")


def _check(name: str, value: object, right: bool, wanted: str) -> None:
    if not right:
        raise ConfigError(f"{name} is {value!r}; it must be {wanted}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_size(name: str, size: Size) -> dict[str, int]:
    found: dict[Any, Any] = {"given": size}
    if isinstance(size, Mapping):
        found = {key: value for key, value in size.items() if cast("Any", value) is not None}
    elif isinstance(size, int):
        found = {"height": size, "width": size}
    elif not isinstance(size, str) and len(size) == 2:
        found = {"height": size[0], "width": size[1]}
    right = found.keys() in SIZES and all(type(v) is int and 0 < v < 2**16 for v in found.values())
    _check(name, size, right, "a number above 0, [height, width], or a mapping of height and width")
    return found
