"""Vision Transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929).

An image is cut into square patches, each mapped to a vector; a class token stands before them and
learned positions are added; a stack of pre-norm layers in which every patch attends to every other,
and a last norm.
"""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.batch import Layout
from regard.checkpoints.keymap import KeyTable
from regard.config import Config
from regard.errors import ConfigError
from regard.layers.activations import activation
from regard.layers.blocks import PreNormLayer, Stack
from regard.layers.feed_forward import FeedForward
from regard.linear import Linear
from regard.models import vision
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class ViTConfig(Config):
    """Sizes and rates of a Vision Transformer; the defaults are ViT-base with patches of 16."""

    model_type = "vit"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    image_size: vision.Size = 224
    patch_size: vision.Size = 16
    num_channels: int = 3
    qkv_bias: bool = True
    encoder_stride: int = 16
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"

    def check(self) -> None:
        """Raise `ConfigError` for a value that cannot be built."""
        super().check()
        if min(self.grid) < 1:
            raise ConfigError(
                f"patch_size {self.patch_size} does not fit into image_size {self.image_size}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches an image has from top to bottom and from left to right."""
        height, width = vision.sides("image_size", self.image_size)
        patch_height, patch_width = vision.sides("patch_size", self.patch_size)
        return height // patch_height, width // patch_width


KEYS: KeyTable = {
    "embeddings.projection": "embeddings.patch_embeddings.projection",
    "embeddings.class_token": "embeddings.cls_token",
    "embeddings.positions": "embeddings.position_embeddings",
    "encoder.layers.{}.attention_norm": "encoder.layer.{}.layernorm_before",
    "encoder.layers.{}.attention": "encoder.layer.{}.attention.attention",  # query, key, value
    "encoder.layers.{}.attention.output": "encoder.layer.{}.attention.output.dense",
    "encoder.layers.{}.feed_forward_norm": "encoder.layer.{}.layernorm_after",
    "encoder.layers.{}.feed_forward.up": "encoder.layer.{}.intermediate.dense",
    "encoder.layers.{}.feed_forward.down": "encoder.layer.{}.output.dense",
    "norm": "layernorm",
}


class ClassTokenPooler(nn.Module):
    """``act(dense(class token))``.

    Args:
        config: Gives the sizes and the activation.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.pooler_output_size or config.hidden_size)
        self.activation = activation(config.pooler_act)

    def forward(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "images pooled"]:
        """Return one vector per image, in the caller's order."""
        first = layout.reduce(hidden, lambda tokens: tokens[:, 0])
        return self.activation(self.dense(first))


class ViTPreTrainedModel(PreTrainedModel):
    """Base of every Vision Transformer, and of your own models over one."""

    config_class = ViTConfig
    base_model_prefix = "vit"

    def build_base(self, config: ViTConfig, masks: bool) -> vision.ImageEncoder:
        """Return the `ViTModel` that a head sits on."""
        return ViTModel(config, add_pooling_layer=False, use_mask_token=masks)

    def init_module(self, module: nn.Module) -> None:
        """Fill by a truncated normal, as DeiT's code does, special tokens and positions too."""
        if not isinstance(module, nn.Linear | nn.Conv2d | vision.PatchEmbeddings):
            super().init_module(module)
            return
        std = self.config.initializer_range
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias" or not std:
                nn.init.zeros_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=std)


class ViTModel(ViTPreTrainedModel, vision.ImageEncoder):
    """Vision Transformer without a head: last hidden vectors, and the pooled class token.

    Args:
        config: Sizes and rates.
        add_pooling_layer: Whether to have a pooler; without one ``pooler_output`` is None.
        use_mask_token: Whether patches can be hidden, by ``bool_masked_pos``.
    """

    keys = KEYS
    embeddings_class: ClassVar[type[vision.PatchEmbeddings]] = vision.PatchEmbeddings

    def __init__(
        self, config: ViTConfig, add_pooling_layer: bool = True, use_mask_token: bool = False
    ) -> None:
        super().__init__(config)
        self.embeddings = self.embeddings_class(config, use_mask_token)
        self.encoder = Stack(_layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = ClassTokenPooler(config) if add_pooling_layer else None
        self.post_init()


def _layer(config: ViTConfig) -> PreNormLayer:
    width, bias = config.hidden_size, config.qkv_bias
    rate = config.attention_probs_dropout_prob
    return PreNormLayer(
        Attention(width, config.num_attention_heads, rate, biases=(bias, True)),
        FeedForward(width, config.intermediate_size, config.hidden_act),
        norms=(
            nn.LayerNorm(width, eps=config.layer_norm_eps),
            nn.LayerNorm(width, eps=config.layer_norm_eps),
        ),
        dropout=config.hidden_dropout_prob,
    )


class ViTForImageClassification(ViTPreTrainedModel, vision.ImageClassification):
    """Vision Transformer that labels, or rates, images."""


class ViTForMaskedImageModeling(ViTPreTrainedModel, vision.MaskedImageModeling):
    """Vision Transformer that fills in hidden patches."""


FAMILY = Family(
    config=ViTConfig,
    base=ViTModel,
    heads={
        "ImageClassification": ViTForImageClassification,
        "MaskedImageModeling": ViTForMaskedImageModeling,
    },
)
