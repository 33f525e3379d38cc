"""Marian (Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344): a BART that translates.

Positions are sinusoids and embeddings are not normalised; source and target may have vocabularies
of their own. Serves the OPUS-MT models (Tiedemann and Thottingal 2020).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import nn

from regard.errors import ConfigError
from regard.models import bart, seq2seq
from regard.models.family import Family


class MarianConfig(bart.BartConfig):
    """Sizes and rates of a Marian model; OPUS-MT's are 6 layers of width 512."""

    model_type = "marian"
    only: ClassVar[Mapping[str, Any]] = {
        **bart.BartConfig.only,
        "normalize_embedding": False,
        "static_position_embeddings": True,
    }
    unsaid = ("classifier_dropout",)  # of heads that it has not
    usual_labels = 2
    scale_given_targets = True  # as the reference does, though not with source vectors

    vocab_size: int = 58101
    decoder_vocab_size: int | None = None
    share_encoder_decoder_embeddings: bool = True
    pad_token_id: int | None = 58100
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 0
    decoder_start_token_id: int | None = 58100

    def check(self) -> None:
        """Also refuse two vocabularies where both sides are to share one."""
        super().check()
        source, target = self.vocab_size, self.decoder_vocab_size or self.vocab_size
        if self.share_encoder_decoder_embeddings and source != target:
            raise ConfigError(
                f"vocab_size is {source} and decoder_vocab_size {target}, which cannot be shared; "
                "set share_encoder_decoder_embeddings to false"
            )
        pad = self.pad_token_id
        if pad is not None and pad >= target:
            raise ConfigError(f"pad_token_id is {pad}, outside the target's vocabulary of {target}")


class MarianPreTrainedModel(bart.BartPreTrainedModel):
    """Base of every Marian model, and of your own models over one."""

    config_class = MarianConfig

    def build_base(self, config: bart.BartConfig) -> "MarianModel":
        """Return the `MarianModel` that a head sits on."""
        return MarianModel(config)

    def build_decoder(self, config: bart.BartConfig) -> "MarianDecoder":
        """Return the `MarianDecoder` that continues text."""
        return MarianDecoder(config)

    def build_words(self, config: bart.BartConfig) -> seq2seq.Words:
        """Return the words of both sides, or none and those of source and target."""
        own = cast("MarianConfig", config)
        if own.share_encoder_decoder_embeddings:
            return seq2seq.shared_words(config)
        counts = own.vocab_size, own.decoder_vocab_size or own.vocab_size
        source, target = (seq2seq.embedded_words(config, count) for count in counts)
        return None, source, target

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Grow or shrink the vocabulary that both sides share. Returns the word embeddings."""
        words = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of)
        self.config.decoder_vocab_size = words.num_embeddings  # pyright: ignore[reportAttributeAccessIssue] - of MarianConfig
        return words


class MarianModel(MarianPreTrainedModel, bart.BartModel):
    """Marian without a head: the decoder's last hidden vectors."""

    def default_target(self, source: seq2seq.Side) -> seq2seq.Side:
        """Raise: a translation is no copy of its source."""
        return seq2seq.Seq2SeqModel.default_target(self, source)


class MarianDecoder(MarianPreTrainedModel, bart.BartDecoder):
    """Marian's decoder by itself."""


class MarianMTModel(MarianPreTrainedModel, bart.BartForConditionalGeneration):
    """Marian that translates."""


class MarianForCausalLM(MarianPreTrainedModel, bart.BartForCausalLM):
    """Marian's decoder that continues text."""


FAMILY = Family(
    config=MarianConfig,
    base=MarianModel,
    heads={"Seq2SeqLM": MarianMTModel, "CausalLM": MarianForCausalLM},
)
