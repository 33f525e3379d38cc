"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805).

Word, position and segment vectors, summed and normalised; a stack of post-norm layers in which
every token attends to every other; a pooler over the first token.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from regard.attention.attention import Attention
from regard.attention.patterns import Pattern
from regard.checkpoints.keymap import KeyTable
from regard.config import Config
from regard.layers.blocks import PostNormLayer, Stack
from regard.layers.embeddings import Embeddings, LearnedPositions
from regard.layers.feed_forward import FeedForward
from regard.layers.scoring import Pooler
from regard.models import decoder, heads, pretraining_heads
from regard.models.encoder import EncoderModel
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class BertConfig(Config):
    """Sizes and rates of a BERT; the defaults are BERT-base."""

    model_type = "bert"
    only: ClassVar[Mapping[str, Any]] = {
        "add_cross_attention": False,
        "position_embedding_type": "absolute",
    }

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    classifier_dropout: float | None = None
    pad_token_id: int | None = 0
    is_decoder: bool = False


KEYS: KeyTable = {
    "embeddings.words": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.segments": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "encoder.layers.{}.attention": "encoder.layer.{}.attention.self",  # query, key, value
    "encoder.layers.{}.attention.output": "encoder.layer.{}.attention.output.dense",
    "encoder.layers.{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "encoder.layers.{}.feed_forward.up": "encoder.layer.{}.intermediate.dense",
    "encoder.layers.{}.feed_forward.down": "encoder.layer.{}.output.dense",
    "encoder.layers.{}.feed_forward_norm": "encoder.layer.{}.output.LayerNorm",
}
HEAD_KEYS: KeyTable = {
    "predictions.dense": "cls.predictions.transform.dense",
    "predictions.norm": "cls.predictions.transform.LayerNorm",
    "predictions.decoder": "cls.predictions.decoder",
    "predictions.decoder.bias": "cls.predictions.bias",
    "next_sentence": "cls.seq_relationship",
}


class BertPreTrainedModel(PreTrainedModel):
    """Base of every BERT, and of your own models over a BERT."""

    config_class = BertConfig
    base_model_prefix = "bert"
    aliases: ClassVar[Mapping[str, str]] = {"cls.predictions.decoder.bias": "cls.predictions.bias"}

    def build_base(self, config: BertConfig, pooled: bool) -> EncoderModel:
        """Return the `BertModel` that a head sits on."""
        return BertModel(config, add_pooling_layer=pooled)


class BertModel(BertPreTrainedModel, EncoderModel):
    """BERT without a head: last hidden vectors, and the pooled first token.

    Args:
        config: Sizes and rates.
        add_pooling_layer: Whether to have a pooler; without one ``pooler_output`` is None.
    """

    keys = KEYS

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        width, rate = config.hidden_size, config.hidden_dropout_prob
        self.embeddings = Embeddings(
            words=nn.Embedding(config.vocab_size, width, config.pad_token_id),
            positions=LearnedPositions(config.max_position_embeddings, width),
            segments=nn.Embedding(config.type_vocab_size, width),
            norm=nn.LayerNorm(width, eps=config.layer_norm_eps),
            dropout=rate,
        )
        self.encoder = Stack(build_layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = Pooler(width) if add_pooling_layer else None
        self.post_init()


def build_layer(config: Any) -> PostNormLayer:
    """Return a layer of the sizes that `config` gives; RoBERTa and ELECTRA have the same."""
    width, heads_ = config.hidden_size, config.num_attention_heads
    pattern = Pattern(causal=config.is_decoder)
    return PostNormLayer(
        Attention(width, heads_, config.attention_probs_dropout_prob, pattern),
        FeedForward(width, config.intermediate_size, config.hidden_act),
        norms=(
            nn.LayerNorm(width, eps=config.layer_norm_eps),
            nn.LayerNorm(width, eps=config.layer_norm_eps),
        ),
        dropout=config.hidden_dropout_prob,
    )


class BertForMaskedLM(BertPreTrainedModel, heads.MaskedLM):
    """BERT that fills in masked words."""

    keys = HEAD_KEYS


class BertLMHeadModel(BertPreTrainedModel, decoder.CausalEncoder):
    """BERT with causal attention that continues text."""

    keys = HEAD_KEYS


class BertForPreTraining(BertPreTrainedModel, pretraining_heads.PreTraining):
    """BERT with both heads that it was trained with."""

    keys = HEAD_KEYS


class BertForNextSentencePrediction(BertPreTrainedModel, pretraining_heads.NextSentencePrediction):
    """BERT that tells whether the second text follows the first."""

    keys = HEAD_KEYS


class BertForSequenceClassification(BertPreTrainedModel, heads.SequenceClassification):
    """BERT that labels, or rates, whole texts."""


class BertForTokenClassification(BertPreTrainedModel, heads.TokenClassification):
    """BERT that labels tokens."""


class BertForQuestionAnswering(BertPreTrainedModel, heads.QuestionAnswering):
    """BERT that finds answers in a text."""


class BertForMultipleChoice(BertPreTrainedModel, heads.MultipleChoice):
    """BERT that chooses among continuations."""


FAMILY = Family(
    config=BertConfig,
    base=BertModel,
    heads={
        "MaskedLM": BertForMaskedLM,
        "CausalLM": BertLMHeadModel,
        "PreTraining": BertForPreTraining,
        "NextSentencePrediction": BertForNextSentencePrediction,
        "SequenceClassification": BertForSequenceClassification,
        "TokenClassification": BertForTokenClassification,
        "QuestionAnswering": BertForQuestionAnswering,
        "MultipleChoice": BertForMultipleChoice,
    },
)
