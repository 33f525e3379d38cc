"""`Generative`: what a model needs so that texts can be decoded with it, and `generate` itself."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.attention import Attention
from regard.attention.cache import SMALLEST, Cache
from regard.attention.paged import PagedCache
from regard.attention.varlen import PAGE
from regard.batch import TokenBatch
from regard.checkpoints.files import CheckpointFolder
from regard.layers.blocks import Stack
from regard.layers.embeddings import LearnedPositions
from regard.models.encoder import TextModel

if TYPE_CHECKING:
    from regard.generation.config import GenerationConfig
    from regard.generation.outputs import GenerateOutput

#: File beside config.json that says how texts are decoded.
GENERATION_FILE = "generation_config.json"


class Generative(TextModel):
    """A model that scores the token that comes next, and can go on from what it has read.

    Attributes:
        reads_source: Whether it first reads a source, beside the text that it continues.
        generation_config: How `generate` decodes, where a call does not say otherwise.
    """

    reads_source: ClassVar[bool] = False

    _stored_generation: Mapping[str, Any] | None = None
    _generation_config: "GenerationConfig | None" = None

    @property
    def generation_config(self) -> "GenerationConfig":
        """How `generate` decodes: from generation_config.json, or config.json where that lacks."""
        if self._generation_config is None:
            from regard.generation.config import GenerationConfig

            self._generation_config = GenerationConfig.of_model(
                self.config, self._stored_generation
            )
        return self._generation_config

    @generation_config.setter
    def generation_config(self, config: "GenerationConfig") -> None:
        self._generation_config = config

    def read_beside(self, folder: CheckpointFolder) -> None:
        """Read how the checkpoint's authors decode, if they say so."""
        if folder.find(GENERATION_FILE) is not None:
            self._stored_generation = folder.read_json(GENERATION_FILE)

    def save_pretrained(
        self, folder: str | Path, *, max_shard_size: int | str = "5GB", state_dict: Any = None
    ) -> None:
        """Write config.json, the weights or `state_dict`, and generation_config.json."""
        super().save_pretrained(folder, max_shard_size=max_shard_size, state_dict=state_dict)
        if self._generation_config is not None or self._stored_generation is not None:
            self.generation_config.save_pretrained(folder)

    def read(self, batch: TokenBatch, cache: Cache) -> Float[Tensor, "tokens width"]:
        """Return the last vectors of tokens that come after those of `cache`, and add them to it.

        The batch lies as ``cache.layout(lengths)`` says.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it reads")

    def score(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for what follows tokens with these vectors."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it scores")

    def remember(self, source: TokenBatch, cache: Cache, first: int = 0) -> None:
        """Read sources and keep in `cache` what the decoder attends to of them.

        They are those of the sequences from slot `first` on.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no source")

    def decoder_layers(self) -> Stack:
        """Return the layers that a cache is for."""
        return next(module for module in self.base_model.modules() if isinstance(module, Stack))

    def new_cache(
        self, capacity: int | None = None, *, grows: bool = True, page_size: int | None = None
    ) -> Cache:
        """Return an empty cache for this model; `grows` as in `Cache`.

        Without `capacity` slots are such as flash attention reads where the model is on CUDA. With
        `page_size` it is a `PagedCache`, which has no slots.
        """
        windows: list[int | None] = []
        for layer in self.decoder_layers().layers:
            own = next(module for module in layer.modules() if isinstance(module, Attention))
            windows.append(own.mix.pattern.window)
        if page_size is not None:
            return PagedCache(windows, page_size)
        if capacity is None:
            capacity = PAGE if self.device.type == "cuda" else SMALLEST
        return Cache(windows, capacity, grows=grows)

    def context(self) -> tuple[int, bool]:
        """Return how many tokens a text may have, and whether more are impossible."""
        positions = [m for m in self.base_model.modules() if isinstance(m, LearnedPositions)]
        if positions:
            return positions[-1].usable, True
        # Where a family has no such number, what T5 was trained with (Raffel et al. 2020, 3.1.2).
        known: Any = vars(self.config).get("max_position_embeddings")
        return known or self.config.extra.get("n_positions", 512), False

    @torch.inference_mode()
    def generate(
        self,
        input_ids: Tensor | Sequence[Sequence[int]] | None = None,
        generation_config: "GenerationConfig | None" = None,
        **options: Any,
    ) -> "Tensor | GenerateOutput":
        """Continue texts, or for an encoder-decoder decode what sources are turned into.

        Without options as `generation_config` says: until the end token, or the context's end.

        Args:
            input_ids: (batch, length) token ids, or a list of lists; of an encoder-decoder the
                sources, of others the prompts. None starts with the first token alone.
            generation_config: Replaces the model's own.
            options: Fields of `GenerationConfig`, and `regard.generation.generate.Request`'s.

        Returns:
            (batch * num_return_sequences, length) ids: the prompt, moved so that it ends where the
            longest does, and what follows, filled with the padding token; a `GenerateOutput` with
            ``return_dict_in_generate=True``.

        Raises:
            TypeError: An option that nothing knows; names the nearest one.
            ValueError: A prompt that is empty or leaves no room, or options that do not fit.
        """
        from regard.generation.generate import generate

        return generate(self, input_ids, generation_config, options)


def project(layers: Iterable[torch.nn.Module], hidden: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the keys and values that each layer's attention to a source makes of it."""
    crossings = (layer.get_submodule("cross_attention") for layer in layers)
    return [c.project(hidden) for c in crossings if isinstance(c, Attention)]
