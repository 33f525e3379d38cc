"""ModernBERT (Warner et al. 2024, https://arxiv.org/abs/2412.13663, section 2.1).

Word vectors, normalised; a stack of pre-norm layers with rotary positions and a gated feed-forward,
of which every third sees the whole text and the others a window; a last normalisation.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.attention.patterns import Pattern
from regard.attention.positions import Rotary
from regard.batch import TokenBatch
from regard.checkpoints.keymap import KeyTable, Place
from regard.config import Config
from regard.layers.activations import activation
from regard.layers.blocks import PreNormLayer, Stack
from regard.layers.embeddings import Embeddings
from regard.layers.feed_forward import GatedFeedForward
from regard.layers.scoring import first_token, mean_vector, word_scores
from regard.linear import Linear
from regard.models import heads
from regard.models.encoder import EncoderModel
from regard.models.family import Family
from regard.models.model import PreTrainedModel

KINDS = FULL, SLIDING = "full_attention", "sliding_attention"


class ModernBertConfig(Config):
    """Sizes and rates of a ModernBERT; the defaults are ModernBERT-base.

    Which layers see everything stands in ``layer_types``, else in ``global_attn_every_n_layers``;
    the base of the rotary positions of each kind of layer in ``rope_parameters``, else in
    ``global_rope_theta`` and ``local_rope_theta``.
    """

    model_type = "modernbert"
    aliases: ClassVar[Mapping[str, str]] = {"hidden_activation": "hidden_act"}
    only: ClassVar[Mapping[str, Any]] = {"rope_scaling": None, "sparse_pred_ignore_index": -100}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "layer_types": KINDS,
        "rope_parameters": KINDS,
        "classifier_pooling": ("cls", "mean"),
    }
    unsaid = ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_act: str = "gelu"
    max_position_embeddings: int = 8192
    norm_eps: float = 1e-5
    norm_bias: bool = False
    pad_token_id: int | None = 50283
    eos_token_id: int | list[int] | None = 50282
    bos_token_id: int | None = 50281
    cls_token_id: int | None = 50281
    sep_token_id: int | None = 50282
    attention_bias: bool = False
    attention_dropout: float = 0.0
    layer_types: list[str] | None = None
    global_attn_every_n_layers: int = 3
    rope_parameters: dict[str, dict[str, Any] | None] | None = None
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0
    local_attention: int = 128
    embedding_dropout: float = 0.0
    mlp_bias: bool = False
    mlp_dropout: float = 0.0
    decoder_bias: bool = True
    classifier_pooling: str = "cls"
    classifier_dropout: float = 0.0
    classifier_bias: bool = False
    classifier_activation: str = "gelu"

    def kind(self, layer: int) -> str:
        """Return whether the attention of a layer is full or sliding."""
        usual = SLIDING if layer % self.global_attn_every_n_layers else FULL
        return usual if self.layer_types is None else self.layer_types[layer]

    def rotary(self, kind: str) -> tuple[float, dict[str, Any]]:
        """Return the base of the rotary frequencies of a kind of layer, and their scaling."""
        older = self.global_rope_theta if kind == FULL else self.local_rope_theta
        scaling = dict((self.rope_parameters or {}).get(kind) or {})
        return scaling.pop("rope_theta", older), scaling


KEYS: KeyTable = {
    "embeddings.words": "embeddings.tok_embeddings",
    "encoder.layers.{}.attention_norm": "layers.{}.attn_norm",
    "encoder.layers.{}.attention.query": Place("layers.{}.attn.Wqkv", part=0, parts=3),
    "encoder.layers.{}.attention.key": Place("layers.{}.attn.Wqkv", part=1, parts=3),
    "encoder.layers.{}.attention.value": Place("layers.{}.attn.Wqkv", part=2, parts=3),
    "encoder.layers.{}.attention.output": "layers.{}.attn.Wo",
    "encoder.layers.{}.feed_forward_norm": "layers.{}.mlp_norm",
    "encoder.layers.{}.feed_forward.gate": Place("layers.{}.mlp.Wi", part=0, parts=2),
    "encoder.layers.{}.feed_forward.up": Place("layers.{}.mlp.Wi", part=1, parts=2),
    "encoder.layers.{}.feed_forward.down": "layers.{}.mlp.Wo",
    "encoder.norm": "final_norm",
}
HEAD_KEYS: KeyTable = {"dense": "head.dense", "norm": "head.norm"}


class ModernBertPreTrainedModel(PreTrainedModel):
    """Base of every ModernBERT, and of your own models over one."""

    config_class = ModernBertConfig
    base_model_prefix = "model"

    def build_base(self, config: ModernBertConfig, pooled: bool) -> "ModernBertModel":
        """Return the `ModernBertModel` that a head sits on."""
        return ModernBertModel(config)


class ModernBertModel(ModernBertPreTrainedModel, EncoderModel):
    """ModernBERT without a head: last hidden vectors."""

    keys = KEYS

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        words = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.embeddings = Embeddings(words, None, None, _norm(config), config.embedding_dropout)
        layers = (_layer(config, number) for number in range(config.num_hidden_layers))
        self.encoder = Stack(layers, _norm(config))
        self.pooler = None
        self.post_init()
        self.encoder.shrink_residuals()


def _norm(config: ModernBertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, config.norm_eps, bias=config.norm_bias)


def _layer(config: ModernBertConfig, number: int) -> PreNormLayer:
    width, count, rate = config.hidden_size, config.num_attention_heads, config.attention_dropout
    kind = config.kind(number)
    # `local_attention` counts both sides of a token, and not the token.
    pattern = Pattern(window=config.local_attention // 2 if kind == SLIDING else None)
    rotary = Rotary(width // count, *config.rotary(kind), config.max_position_embeddings)
    biases = (config.attention_bias, config.attention_bias)
    attention = Attention(width, count, rate, pattern, biases=biases, rotary=rotary)
    sizes = (width, config.intermediate_size, config.hidden_act)
    feed_forward = GatedFeedForward(*sizes, bias=config.mlp_bias, dropout=config.mlp_dropout)
    # What the first layer reads, the embeddings have just normalised.
    norms = (_norm(config) if number else nn.Identity(), _norm(config))
    return PreNormLayer(attention, feed_forward, norms, (rate, 0.0))


class _Head(ModernBertPreTrainedModel, heads.EncoderHead):
    """What all heads do first: ``norm(activation(dense(x)))``, of tokens or of whole texts."""

    keys = HEAD_KEYS

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.dense = Linear(config.hidden_size, config.hidden_size, config.classifier_bias)
        self.activation = activation(config.classifier_activation)
        self.norm = _norm(config)
        self.pool = mean_vector if config.classifier_pooling == "mean" else first_token
        self.post_init()

    def dropout_rate(self, config: ModernBertConfig) -> float:
        return config.classifier_dropout

    def hidden(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        return self.norm(self.activation(self.dense(self.base_model.encode(batch))))

    def pooled_hidden(self, batch: TokenBatch) -> Float[Tensor, "rows width"]:
        pooled = self.pool(self.base_model.encode(batch), batch.layout)
        return self.dropout(self.norm(self.activation(self.dense(pooled))))


class ModernBertForMaskedLM(_Head, heads.MaskedLM):
    """ModernBERT that fills in masked words."""

    keys: ClassVar[KeyTable] = {**HEAD_KEYS, "predictions": "decoder"}

    def build_predictions(self, config: ModernBertConfig) -> nn.Linear:
        """Return the scores alone, of what has been transformed."""
        tied, bias = config.tie_word_embeddings, config.decoder_bias
        return word_scores(config.hidden_size, config.vocab_size, tied=tied, bias=bias)


class ModernBertForSequenceClassification(_Head, heads.SequenceClassification):
    """ModernBERT that labels, or rates, whole texts."""


class ModernBertForTokenClassification(_Head, heads.TokenClassification):
    """ModernBERT that labels tokens."""


class ModernBertForQuestionAnswering(_Head, heads.QuestionAnswering):
    """ModernBERT that finds answers in a text."""

    keys: ClassVar[KeyTable] = {**HEAD_KEYS, "qa_outputs": "classifier"}


class ModernBertForMultipleChoice(_Head, heads.MultipleChoice):
    """ModernBERT that chooses among continuations."""


FAMILY = Family(
    config=ModernBertConfig,
    base=ModernBertModel,
    heads={
        "MaskedLM": ModernBertForMaskedLM,
        "SequenceClassification": ModernBertForSequenceClassification,
        "TokenClassification": ModernBertForTokenClassification,
        "QuestionAnswering": ModernBertForQuestionAnswering,
        "MultipleChoice": ModernBertForMultipleChoice,
    },
)
