"""How ELECTRA is trained: generator and discriminator together (Clark et al. 2020, section 2)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.batch import TokenBatch
from regard.config import Config
from regard.errors import ConfigError
from regard.models.auto import AutoModel
from regard.models.electra import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining
from regard.models.encoder import TextModel
from regard.models.losses import IGNORED, PLAIN, Labelled, detection_loss
from regard.models.model import PreTrainedModel
from regard.outputs import ModelOutput, scored

#: Where the generator is saved, below the discriminator.
GENERATOR = "generator"
#: How wide the generator is, beside the discriminator (section 3.2: a quarter to a half is best).
GENERATOR_SHARE = 4
#: What the discriminator's loss counts, beside the generator's (appendix A).
DETECTION_WEIGHT = 50.0


class ElectraJointOutput(ModelOutput):
    """``logits`` (batch, length): above zero where a token looks replaced; zero at padding.

    And ``replaced`` (batch, length): 1 where the generator put another token than there was, 0
    where it did not, -100 at padding.
    """

    loss: Tensor | None = None
    logits: Tensor
    replaced: Tensor


class ElectraForJointPreTraining(Labelled, TextModel):
    """A generator that fills in masked words, and a discriminator that finds what it made up.

    They share their embeddings (section 3.2). The loss is the generator's over masked tokens, plus
    50 times the discriminator's over all tokens; nothing flows from one to the other. What the
    generator writes is drawn by numbers that come with the batch: so it is a function of weights
    and inputs, and a run that stopped goes on to the same bits.

    Saved, it is the discriminator, with the generator in a folder below.

    Args:
        discriminator: What one uses afterwards.
        generator: What makes its examples.
    """

    config_class = ElectraConfig

    def __init__(self, discriminator: ElectraForPreTraining, generator: ElectraForMaskedLM) -> None:
        super().__init__(discriminator.config)
        self.discriminator, self.generator = discriminator, generator
        words = [each.get_input_embeddings() for each in (discriminator, generator)]
        if words[0].weight.shape != words[1].weight.shape:
            raise ConfigError(
                f"the generator's word vectors are {tuple(words[1].weight.shape)}, the "
                f"discriminator's {tuple(words[0].weight.shape)}; they share them, so give both "
                f"the same vocab_size and embedding_size"
            )
        generator.base_model.embeddings = discriminator.base_model.embeddings
        generator.tie_weights()

    @classmethod
    def from_parts(
        cls, discriminator: ElectraForPreTraining, generator: ElectraForMaskedLM | None = None
    ) -> "ElectraForJointPreTraining":
        """Return both together; without a generator, with a new one of the usual size."""
        if generator is None:
            config = cast("ElectraConfig", discriminator.config)
            generator = ElectraForMaskedLM(generator_config(config))
        return cls(discriminator, generator)

    @property
    def parts(self) -> Mapping[str, PreTrainedModel]:
        """The models that it is saved as, each by its place in the folder."""
        return {"": self.discriminator, GENERATOR: self.generator}

    def save_pretrained(
        self, folder: str | Path, *, max_shard_size: int | str = "5GB", state_dict: Any = None
    ) -> None:
        """Write the discriminator, and the generator below it.

        Raises:
            ConfigError: `state_dict` is given: it would not say whose tensors it has.
        """
        if state_dict is not None:
            raise ConfigError("save the generator and the discriminator each with its state_dict")
        for place, part in self.parts.items():
            part.save_pretrained(Path(folder) / place, max_shard_size=max_shard_size)

    def get_input_embeddings(self) -> Any:
        """Return the word embeddings, which both share."""
        return self.discriminator.get_input_embeddings()

    def label_counts(self, inputs: Mapping[str, Any]) -> tuple[float, ...]:
        """Return how many tokens the generator, and how many the discriminator judges."""
        generated = super().label_counts(inputs)
        if not generated:
            return ()
        mask = inputs.get("attention_mask")
        tokens = inputs["labels"].numel() if mask is None else int((mask != 0).sum())
        return (*generated, float(tokens))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        sampling: Tensor | None = None,
    ) -> ElectraJointOutput:
        """Let the generator fill in, and the discriminator judge; all arguments (batch, length).

        Args:
            input_ids: The text with masked tokens.
            attention_mask: 0 at padding.
            token_type_ids: 0 for the first text and 1 for the second.
            labels: The tokens that stood where some are masked, and -100 elsewhere.
            sampling: A number from 0 to 1 for each token, by which the generator draws; without it
                the numbers are torch's own.
        """
        if labels is None:
            raise ValueError("pre-training needs labels: the tokens that stood at masked places")
        batch = self.pack(input_ids, attention_mask, token_type_ids, None, None)
        if sampling is None:
            sampling = torch.rand(labels.shape, device=labels.device)
        hidden, draws = batch.layout.pack(labels), batch.layout.pack(sampling)
        masked = (hidden != IGNORED).nonzero()[:, 0]
        words = self.generator.predictions(self.generator.hidden(batch)[masked])
        written = drawn(words.detach(), draws[masked])
        filled, replaced = self._filled(batch, hidden, masked, written)
        scores = self.discriminator.logits(filled)
        padded = batch.layout.pad(replaced, float(IGNORED))
        detected = detection_loss(scores, padded, batch.layout, "replaced")
        loss = PLAIN(words, hidden[masked]) + detected.weighted(DETECTION_WEIGHT)
        return ElectraJointOutput(**scored(loss), logits=batch.layout.pad(scores), replaced=padded)

    def _filled(
        self, batch: TokenBatch, hidden: Tensor, masked: Tensor, written: Tensor
    ) -> tuple[TokenBatch, Int[Tensor, " tokens"]]:
        """Return the batch with what the generator wrote, and 1 where that is another token.

        Also a token that the mask left as it was, or made another of, gets what is drawn for it.
        """
        ids = cast("Tensor", batch.ids)
        replaced = torch.zeros_like(ids)
        replaced[masked] = (written != hidden[masked]).long()
        return replace(batch, ids=ids.index_copy(0, masked, written)), replaced


class AutoModelForJointPreTraining(AutoModel):
    """Loads or builds an ELECTRA with its generator."""

    head = "PreTraining"

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> PreTrainedModel:
        """Load a discriminator, and the generator in a folder below; a new one if there is none."""
        discriminator = super().from_pretrained(name, **options)
        below = Path(name) / GENERATOR
        generator = ElectraForMaskedLM.from_pretrained(below) if below.is_dir() else None
        return ElectraForJointPreTraining.from_parts(_electra(discriminator), generator)

    @classmethod
    def from_config(cls, config: Config) -> PreTrainedModel:
        """Build both with random weights."""
        return ElectraForJointPreTraining.from_parts(_electra(super().from_config(config)))


def _electra(model: PreTrainedModel) -> ElectraForPreTraining:
    if not isinstance(model, ElectraForPreTraining):
        raise ConfigError(
            f"{type(model).__name__} is no discriminator; only an ELECTRA detects replaced words"
        )
    return model


def generator_config(config: ElectraConfig) -> ElectraConfig:
    """Return the configuration of a generator for a discriminator: as deep, a quarter as wide."""
    heads = max(config.num_attention_heads // GENERATOR_SHARE, 1)
    width = config.hidden_size // config.num_attention_heads * heads
    inner = max(config.intermediate_size // GENERATOR_SHARE, 1)
    return config.replace(
        num_attention_heads=heads, hidden_size=width, intermediate_size=inner, architectures=None
    )


def drawn(
    logits: Float[Tensor, "tokens vocabulary"], numbers: Float[Tensor, " tokens"]
) -> Int[Tensor, " tokens"]:
    """Draw a word for each token by its probabilities: the one in whose part the number falls."""
    edges = logits.float().softmax(-1).cumsum(-1)
    # The last edge is 1 but for rounding.
    places = torch.searchsorted(edges, (numbers.float() * edges[:, -1])[:, None], right=True)
    return places[:, 0].clamp(max=logits.shape[1] - 1)
