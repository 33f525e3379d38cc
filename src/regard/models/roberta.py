"""RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692).

BERT's anatomy, trained longer and without next-sentence prediction: other position numbers and
other heads. XLM-RoBERTa and CamemBERT are RoBERTas of other languages.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Int
from torch import Tensor, nn

from regard.batch import TokenBatch
from regard.checkpoints.keymap import KeyTable
from regard.config import Config
from regard.errors import ConfigError
from regard.layers.blocks import Stack
from regard.layers.embeddings import Embeddings, LearnedPositions
from regard.layers.scoring import Classifier, LanguageModelHead, Pooler
from regard.models import bert, decoder, heads
from regard.models.encoder import EncoderModel
from regard.models.family import Family
from regard.models.model import PreTrainedModel


class RobertaConfig(Config):
    """Sizes and rates of a RoBERTa.

    The defaults are what a config.json means by leaving a field out. RoBERTa-base has 514
    positions (512 tokens), one segment and ``layer_norm_eps=1e-5``.
    """

    model_type = "roberta"
    only: ClassVar[Mapping[str, Any]] = bert.BertConfig.only

    vocab_size: int = 50265
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
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    is_decoder: bool = False

    def check(self) -> None:
        """Also refuse what leaves no position for a token."""
        super().check()
        pad, positions = self.pad_token_id, self.max_position_embeddings
        if pad is None or pad + 2 > positions:
            raise ConfigError(
                f"pad_token_id is {pad} and max_position_embeddings {positions}; positions start "
                "behind pad_token_id, so it must be a number that leaves some"
            )


HEAD_KEYS: KeyTable = {
    "predictions.dense": "lm_head.dense",
    "predictions.norm": "lm_head.layer_norm",
    "predictions.decoder": "lm_head.decoder",
    "predictions.decoder.bias": "lm_head.bias",
}


class RobertaPositions(LearnedPositions):
    """Positions counted from ``padding + 1``.

    A padding token that is attended to has number `padding`, and those after it count as if it
    were not there.

    Args:
        count: How many positions have a vector.
        width: Size of the vectors.
        padding: The padding token's id.
    """

    def __init__(self, count: int, width: int, padding: int) -> None:
        super().__init__(count, width, padding, first=padding + 1)
        self.padding = padding

    def number(self, batch: TokenBatch) -> Int[Tensor, " tokens"]:
        """Return the position of each token whose caller gave none."""
        positions, layout = super().number(batch), batch.layout
        if batch.ids is None:
            return positions
        padding = batch.ids == self.padding
        seen = nn.functional.pad(padding.cumsum(0), (1, 0))  # before each token of the batch
        before = seen[layout.offsets[:-1]]  # before each sequence
        skipped = before.repeat_interleave(layout.offsets.diff(), output_size=layout.tokens)
        return (positions - seen[:-1] + skipped).masked_fill(padding, self.padding)


class RobertaPreTrainedModel(PreTrainedModel):
    """Base of every RoBERTa, and of your own models over a RoBERTa."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"
    aliases: ClassVar[Mapping[str, str]] = {"lm_head.decoder.bias": "lm_head.bias"}

    def build_base(self, config: RobertaConfig, pooled: bool) -> EncoderModel:
        """Return the `RobertaModel` that a head sits on."""
        return RobertaModel(config, add_pooling_layer=pooled)


class RobertaModel(RobertaPreTrainedModel, EncoderModel):
    """RoBERTa without a head: last hidden vectors, and the pooled first token.

    Args:
        config: Sizes and rates.
        add_pooling_layer: Whether to have a pooler, which RoBERTa was not trained with.
    """

    keys = bert.KEYS

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        width, padding = config.hidden_size, config.pad_token_id or 0
        self.embeddings = Embeddings(
            words=nn.Embedding(config.vocab_size, width, padding),
            positions=RobertaPositions(config.max_position_embeddings, width, padding),
            segments=nn.Embedding(config.type_vocab_size, width),
            norm=nn.LayerNorm(width, eps=config.layer_norm_eps),
            dropout=config.hidden_dropout_prob,
        )
        self.encoder = Stack(bert.build_layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = Pooler(width) if add_pooling_layer else None
        self.post_init()


class _WordScores(RobertaPreTrainedModel):
    """BERT's word scores, by other names on disk."""

    keys = HEAD_KEYS

    def build_predictions(self, config: RobertaConfig) -> LanguageModelHead:
        """Return BERT's, always with GELU."""
        return heads.language_model_head(config, "gelu")


class RobertaForMaskedLM(_WordScores, heads.MaskedLM):
    """RoBERTa that fills in masked words."""


class RobertaForCausalLM(_WordScores, decoder.CausalEncoder):
    """RoBERTa with causal attention that continues text."""


class RobertaForSequenceClassification(RobertaPreTrainedModel, heads.SequenceClassification):
    """RoBERTa that labels, or rates, whole texts by its own layers over the first token."""

    keys: ClassVar[KeyTable] = {"classifier.output": "classifier.out_proj"}
    pooled = False

    def build_classifier(self, config: RobertaConfig, classes: int) -> nn.Module:
        """Return two layers."""
        return Classifier(heads.hidden_layer(config), classes, "tanh", self.dropout_rate(config))


class RobertaForTokenClassification(RobertaPreTrainedModel, heads.TokenClassification):
    """RoBERTa that labels tokens."""


class RobertaForQuestionAnswering(RobertaPreTrainedModel, heads.QuestionAnswering):
    """RoBERTa that finds answers in a text."""


class RobertaForMultipleChoice(RobertaPreTrainedModel, heads.MultipleChoice):
    """RoBERTa that chooses among continuations."""

    def dropout_rate(self, config: RobertaConfig) -> float:
        """Return the layers' own; ``classifier_dropout`` plays no part here."""
        return config.hidden_dropout_prob


FAMILY = Family(
    config=RobertaConfig,
    base=RobertaModel,
    heads={
        "MaskedLM": RobertaForMaskedLM,
        "CausalLM": RobertaForCausalLM,
        "PreTraining": RobertaForMaskedLM,
        "SequenceClassification": RobertaForSequenceClassification,
        "TokenClassification": RobertaForTokenClassification,
        "QuestionAnswering": RobertaForQuestionAnswering,
        "MultipleChoice": RobertaForMultipleChoice,
    },
)
