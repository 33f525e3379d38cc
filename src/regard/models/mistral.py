"""Mistral (Jiang et al. 2023, section 2): a Llama whose layers see a sliding window."""

from regard.models import llama
from regard.models.family import Family


class MistralConfig(llama.LlamaConfig):
    """Sizes and rates of a Mistral; the defaults are Mistral-7B."""

    model_type = "mistral"

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096

    def window(self, layer: int) -> int | None:
        """Return how many tokens back a layer sees, or None for all."""
        return None if self.sliding_window is None else self.sliding_window - 1


class MistralPreTrainedModel(llama.LlamaPreTrainedModel):
    """Base of every Mistral, and of your own models over one."""

    config_class = MistralConfig

    def build_base(self, config: llama.LlamaConfig, pooled: bool) -> "MistralModel":
        """Return the `MistralModel` that a head sits on."""
        return MistralModel(config)


class MistralModel(MistralPreTrainedModel, llama.LlamaModel):
    """Mistral without a head: last hidden vectors."""


class MistralForCausalLM(MistralPreTrainedModel, llama.LlamaForCausalLM):
    """Mistral that continues text."""


class MistralForSequenceClassification(
    MistralPreTrainedModel, llama.LlamaForSequenceClassification
):
    """Mistral that labels, or rates, whole texts."""


class MistralForTokenClassification(MistralPreTrainedModel, llama.LlamaForTokenClassification):
    """Mistral that labels tokens."""


class MistralForQuestionAnswering(MistralPreTrainedModel, llama.LlamaForQuestionAnswering):
    """Mistral that finds answers in a text."""

    base_model_prefix = "model"  # where the other kin have "transformer"


FAMILY = Family(
    config=MistralConfig,
    base=MistralModel,
    heads={
        "CausalLM": MistralForCausalLM,
        "SequenceClassification": MistralForSequenceClassification,
        "TokenClassification": MistralForTokenClassification,
        "QuestionAnswering": MistralForQuestionAnswering,
    },
)
