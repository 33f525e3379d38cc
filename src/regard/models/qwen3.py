"""Qwen3 (Yang et al. 2025, section 2): a Llama that normalises each query and key head."""

from regard.models import llama
from regard.models.family import Family
from regard.models.qwen2 import Qwen2Config


class Qwen3Config(Qwen2Config):
    """Sizes and rates of a Qwen3, and which layers see a sliding window: by default none."""

    model_type = "qwen3"
    query_bias = False
    head_norms = True

    head_dim: int | None = 128


class Qwen3PreTrainedModel(llama.LlamaPreTrainedModel):
    """Base of every Qwen3, and of your own models over one."""

    config_class = Qwen3Config

    def build_base(self, config: llama.LlamaConfig, pooled: bool) -> "Qwen3Model":
        """Return the `Qwen3Model` that a head sits on."""
        return Qwen3Model(config)


class Qwen3Model(Qwen3PreTrainedModel, llama.LlamaModel):
    """Qwen3 without a head: last hidden vectors."""


class Qwen3ForCausalLM(Qwen3PreTrainedModel, llama.LlamaForCausalLM):
    """Qwen3 that continues text."""


class Qwen3ForSequenceClassification(Qwen3PreTrainedModel, llama.LlamaForSequenceClassification):
    """Qwen3 that labels, or rates, whole texts."""


class Qwen3ForTokenClassification(Qwen3PreTrainedModel, llama.LlamaForTokenClassification):
    """Qwen3 that labels tokens."""


class Qwen3ForQuestionAnswering(Qwen3PreTrainedModel, llama.LlamaForQuestionAnswering):
    """Qwen3 that finds answers in a text."""

    base_model_prefix = "transformer"  # as the field has it, for this head alone


FAMILY = Family(
    config=Qwen3Config,
    base=Qwen3Model,
    heads={
        "CausalLM": Qwen3ForCausalLM,
        "SequenceClassification": Qwen3ForSequenceClassification,
        "TokenClassification": Qwen3ForTokenClassification,
        "QuestionAnswering": Qwen3ForQuestionAnswering,
    },
)
