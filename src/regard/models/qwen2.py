"""Qwen2 (Yang et al. 2024, section 2.2): a Llama with biases on queries, keys and values."""

from collections.abc import Mapping
from typing import ClassVar

from regard.models import llama
from regard.models.family import Family


class Qwen2Config(llama.LlamaConfig):
    """Sizes and rates of a Qwen2, and which layers see a sliding window: by default none."""

    model_type = "qwen2"
    query_bias = True
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "layer_types": ("full_attention", "sliding_attention")
    }

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: int = 28
    layer_types: list[str] | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def window(self, layer: int) -> int | None:
        """Return how many tokens back a layer sees, or None for all."""
        if self.sliding_window is None or not self.use_sliding_window:
            return None
        slides = layer >= self.max_window_layers
        if self.layer_types is not None:
            slides = self.layer_types[layer] == "sliding_attention"
        return self.sliding_window - 1 if slides else None


class Qwen2PreTrainedModel(llama.LlamaPreTrainedModel):
    """Base of every Qwen2, and of your own models over one."""

    config_class = Qwen2Config

    def build_base(self, config: llama.LlamaConfig, pooled: bool) -> "Qwen2Model":
        """Return the `Qwen2Model` that a head sits on."""
        return Qwen2Model(config)


class Qwen2Model(Qwen2PreTrainedModel, llama.LlamaModel):
    """Qwen2 without a head: last hidden vectors."""


class Qwen2ForCausalLM(Qwen2PreTrainedModel, llama.LlamaForCausalLM):
    """Qwen2 that continues text."""


class Qwen2ForSequenceClassification(Qwen2PreTrainedModel, llama.LlamaForSequenceClassification):
    """Qwen2 that labels, or rates, whole texts."""


class Qwen2ForTokenClassification(Qwen2PreTrainedModel, llama.LlamaForTokenClassification):
    """Qwen2 that labels tokens."""


class Qwen2ForQuestionAnswering(Qwen2PreTrainedModel, llama.LlamaForQuestionAnswering):
    """Qwen2 that finds answers in a text."""

    base_model_prefix = "transformer"  # as the field has it, for this head alone


FAMILY = Family(
    config=Qwen2Config,
    base=Qwen2Model,
    heads={
        "CausalLM": Qwen2ForCausalLM,
        "SequenceClassification": Qwen2ForSequenceClassification,
        "TokenClassification": Qwen2ForTokenClassification,
        "QuestionAnswering": Qwen2ForQuestionAnswering,
    },
)
