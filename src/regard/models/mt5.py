"""mT5 (Xue et al. 2021, https://arxiv.org/abs/2010.11934, section 3.2): T5 v1.1, multilingual."""

from typing import Any, ClassVar

from regard.models import t5
from regard.models.family import Family


class MT5Config(t5.T5Config):
    """Sizes and rates of an mT5; the defaults are mt5-small."""

    model_type = "mt5"
    unsaid: ClassVar[tuple[str, ...]] = ("scale_decoder_outputs",)

    vocab_size: int = 250112
    intermediate_size: int = 1024
    num_hidden_layers: int = 8
    num_attention_heads: int = 6
    feed_forward_proj: str = "gated-gelu"
    scale_decoder_outputs: bool | None = False


class MT5PreTrainedModel(t5.T5PreTrainedModel):
    """Base of every mT5, and of your own models over one."""

    config_class = MT5Config

    def build_base(self, config: t5.T5Config, pooled: bool = False) -> Any:
        """Return the `MT5Model` that a head sits on."""
        return MT5Model(config)


class MT5Model(MT5PreTrainedModel, t5.T5Model):
    """Encoder and decoder without a head: the decoder's last hidden vectors."""


class MT5EncoderModel(MT5PreTrainedModel, t5.T5EncoderModel):
    """The encoder alone: last hidden vectors of a text."""


class MT5ForConditionalGeneration(MT5PreTrainedModel, t5.T5ForConditionalGeneration):
    """mT5 that turns one text into another."""


class MT5ForSequenceClassification(MT5PreTrainedModel, t5.T5ForSequenceClassification):
    """mT5 that labels, or rates, whole texts."""


class MT5ForTokenClassification(MT5PreTrainedModel, t5.T5ForTokenClassification):
    """mT5's encoder that labels tokens."""

    def build_base(self, config: t5.T5Config, pooled: bool = False) -> MT5EncoderModel:
        """Return the `MT5EncoderModel` that this head sits on."""
        return MT5EncoderModel(config)


class MT5ForQuestionAnswering(MT5PreTrainedModel, t5.T5ForQuestionAnswering):
    """mT5 that finds answers in a text."""


FAMILY = Family(
    config=MT5Config,
    base=MT5Model,
    heads={
        "Seq2SeqLM": MT5ForConditionalGeneration,
        "SequenceClassification": MT5ForSequenceClassification,
        "TokenClassification": MT5ForTokenClassification,
        "QuestionAnswering": MT5ForQuestionAnswering,
    },
)
