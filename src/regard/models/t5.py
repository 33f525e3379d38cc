"""T5 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.1): text in, text out.

Pre-norm layers without biases; for positions, a number per head and distance that the layers of a
side share. T5 v1.1 and Flan-T5 have gated feed-forwards, and output words of their own.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, cast

from torch import nn

from regard.attention.attention import Attention, Heads
from regard.attention.patterns import Pattern
from regard.attention.relative import RelativeBias
from regard.checkpoints.keymap import KeyTable, Place
from regard.layers.blocks import PreNormDecoderLayer, PreNormLayer, Stack
from regard.layers.embeddings import Embeddings, twin
from regard.layers.feed_forward import FeedForward, GatedFeedForward
from regard.layers.norms import RMSNorm
from regard.models import heads, seq2seq, seq2seq_heads
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class T5Config(seq2seq.Seq2SeqConfig):
    """Sizes and rates of a T5; the defaults are t5-small.

    Where a file has them not, ``is_gated_act`` and ``dense_act_fn`` follow from
    ``feed_forward_proj``, and ``scale_decoder_outputs`` from ``tie_word_embeddings``.
    """

    model_type = "t5"
    aliases: ClassVar[Mapping[str, str]] = {
        "d_model": "hidden_size",
        "d_kv": "head_dim",
        "d_ff": "intermediate_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "dropout_rate": "hidden_dropout_prob",
        "layer_norm_epsilon": "layer_norm_eps",
    }

    vocab_size: int = 32128
    hidden_size: int = 512
    head_dim: int = 64
    intermediate_size: int = 2048
    num_hidden_layers: int = 6
    num_decoder_layers: int | None = None
    num_attention_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    hidden_dropout_prob: float = 0.1
    classifier_dropout: float = 0.0
    layer_norm_eps: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    is_gated_act: bool | None = None
    dense_act_fn: str = ""
    scale_decoder_outputs: bool | None = None
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    decoder_start_token_id: int | None = 0

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        gated = self.feed_forward_proj.startswith("gated-")
        act = self.feed_forward_proj.removeprefix("gated-")
        self.is_gated_act = gated if self.is_gated_act is None else self.is_gated_act
        self.dense_act_fn = self.dense_act_fn or ("gelu_new" if gated and act == "gelu" else act)
        if self.scale_decoder_outputs is None:
            self.scale_decoder_outputs = self.tie_word_embeddings


def _keys(side: str, feed_forward: int) -> dict[str, str | Place]:
    layer, block = f"{side}.stack.layers.{{}}", f"{side}.block.{{}}.layer"
    kinds = {"attention": "0.SelfAttention", "cross_attention": "1.EncDecAttention"}
    maps = {"query": "q", "key": "k", "value": "v", "output": "o"}
    return {
        f"{side}.embeddings.words": Place(f"{side}.embed_tokens", otherwise="shared"),
        f"{side}.bias": f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias",
        **{f"{layer}.{k}.{m}": f"{block}.{kinds[k]}.{maps[m]}" for k in kinds for m in maps},
        f"{layer}.attention_norm": f"{block}.0.layer_norm",
        f"{layer}.cross_attention_norm": f"{block}.1.layer_norm",
        f"{layer}.feed_forward": f"{block}.{feed_forward}.DenseReluDense",
        f"{layer}.feed_forward_norm": f"{block}.{feed_forward}.layer_norm",
        f"{side}.stack.norm": f"{side}.final_layer_norm",
    }


KEYS: KeyTable = _keys("encoder", 1) | _keys("decoder", 2)


class T5PreTrainedModel(PreTrainedModel):
    """Base of every T5, and of your own models over one."""

    config_class = T5Config
    base_model_prefix = "transformer"

    def build_base(self, config: T5Config, pooled: bool = False) -> Any:
        """Return the `T5Model` that a head sits on."""
        return T5Model(config)

    def init_module(self, module: nn.Module) -> None:
        """Fill one module as the authors' code does: each map by the size of what it reads."""
        super().init_module(module)
        if isinstance(module, nn.Linear | nn.Embedding):
            config = cast("T5Config", self.config)
            size = config.hidden_size if isinstance(module, RelativeBias) else 1
            size = module.in_features if isinstance(module, nn.Linear) else size
            nn.init.normal_(module.weight, std=config.initializer_factor * size**-0.5)

    def finish(self, head_dim: int) -> None:
        """End the constructor of a base; queries start smaller, for scores are not divided."""
        self.post_init()
        for name, weight in self.named_parameters():
            if name.endswith("attention.query.weight"):
                weight.data.div_(head_dim**0.5)


class T5Model(T5PreTrainedModel, seq2seq.Seq2SeqModel):
    """Encoder and decoder without a head: the decoder's last hidden vectors."""

    keys = KEYS

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder = _side(config, twin(self.shared))
        self.decoder = _side(config, twin(self.shared), causal=True)
        self.finish(config.head_dim)


class T5EncoderModel(T5PreTrainedModel, seq2seq.Seq2SeqEncoder):
    """The encoder alone: last hidden vectors of a text."""

    keys = KEYS

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder = _side(config, twin(self.shared))
        self.finish(config.head_dim)


class _FeedForward(FeedForward):
    keys: ClassVar[KeyTable] = {"up": "wi", "down": "wo"}


class _GatedFeedForward(GatedFeedForward):
    keys: ClassVar[KeyTable] = {"gate": "wi_0", "up": "wi_1", "down": "wo"}


def _side(config: T5Config, words: nn.Embedding, *, causal: bool = False) -> seq2seq.TextStack:
    rate, own = config.hidden_dropout_prob, config.num_decoder_layers
    count = own if causal and own is not None else config.num_hidden_layers
    buckets = config.relative_attention_num_buckets, config.relative_attention_max_distance
    norm = RMSNorm(config.hidden_size, config.layer_norm_eps)
    return seq2seq.TextStack(
        Embeddings(words, None, None, nn.Identity(), rate),
        Stack((_layer(config, causal) for _ in range(count)), norm, dropout=rate),
        RelativeBias(config.num_attention_heads, *buckets, causal=causal),
    )


def _layer(config: T5Config, causal: bool) -> nn.Module:
    width, rate = config.hidden_size, config.hidden_dropout_prob
    sizes = Heads(config.num_attention_heads, size=config.head_dim)
    attention = partial(Attention, width, sizes, rate, biases=(False, False))
    kind = _GatedFeedForward if config.is_gated_act else _FeedForward
    inner, act = config.intermediate_size, config.dense_act_fn
    feed_forward = kind(width, inner, act, bias=False, dropout=rate, wide=True)
    first, second, third = (RMSNorm(width, config.layer_norm_eps) for _ in range(3))
    own = attention(Pattern(causal=causal, scale=1.0))
    if not causal:
        return PreNormLayer(own, feed_forward, (first, second), rate)
    cross = attention(Pattern(scale=1.0))
    return PreNormDecoderLayer(own, cross, feed_forward, (first, second, third), rate)


class T5ForConditionalGeneration(T5PreTrainedModel, seq2seq_heads.ConditionalGeneration):
    """T5 that turns one text into another."""

    keys: ClassVar[KeyTable] = {"transformer": ""}

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.scale = config.hidden_size**-0.5 if config.scale_decoder_outputs else 1.0


class T5ForSequenceClassification(T5PreTrainedModel, seq2seq_heads.Seq2SeqSequenceClassification):
    """T5 that labels, or rates, whole texts."""


class T5ForTokenClassification(T5PreTrainedModel, heads.TokenClassification):
    """T5's encoder that labels tokens."""

    def build_base(self, config: T5Config, pooled: bool = False) -> T5EncoderModel:
        """Return the `T5EncoderModel` that this head sits on."""
        return T5EncoderModel(config)


class T5ForQuestionAnswering(T5PreTrainedModel, seq2seq_heads.Seq2SeqQuestionAnswering):
    """T5 that finds answers in a text."""

    keys: ClassVar[KeyTable] = {"transformer": ""}


FAMILY = Family(
    config=T5Config,
    base=T5Model,
    heads={
        "Seq2SeqLM": T5ForConditionalGeneration,
        "PreTraining": T5ForConditionalGeneration,
        "SequenceClassification": T5ForSequenceClassification,
        "TokenClassification": T5ForTokenClassification,
        "QuestionAnswering": T5ForQuestionAnswering,
    },
)
