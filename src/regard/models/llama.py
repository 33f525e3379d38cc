"""Llama (Touvron et al. 2023, https://arxiv.org/abs/2302.13971, section 2.2).

Word vectors; a stack of pre-norm layers with root-mean-square norms, rotary positions, shared key
heads and a gated feed-forward; a last normalisation. Serves SmolLM2. Mistral, Qwen2 and Qwen3 are
this anatomy with another configuration.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from regard.attention.attention import Attention, Heads
from regard.attention.patterns import Pattern
from regard.attention.positions import Rotary
from regard.checkpoints.keymap import KeyTable
from regard.config import Config
from regard.errors import ConfigError
from regard.layers.blocks import PreNormLayer, Stack
from regard.layers.embeddings import Embeddings
from regard.layers.feed_forward import GatedFeedForward
from regard.layers.norms import RMSNorm
from regard.models import decoder, heads
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class LlamaConfig(Config):
    """Sizes and rates of a Llama; the defaults are Llama-7B.

    Rotary positions are read from ``rope_parameters``, or from the older ``rope_theta`` and
    ``rope_scaling``.
    """

    model_type = "llama"
    only: ClassVar[Mapping[str, Any]] = {"pretraining_tp": 1}
    unsaid = ("attention_bias", "mlp_bias", "classifier_dropout")  # the kin do not know them
    #: What later families switch on.
    query_bias: ClassVar[bool] = False
    head_norms: ClassVar[bool] = False

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_parameters: dict[str, Any] | None = None
    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    attention_dropout: float = 0.0
    classifier_dropout: float = 0.1
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2

    def rotary(self) -> tuple[float, dict[str, Any]]:
        """Return the base of the rotary frequencies, and how they are scaled."""
        scaling = dict(self.rope_parameters or self.rope_scaling or {})
        theta = scaling.pop("rope_theta", 10000.0)
        theta = theta if self.rope_theta is None else self.rope_theta
        if not isinstance(theta, int | float):
            raise ConfigError(f"rope_theta is {theta!r}; it must be a number")
        return float(theta), scaling

    def window(self, layer: int) -> int | None:
        """Return how many tokens back a layer sees, or None for all."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return what config.json holds, rotary positions in the new spelling and the old."""
        theta, scaling = self.rotary()
        named = {"rope_type": "default", **scaling, "rope_theta": theta}
        old = {"rope_theta": theta, "rope_scaling": scaling or None}
        return super().to_dict() | {"rope_parameters": named, **old}


KEYS: KeyTable = {
    "embeddings.words": "embed_tokens",
    "decoder.layers.{}.attention_norm": "layers.{}.input_layernorm",
    "decoder.layers.{}.attention.query": "layers.{}.self_attn.q_proj",
    "decoder.layers.{}.attention.key": "layers.{}.self_attn.k_proj",
    "decoder.layers.{}.attention.value": "layers.{}.self_attn.v_proj",
    "decoder.layers.{}.attention.output": "layers.{}.self_attn.o_proj",
    "decoder.layers.{}.attention.query_norm": "layers.{}.self_attn.q_norm",
    "decoder.layers.{}.attention.key_norm": "layers.{}.self_attn.k_norm",
    "decoder.layers.{}.feed_forward_norm": "layers.{}.post_attention_layernorm",
    "decoder.layers.{}.feed_forward.gate": "layers.{}.mlp.gate_proj",
    "decoder.layers.{}.feed_forward.up": "layers.{}.mlp.up_proj",
    "decoder.layers.{}.feed_forward.down": "layers.{}.mlp.down_proj",
    "decoder.norm": "norm",
}


class LlamaPreTrainedModel(PreTrainedModel):
    """Base of every Llama, and of your own models over a Llama."""

    config_class = LlamaConfig
    base_model_prefix = "model"

    def build_base(self, config: LlamaConfig, pooled: bool) -> "LlamaModel":
        """Return the `LlamaModel` that a head sits on."""
        return LlamaModel(config)


class LlamaModel(LlamaPreTrainedModel, decoder.DecoderModel):
    """Llama without a head: last hidden vectors."""

    keys = KEYS

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embeddings = Embeddings(
            words=nn.Embedding(config.vocab_size, width, config.pad_token_id),
            positions=None,
            segments=None,
            norm=nn.Identity(),
            dropout=0.0,
        )
        layers = (_layer(config, number) for number in range(config.num_hidden_layers))
        self.decoder = Stack(layers, RMSNorm(width, config.rms_norm_eps))
        self.post_init()


def _layer(config: LlamaConfig, number: int) -> PreNormLayer:
    width, eps = config.hidden_size, config.rms_norm_eps
    head_dim = config.head_dim or width // config.num_attention_heads
    heads_ = Heads(config.num_attention_heads, config.num_key_value_heads, config.head_dim)
    norms = (RMSNorm(head_dim, eps), RMSNorm(head_dim, eps)) if config.head_norms else None
    attention = Attention(
        width,
        heads_,
        config.attention_dropout,
        Pattern(causal=True, window=config.window(number)),
        biases=(config.attention_bias or config.query_bias, config.attention_bias),
        rotary=Rotary(head_dim, *config.rotary(), config.max_position_embeddings),
        norms=norms,
    )
    feed_forward = GatedFeedForward(
        width, config.intermediate_size, config.hidden_act, bias=config.mlp_bias
    )
    return PreNormLayer(attention, feed_forward, (RMSNorm(width, eps), RMSNorm(width, eps)))


class LlamaForCausalLM(LlamaPreTrainedModel, decoder.CausalLM):
    """Llama that continues text."""


class LlamaForSequenceClassification(LlamaPreTrainedModel, decoder.LastTokenClassification):
    """Llama that labels, or rates, whole texts."""


class LlamaForTokenClassification(LlamaPreTrainedModel, heads.TokenClassification):
    """Llama that labels tokens."""

    keys: ClassVar[KeyTable] = {"classifier": "score"}


class LlamaForQuestionAnswering(LlamaPreTrainedModel, heads.QuestionAnswering):
    """Llama that finds answers in a text."""

    base_model_prefix = "transformer"  # as the field has it, for this head alone


FAMILY = Family(
    config=LlamaConfig,
    base=LlamaModel,
    heads={
        "CausalLM": LlamaForCausalLM,
        "SequenceClassification": LlamaForSequenceClassification,
        "TokenClassification": LlamaForTokenClassification,
        "QuestionAnswering": LlamaForQuestionAnswering,
    },
)
