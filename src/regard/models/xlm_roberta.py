"""XLM-RoBERTa: a RoBERTa of a hundred languages (Conneau et al. 2020, https://arxiv.org/abs/1911.02116).

Only configuration and names differ from `regard.models.roberta`.
"""

from regard.models import roberta
from regard.models.encoder import EncoderModel
from regard.models.family import Family


class XLMRobertaConfig(roberta.RobertaConfig):
    """Sizes and rates of an XLM-RoBERTa, as in `RobertaConfig`."""

    model_type = "xlm-roberta"

    vocab_size: int = 30522


class XLMRobertaPreTrainedModel(roberta.RobertaPreTrainedModel):
    """Base of every XLM-RoBERTa, and of your own models over one."""

    config_class = XLMRobertaConfig

    def build_base(self, config: roberta.RobertaConfig, pooled: bool) -> EncoderModel:
        """Return the `XLMRobertaModel` that a head sits on."""
        return XLMRobertaModel(config, add_pooling_layer=pooled)


class XLMRobertaModel(XLMRobertaPreTrainedModel, roberta.RobertaModel):
    """XLM-RoBERTa without a head."""


class XLMRobertaForMaskedLM(XLMRobertaPreTrainedModel, roberta.RobertaForMaskedLM):
    """XLM-RoBERTa that fills in masked words."""


class XLMRobertaForCausalLM(XLMRobertaPreTrainedModel, roberta.RobertaForCausalLM):
    """XLM-RoBERTa with causal attention that continues text."""


class XLMRobertaForSequenceClassification(
    XLMRobertaPreTrainedModel, roberta.RobertaForSequenceClassification
):
    """XLM-RoBERTa that labels, or rates, whole texts."""


class XLMRobertaForTokenClassification(
    XLMRobertaPreTrainedModel, roberta.RobertaForTokenClassification
):
    """XLM-RoBERTa that labels tokens."""


class XLMRobertaForQuestionAnswering(
    XLMRobertaPreTrainedModel, roberta.RobertaForQuestionAnswering
):
    """XLM-RoBERTa that finds answers in a text."""


class XLMRobertaForMultipleChoice(XLMRobertaPreTrainedModel, roberta.RobertaForMultipleChoice):
    """XLM-RoBERTa that chooses among continuations."""


FAMILY = Family(
    config=XLMRobertaConfig,
    base=XLMRobertaModel,
    heads={
        "MaskedLM": XLMRobertaForMaskedLM,
        "CausalLM": XLMRobertaForCausalLM,
        "PreTraining": XLMRobertaForMaskedLM,
        "SequenceClassification": XLMRobertaForSequenceClassification,
        "TokenClassification": XLMRobertaForTokenClassification,
        "QuestionAnswering": XLMRobertaForQuestionAnswering,
        "MultipleChoice": XLMRobertaForMultipleChoice,
    },
)
