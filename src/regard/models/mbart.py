"""mBART (Liu et al. 2020, https://arxiv.org/abs/2001.08210, section 2.2): a BART of many languages.

Its layers normalise what goes in, each side ends with a normalisation, and a target begins with the
token of its language, which stands at the end of labels.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from regard.models import bart
from regard.models.family import Family


class MBartConfig(bart.BartConfig):
    """Sizes and rates of an mBART; the published ones have 250,027 words or more."""

    model_type = "mbart"
    only: ClassVar[Mapping[str, Any]] = {
        **bart.BartConfig.only,
        "normalize_before": True,
        "add_final_layer_norm": True,
    }
    usual_labels = 2

    decoder_start_token_id: int | None = None


class MBartPreTrainedModel(bart.BartPreTrainedModel):
    """Base of every mBART, and of your own models over one."""

    config_class = MBartConfig

    def build_base(self, config: bart.BartConfig) -> "MBartModel":
        """Return the `MBartModel` that a head sits on."""
        return MBartModel(config)

    def build_decoder(self, config: bart.BartConfig) -> "MBartDecoder":
        """Return the `MBartDecoder` that continues text."""
        return MBartDecoder(config)


class MBartModel(MBartPreTrainedModel, bart.BartModel):
    """mBART without a head: the decoder's last hidden vectors."""

    def start_tokens(self, ids: Tensor) -> Tensor:
        """Return the last token of each row that is no padding: its language."""
        columns = torch.arange(ids.shape[1], device=ids.device)
        last = torch.where(ids == self.config.pad_token_id, 0, columns).amax(1, keepdim=True)
        return ids.gather(1, last)


class MBartDecoder(MBartPreTrainedModel, bart.BartDecoder):
    """mBART's decoder by itself."""


class MBartForConditionalGeneration(MBartPreTrainedModel, bart.BartForConditionalGeneration):
    """mBART that turns one text into another, such as its translation."""


class MBartForSequenceClassification(MBartPreTrainedModel, bart.BartForSequenceClassification):
    """mBART that labels, or rates, whole texts."""


class MBartForQuestionAnswering(MBartPreTrainedModel, bart.BartForQuestionAnswering):
    """mBART that finds answers in a text."""


class MBartForCausalLM(MBartPreTrainedModel, bart.BartForCausalLM):
    """mBART's decoder that continues text."""


FAMILY = Family(
    config=MBartConfig,
    base=MBartModel,
    heads={
        "Seq2SeqLM": MBartForConditionalGeneration,
        "MaskedLM": MBartForConditionalGeneration,
        "CausalLM": MBartForCausalLM,
        "SequenceClassification": MBartForSequenceClassification,
        "QuestionAnswering": MBartForQuestionAnswering,
    },
)
