"""CamemBERT: a RoBERTa of French (Martin et al. 2020, https://arxiv.org/abs/1911.03894).

Only configuration and names differ from `regard.models.roberta`.
"""

from regard.models import roberta
from regard.models.encoder import EncoderModel
from regard.models.family import Family


class CamembertConfig(roberta.RobertaConfig):
    """Sizes and rates of a CamemBERT, as in `RobertaConfig`."""

    model_type = "camembert"

    vocab_size: int = 30522


class CamembertPreTrainedModel(roberta.RobertaPreTrainedModel):
    """Base of every CamemBERT, and of your own models over one."""

    config_class = CamembertConfig

    def build_base(self, config: roberta.RobertaConfig, pooled: bool) -> EncoderModel:
        """Return the `CamembertModel` that a head sits on."""
        return CamembertModel(config, add_pooling_layer=pooled)


class CamembertModel(CamembertPreTrainedModel, roberta.RobertaModel):
    """CamemBERT without a head."""


class CamembertForMaskedLM(CamembertPreTrainedModel, roberta.RobertaForMaskedLM):
    """CamemBERT that fills in masked words."""


class CamembertForCausalLM(CamembertPreTrainedModel, roberta.RobertaForCausalLM):
    """CamemBERT with causal attention that continues text."""


class CamembertForSequenceClassification(
    CamembertPreTrainedModel, roberta.RobertaForSequenceClassification
):
    """CamemBERT that labels, or rates, whole texts."""


class CamembertForTokenClassification(
    CamembertPreTrainedModel, roberta.RobertaForTokenClassification
):
    """CamemBERT that labels tokens."""


class CamembertForQuestionAnswering(CamembertPreTrainedModel, roberta.RobertaForQuestionAnswering):
    """CamemBERT that finds answers in a text."""


class CamembertForMultipleChoice(CamembertPreTrainedModel, roberta.RobertaForMultipleChoice):
    """CamemBERT that chooses among continuations."""


FAMILY = Family(
    config=CamembertConfig,
    base=CamembertModel,
    heads={
        "MaskedLM": CamembertForMaskedLM,
        "CausalLM": CamembertForCausalLM,
        "PreTraining": CamembertForMaskedLM,
        "SequenceClassification": CamembertForSequenceClassification,
        "TokenClassification": CamembertForTokenClassification,
        "QuestionAnswering": CamembertForQuestionAnswering,
        "MultipleChoice": CamembertForMultipleChoice,
    },
)
