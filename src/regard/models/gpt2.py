"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3).

Word and position vectors, summed; a stack of pre-norm layers in which every token attends to what
came before it; a last normalisation. Serves DistilGPT-2 and DialoGPT.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.attention.patterns import Pattern
from regard.batch import TokenBatch
from regard.checkpoints.keymap import KeyTable, Place
from regard.config import Config
from regard.layers.blocks import PreNormLayer, Stack
from regard.layers.embeddings import Embeddings, LearnedPositions
from regard.layers.feed_forward import FeedForward
from regard.models import decoder, heads
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class GPT2Config(Config):
    """Sizes and rates of a GPT-2; the defaults are the smallest, of 124 million parameters."""

    model_type = "gpt2"
    aliases: ClassVar[Mapping[str, str]] = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "n_inner": "intermediate_size",
        "activation_function": "hidden_act",
        "resid_pdrop": "hidden_dropout_prob",
        "attn_pdrop": "attention_probs_dropout_prob",
        "layer_norm_epsilon": "layer_norm_eps",
    }
    only: ClassVar[Mapping[str, Any]] = {
        "add_cross_attention": False,
        "reorder_and_upcast_attn": False,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "summary_proj_to_labels": True,
    }

    vocab_size: int = 50257
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int | None = None
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.1
    embd_pdrop: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = 0.1
    max_position_embeddings: int = 1024
    layer_norm_eps: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    summary_activation: str | None = None
    summary_first_dropout: float = 0.1
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256


KEYS: KeyTable = {
    "embeddings.words": "wte",
    "embeddings.positions": "wpe",
    "decoder.layers.{}.attention_norm": "h.{}.ln_1",
    "decoder.layers.{}.attention.query": Place("h.{}.attn.c_attn", True, 0, 3),
    "decoder.layers.{}.attention.key": Place("h.{}.attn.c_attn", True, 1, 3),
    "decoder.layers.{}.attention.value": Place("h.{}.attn.c_attn", True, 2, 3),
    "decoder.layers.{}.attention.output": Place("h.{}.attn.c_proj", True),
    "decoder.layers.{}.feed_forward_norm": "h.{}.ln_2",
    "decoder.layers.{}.feed_forward.up": Place("h.{}.mlp.c_fc", True),
    "decoder.layers.{}.feed_forward.down": Place("h.{}.mlp.c_proj", True),
    "decoder.norm": "ln_f",
}


class GPT2PreTrainedModel(PreTrainedModel):
    """Base of every GPT-2, and of your own models over a GPT-2."""

    config_class = GPT2Config
    base_model_prefix = "transformer"

    def build_base(self, config: GPT2Config, pooled: bool) -> "GPT2Model":
        """Return the `GPT2Model` that a head sits on."""
        return GPT2Model(config)


class GPT2Embeddings(Embeddings):
    """Words and positions, and segments where there are any: GPT-2 has them as words."""

    def forward(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return the first hidden vectors of a packed batch."""
        if batch.segments is None:
            return super().forward(batch)
        segments = self.words(batch.segments)
        known = replace(batch, segments=None)
        hidden = self._word_vectors(known) + segments
        return super().forward(replace(known, ids=None, embeds=hidden))


class GPT2Model(GPT2PreTrainedModel, decoder.DecoderModel):
    """GPT-2 without a head: last hidden vectors."""

    keys = KEYS

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        width, layers = config.hidden_size, config.num_hidden_layers
        self.embeddings = GPT2Embeddings(
            words=nn.Embedding(config.vocab_size, width),
            positions=LearnedPositions(config.max_position_embeddings, width),
            segments=None,
            norm=nn.Identity(),
            dropout=config.embd_pdrop,
        )
        norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.decoder = Stack((_layer(config, number) for number in range(layers)), norm)
        self.post_init()
        self.decoder.shrink_residuals()


def _layer(config: GPT2Config, number: int) -> PreNormLayer:
    width, heads_ = config.hidden_size, config.num_attention_heads
    head_dim = max(width // heads_, 1)  # Attention refuses more heads than the width has room for
    scale = head_dim**-0.5 if config.scale_attn_weights else 1.0
    if config.scale_attn_by_inverse_layer_idx:
        scale /= number + 1
    inner = 4 * width if config.intermediate_size is None else config.intermediate_size
    return PreNormLayer(
        Attention(
            width, heads_, config.attention_probs_dropout_prob, Pattern(causal=True, scale=scale)
        ),
        FeedForward(width, inner, config.hidden_act),
        norms=(
            nn.LayerNorm(width, eps=config.layer_norm_eps),
            nn.LayerNorm(width, eps=config.layer_norm_eps),
        ),
        dropout=config.hidden_dropout_prob,
    )


class GPT2LMHeadModel(GPT2PreTrainedModel, decoder.CausalLM):
    """GPT-2 that continues text."""


class GPT2DoubleHeadsModel(GPT2PreTrainedModel, decoder.DoubleHeads):
    """GPT-2 that continues text, and chooses among texts."""

    keys: ClassVar[KeyTable] = {"choice": "multiple_choice_head.summary"}


class GPT2ForSequenceClassification(GPT2PreTrainedModel, decoder.LastTokenClassification):
    """GPT-2 that labels, or rates, whole texts."""


class GPT2ForTokenClassification(GPT2PreTrainedModel, heads.TokenClassification):
    """GPT-2 that labels tokens."""


class GPT2ForQuestionAnswering(GPT2PreTrainedModel, heads.QuestionAnswering):
    """GPT-2 that finds answers in a text."""


FAMILY = Family(
    config=GPT2Config,
    base=GPT2Model,
    heads={
        "CausalLM": GPT2LMHeadModel,
        "PreTraining": GPT2LMHeadModel,
        "DoubleHeads": GPT2DoubleHeadsModel,
        "SequenceClassification": GPT2ForSequenceClassification,
        "TokenClassification": GPT2ForTokenClassification,
        "QuestionAnswering": GPT2ForQuestionAnswering,
    },
)
