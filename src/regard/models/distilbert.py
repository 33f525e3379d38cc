"""DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108).

A BERT with half the layers, without segments and without a pooler, taught by the whole BERT.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.checkpoints.keymap import KeyTable
from regard.config import Config
from regard.dropout import Dropout
from regard.layers.blocks import PostNormLayer, Stack
from regard.layers.embeddings import Embeddings, LearnedPositions
from regard.layers.feed_forward import FeedForward
from regard.layers.scoring import Classifier
from regard.models import heads
from regard.models.encoder import EncoderModel
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class DistilBertConfig(Config):
    """Sizes and rates of a DistilBERT; the defaults are DistilBERT-base.

    ``dim``, ``n_layers`` and the other names of its files work as arguments too.
    """

    model_type = "distilbert"
    aliases: ClassVar[Mapping[str, str]] = {
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "hidden_dim": "intermediate_size",
        "activation": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    }
    layer_norm_eps: ClassVar[float] = 1e-12

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    seq_classif_dropout: float = 0.2
    qa_dropout: float = 0.1
    max_position_embeddings: int = 512
    sinusoidal_pos_embds: bool = False
    initializer_range: float = 0.02
    pad_token_id: int | None = 0


KEYS: KeyTable = {
    "embeddings.words": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "encoder.layers.{}.attention.query": "transformer.layer.{}.attention.q_lin",
    "encoder.layers.{}.attention.key": "transformer.layer.{}.attention.k_lin",
    "encoder.layers.{}.attention.value": "transformer.layer.{}.attention.v_lin",
    "encoder.layers.{}.attention.output": "transformer.layer.{}.attention.out_lin",
    "encoder.layers.{}.attention_norm": "transformer.layer.{}.sa_layer_norm",
    "encoder.layers.{}.feed_forward.up": "transformer.layer.{}.ffn.lin1",
    "encoder.layers.{}.feed_forward.down": "transformer.layer.{}.ffn.lin2",
    "encoder.layers.{}.feed_forward_norm": "transformer.layer.{}.output_layer_norm",
}


class DroppingFeedForward(FeedForward):
    """A feed-forward that drops its own output: the layer around it drops attention's nowhere."""

    def __init__(self, width: int, inner: int, act: str, dropout: float) -> None:
        super().__init__(width, inner, act)
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """Transform each token by itself."""
        return self.dropout(super().forward(hidden))


class DistilBertPreTrainedModel(PreTrainedModel):
    """Base of every DistilBERT, and of your own models over a DistilBERT."""

    config_class = DistilBertConfig
    base_model_prefix = "distilbert"

    def build_base(self, config: DistilBertConfig, pooled: bool) -> EncoderModel:
        """Return the `DistilBertModel` that a head sits on."""
        return DistilBertModel(config)

    def dropout_rate(self, config: DistilBertConfig) -> float:
        """Return the layers' own."""
        return config.hidden_dropout_prob

    def init_module(self, module: nn.Module) -> None:
        """Also begin with sines as positions, if the config says so (Vaswani et al. 2017, 3.5)."""
        super().init_module(module)
        if isinstance(module, LearnedPositions) and vars(self.config)["sinusoidal_pos_embds"]:
            count, width = module.weight.shape
            waves = 10000 ** (-torch.arange(0, width, 2) / width)
            angles = torch.outer(torch.arange(count), waves)
            table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
            module.weight.data.copy_(table[:, :width])


class DistilBertModel(DistilBertPreTrainedModel, EncoderModel):
    """DistilBERT without a head: last hidden vectors."""

    keys = KEYS

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embeddings = Embeddings(
            words=nn.Embedding(config.vocab_size, width, config.pad_token_id),
            positions=LearnedPositions(config.max_position_embeddings, width),
            segments=None,
            norm=nn.LayerNorm(width, eps=config.layer_norm_eps),
            dropout=config.hidden_dropout_prob,
        )
        self.encoder = Stack(_layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = None
        self.post_init()


def _layer(config: DistilBertConfig) -> PostNormLayer:
    width, rate = config.hidden_size, config.hidden_dropout_prob
    return PostNormLayer(
        Attention(width, config.num_attention_heads, config.attention_probs_dropout_prob),
        DroppingFeedForward(width, config.intermediate_size, config.hidden_act, rate),
        norms=(
            nn.LayerNorm(width, eps=config.layer_norm_eps),
            nn.LayerNorm(width, eps=config.layer_norm_eps),
        ),
    )


class DistilBertForMaskedLM(DistilBertPreTrainedModel, heads.MaskedLM):
    """DistilBERT that fills in masked words."""

    keys: ClassVar[KeyTable] = {
        "predictions.dense": "vocab_transform",
        "predictions.norm": "vocab_layer_norm",
        "predictions.decoder": "vocab_projector",
    }


class _TextHead(DistilBertPreTrainedModel):
    """Two layers over the first token."""

    keys: ClassVar[KeyTable] = {
        "classifier.dense": "pre_classifier",
        "classifier.output": "classifier",
    }
    pooled: ClassVar[bool] = False

    def dropout_rate(self, config: DistilBertConfig) -> float:
        """Return 0: only between the two layers something is dropped."""
        return 0.0

    def build_classifier(self, config: DistilBertConfig, classes: int) -> nn.Module:
        """Return both layers."""
        return Classifier(heads.hidden_layer(config), classes, "relu", config.seq_classif_dropout)


class DistilBertForSequenceClassification(_TextHead, heads.SequenceClassification):
    """DistilBERT that labels, or rates, whole texts."""


class DistilBertForMultipleChoice(_TextHead, heads.MultipleChoice):
    """DistilBERT that chooses among continuations."""


class DistilBertForTokenClassification(DistilBertPreTrainedModel, heads.TokenClassification):
    """DistilBERT that labels tokens."""


class DistilBertForQuestionAnswering(DistilBertPreTrainedModel, heads.QuestionAnswering):
    """DistilBERT that finds answers in a text."""

    def dropout_rate(self, config: DistilBertConfig) -> float:
        """Return the rate of this head."""
        return config.qa_dropout


FAMILY = Family(
    config=DistilBertConfig,
    base=DistilBertModel,
    heads={
        "MaskedLM": DistilBertForMaskedLM,
        "PreTraining": DistilBertForMaskedLM,
        "SequenceClassification": DistilBertForSequenceClassification,
        "TokenClassification": DistilBertForTokenClassification,
        "QuestionAnswering": DistilBertForQuestionAnswering,
        "MultipleChoice": DistilBertForMultipleChoice,
    },
)
