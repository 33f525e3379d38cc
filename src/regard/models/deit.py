"""DeiT (Touvron et al. 2021, https://arxiv.org/abs/2012.12877): a ViT that learns from a teacher.

A Vision Transformer with a second special token, the distillation token, whose last vector is
trained to say what a teacher says.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import TokenBatch
from regard.linear import Linear
from regard.models import vision
from regard.models.family import Family
from regard.models.vit import ViTConfig, ViTModel, ViTPreTrainedModel
from regard.outputs import ModelOutput


class DeiTConfig(ViTConfig):
    """Sizes and rates of a DeiT; the defaults are DeiT-base with patches of 16."""

    model_type = "deit"


class DistilledEmbeddings(vision.PatchEmbeddings):
    """Patches after the class token and the distillation token (section 4, figure 2)."""

    specials = 2

    def __init__(self, config: ViTConfig, mask_token: bool = False) -> None:
        super().__init__(config, mask_token)
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))

    def special_tokens(self) -> Float[Tensor, "1 2 width"]:
        """Return what stands before the patches."""
        return torch.cat([self.class_token, self.distillation_token], dim=1)


class DeiTPreTrainedModel(ViTPreTrainedModel):
    """Base of every DeiT, and of your own models over one."""

    config_class = DeiTConfig
    base_model_prefix = "deit"

    def build_base(self, config: ViTConfig, masks: bool) -> vision.ImageEncoder:
        """Return the `DeiTModel` that a head sits on."""
        return DeiTModel(config, add_pooling_layer=False, use_mask_token=masks)


class DeiTModel(DeiTPreTrainedModel, ViTModel):
    """DeiT without a head; arguments as of `ViTModel`."""

    embeddings_class = DistilledEmbeddings


class DeiTForMaskedImageModeling(DeiTPreTrainedModel, vision.MaskedImageModeling):
    """DeiT that fills in hidden patches."""


class DeiTForImageClassification(DeiTPreTrainedModel, vision.ImageClassification):
    """DeiT that labels images by the class token alone."""


class DeiTForImageClassificationWithTeacherOutput(ModelOutput):
    """The mean of both heads, and each by itself, all (batch, num_labels)."""

    logits: Tensor
    cls_logits: Tensor
    distillation_logits: Tensor


class DeiTForImageClassificationWithTeacher(DeiTPreTrainedModel, vision.ImageHead):
    """DeiT that labels images by both special tokens (section 4, "joint classifiers").

    As in the reference the scores are averaged; the paper adds probabilities.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.cls_classifier = Linear(config.hidden_size, config.num_labels)
        self.distillation_classifier = Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def logits(
        self, batch: TokenBatch
    ) -> tuple[Float[Tensor, "images labels"], Float[Tensor, "images labels"]]:
        """Return the scores by class token and by distillation token."""
        special = self.special_vectors(batch, 2)
        return self.cls_classifier(special[:, 0]), self.distillation_classifier(special[:, 1])

    def forward(
        self,
        pixel_values: Tensor,
        interpolate_pos_encoding: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> DeiTForImageClassificationWithTeacherOutput:
        """Score images, see `regard.models.vision.ImageEncoder.forward`."""
        batch = self.base_model.patches(pixel_values, bool(interpolate_pos_encoding))
        with self.watch(batch.layout, output_attentions, output_hidden_states) as states:
            by_class, by_distillation = self.logits(batch)
        return DeiTForImageClassificationWithTeacherOutput(
            logits=(by_class + by_distillation) / 2,
            cls_logits=by_class,
            distillation_logits=by_distillation,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )


FAMILY = Family(
    config=DeiTConfig,
    base=DeiTModel,
    heads={
        "MaskedImageModeling": DeiTForMaskedImageModeling,
        "ImageClassification": DeiTForImageClassification,
        "ImageClassificationWithTeacher": DeiTForImageClassificationWithTeacher,
    },
)
