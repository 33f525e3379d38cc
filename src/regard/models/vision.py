"""The public edge of image models: pixels in, packed patches inside; and the heads over them."""

from typing import Any, ClassVar, cast

from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import Layout, TokenBatch
from regard.errors import ConfigError
from regard.layers.blocks import Stack
from regard.models.losses import sequence_loss
from regard.models.states import ObservedModel
from regard.outputs import BaseModelOutputWithPooling, ModelOutput

#: One number for a square, or (height, width).
Size = int | list[int] | tuple[int, int]


class ImageClassifierOutput(ModelOutput):
    """``logits`` (batch, num_labels)."""

    loss: Tensor | None = None
    logits: Tensor


class ImageEncoder(ObservedModel):
    """Base of every family's image encoder: patches, a stack of pre-norm layers, a last norm.

    A family sets the four in its constructor and needs no forward of its own. Hidden states, when
    asked for, are those before the last norm, as in the reference.
    """

    is_base: ClassVar[bool] = True
    optional: ClassVar[tuple[str, ...]] = ("pooler",)

    embeddings: nn.Module
    encoder: Stack
    norm: nn.Module
    pooler: nn.Module | None

    def patches(
        self, pixel_values: Float[Tensor, "batch channels height width"], interpolate: bool = False
    ) -> TokenBatch:
        """Return the first vectors of special tokens and patches, packed: images are equal."""
        vectors: Tensor = self.embeddings(pixel_values, interpolate)
        layout = Layout.from_lengths([vectors.shape[1]] * len(vectors), vectors.device)
        return TokenBatch(layout, ids=None, embeds=layout.pack(vectors))

    def encode(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a batch that `patches` made."""
        return self.norm(self.encoder(batch.embeds, batch.layout))

    def pool(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "images pooled"]:
        """Return one vector per image, in the caller's order."""
        if self.pooler is None:
            raise ValueError(f"this {type(self).__name__} was built with add_pooling_layer=False")
        return self.pooler(hidden, layout)

    def forward(
        self,
        pixel_values: Tensor,
        interpolate_pos_encoding: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode images as an image processor gives them, (batch, channels, height, width).

        Args:
            pixel_values: Normalised floats.
            interpolate_pos_encoding: Take images of any size, by stretching the positions.
            output_attentions: Give who attends to whom; None is what the configuration says.
            output_hidden_states: Give what goes into each layer and out of the last one.
        """
        batch = self.patches(pixel_values, bool(interpolate_pos_encoding))
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            hidden = self.encode(batch)
            pooled = None if self.pooler is None else self.pool(hidden, batch.layout)
        return BaseModelOutputWithPooling(
            last_hidden_state=batch.layout.pad(hidden),
            pooler_output=pooled,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class ImageHead(ObservedModel):
    """A head over a family's image encoder, which lies under its prefix (``model.vit``)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.add_module(self.base_model_prefix, self.build_base(config, pooled=False))

    def build_base(self, config: Any, pooled: bool) -> ImageEncoder:
        """Return the family's base model, with a pooler if this head reads one."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its base model is")

    @property
    def base_model(self) -> ImageEncoder:
        """The family's encoder."""
        return cast("ImageEncoder", self.get_submodule(self.base_model_prefix))

    def special_vectors(
        self, batch: TokenBatch, count: int = 1
    ) -> Float[Tensor, "images count width"]:
        """Return the last hidden vectors of the first `count` tokens of each image."""
        hidden = self.base_model.encode(batch)
        return batch.layout.reduce(hidden, lambda tokens: tokens[:, :count])


class ImageClassification(ImageHead):
    """Labels, or a number, for each image (Dosovitskiy et al. 2021, section 3.1, equation 4)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def logits(self, batch: TokenBatch) -> Float[Tensor, "images labels"]:
        """Return one score per label for each image of a batch that the base's `patches` made."""
        return self.classifier(self.special_vectors(batch)[:, 0])

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ImageClassifierOutput:
        """Score images, see `ImageEncoder.forward`; the loss of `labels` is `sequence_loss`."""
        batch = self.base_model.patches(pixel_values, bool(interpolate_pos_encoding))
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            logits = self.logits(batch)
        return ImageClassifierOutput(
            loss=None if labels is None else sequence_loss(logits, labels, self.config),
            logits=logits,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


def check_pixels(
    pixels: Tensor, channels: int, size: tuple[int, int] | None, patch: tuple[int, int]
) -> None:
    """Raise for what is no batch of images that a model reads; the message says the fix.

    Args:
        pixels: What the caller gave.
        channels: How many the model reads.
        size: Height and width that the model reads, or None for any from one patch on.
        patch: Height and width of a patch.
    """
    found = f"{str(pixels.dtype).removeprefix('torch.')} of shape {tuple(pixels.shape)}"
    wanted = "pixel_values must be normalised floats of shape (batch, channels, height, width)"
    if not pixels.is_floating_point():
        raise TypeError(f"{wanted}; found {found}. AutoImageProcessor makes them from images")
    if pixels.dim() != 4:
        hint = ". For one image use pixel_values[None]" if pixels.dim() == 3 else ""
        raise ValueError(f"{wanted}; found {found}{hint}")
    if pixels.shape[1] != channels:
        last = pixels.shape[3] == channels
        fix = "pixel_values.permute(0, 3, 1, 2)" if last else f"images of {channels} channels"
        raise ValueError(f"this model reads {channels} channels; found {found}. Use {fix}")
    height, width = pixels.shape[2], pixels.shape[3]
    if size is not None and (height, width) != size:
        raise ValueError(
            f"this model reads images of {size[0]} x {size[1]} (height x width); found {height} x "
            f"{width}. Resize them (AutoImageProcessor does) or pass interpolate_pos_encoding=True"
        )
    if height < patch[0] or width < patch[1]:
        raise ValueError(
            f"images of {height} x {width} are smaller than a patch of {patch[0]} x {patch[1]}; "
            "resize them"
        )


def sides(name: str, size: Size) -> tuple[int, int]:
    """Return height and width, or raise `ConfigError`; `name` is what to call them."""
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or any(type(side) is not int or side < 1 for side in both):
        raise ConfigError(f"{name} is {size}; it must be a number above 0, or [height, width]")
    return both[0], both[1]
