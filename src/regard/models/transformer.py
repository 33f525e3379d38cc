"""The Transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), to learn or start from.

Word vectors scaled and summed with sinusoids; an encoder and a decoder of post-norm layers with
ReLU feed-forward networks; the decoder also attends to the encoder. Source, target and output words
share one matrix (section 3.4).
"""

import math

from torch import nn

from regard.layers.blocks import Stack
from regard.layers.embeddings import Embeddings, SinusoidalPositions
from regard.layers.standard import LayerPlan
from regard.models.family import Family
from regard.models.model import PreTrainedModel
from regard.models.seq2seq import Seq2SeqConfig, Seq2SeqModel, TextStack
from regard.models.seq2seq_heads import ConditionalGeneration


class TransformerConfig(Seq2SeqConfig):
    """Sizes and rates of a Transformer; the defaults are the paper's base model (table 3)."""

    model_type = "transformer"

    vocab_size: int = 37000
    hidden_size: int = 512
    num_hidden_layers: int = 6
    num_decoder_layers: int | None = None
    num_attention_heads: int = 8
    intermediate_size: int = 2048
    hidden_act: str = "relu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.0
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 1


class TransformerPreTrainedModel(PreTrainedModel):
    """Base of every Transformer, and of your own models over one."""

    config_class = TransformerConfig
    base_model_prefix = "model"

    def build_base(self, config: TransformerConfig) -> "TransformerModel":
        """Return the `TransformerModel` that a head sits on."""
        return TransformerModel(config)


class TransformerModel(TransformerPreTrainedModel, Seq2SeqModel):
    """Encoder and decoder without a head: the decoder's last hidden vectors."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        words = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        plan, count, targets = _plan(config), config.num_hidden_layers, config.num_decoder_layers
        encoder = Stack(plan.encoder_layer() for _ in range(count))
        decoder = Stack(plan.decoder_layer() for _ in range(count if targets is None else targets))
        self.encoder = TextStack(_embeddings(config, words), encoder)
        self.decoder = TextStack(_embeddings(config, words), decoder)
        self.post_init()

    def init_module(self, module: nn.Module) -> None:
        """Fill one module: words so that their scaled vectors have variance 1, maps by Glorot."""
        super().init_module(module)
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)


def _embeddings(config: TransformerConfig, words: nn.Embedding) -> Embeddings:
    width = config.hidden_size
    return Embeddings(
        words=words,
        positions=SinusoidalPositions(width, interleaved=True),
        segments=None,
        norm=nn.Identity(),
        dropout=config.hidden_dropout_prob,
        scale=math.sqrt(width),
    )


def _plan(config: TransformerConfig) -> LayerPlan:
    return LayerPlan(
        width=config.hidden_size,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
        act=config.hidden_act,
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        eps=config.layer_norm_eps,
    )


class Transformer(TransformerPreTrainedModel, ConditionalGeneration):
    """The whole model: scores of the next word of a target, given its source."""


FAMILY = Family(config=TransformerConfig, base=TransformerModel, heads={"Seq2SeqLM": Transformer})
