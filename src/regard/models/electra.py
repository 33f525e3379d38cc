"""ELECTRA (Clark et al. 2020, https://arxiv.org/abs/2003.10555).

BERT's anatomy over narrower word vectors. A small generator fills in masked words, and the
discriminator, which is what one uses, learns to tell which words were replaced.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.cache import Cache
from regard.batch import Layout, TokenBatch
from regard.checkpoints.keymap import KeyTable
from regard.config import Config
from regard.layers.blocks import Stack
from regard.layers.embeddings import Embeddings, LearnedPositions
from regard.layers.scoring import Classifier, LanguageModelHead
from regard.linear import Linear
from regard.models import bert, decoder, heads
from regard.models.encoder import EncoderModel
from regard.models.family import Family
from regard.models.losses import detection_loss
from regard.models.model import PreTrainedModel
from regard.outputs import ElectraForPreTrainingOutput, scored


class ElectraConfig(Config):
    """Sizes and rates of an ELECTRA; the defaults are ELECTRA-small's discriminator."""

    model_type = "electra"
    only: ClassVar[Mapping[str, Any]] = {
        **bert.BertConfig.only,
        "summary_type": "first",
        "summary_use_proj": True,
    }

    vocab_size: int = 30522
    embedding_size: int = 128
    hidden_size: int = 256
    num_hidden_layers: int = 12
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    classifier_dropout: float | None = None
    summary_activation: str = "gelu"
    summary_last_dropout: float = 0.1
    pad_token_id: int | None = 0
    is_decoder: bool = False


KEYS: KeyTable = {**bert.KEYS, "widening": "embeddings_project"}


class ElectraPreTrainedModel(PreTrainedModel):
    """Base of every ELECTRA, and of your own models over an ELECTRA."""

    config_class = ElectraConfig
    base_model_prefix = "electra"

    def build_base(self, config: ElectraConfig, pooled: bool) -> EncoderModel:
        """Return the `ElectraModel` that a head sits on."""
        return ElectraModel(config)


class ElectraModel(ElectraPreTrainedModel, EncoderModel):
    """ELECTRA without a head: last hidden vectors."""

    keys = KEYS

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        narrow, width = config.embedding_size, config.hidden_size
        self.embeddings = Embeddings(
            words=nn.Embedding(config.vocab_size, narrow, config.pad_token_id),
            positions=LearnedPositions(config.max_position_embeddings, narrow),
            segments=nn.Embedding(config.type_vocab_size, narrow),
            norm=nn.LayerNorm(narrow, eps=config.layer_norm_eps),
            dropout=config.hidden_dropout_prob,
        )
        self.widening = Linear(narrow, width) if narrow != width else nn.Identity()
        self.encoder = Stack(bert.build_layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = None
        self.post_init()

    def encode(
        self, batch: TokenBatch, cache: Cache | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the last hidden vectors of a packed batch, which goes on from `cache`."""
        return self.encoder(self.widening(self.embeddings(batch)), batch.layout, cache=cache)


class ElectraForPreTraining(ElectraPreTrainedModel, heads.LabelledHead):
    """The discriminator: which tokens were replaced; labels are 1 for those and 0 for others."""

    keys: ClassVar[KeyTable] = {
        "detector": "discriminator_predictions",
        "detector.output": "discriminator_predictions.dense_prediction",
    }

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.detector = Classifier(heads.hidden_layer(config), 1, config.hidden_act, dropout=0.0)
        self.post_init()

    def logits(self, batch: TokenBatch) -> Float[Tensor, " tokens"]:
        """Return a score for each packed token, above zero where it looks replaced."""
        return self.detector(self.hidden(batch))[:, 0]

    def output(
        self, logits: Tensor, labels: Tensor | None, layout: Layout
    ) -> ElectraForPreTrainingOutput:
        """Return `logits` padded, and their `detection_loss`."""
        loss = None if labels is None else detection_loss(logits, labels, layout, "labels")
        return ElectraForPreTrainingOutput(**scored(loss), logits=layout.pad(logits))


class _Generator(ElectraPreTrainedModel):
    """Word scores over the narrow word vectors."""

    keys: ClassVar[KeyTable] = {
        "predictions.dense": "generator_predictions.dense",
        "predictions.norm": "generator_predictions.LayerNorm",
        "predictions.decoder": "generator_lm_head",
    }

    def build_predictions(self, config: ElectraConfig) -> LanguageModelHead:
        """Return BERT's, always with GELU."""
        return heads.language_model_head(config, "gelu", config.embedding_size)


class ElectraForMaskedLM(_Generator, heads.MaskedLM):
    """The generator: fills in masked words."""


class ElectraForCausalLM(_Generator, decoder.CausalEncoder):
    """The generator with causal attention: continues text."""


class ElectraForSequenceClassification(ElectraPreTrainedModel, heads.SequenceClassification):
    """ELECTRA that labels, or rates, whole texts by two layers over the first token."""

    keys: ClassVar[KeyTable] = {"classifier.output": "classifier.out_proj"}
    pooled = False

    def build_classifier(self, config: ElectraConfig, classes: int) -> nn.Module:
        """Return both layers."""
        return Classifier(heads.hidden_layer(config), classes, "gelu", self.dropout_rate(config))


class ElectraForMultipleChoice(ElectraPreTrainedModel, heads.MultipleChoice):
    """ELECTRA that chooses among continuations."""

    keys: ClassVar[KeyTable] = {
        "classifier.dense": "sequence_summary.summary",
        "classifier.output": "classifier",
    }
    pooled = False

    def dropout_rate(self, config: ElectraConfig) -> float:
        """Return 0: only between the two layers something is dropped."""
        return 0.0

    def build_classifier(self, config: ElectraConfig, classes: int) -> nn.Module:
        """Return both layers."""
        act, rate = config.summary_activation, config.summary_last_dropout
        return Classifier(heads.hidden_layer(config), classes, act, rate)


class ElectraForTokenClassification(ElectraPreTrainedModel, heads.TokenClassification):
    """ELECTRA that labels tokens."""


class ElectraForQuestionAnswering(ElectraPreTrainedModel, heads.QuestionAnswering):
    """ELECTRA that finds answers in a text."""


FAMILY = Family(
    config=ElectraConfig,
    base=ElectraModel,
    heads={
        "PreTraining": ElectraForPreTraining,
        "MaskedLM": ElectraForMaskedLM,
        "CausalLM": ElectraForCausalLM,
        "SequenceClassification": ElectraForSequenceClassification,
        "TokenClassification": ElectraForTokenClassification,
        "QuestionAnswering": ElectraForQuestionAnswering,
        "MultipleChoice": ElectraForMultipleChoice,
    },
)
