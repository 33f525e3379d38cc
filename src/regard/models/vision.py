"""The public edge of image models: pixels in, packed patches inside; and the heads over them."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.batch import Layout, TokenBatch
from regard.checkpoints.keymap import KeyTable
from regard.dropout import Dropout
from regard.errors import ConfigError
from regard.layers.blocks import Stack
from regard.linear import Linear
from regard.models.losses import Labelled, SequenceLabelled, sequence_loss
from regard.models.model import without_memory
from regard.models.states import ObservedModel
from regard.outputs import BaseModelOutputWithPooling, Loss, ModelOutput, scored

#: One number for a square, or (height, width).
Size = int | list[int] | tuple[int, int]


class ImageClassifierOutput(ModelOutput):
    """``logits`` (batch, num_labels)."""

    loss: Tensor | None = None
    logits: Tensor


class MaskedImageModelingOutput(ModelOutput):
    """``reconstruction`` (batch, channels, height, width): the pixels of every patch."""

    loss: Tensor | None = None
    reconstruction: Tensor


class PatchEmbeddings(nn.Module):
    """Patches as vectors, special tokens before them, positions added (section 3.1, equation 1).

    Args:
        config: Sizes of images and patches, and the rate of dropout.
        mask_token: Whether to have a vector that stands for patches which are hidden.
    """

    #: How many special tokens stand before the patches.
    specials: ClassVar[int] = 1

    def __init__(self, config: Any, mask_token: bool = False) -> None:
        super().__init__()
        width, self.grid = config.hidden_size, config.grid
        self.image_size = sides("image_size", config.image_size)
        self.patch_size = patch = sides("patch_size", config.patch_size)
        self.projection = nn.Conv2d(config.num_channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width)) if mask_token else None
        self.positions = nn.Parameter(torch.zeros(1, self.specials + math.prod(self.grid), width))
        self.dropout = Dropout(config.hidden_dropout_prob)

    def special_tokens(self) -> Float[Tensor, "1 specials width"]:
        """Return what stands before the patches."""
        return self.class_token

    def forward(
        self,
        pixel_values: Float[Tensor, "batch channels height width"],
        interpolate: bool,
        hidden_patches: Bool[Tensor, "batch patches"] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the first vectors; `interpolate` stretches the positions to images of any size."""
        check_pixels(
            pixel_values,
            channels=self.projection.in_channels,
            size=None if interpolate else self.image_size,
            patch=self.patch_size,
        )
        grid = self.projection(pixel_values.to(self.projection.weight.dtype))
        positions = self.stretched(grid.shape[-2], grid.shape[-1])
        patches = grid.flatten(2).transpose(1, 2)
        if hidden_patches is not None:
            patches = self.masked(patches, hidden_patches)
        special = self.special_tokens().expand(len(patches), -1, -1)
        return self.dropout(torch.cat([special, patches], dim=1) + positions)

    def masked(
        self, patches: Float[Tensor, "batch patches width"], hidden: Tensor
    ) -> Float[Tensor, "batch patches width"]:
        """Return `patches` with the mask token where `hidden` is true."""
        if self.mask_token is None:
            raise ValueError(
                "this model has no mask token, so it takes no bool_masked_pos; build it with "
                "use_mask_token=True, or use the ForMaskedImageModeling class"
            )
        if hidden.shape != patches.shape[:2]:
            raise ValueError(
                f"bool_masked_pos must say for each patch whether it is hidden, shape "
                f"{tuple(patches.shape[:2])}; found {tuple(hidden.shape)}"
            )
        return torch.where(hidden.bool()[..., None], self.mask_token, patches)

    def stretched(self, rows: int, columns: int) -> Float[Tensor, "1 tokens width"]:
        """Return the positions of a grid of patches, bicubic where it is not the trained one."""
        if (rows, columns) == self.grid:
            return self.positions
        special, patches = self.positions.tensor_split([self.specials], dim=1)
        image = patches.transpose(1, 2).reshape(1, -1, *self.grid)
        image = F.interpolate(image, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([special, image.flatten(2).transpose(1, 2)], dim=1)


class ImageModel(ObservedModel):
    """A model that reads images."""

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return one image of the size that the model was made for, which sets its length."""
        sizes: Any = self.config
        height, width = sides("image_size", sizes.image_size)
        return {"pixel_values": torch.zeros(1, sizes.num_channels, height, width)}


class ImageEncoder(ImageModel):
    """Base of every family's image encoder: patches, a stack of pre-norm layers, a last norm.

    A family sets the four in its constructor and needs no forward of its own. Hidden states, when
    asked for, are those before the last norm, as in the reference.
    """

    is_base: ClassVar[bool] = True
    optional: ClassVar[tuple[str, ...]] = ("pooler", "embeddings.mask_token")

    embeddings: PatchEmbeddings
    encoder: Stack
    norm: nn.Module
    pooler: nn.Module | None

    def patches(
        self,
        pixel_values: Float[Tensor, "batch channels height width"],
        interpolate: bool = False,
        bool_masked_pos: Bool[Tensor, "batch patches"] | None = None,
    ) -> TokenBatch:
        """Return the first vectors of special tokens and patches, packed: images are equal."""
        vectors: Tensor = self.embeddings(pixel_values, interpolate, bool_masked_pos)
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
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode images as an image processor gives them, (batch, channels, height, width).

        Args:
            pixel_values: Normalised floats.
            bool_masked_pos: (batch, patches), true for patches to hide behind the mask token.
            interpolate_pos_encoding: Take images of any size, by stretching the positions.
            output_attentions: Give who attends to whom; None is what the configuration says.
            output_hidden_states: Give what goes into each layer and out of the last one.
        """
        batch = self.patches(pixel_values, bool(interpolate_pos_encoding), bool_masked_pos)
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            hidden = self.encode(batch)
            pooled = None if self.pooler is None else self.pool(hidden, batch.layout)
        return BaseModelOutputWithPooling(
            last_hidden_state=batch.layout.pad(hidden),
            pooler_output=pooled,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class ImageHead(Labelled, ImageModel):
    """A head over a family's image encoder, which lies under its prefix (``model.vit``).

    Attributes:
        masks: Whether the base has a mask token.
    """

    masks: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.add_module(self.base_model_prefix, self.build_base(config, self.masks))

    def build_base(self, config: Any, masks: bool) -> ImageEncoder:
        """Return the family's base model, without a pooler."""
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


class ImageClassification(SequenceLabelled, ImageHead):
    """Labels, or a number, for each image (Dosovitskiy et al. 2021, section 3.1, equation 4)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = Linear(config.hidden_size, config.num_labels)
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
        loss = None
        if labels is not None:
            loss = sequence_loss(logits, labels, self.config, self.criterion)
        return ImageClassifierOutput(
            **scored(loss),
            logits=logits,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


class MaskedImageModeling(ImageHead):
    """The pixels of hidden patches, by one linear map (Xie et al. 2022, sections 3.1 and 3.2)."""

    keys: ClassVar[KeyTable] = {"decoder": "decoder.0"}
    label_arguments: ClassVar[tuple[str, ...]] = ("bool_masked_pos",)
    masks: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.stride = config.encoder_stride
        with without_memory():
            self.decoder = nn.Conv2d(config.hidden_size, self.stride**2 * config.num_channels, 1)
        self.post_init()

    def label_counts(self, inputs: Mapping[str, Any]) -> tuple[float, ...]:
        """Return how many numbers the hidden patches have: each is compared."""
        hidden = inputs.get("bool_masked_pos")
        numbers = self.stride**2 * inputs["pixel_values"].shape[1]
        return () if hidden is None else (float(hidden.sum() * numbers),)

    def logits(
        self, batch: TokenBatch, grid: tuple[int, int]
    ) -> Float[Tensor, "images channels height width"]:
        """Return the pixels of a batch that the base's `patches` made of images with that grid."""
        base = self.base_model
        hidden = base.encode(batch)
        patches = batch.layout.reduce(hidden, lambda tokens: tokens[:, base.embeddings.specials :])
        image = patches.transpose(1, 2).reshape(len(patches), -1, *grid)
        return F.pixel_shuffle(self.decoder(image), self.stride)

    def forward(
        self,
        pixel_values: Tensor,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedImageModelingOutput:
        """Fill in images, see `ImageEncoder.forward`; with `bool_masked_pos` there is a loss."""
        base, patch = self.base_model, self.base_model.embeddings.patch_size
        if bool_masked_pos is not None and patch != (self.stride, self.stride):
            raise ValueError(
                f"to compare with the image, encoder_stride ({self.stride}) must equal patch_size "
                f"{patch}; without bool_masked_pos there is no comparison"
            )
        batch = base.patches(pixel_values, bool(interpolate_pos_encoding), bool_masked_pos)
        grid = (pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1])
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            pixels = self.logits(batch, grid)
        loss = None
        if bool_masked_pos is not None:
            loss = masked_pixel_loss(pixels, pixel_values, bool_masked_pos.view(-1, *grid))
        return MaskedImageModelingOutput(
            **scored(loss),
            reconstruction=pixels,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


def masked_pixel_loss(
    pixels: Float[Tensor, "batch channels rows columns"],
    image: Float[Tensor, "batch channels height width"],
    hidden: Tensor,
) -> Loss:
    """Return the mean absolute error at hidden patches (Xie et al. 2022, section 3.3).

    Args:
        pixels: What the model says; the image's edge that fills no patch is not in it.
        image: What is there.
        hidden: (batch, patches from top to bottom, patches from left to right), true where hidden.
    """
    image = image[..., : pixels.shape[2], : pixels.shape[3]].to(pixels.dtype)
    counted = F.interpolate(hidden[:, None].to(pixels.dtype), size=pixels.shape[2:])
    total = (F.l1_loss(pixels, image, reduction="none") * counted).sum()
    return Loss((total,), (counted.sum() * pixels.shape[1],))


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
    if len(both) != 2 or any(type(side) is not int or not 0 < side < 2**16 for side in both):
        raise ConfigError(
            f"{name} is {size}; it must be a number from 1 to 65535, or [height, width]"
        )
    return both[0], both[1]
