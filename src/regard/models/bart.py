"""BART (Lewis et al. 2020, https://arxiv.org/abs/1910.13461, section 2).

An encoder and a decoder of post-norm layers over one matrix of words, with learned positions and
normalised embeddings; the output is that matrix again. mBART and Marian are this anatomy with
other switches.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import nn

from regard.checkpoints.keymap import KeyTable, Place
from regard.layers.blocks import Stack
from regard.layers.embeddings import Embeddings, LearnedPositions, SinusoidalPositions
from regard.layers.standard import LayerPlan
from regard.models import seq2seq
from regard.models import seq2seq_heads as heads
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class BartConfig(seq2seq.Seq2SeqConfig):
    """Sizes and rates of a BART; the defaults are BART-large.

    ``d_model``, ``encoder_layers`` and the other names of its files work as arguments too.
    """

    model_type = "bart"
    aliases: ClassVar[Mapping[str, str]] = {
        "d_model": "hidden_size",
        "encoder_layers": "num_hidden_layers",
        "encoder_attention_heads": "num_attention_heads",
        "encoder_ffn_dim": "intermediate_size",
        "decoder_layers": "num_decoder_layers",
        "activation_function": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "init_std": "initializer_range",
    }
    #: The switches that set the kin apart, as files of the first versions spell them.
    only: ClassVar[Mapping[str, Any]] = {
        "normalize_before": False,
        "add_final_layer_norm": False,
        "normalize_embedding": True,
        "static_position_embeddings": False,
    }
    usual_labels = 3
    #: Whether target vectors given in place of ids are scaled as words are.
    scale_given_targets: ClassVar[bool] = False

    vocab_size: int = 50265
    hidden_size: int = 1024
    num_hidden_layers: int = 12
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    num_decoder_layers: int = 12
    decoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.0
    activation_dropout: float = 0.0
    classifier_dropout: float = 0.0
    encoder_layerdrop: float = 0.0
    decoder_layerdrop: float = 0.0
    max_position_embeddings: int = 1024
    scale_embedding: bool = False
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 2


_SIDE: Mapping[str, str] = {
    "embeddings.positions": "embed_positions",
    "embeddings.norm": "layernorm_embedding",
    "stack.layers.{}.attention.query": "layers.{}.self_attn.q_proj",
    "stack.layers.{}.attention.key": "layers.{}.self_attn.k_proj",
    "stack.layers.{}.attention.value": "layers.{}.self_attn.v_proj",
    "stack.layers.{}.attention.output": "layers.{}.self_attn.out_proj",
    "stack.layers.{}.attention_norm": "layers.{}.self_attn_layer_norm",
    "stack.layers.{}.cross_attention.query": "layers.{}.encoder_attn.q_proj",
    "stack.layers.{}.cross_attention.key": "layers.{}.encoder_attn.k_proj",
    "stack.layers.{}.cross_attention.value": "layers.{}.encoder_attn.v_proj",
    "stack.layers.{}.cross_attention.output": "layers.{}.encoder_attn.out_proj",
    "stack.layers.{}.cross_attention_norm": "layers.{}.encoder_attn_layer_norm",
    "stack.layers.{}.feed_forward.up": "layers.{}.fc1",
    "stack.layers.{}.feed_forward.down": "layers.{}.fc2",
    "stack.layers.{}.feed_forward_norm": "layers.{}.final_layer_norm",
    "stack.norm": "layer_norm",
}
KEYS: KeyTable = {
    "encoder.embeddings.words": Place("encoder.embed_tokens", otherwise="shared"),
    "decoder.embeddings.words": Place("decoder.embed_tokens", otherwise="shared"),
    **{
        f"{s}.{ours}": f"{s}.{disk}" for s in ("encoder", "decoder") for ours, disk in _SIDE.items()
    },
}


class BartPreTrainedModel(PreTrainedModel):
    """Base of every BART, and of your own models over one."""

    config_class = BartConfig
    base_model_prefix = "model"

    def build_base(self, config: BartConfig) -> "BartModel":
        """Return the `BartModel` that a head sits on."""
        return BartModel(config)

    def build_decoder(self, config: BartConfig) -> "BartDecoder":
        """Return the `BartDecoder` that continues text."""
        return BartDecoder(config)

    def build_words(self, config: BartConfig) -> seq2seq.Words:
        """Return the words of both sides, of the source and of the target."""
        return seq2seq.shared_words(config)


class BartModel(BartPreTrainedModel, seq2seq.Seq2SeqModel):
    """BART without a head: the decoder's last hidden vectors."""

    keys = KEYS

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.shared, source, target = self.build_words(config)
        self.encoder = encoder_side(config, source)
        self.decoder = decoder_side(config, target)
        self.post_init()

    def default_target(self, source: seq2seq.Side) -> seq2seq.Side:
        """Return the source, shifted right, as when a text is restored (section 2.2)."""
        return self.from_source(source)


class BartDecoder(BartPreTrainedModel, seq2seq.Seq2SeqDecoder):
    """BART's decoder by itself."""

    keys = KEYS

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.decoder = decoder_side(config, self.build_words(config)[2])
        self.post_init()


def encoder_side(config: BartConfig, words: nn.Embedding) -> seq2seq.TextStack:
    """Return an encoder that reads `words`."""
    plan = _plan(config, config.num_attention_heads, config.intermediate_size)
    layers = (plan.encoder_layer() for _ in range(config.num_hidden_layers))
    return _side(config, words, layers, config.encoder_layerdrop)


def decoder_side(config: BartConfig, words: nn.Embedding) -> seq2seq.TextStack:
    """Return a decoder that reads `words`."""
    plan = _plan(config, config.decoder_attention_heads, config.decoder_ffn_dim)
    layers = (plan.decoder_layer() for _ in range(config.num_decoder_layers))
    side = _side(config, words, layers, config.decoder_layerdrop)
    side.embeddings.scale_given = config.scale_given_targets
    return side


def _plan(config: BartConfig, heads: int, inner: int) -> LayerPlan:
    return LayerPlan(
        width=config.hidden_size,
        heads=heads,
        inner=inner,
        act=config.hidden_act,
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        inner_dropout=config.activation_dropout,
        norm_first=config.only["normalize_before"],
    )


def _side(
    config: BartConfig, words: nn.Embedding, layers: Iterable[nn.Module], layerdrop: float
) -> seq2seq.TextStack:
    switches, width = config.only, config.hidden_size
    positions = LearnedPositions(config.max_position_embeddings + 2, width, first=2)
    if switches["static_position_embeddings"]:
        positions = SinusoidalPositions(width, interleaved=False)
    norm = nn.LayerNorm(width) if switches["normalize_embedding"] else nn.Identity()
    scale = math.sqrt(width) if config.scale_embedding else 1.0
    embeddings = Embeddings(words, positions, None, norm, config.hidden_dropout_prob, scale=scale)
    last = nn.LayerNorm(width) if switches["add_final_layer_norm"] else None
    return seq2seq.TextStack(embeddings, Stack(layers, last, layerdrop))


class BartForConditionalGeneration(BartPreTrainedModel, heads.BiasedGeneration):
    """BART that turns one text into another."""


class BartForSequenceClassification(BartPreTrainedModel, heads.Seq2SeqSequenceClassification):
    """BART that labels, or rates, whole texts."""


class BartForQuestionAnswering(BartPreTrainedModel, heads.Seq2SeqQuestionAnswering):
    """BART that finds answers in a text."""


class BartForCausalLM(BartPreTrainedModel, heads.Seq2SeqCausalLM):
    """BART's decoder that continues text."""


FAMILY = Family(
    config=BartConfig,
    base=BartModel,
    heads={
        "Seq2SeqLM": BartForConditionalGeneration,
        "MaskedLM": BartForConditionalGeneration,
        "PreTraining": BartForConditionalGeneration,
        "CausalLM": BartForCausalLM,
        "SequenceClassification": BartForSequenceClassification,
        "QuestionAnswering": BartForQuestionAnswering,
    },
)
